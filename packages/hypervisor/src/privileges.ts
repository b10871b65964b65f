// Partition privileges: HV_PARTITION_PRIVILEGE_MASK (TLFS, "Partition Properties"; CPUID leaf 0x40000003 shows it in EAX and EBX).

/** Bit numbers in HV_PARTITION_PRIVILEGE_MASK. The first half guards MSRs, the second half (from bit 32) hypercalls. */
export const PRIVILEGE = {
  ACCESS_VP_RUN_TIME_REG: 0,
  ACCESS_PARTITION_REFERENCE_COUNTER: 1,
  ACCESS_SYNIC_REGS: 2,
  ACCESS_SYNTHETIC_TIMER_REGS: 3,
  ACCESS_INTR_CTRL_REGS: 4,
  ACCESS_HYPERCALL_MSRS: 5,
  ACCESS_VP_INDEX: 6,
  ACCESS_RESET_REG: 7,
  ACCESS_STATS_REG: 8,
  ACCESS_PARTITION_REFERENCE_TSC: 9,
  ACCESS_GUEST_IDLE_REG: 10,
  ACCESS_FREQUENCY_REGS: 11,
  ACCESS_DEBUG_REGS: 12,
  ACCESS_REENLIGHTENMENT_CONTROLS: 13,
  ACCESS_TSC_INVARIANT_CONTROLS: 15,
  CREATE_PARTITIONS: 32,
  ACCESS_PARTITION_ID: 33,
  ACCESS_MEMORY_POOL: 34,
  ADJUST_MESSAGE_BUFFERS: 35,
  POST_MESSAGES: 36,
  SIGNAL_EVENTS: 37,
  CREATE_PORT: 38,
  CONNECT_PORT: 39,
  ACCESS_STATS: 40,
  DEBUGGING: 43,
  CPU_MANAGEMENT: 44,
  CONFIGURE_PROFILER: 45,
  ACCESS_VSM: 48,
  ACCESS_VP_REGISTERS: 49,
  FAST_HYPERCALL_OUTPUT: 51,
  ENABLE_EXTENDED_HYPERCALLS: 52,
  START_VIRTUAL_PROCESSOR: 53,
} as const

/** The name of one privilege. */
export type PrivilegeName = keyof typeof PRIVILEGE

/** A set of privileges: the 64-bit mask and a test for names. Immutable. */
export class PartitionPrivileges {
  /** The HV_PARTITION_PRIVILEGE_MASK. */
  readonly mask: bigint

  constructor(names: Iterable<PrivilegeName> = []) {
    let mask = 0n
    for (const name of names) mask |= 1n << BigInt(PRIVILEGE[name])
    this.mask = mask
  }

  /** Whether the privilege is held. */
  has(name: PrivilegeName): boolean {
    return ((this.mask >> BigInt(PRIVILEGE[name])) & 1n) !== 0n
  }

  /** The privileges held, in the order of their bits. */
  names(): PrivilegeName[] {
    return (Object.keys(PRIVILEGE) as PrivilegeName[]).filter((name) => this.has(name))
  }
}

/**
 * What a child partition may do by default: its own registers, messages and events, and nothing of other partitions. Hyper-V gives a Linux guest 0x2E7F and, in the high
 * half, 0x3B8030, as that prints when it boots; the differences are these.
 *
 * - ACCESS_RESET_REG is given, too: a guest resets without any device.
 * - There is no VSM, and flushes know no extended GVA ranges (bits 48 and 47).
 * - ACCESS_TSC_INVARIANT_CONTROLS, which newer hosts give, can be given: Linux then takes the TSC for its clock, and not the reference TSC page.
 */
export const CHILD_PRIVILEGES: readonly PrivilegeName[] = [
  'ACCESS_VP_RUN_TIME_REG',
  'ACCESS_PARTITION_REFERENCE_COUNTER',
  'ACCESS_SYNIC_REGS',
  'ACCESS_SYNTHETIC_TIMER_REGS',
  'ACCESS_INTR_CTRL_REGS',
  'ACCESS_HYPERCALL_MSRS',
  'ACCESS_VP_INDEX',
  'ACCESS_RESET_REG',
  'ACCESS_PARTITION_REFERENCE_TSC',
  'ACCESS_GUEST_IDLE_REG',
  'ACCESS_FREQUENCY_REGS',
  'ACCESS_REENLIGHTENMENT_CONTROLS',
  'POST_MESSAGES',
  'SIGNAL_EVENTS',
  'ACCESS_VP_REGISTERS',
  'FAST_HYPERCALL_OUTPUT',
  'ENABLE_EXTENDED_HYPERCALLS',
  'START_VIRTUAL_PROCESSOR',
]
