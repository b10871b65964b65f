// x87 transcendental instructions and FXTRACT (SDM vol. 1, 8.3.7). Results are rounded by rounding control from a value that is exact to far more than 64
// bits; what is a domain error, what is exact and what out-of-range operands give is as on real processors.

import type { Cpu } from '../cpu.ts'
import { type InstructionDefinition, instruction } from '../instruction/definition.ts'
import type { HelperFunction } from '../instruction/helper.ts'
import { type SystemSemantics, system } from '../instruction/system.ts'
import { STATE, STATUS } from '../state-layout.ts'
import { EXPONENT_BIAS, EXPONENT_MAX, INTEGER_BIT, QUIET_BIT, X87 } from '../x87/format.ts'
import { bitLength, multiply, type Real, roundReal, toReal } from '../x87/real.ts'
import {
  complete,
  type Extended,
  INDEFINITE,
  isEmpty,
  pop,
  push,
  raise,
  readStack,
  requireNoException,
  requireX87,
  writeStack,
} from '../x87/registers.ts'
import { x87ShortExponential, x87ShortLogarithm, x87ShortLogarithmPlus1 } from '../x87/short-logarithm.ts'
import {
  x87ShortArctangent,
  x87ShortCosine,
  x87ShortSine,
  x87ShortSineCosine,
  x87ShortTangent,
} from '../x87/short-trigonometric.ts'
import { angle, exponential2Minus1, logarithm2, logarithm2Plus1, sineCosine, tangent } from '../x87/transcendental.ts'

type Kind = 'zero' | 'normal' | 'denormal' | 'infinity' | 'quiet' | 'signaling' | 'unsupported'

function kindOf({ significand, se }: Extended): Kind {
  const exponent = se & 0x7fff
  if (exponent === 0) return significand === 0n ? 'zero' : 'denormal'
  if (!(significand & INTEGER_BIT)) return 'unsupported'
  if (exponent !== EXPONENT_MAX) return 'normal'
  if (significand === INTEGER_BIT) return 'infinity'
  return significand & QUIET_BIT ? 'quiet' : 'signaling'
}
const isNan = (kind: Kind): boolean => kind === 'quiet' || kind === 'signaling' || kind === 'unsupported'
const quieted = (value: Extended): Extended => ({ significand: value.significand | QUIET_BIT, se: value.se })
const isNegative = (value: Extended): boolean => (value.se & 0x8000) !== 0
const signOf = (negative: boolean): number => (negative ? 0x8000 : 0)
const zero = (negative: boolean): Extended => ({ significand: 0n, se: signOf(negative) })
const infinity = (negative: boolean): Extended => ({ significand: INTEGER_BIT, se: signOf(negative) | EXPONENT_MAX })
const ONE: Extended = { significand: INTEGER_BIT, se: EXPONENT_BIAS }
/** Exceptions that leave the operands as they are when they are not masked. */
const BEFORE = X87.IE | X87.DE | X87.ZE

/** What an operation comes to: a value with exceptions, or a number that is still to be rounded (with the exceptions of its operands). */
type Outcome = { readonly value: Extended; readonly flags: number } | { readonly number: Real; readonly flags: number }
const exactly = (value: Extended, flags = 0): Outcome => ({ value, flags })
const invalid: Outcome = { value: INDEFINITE, flags: X87.IE }
const denormalFlag = (...kinds: Kind[]): number => (kinds.includes('denormal') ? X87.DE : 0)

