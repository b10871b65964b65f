// Descriptors for GDT, LDT and IDT (Intel SDM vol. 3, sections 3.4.5, 6.8, 7.2.2 and 6.14.1), as 64-bit words for Assembler.qwords.

/** Options of {@link segmentDescriptor}. */
export interface SegmentDescriptorOptions {
  /** What the segment holds. A stack is data. */
  readonly kind: 'code' | 'data'
  /** Size of code, or of a stack's pointer. */
  readonly bits: 16 | 32 | 64
  /** Default: 0. */
  readonly base?: number
  /** Last offset, in bytes below 1 MiB and whole pages above. Default: all that 32 bits can address. */
  readonly limit?: number
  /** Default: 0. */
  readonly dpl?: 0 | 1 | 2 | 3
  /** Writable data or readable code. Default: true. */
  readonly writable?: boolean
  /** Conforming code or expand-down data. Default: false. */
  readonly conforming?: boolean
  /** Default: true. */
  readonly present?: boolean
}

/** A code or data segment. Its accessed bit is clear. */
export function segmentDescriptor(options: SegmentDescriptorOptions): bigint {
  const { kind, bits, dpl = 0, writable = true, conforming = false, present = true } = options
  const type = 0x10 | (kind === 'code' ? 8 : 0) | (conforming ? 4 : 0) | (writable ? 2 : 0)
  const flags = bits === 64 ? 2 : bits === 32 ? 4 : 0
  return lowWord(options.base ?? 0, options.limit ?? 0xffff_ffff, type | (dpl << 5) | (present ? 0x80 : 0), flags)
}

/** A TSS or LDT, of 32 bits (one word) or 64 bits (two words). */
export function systemDescriptor(
  kind: 'tss' | 'busy-tss' | 'ldt',
  bits: 32 | 64,
  base: number,
  limit: number,
  dpl: 0 | 1 | 2 | 3 = 0,
): readonly bigint[] {
  const type = { tss: 9, 'busy-tss': 11, ldt: 2 }[kind]
  const low = lowWord(base % 2 ** 32, limit, 0x80 | type | (dpl << 5), 0)
  return bits === 32 ? [low] : [low, BigInt(Math.floor(base / 2 ** 32))]
}

/** Options of {@link gateDescriptor}. */
export interface GateDescriptorOptions {
  /** An interrupt gate clears RFLAGS.IF, a trap gate leaves it; a call gate is for far calls. */
  readonly kind: 'interrupt' | 'trap' | 'call'
  /** Size of the offset; 64 takes two words of the table. */
  readonly bits: 32 | 64
  /** Of the code segment that it leads to. */
  readonly selector: number
  /** Where in that segment it leads to. */
  readonly offset: number | bigint
  /** Default: 0. */
  readonly dpl?: 0 | 1 | 2 | 3
  /** 64-bit: the stack of the TSS, 1–7. Default: 0, none. */
  readonly ist?: number
  /** Default: true. */
  readonly present?: boolean
}

/** A gate of 32 bits (one word) or 64 bits (two words). */
export function gateDescriptor(options: GateDescriptorOptions): readonly bigint[] {
  const { kind, bits, selector, dpl = 0, ist = 0, present = true } = options
  const offset = BigInt.asUintN(64, BigInt(options.offset))
  const type = { interrupt: 14, trap: 15, call: 12 }[kind]
  const access = BigInt(type | (dpl << 5) | (present ? 0x80 : 0))
  const low =
    (offset & 0xffffn) |
    (BigInt(selector) << 16n) |
    (BigInt(ist) << 32n) |
    (access << 40n) |
    (((offset >> 16n) & 0xffffn) << 48n)
  return bits === 32 ? [low] : [low, offset >> 32n]
}

function lowWord(base: number, limit: number, access: number, flags: number): bigint {
  const pages = limit > 0xf_ffff
  const size = BigInt(pages ? Math.floor(limit / 4096) : limit)
  const wide = BigInt(base)
  return (
    (size & 0xffffn) |
    ((wide & 0xff_ffffn) << 16n) |
    (BigInt(access) << 40n) |
    ((size >> 16n) << 48n) |
    (BigInt(flags | (pages ? 8 : 0)) << 52n) |
    ((wide >> 24n) << 56n)
  )
}
