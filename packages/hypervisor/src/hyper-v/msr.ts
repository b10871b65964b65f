// Addresses of the synthetic MSRs (TLFS, appendix "Synthetic MSRs"), by their names there without HV_X64_MSR_.

/** Synthetic MSRs. */
export const HV_MSR = {
  GUEST_OS_ID: 0x40000000,
  HYPERCALL: 0x40000001,
  VP_INDEX: 0x40000002,
  RESET: 0x40000003,
  VP_RUNTIME: 0x40000010,
  TIME_REF_COUNT: 0x40000020,
  REFERENCE_TSC: 0x40000021,
  TSC_FREQUENCY: 0x40000022,
  APIC_FREQUENCY: 0x40000023,
  EOI: 0x40000070,
  ICR: 0x40000071,
  TPR: 0x40000072,
  VP_ASSIST_PAGE: 0x40000073,
  SCONTROL: 0x40000080,
  SVERSION: 0x40000081,
  SIEFP: 0x40000082,
  SIMP: 0x40000083,
  EOM: 0x40000084,
  /** The first of sixteen. */
  SINT0: 0x40000090,
  /** The first of four pairs of configuration and count. */
  STIMER0_CONFIG: 0x400000b0,
  STIMER0_COUNT: 0x400000b1,
  GUEST_IDLE: 0x400000f0,
  /** The first of five. */
  CRASH_P0: 0x40000100,
  CRASH_CTL: 0x40000105,
  REENLIGHTENMENT_CONTROL: 0x40000106,
  TSC_EMULATION_CONTROL: 0x40000107,
  TSC_EMULATION_STATUS: 0x40000108,
  TSC_INVARIANT_CONTROL: 0x40000118,
} as const

/** Bits of the MSRs that place an overlay page: HYPERCALL, REFERENCE_TSC, VP_ASSIST_PAGE, SIEFP, SIMP. */
export const PAGE_MSR = { ENABLE: 1n, ADDRESS: 0xffff_ffff_ffff_f000n } as const

/** The GPA in an MSR that places a page, or `undefined` when it is not enabled. */
export function pageAddress(value: bigint): number | undefined {
  return (value & PAGE_MSR.ENABLE) === 0n ? undefined : Number(value & PAGE_MSR.ADDRESS)
}