/** Frame of the instructions: checks before, pointers after. `clears`: C2 says whether the operand is in range. `short`: a helper that is 1 when it has done it all. */
function x87(modrm: number, clears: boolean, execute: (cpu: Cpu) => number, short?: HelperFunction): SystemSemantics {
  return system(
    (cpu, record) => {
      requireX87(cpu)
      requireNoException(cpu)
      if (clears) cpu.set32(STATE.X87_STATUS, cpu.get32(STATE.X87_STATUS) & ~X87.C2)
      complete(cpu, record, modrm, execute(cpu))
      return STATUS.NEXT
    },
    short &&
      ((e) => {
        e.if(e.let(e.helper(short)), () => {
          e.setStateI64(STATE.X87_INSTRUCTION, e.currentRip())
          e.complete()
        })
      }),
  )
}
/** Round and raise; `store` gets the result unless an unmasked exception forbids it. Returns the unmasked exceptions. */
function deliver(cpu: Cpu, outcome: Outcome, store: (value: Extended) => void): number {
  let { flags } = outcome
  const control = cpu.get32(STATE.X87_CONTROL)
  if (flags & BEFORE & ~control) return raise(cpu, flags & ~X87.PE)
  let value: Extended
  if ('number' in outcome) {
    const rounded = roundReal(outcome.number, control)
    value = rounded.value
    flags |= rounded.flags
  } else value = outcome.value
  store(value)
  return raise(cpu, flags)
}

// --- one operand, one result: F2XM1, FSIN, FCOS

function unary(operation: (value: Extended, kind: Kind) => Outcome | 'out of range'): (cpu: Cpu) => number {
  return (cpu) => {
    const store = (value: Extended): void => writeStack(cpu, 0, value)
    if (isEmpty(cpu, 0)) return deliver(cpu, { value: INDEFINITE, flags: X87.IE | X87.SF }, store)
    const operand = readStack(cpu, 0)
    const kind = kindOf(operand)
    if (isNan(kind)) return deliver(cpu, nan(operand, kind), store)
    const outcome = operation(operand, kind)
    if (outcome === 'out of range') return outOfRange(cpu)
    return deliver(cpu, outcome, store)
  }
}
function nan(value: Extended, kind: Kind): Outcome {
  if (kind === 'unsupported') return invalid
  return exactly(quieted(value), kind === 'signaling' ? X87.IE : 0)
}
function outOfRange(cpu: Cpu): number {
  cpu.set32(STATE.X87_STATUS, (cpu.get32(STATE.X87_STATUS) & ~X87.C1) | X87.C2)
  return 0
}
/** The trigonometric instructions leave angles from 2^63 on alone. */
const tooLarge = (value: Extended): boolean => (value.se & 0x7fff) >= EXPONENT_BIAS + 63

const f2xm1 = unary((value, kind) => {
  if (kind === 'zero') return exactly(value)
  if (kind === 'infinity') return exactly(isNegative(value) ? { ...ONE, se: ONE.se | 0x8000 } : value)
  const exponent = value.se & 0x7fff
  // The result is undefined outside -1 … 1; processors give the operand back.
  if (exponent > EXPONENT_BIAS || (exponent === EXPONENT_BIAS && value.significand !== INTEGER_BIT)) {
    return exactly(value, X87.PE)
  }
  return { number: exponential2Minus1(toReal(value)), flags: denormalFlag(kind) }
})
const fsin = unary((value, kind) => {
  if (kind === 'infinity') return invalid
  if (kind === 'zero') return exactly(value)
  if (tooLarge(value)) return 'out of range'
  return { number: sineCosine(toReal(value)).sine, flags: denormalFlag(kind) }
})
const fcos = unary((value, kind) => {
  if (kind === 'infinity') return invalid
  if (kind === 'zero') return exactly(ONE)
  if (tooLarge(value)) return 'out of range'
  return { number: sineCosine(toReal(value)).cosine, flags: denormalFlag(kind) }
})

// --- one operand, two results: FSINCOS, FPTAN, FXTRACT. The second result is pushed.

