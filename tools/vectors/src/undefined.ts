/**
 * What the architecture leaves undefined, or leaves to the model: such bits are not compared.
 *
 * Sources: AMD64 Architecture Programmer's Manual volumes 3 and 5 (the "rFLAGS affected" tables) and Intel's manual volume 2 (flags affected).
 * A rule is named in a form's `undefined` list; `shift:4` passes 4 as the operand size.
 */
import { AF, AT_CODE, AT_GPR, AT_TRAP, CF, OF, PF, SF, STATUS, ZF } from './layout.ts'
import type { Recipe } from './recipe.ts'

export interface Ignored {
  /** Bits of RFLAGS. */
  flags: number
  /** Bits of the x87 status word. */
  fsw: number
  /** Numbers of general registers, as a bit set, with the number of their low bytes that are undefined. */
  gpr: number
  /** Byte ranges of the window. */
  readonly memory: [offset: number, length: number][]
  /** How far results may be from the measured ones. */
  tolerance: 'none' | 'x87' | 'reciprocal'
}

/** The count of a shift: CL, the last byte of code, or 1. */
function shiftCount(request: DataView, source: string, size: number): number {
  const count =
    source === 'cl'
      ? request.getUint8(AT_GPR + 8)
      : source === 'imm'
        ? request.getUint8(AT_CODE + request.getUint32(AT_TRAP, true) - 1)
        : 1
  return count & (size === 8 ? 63 : 31)
}

type Rule = (ignored: Ignored, request: DataView, size: number, argument: string, recipe: Recipe) => void

const CONDITION = 0x4500
const C1 = 0x0200

const RULES: Readonly<Record<string, Rule>> = {
  /** AND, OR, XOR, TEST. */
  af: (o) => void (o.flags |= AF),
  /** MUL and IMUL: SF, ZF, AF, PF. */
  multiply: (o) => void (o.flags |= SF | ZF | AF | PF),
  /** DIV and IDIV; also after a #DE. */
  divide: (o) => void (o.flags |= STATUS),
  /** SHL, SHR, SAR: OF for counts other than 1; AF; CF of SHL and SHR when the count exceeds the operand. */
  shift: (o, request, size, source) => {
    const count = shiftCount(request, source, size)
    if (count === 0) return
    o.flags |= AF
    if (count !== 1) o.flags |= OF
    if (count > size * 8) o.flags |= CF
  },
  /** As `shift`, for SAR, whose CF is defined for any count. */
  sar: (o, request, size, source) => {
    const count = shiftCount(request, source, size)
    if (count === 0) return
    o.flags |= AF
    if (count !== 1) o.flags |= OF
  },
  /** ROL, ROR, RCL, RCR: OF for masked counts other than 1. */
  rotate: (o, request, size, source) => {
    const count = shiftCount(request, source, size)
    if (count > 1) o.flags |= OF
  },
  /** SHLD and SHRD: AF; OF for counts other than 1; everything when the count exceeds a 16-bit operand. */
  double: (o, request, size, source) => {
    const count = shiftCount(request, source, size)
    if (count === 0) return
    o.flags |= AF
    if (count !== 1) o.flags |= OF
    if (count > size * 8) {
      o.flags |= STATUS
      o.gpr |= 1 << 2
      o.memory.push([0x1f0, 0x20])
    }
  },
  /** BT, BTS, BTR, BTC: OF, SF, AF, PF. ZF is unchanged. */
  bit: (o) => void (o.flags |= OF | SF | AF | PF),
  /** BSF and BSR: all but ZF. The destination for a zero source is unchanged on every processor made, and compared. */
  scan: (o) => void (o.flags |= STATUS & ~ZF),
  /** TZCNT and LZCNT: OF, SF, AF, PF. */
  count: (o) => void (o.flags |= OF | SF | AF | PF),
  /** ANDN, BLSI, BLSMSK, BLSR, BZHI: AF, PF. */
  bmi: (o) => void (o.flags |= AF | PF),
  /** BEXTR: SF, AF, PF. */
  bextr: (o) => void (o.flags |= SF | AF | PF),
  /** x87: C0, C2 and C3 after instructions that do not compare. */
  conditions: (o) => void (o.fsw |= CONDITION),
  /** x87: all four condition bits (FNSTENV and FNSAVE store them, and then nothing is said of them). */
  conditions4: (o) => void (o.fsw |= CONDITION | C1),
  /** x87: C1, where it reports a rounding direction that a tolerance makes meaningless. */
  c1: (o) => void (o.fsw |= C1),
  /** Transcendental instructions: 1 unit in the last place of the 64-bit significand, C1 and the precision flag. */
  transcendental: (o) => {
    o.tolerance = 'x87'
    o.fsw |= CONDITION | C1
  },
  /** FSIN, FCOS, FSINCOS, FPTAN, whose C2 says whether the operand was in range. */
  trigonometric: (o) => {
    o.tolerance = 'x87'
    o.fsw |= (CONDITION | C1) & ~0x400
  },
  /** RCPPS and RSQRTPS: a relative error of at most 1.5 * 2^-12; which value is the model's choice. */
  reciprocal: (o) => void (o.tolerance = 'reciprocal'),
  /** `memory:offset,length`: bytes of the window, in decimal. */
  memory: (o, _request, _size, argument) => {
    const [offset, length] = argument.split(',').map(Number)
    o.memory.push([offset!, length!])
  },
}

/** What is not compared for this request. */
export function ignored(names: readonly string[], request: DataView, recipe: Recipe): Ignored {
  const result: Ignored = { flags: 0, fsw: 0, gpr: 0, memory: [], tolerance: 'none' }
  for (const name of names) {
    const [rule, argument = '', source = ''] = name.split(':')
    const f = RULES[rule!]
    if (!f) throw new Error(`no rule "${name}"`)
    if (rule === 'memory') f(result, request, 0, argument, recipe)
    else f(result, request, Number(argument), source, recipe)
  }
  return result
}
