// Hypercalls of the TLFS that only a partition with the privilege may make, and that Partita does not have, since no partition here has children or higher trust levels
// of its own: a child without the privilege is told so, as by Hyper-V, instead of that there is no such call.

import type { HypercallTable } from '../../hypercall-table.ts'
import type { PrivilegeName } from '../../privileges.ts'

/** Call codes by the privilege that they need (TLFS, HV_PARTITION_PRIVILEGE_MASK; each call's own page). */
const RESTRICTED: Partial<Record<PrivilegeName, readonly number[]>> = {
  // Create to delete partitions, their properties and children, GPA pages, intercepts, virtual processors and their state, interrupts of children.
  CREATE_PARTITIONS: [
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x47, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x6e, 0x90, 0x91, 0x92, 0x94, 0xad, 0xc0,
    0xc1, 0xe1, 0xe2, 0xe5, 0x010a, 0x0110, 0x011f,
  ],
  // HvCallGetPartitionId
  ACCESS_PARTITION_ID: [0x46],
  // HvCallDepositMemory, HvCallWithdrawMemory, HvCallGetMemoryBalance
  ACCESS_MEMORY_POOL: [0x48, 0x49, 0x4a],
  // HvCallCreatePort, HvCallDeletePort
  CREATE_PORT: [0x95, 0x58],
  // HvCallConnectPort, HvCallDisconnectPort
  CONNECT_PORT: [0x96, 0x5b],
  // HvCallMapStatsPage, HvCallUnmapStatsPage, HvCallMapStatsPage2
  ACCESS_STATS: [0x6c, 0x6d, 0x0131],
  // HvCallPostDebugData, HvCallRetrieveDebugData, HvCallResetDebugSession
  DEBUGGING: [0x69, 0x6a, 0x6b],
  // Logical processors
  CPU_MANAGEMENT: [0x76],
  // HvCallModifyVtlProtectionMask, HvCallEnablePartitionVtl, HvCallEnableVpVtl
  ACCESS_VSM: [0x0c, 0x0d, 0x0f],
  // HvExtCallGetBootZeroedMemory, HvExtCallMemoryHeatHint
  ENABLE_EXTENDED_HYPERCALLS: [0x8002, 0x8003],
}

/** Have these calls refused to who may not make them. */
export function restrictCalls(table: HypercallTable): void {
  for (const [privilege, codes] of Object.entries(RESTRICTED))
    for (const code of codes) table.restrict(code, privilege as PrivilegeName)
}