/** Exceptions that replace both results. */
function replaceBoth(cpu: Cpu, value: Extended, flags: number): number {
  const unmasked = raise(cpu, flags)
  if (unmasked) return unmasked
  writeStack(cpu, 0, value)
  push(cpu, value)
  return 0
}
function binaryResult(
  cpu: Cpu,
  operation: (value: Extended, kind: Kind) => readonly [Outcome, Outcome] | 'out of range',
): number {
  if (isEmpty(cpu, 0)) return replaceBoth(cpu, INDEFINITE, X87.IE | X87.SF)
  if (!isEmpty(cpu, 7)) return replaceBoth(cpu, INDEFINITE, X87.IE | X87.SF | X87.C1)
  const operand = readStack(cpu, 0)
  const kind = kindOf(operand)
  if (isNan(kind)) {
    const { value, flags } = nan(operand, kind) as { value: Extended; flags: number }
    return replaceBoth(cpu, value, flags)
  }
  const outcomes = operation(operand, kind)
  if (outcomes === 'out of range') return outOfRange(cpu)
  const [first, second] = outcomes
  if (first === invalid) return replaceBoth(cpu, INDEFINITE, X87.IE)
  const stopped = deliver(cpu, first, (value) => writeStack(cpu, 0, value))
  if (stopped & BEFORE) return stopped
  return stopped | deliver(cpu, second, (value) => push(cpu, value))
}
const fsincos = (cpu: Cpu): number =>
  binaryResult(cpu, (value, kind) => {
    if (kind === 'infinity') return [invalid, invalid]
    if (kind === 'zero') return [exactly(value), exactly(ONE)]
    if (tooLarge(value)) return 'out of range'
    const { sine, cosine } = sineCosine(toReal(value))
    const flags = denormalFlag(kind)
    return [
      { number: sine, flags },
      { number: cosine, flags },
    ]
  })
const fptan = (cpu: Cpu): number =>
  binaryResult(cpu, (value, kind) => {
    if (kind === 'infinity') return [invalid, invalid]
    if (kind === 'zero') return [exactly(value), exactly(ONE)]
    if (tooLarge(value)) return 'out of range'
    return [{ number: tangent(toReal(value)), flags: denormalFlag(kind) }, exactly(ONE)]
  })
const fxtract = (cpu: Cpu): number =>
  binaryResult(cpu, (value, kind) => {
    if (kind === 'infinity') return [exactly(infinity(false)), exactly(value)]
    if (kind === 'zero') return [exactly(infinity(true), X87.ZE), exactly(value)]
    const shift = 64 - bitLength(value.significand)
    const exponent = Math.max(value.se & 0x7fff, 1) - shift - EXPONENT_BIAS
    const significand: Extended = {
      significand: value.significand << BigInt(shift),
      se: (value.se & 0x8000) | EXPONENT_BIAS,
    }
    return [exactly(integer(exponent), denormalFlag(kind)), exactly(significand)]
  })
function integer(value: number): Extended {
  if (value === 0) return zero(false)
  const size = BigInt(Math.abs(value))
  const length = bitLength(size)
  return { significand: size << BigInt(64 - length), se: signOf(value < 0) | (EXPONENT_BIAS + length - 1) }
}

// --- two operands: x in ST(0), y and the result in ST(1): FYL2X, FYL2XP1, FPATAN

function binary(operation: (y: Extended, yKind: Kind, x: Extended, xKind: Kind) => Outcome): (cpu: Cpu) => number {
  return (cpu) => {
    const finish = (outcome: Outcome): number => {
      const unmasked = deliver(cpu, outcome, (value) => writeStack(cpu, 1, value))
      if (!(unmasked & BEFORE)) pop(cpu)
      return unmasked
    }
    if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) return finish({ value: INDEFINITE, flags: X87.IE | X87.SF })
    const x = readStack(cpu, 0)
    const y = readStack(cpu, 1)
    const xKind = kindOf(x)
    const yKind = kindOf(y)
    if (isNan(xKind) || isNan(yKind)) return finish(nanOfTwo(x, xKind, y, yKind))
    return finish(operation(y, yKind, x, xKind))
  }
}
/** As in SDM vol. 1, table 4-7. */
function nanOfTwo(a: Extended, aKind: Kind, b: Extended, bKind: Kind): Outcome {
  if (aKind === 'unsupported' || bKind === 'unsupported') return invalid
  const flags = aKind === 'signaling' || bKind === 'signaling' ? X87.IE : 0
  if (!isNan(bKind)) return exactly(quieted(a), flags)
  if (!isNan(aKind)) return exactly(quieted(b), flags)
  if (aKind !== bKind) return exactly(aKind === 'quiet' ? a : b, flags)
  const larger = a.significand === b.significand ? a.se < b.se : a.significand > b.significand
  return exactly(quieted(larger ? a : b), flags)
}

