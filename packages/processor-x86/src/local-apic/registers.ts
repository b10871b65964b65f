// Register map of the local APIC (SDM vol. 3, tables 11-1 and 11-6). A register's number is its offset in the MMIO page divided by 16, and its MSR minus 0x800.

/** Register numbers. */
export const REGISTER = {
  ID: 0x02,
  VERSION: 0x03,
  TPR: 0x08,
  APR: 0x09,
  PPR: 0x0a,
  EOI: 0x0b,
  RRD: 0x0c,
  LDR: 0x0d,
  DFR: 0x0e,
  SVR: 0x0f,
  ISR: 0x10,
  TMR: 0x18,
  IRR: 0x20,
  ESR: 0x28,
  LVT_CMCI: 0x2f,
  ICR_LOW: 0x30,
  ICR_HIGH: 0x31,
  LVT_TIMER: 0x32,
  LVT_THERMAL: 0x33,
  LVT_PERFORMANCE: 0x34,
  LVT_LINT0: 0x35,
  LVT_LINT1: 0x36,
  LVT_ERROR: 0x37,
  INITIAL_COUNT: 0x38,
  CURRENT_COUNT: 0x39,
  DIVIDE_CONFIGURATION: 0x3e,
  SELF_IPI: 0x3f,
} as const

/** Indices of the local vector table's entries here: in the order of their registers, CMCI last. */
export const LVT = { TIMER: 0, THERMAL: 1, PERFORMANCE: 2, LINT0: 3, LINT1: 4, ERROR: 5, CMCI: 6 } as const
export const LVT_COUNT = 7
/** Index in the local vector table of a register, or -1. */
export function lvtIndex(register: number): number {
  if (register >= REGISTER.LVT_TIMER && register <= REGISTER.LVT_ERROR) return register - REGISTER.LVT_TIMER
  return register === REGISTER.LVT_CMCI ? LVT.CMCI : -1
}

/** Bits of an entry (SDM vol. 3, figure 11-8). */
export const LVT_BIT = {
  VECTOR: 0xff,
  DELIVERY_MODE: 0x700,
  DELIVERY_MODE_SHIFT: 8,
  DELIVERY_STATUS: 0x1000,
  POLARITY: 0x2000,
  REMOTE_IRR: 0x4000,
  LEVEL: 0x8000,
  MASK: 0x1_0000,
  TIMER_MODE: 0x6_0000,
  TIMER_MODE_SHIFT: 17,
} as const
const LVT_MODAL = LVT_BIT.VECTOR | LVT_BIT.DELIVERY_MODE | LVT_BIT.MASK
const LVT_PIN = LVT_MODAL | LVT_BIT.POLARITY | LVT_BIT.LEVEL
/** Bits that software can set in each entry. */
export const LVT_WRITABLE: readonly number[] = [
  LVT_BIT.VECTOR | LVT_BIT.MASK | LVT_BIT.TIMER_MODE,
  LVT_MODAL,
  LVT_MODAL,
  LVT_PIN,
  LVT_PIN,
  LVT_BIT.VECTOR | LVT_BIT.MASK,
  LVT_MODAL,
]

/** Spurious-interrupt vector register (SDM vol. 3, figure 11-23). Focus checking (bit 9) can be written and does nothing. */
export const SVR = { VECTOR: 0xff, ENABLE: 0x100, FOCUS_DISABLE: 0x200, SUPPRESS_EOI_BROADCAST: 0x1000 } as const
export const SVR_WRITABLE: number = SVR.VECTOR | SVR.ENABLE | SVR.FOCUS_DISABLE | SVR.SUPPRESS_EOI_BROADCAST

/** Error status register (SDM vol. 3, figure 11-9): the errors that can happen here. */
export const ESR = { SEND_ILLEGAL_VECTOR: 0x20, RECEIVE_ILLEGAL_VECTOR: 0x40, ILLEGAL_REGISTER: 0x80 } as const

/** Low half of the interrupt command register (SDM vol. 3, figure 11-12). */
export const ICR = {
  VECTOR: 0xff,
  DELIVERY_MODE_SHIFT: 8,
  LOGICAL: 0x800,
  DELIVERY_STATUS: 0x1000,
  ASSERT: 0x4000,
  LEVEL: 0x8000,
  SHORTHAND_SHIFT: 18,
} as const
/** Bits that the low half keeps. Delivery status always reads 0: messages are delivered at once. */
export const ICR_WRITABLE = 0x000c_cfff
export const SHORTHAND = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const

/** IA32_APIC_BASE (SDM vol. 3, figure 11-26). */
export const APIC_BASE = { BSP: 0x100n, X2APIC: 0x400n, ENABLE: 0x800n, ADDRESS: 0xff_ffff_f000n } as const
export const APIC_BASE_DEFAULT = 0xfee0_0000n

/**
 * Version 0x14 (integrated, x2APIC capable), seven entries in the local vector table, and EOI-broadcast suppression
 * (SDM vol. 3, figure 11-7).
 */
export const VERSION: number = 0x14 | ((LVT_COUNT - 1) << 16) | (1 << 24)

/** Vectors below this are illegal (SDM vol. 3, 11.5.2). */
export const FIRST_VECTOR = 16

/** Destination that is every local APIC in x2APIC mode; here of any message. */
export const BROADCAST = 0xffff_ffff
/** Destination that is every local APIC for messages with eight-bit destinations. */
export const BROADCAST_8 = 0xff

/** Registers that cannot be read with RDMSR (SDM vol. 3, table 11-6). */
export function readableInX2Apic(register: number): boolean {
  switch (register) {
    case REGISTER.APR:
    case REGISTER.EOI:
    case REGISTER.RRD:
    case REGISTER.DFR:
    case REGISTER.ICR_HIGH:
    case REGISTER.SELF_IPI:
      return false
    default:
      return true
  }
}

/** Bits that WRMSR may set in a register, or -1 where it is not writable. Read-only bits of writable registers may be set: they are ignored. */
const X2APIC_WRITABLE: readonly number[] = Array.from({ length: 64 }, (_, register) => {
  const lvt = lvtIndex(register)
  if (lvt >= 0) {
    const pin = lvt === LVT.LINT0 || lvt === LVT.LINT1
    return (LVT_WRITABLE[lvt] | LVT_BIT.DELIVERY_STATUS | (pin ? LVT_BIT.REMOTE_IRR : 0)) >>> 0
  }
  switch (register) {
    case REGISTER.TPR:
    case REGISTER.SELF_IPI:
      return 0xff
    case REGISTER.EOI:
    case REGISTER.ESR:
      return 0
    case REGISTER.SVR:
      return SVR_WRITABLE & ~SVR.FOCUS_DISABLE
    case REGISTER.ICR_LOW:
      return ICR_WRITABLE | ICR.DELIVERY_STATUS
    case REGISTER.INITIAL_COUNT:
      return 0xffff_ffff
    case REGISTER.DIVIDE_CONFIGURATION:
      return 0xb
    default:
      return -1
  }
})

/** Whether WRMSR of this value (the low half of ICR) does not raise #GP. */
export function writableInX2Apic(register: number, value: number): boolean {
  const writable = X2APIC_WRITABLE[register]
  return writable >= 0 && (value & ~writable) === 0
}
