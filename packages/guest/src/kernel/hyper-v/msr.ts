// Synthetic MSRs (TLFS, appendix "Synthetic MSRs"), by their names there without HV_X64_MSR_.

export const HV_MSR = {
  GUEST_OS_ID: 0x4000_0000,
  HYPERCALL: 0x4000_0001,
  VP_INDEX: 0x4000_0002,
  TIME_REF_COUNT: 0x4000_0020,
  REFERENCE_TSC: 0x4000_0021,
  EOI: 0x4000_0070,
  ICR: 0x4000_0071,
  SCONTROL: 0x4000_0080,
  SIEFP: 0x4000_0082,
  SIMP: 0x4000_0083,
  EOM: 0x4000_0084,
  /** The first of sixteen. */
  SINT0: 0x4000_0090,
  STIMER0_CONFIG: 0x4000_00b0,
  STIMER0_COUNT: 0x4000_00b1,
  /** The first of five. */
  CRASH_P0: 0x4000_0100,
  CRASH_CTL: 0x4000_0105,
} as const

/** Bit 0 of the MSRs that place a page. */
export const PAGE_ENABLE = 1n