const fyl2x = binary((y, yKind, x, xKind) => {
  const flags = denormalFlag(xKind, yKind)
  if (xKind === 'zero') {
    if (yKind === 'zero') return invalid
    return exactly(infinity(!isNegative(y)), yKind === 'infinity' ? 0 : X87.ZE)
  }
  if (isNegative(x)) return invalid
  if (xKind === 'infinity') return yKind === 'zero' ? invalid : exactly(infinity(isNegative(y)), flags)
  const exponent = x.se & 0x7fff
  const isOne = exponent === EXPONENT_BIAS && x.significand === INTEGER_BIT
  const below = exponent < EXPONENT_BIAS
  if (yKind === 'infinity') return isOne ? invalid : exactly(infinity(isNegative(y) !== below), flags)
  if (yKind === 'zero' || isOne) return exactly(zero(isNegative(y) !== below), flags)
  return { number: multiply(toReal(y), logarithm2(toReal(x))), flags }
})
const fyl2xp1 = binary((y, yKind, x, xKind) => {
  const flags = denormalFlag(xKind, yKind)
  const negative = isNegative(y) !== isNegative(x)
  if (xKind === 'infinity') {
    return isNegative(x) || yKind === 'zero' ? invalid : exactly(infinity(negative), flags)
  }
  if (yKind === 'infinity') return xKind === 'zero' ? invalid : exactly(infinity(negative), flags)
  if (xKind === 'zero' || yKind === 'zero') return exactly(zero(negative), flags)
  // The result is undefined from -1 down; processors give the operand back.
  if (isNegative(x) && (x.se & 0x7fff) >= EXPONENT_BIAS) return exactly(x, flags | X87.PE)
  return { number: multiply(toReal(y), logarithm2Plus1(toReal(x))), flags }
})
/** Coordinates that stand for directions: an infinite one hides a finite one. */
const UNIT: Real = { negative: false, mantissa: 1n, exponent: 0 }
const NEARLY_NOTHING: Real = { negative: false, mantissa: 1n, exponent: -1000 }
const fpatan = binary((y, yKind, x, xKind) => {
  const flags = denormalFlag(xKind, yKind)
  const right = !isNegative(x)
  if (right && (yKind === 'zero' || (xKind === 'infinity' && yKind !== 'infinity'))) {
    return exactly(zero(isNegative(y)), flags)
  }
  const infinite = xKind === 'infinity' || yKind === 'infinity'
  const coordinate = (value: Extended, kind: Kind): Real => {
    const size = kind === 'infinity' ? UNIT : kind === 'zero' || infinite ? NEARLY_NOTHING : undefined
    return size ? { ...size, negative: isNegative(value) } : toReal(value)
  }
  // Zeros are far below any other coordinate.
  const other = (value: Real, zeroAgainst: boolean): Real =>
    zeroAgainst ? { ...UNIT, negative: value.negative } : value
  const yReal = other(coordinate(y, yKind), xKind === 'zero' && yKind !== 'zero')
  const xReal = other(coordinate(x, xKind), yKind === 'zero')
  return { number: angle(yReal, xReal), flags }
})

const row = (
  mnemonic: string,
  modrm: number,
  execute: (cpu: Cpu) => number,
  short?: HelperFunction,
  clears = false,
): InstructionDefinition =>
  instruction(mnemonic, `D9 ${modrm.toString(16).toUpperCase()}`, '', x87(modrm, clears, execute, short))

export const X87_TRANSCENDENTAL: readonly InstructionDefinition[] = [
  row('F2XM1', 0xf0, f2xm1, x87ShortExponential),
  row('FYL2X', 0xf1, fyl2x, x87ShortLogarithm),
  row('FPTAN', 0xf2, fptan, x87ShortTangent, true),
  row('FPATAN', 0xf3, fpatan, x87ShortArctangent),
  row('FXTRACT', 0xf4, fxtract),
  row('FYL2XP1', 0xf9, fyl2xp1, x87ShortLogarithmPlus1),
  row('FSINCOS', 0xfb, fsincos, x87ShortSineCosine, true),
  row('FSIN', 0xfe, fsin, x87ShortSine, true),
  row('FCOS', 0xff, fcos, x87ShortCosine, true),
]
