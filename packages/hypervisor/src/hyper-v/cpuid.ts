// The hypervisor's CPUID leaves (TLFS, "Feature and Interface Discovery"): they say what the partition's privileges let it do.

import type { CpuidTable, CpuidValues } from '../cpuid-table.ts'
import type { PartitionPrivileges } from '../privileges.ts'

/** What the leaves depend on. */
export interface CpuidOptions {
  readonly privileges: PartitionPrivileges
  readonly virtualProcessors: number
  /** Whether the guest has asked for the invariant TSC (HV_X64_MSR_TSC_INVARIANT_CONTROL). */
  invariantTsc(): boolean
}

const LEAF_MAXIMUM = 0x4000000c
const VIRTUALIZATION_STACK_MAXIMUM = 0x40000082

/** "Microsoft Hv" and "Microsoft VS". */
const MICROSOFT = { ebx: 0x7263694d, ecx: 0x666f736f } as const
const VENDOR_HV = 0x76482074
const VENDOR_VS = 0x53562074
/** "Hv#1" and "VS#1". */
const INTERFACE_HV = 0x31237648
const INTERFACE_VS = 0x31235356

/** The interface's version is that of Windows Server 2025: what guests may take for granted of that host is what is here. */
const VERSION = { BUILD: 26100, MAJOR: 10, MINOR: 0 } as const

/** Leaf 0x40000003 EDX. */
const FEATURE = {
  XMM_HYPERCALL_INPUT: 1 << 4,
  GUEST_IDLE: 1 << 5,
  FREQUENCY_MSRS: 1 << 8,
  GUEST_CRASH_MSRS: 1 << 10,
  FAST_HYPERCALL_OUTPUT: 1 << 15,
  SINT_POLLING: 1 << 17,
  HYPERCALL_MSR_LOCK: 1 << 18,
  DIRECT_TIMERS: 1 << 19,
} as const

/** Leaf 0x40000004 EAX. */
const RECOMMENDATION = {
  REMOTE_TLB_FLUSH: 1 << 2,
  APIC_MSRS: 1 << 3,
  RELAXED_TIMING: 1 << 5,
  DEPRECATE_AUTO_EOI: 1 << 9,
  CLUSTER_IPI: 1 << 10,
  EX_PROCESSOR_MASKS: 1 << 11,
} as const

/** Attempts at a spinlock before HvCallNotifyLongSpinWait, which lets another virtual processor of the thread run. With one it is never worth it. */
const SPIN_ATTEMPTS = 0xfff
const SPIN_NEVER_NOTIFY = 0xffffffff

const MAXIMUM_VIRTUAL_PROCESSORS = 64

const INVARIANT_TSC_LEAF = 0x80000007
const INVARIANT_TSC = 1 << 8

/** Answers by leaf number. Leaves that are missing are zero. */
export function hypervisorLeaves({ privileges, virtualProcessors }: CpuidOptions): ReadonlyMap<number, CpuidValues> {
  const leaf = (eax: number, ebx = 0, ecx = 0, edx = 0): CpuidValues => ({ eax, ebx, ecx, edx })
  const hypercalls = privileges.has('ACCESS_HYPERCALL_MSRS')
  const features =
    FEATURE.GUEST_CRASH_MSRS |
    (hypercalls ? FEATURE.XMM_HYPERCALL_INPUT | FEATURE.HYPERCALL_MSR_LOCK : 0) |
    (privileges.has('FAST_HYPERCALL_OUTPUT') ? FEATURE.FAST_HYPERCALL_OUTPUT : 0) |
    (privileges.has('ACCESS_GUEST_IDLE_REG') ? FEATURE.GUEST_IDLE : 0) |
    (privileges.has('ACCESS_FREQUENCY_REGS') ? FEATURE.FREQUENCY_MSRS : 0) |
    (privileges.has('ACCESS_SYNIC_REGS') ? FEATURE.SINT_POLLING : 0) |
    (privileges.has('ACCESS_SYNTHETIC_TIMER_REGS') ? FEATURE.DIRECT_TIMERS : 0)
  const recommendations =
    RECOMMENDATION.RELAXED_TIMING |
    RECOMMENDATION.DEPRECATE_AUTO_EOI |
    (privileges.has('ACCESS_INTR_CTRL_REGS') ? RECOMMENDATION.APIC_MSRS : 0) |
    (hypercalls ? RECOMMENDATION.REMOTE_TLB_FLUSH | RECOMMENDATION.CLUSTER_IPI | RECOMMENDATION.EX_PROCESSOR_MASKS : 0)
  return new Map([
    [0x40000000, leaf(LEAF_MAXIMUM, MICROSOFT.ebx, MICROSOFT.ecx, VENDOR_HV)],
    [0x40000001, leaf(INTERFACE_HV)],
    [0x40000002, leaf(VERSION.BUILD, (VERSION.MAJOR << 16) | VERSION.MINOR)],
    [0x40000003, leaf(Number(privileges.mask & 0xffffffffn), Number(privileges.mask >> 32n), 0, features)],
    [0x40000004, leaf(recommendations, virtualProcessors > 1 && hypercalls ? SPIN_ATTEMPTS : SPIN_NEVER_NOTIFY)],
    [0x40000005, leaf(MAXIMUM_VIRTUAL_PROCESSORS, MAXIMUM_VIRTUAL_PROCESSORS)],
    [0x40000080, leaf(VIRTUALIZATION_STACK_MAXIMUM, MICROSOFT.ebx, MICROSOFT.ecx, VENDOR_VS)],
    [0x40000081, leaf(INTERFACE_VS)],
    [0x40000082, leaf(0)],
  ])
}

/** Answer the hypervisor's leaves, and hide the invariant TSC until the guest asks for it, as Hyper-V does. */
export function registerCpuid(table: CpuidTable, options: CpuidOptions): void {
  table.hypervisorPresent = true
  for (const [leaf, values] of hypervisorLeaves(options)) table.set(leaf, values)
  table.set(INVARIANT_TSC_LEAF, (_vpIndex, _subleaf, registers) => {
    if (!options.invariantTsc()) registers[3] = (registers[3] as number) & ~INVARIANT_TSC
  })
}
