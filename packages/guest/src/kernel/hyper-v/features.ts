// Is there a Hyper-V, and what does it let this partition do? (TLFS, "Feature and Interface Discovery")

import type { Cpu } from '@partita/processor-typescript'
import { GuestError } from '../guest-error.ts'

const LEAF = {
  FEATURES: 1,
  VENDOR: 0x4000_0000,
  INTERFACE: 0x4000_0001,
  VERSION: 0x4000_0002,
  PRIVILEGES: 0x4000_0003,
  HINTS: 0x4000_0004,
} as const
const HYPERVISOR_PRESENT = 0x8000_0000
/** "Hv#1". */
const INTERFACE_HV1 = 0x3123_7648

/** EAX of the privileges' leaf: the partition may use these registers. */
const PRIVILEGE = {
  REFERENCE_COUNTER: 1 << 1,
  SYNIC: 1 << 2,
  TIMERS: 1 << 3,
  APIC_MSRS: 1 << 4,
  HYPERCALLS: 1 << 5,
  VP_INDEX: 1 << 6,
  REFERENCE_TSC: 1 << 9,
} as const
/** EBX: these hypercalls. */
const CALLS = { POST_MESSAGES: 1 << 4, SIGNAL_EVENTS: 1 << 5 } as const
/** EDX. */
const FEATURE = { CRASH_MSRS: 1 << 10, DIRECT_TIMERS: 1 << 19 } as const
/** EAX of the hints' leaf. */
const HINT_NO_AUTO_EOI = 1 << 9

/** What the hypervisor says of itself. */
export interface HypervisorFeatures {
  readonly vendor: string
  readonly version: string
  /** The time can be had without leaving the guest. */
  readonly referenceTsc: boolean
  readonly directTimers: boolean
  readonly crashMsrs: boolean
  /** Interrupts of the SynIC are to be ended by hand. */
  readonly noAutoEoi: boolean
}

/** Look. @throws GuestError `ERR_GUEST_HYPERVISOR` when something that the guest cannot do without is missing */
export function detectHyperV(cpu: Cpu): HypervisorFeatures {
  const missing = (what: string): GuestError =>
    new GuestError('ERR_GUEST_HYPERVISOR', `The guest needs Hyper-V; this partition has no ${what}`)
  if ((cpu.cpuid(LEAF.FEATURES).ecx & HYPERVISOR_PRESENT) === 0) throw missing('hypervisor')
  const { eax: last, ebx, ecx, edx } = cpu.cpuid(LEAF.VENDOR)
  // The interface tells what a hypervisor is, and the vendor only whose it is.
  if (last < LEAF.HINTS || cpu.cpuid(LEAF.INTERFACE).eax !== INTERFACE_HV1) throw missing('interface "Hv#1"')
  const version = cpu.cpuid(LEAF.VERSION)
  const privileges = cpu.cpuid(LEAF.PRIVILEGES)
  for (const [name, bit] of Object.entries(PRIVILEGE))
    if (name !== 'REFERENCE_TSC' && (privileges.eax & bit) === 0) throw missing(`privilege ${name}`)
  for (const [name, bit] of Object.entries(CALLS)) if ((privileges.ebx & bit) === 0) throw missing(`privilege ${name}`)
  return {
    vendor: new TextDecoder().decode(Uint32Array.of(ebx, ecx, edx)),
    version: `${version.ebx >>> 16}.${version.ebx & 0xffff}.${version.eax}`,
    referenceTsc: (privileges.eax & PRIVILEGE.REFERENCE_TSC) !== 0,
    directTimers: (privileges.edx & FEATURE.DIRECT_TIMERS) !== 0,
    crashMsrs: (privileges.edx & FEATURE.CRASH_MSRS) !== 0,
    noAutoEoi: (cpu.cpuid(LEAF.HINTS).eax & HINT_NO_AUTO_EOI) !== 0,
  }
}
