// Multiplication and division (SDM vol. 1, 5.1.2), MULX of BMI2. WebAssembly has no 128-bit products and quotients: helpers do them with 32-bit digits.

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, signExtend, VECTOR } from '../instruction/emitter.ts'
import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { GPR } from '../state-layout.ts'

const C32 = i64.const(32)
const LOW32 = i64.const(0xffffffff)
const SIGN = i64.const(63)

/** Upper half of a 64 × 64 bit product: four products of 32-bit digits, the partial sums cannot overflow. */
function multiplyHigh(name: string, shift: (a: Expr, b: Expr) => Expr): HelperFunction {
  return helperFunction(name, ['i64', 'i64'], 'i64', (e, [a, b]) => {
    if (!a || !b) throw new TypeError(name)
    const a0 = e.let(i64.and(a, LOW32))
    const a1 = e.let(shift(a, C32))
    const b0 = e.let(i64.and(b, LOW32))
    const b1 = e.let(shift(b, C32))
    const middle = e.let(i64.add(i64.mul(a1, b0), i64.shr_u(i64.mul(a0, b0), C32)))
    const other = i64.add(i64.mul(a0, b1), i64.and(middle, LOW32))
    e.return(i64.add(i64.add(i64.mul(a1, b1), shift(middle, C32)), shift(other, C32)))
  })
}
/** (a, b) → bits 64–127 of the unsigned product. */
export const MULTIPLY_HIGH_UNSIGNED: HelperFunction = multiplyHigh('multiply-high-unsigned', i64.shr_u)
/** (a, b) → bits 64–127 of the signed product. */
export const MULTIPLY_HIGH_SIGNED: HelperFunction = multiplyHigh('multiply-high-signed', i64.shr_s)

/**
 * (high, low, divisor) → quotient of an unsigned 128-bit dividend; high < divisor. Schoolbook division with two digits of 32 bits: each digit is guessed from the divisor's
 * upper half and corrected at most twice (Knuth, The Art of Computer Programming, 4.3.1, algorithm D).
 */
export const DIVIDE_128: HelperFunction = helperFunction(
  'divide-128',
  ['i64', 'i64', 'i64'],
  'i64',
  (e, [high, low, divisor]) => {
    if (!high || !low || !divisor) throw new TypeError('divide-128')
    const shift = e.let(i64.clz(divisor))
    const d = e.let(i64.shl(divisor, shift))
    const d1 = e.let(i64.shr_u(d, C32))
    const d0 = e.let(i64.and(d, LOW32))
    const spill = i64.shr_u(i64.shr_u(low, i64.const(1)), i64.sub(SIGN, shift))
    const n = e.let(i64.or(i64.shl(high, shift), spill))
    const rest = e.let(i64.shl(low, shift))
    const digit = (upper: Expr, next: Expr): Expr => {
      const q = e.local('i64')
      const r = e.local('i64')
      e.set(q, i64.div_u(upper, d1))
      e.set(r, i64.sub(upper, i64.mul(e.get(q), d1)))
      e.block((done) => {
        e.loop((again) => {
          const tooLarge = i64.gt_u(i64.mul(e.get(q), d0), i64.or(i64.shl(e.get(r), C32), next))
          e.brIf(done, i32.eqz(i32.or(i64.gt_u(e.get(q), LOW32), tooLarge)))
          e.set(q, i64.sub(e.get(q), i64.const(1)))
          e.set(r, i64.add(e.get(r), d1))
          e.brIf(again, i64.le_u(e.get(r), LOW32))
        })
      })
      return e.let(e.get(q))
    }
    const next1 = e.let(i64.shr_u(rest, C32))
    const q1 = digit(n, next1)
    const n2 = e.let(i64.sub(i64.or(i64.shl(n, C32), next1), i64.mul(q1, d)))
    const q0 = digit(n2, e.let(i64.and(rest, LOW32)))
    e.return(i64.or(i64.shl(q1, C32), q0))
  },
)

/** CF = OF = (i32 0 or 1); the flags that multiplication leaves undefined: AF clear, the others as they were. */
function overflowFlags(e: InstructionEmitter, overflow: Expr): void {
  e.flagsCarry(i64.shl(i64.extend_i32_u(overflow), SIGN), i64.const(0))
}

/** MUL and one-operand IMUL: rDX:rAX (AX for bytes) = rAX × operand. */
const multiplyAccumulator =
  (signed: boolean): Semantics =>
  (e) => {
    const size = e.size(0)
    const b = signed ? e.readSigned(0) : e.read(0)
    const a = e.gpr(GPR.RAX, size, signed)
    const product = e.let(i64.mul(a, b))
    if (size === 8) {
      const high = e.let(e.helper(signed ? MULTIPLY_HIGH_SIGNED : MULTIPLY_HIGH_UNSIGNED, a, b))
      e.setGpr(GPR.RAX, product)
      e.setGpr(GPR.RDX, high)
      overflowFlags(e, signed ? i64.ne(high, i64.shr_s(product, SIGN)) : i64.ne(high, i64.const(0)))
      return
    }
    if (size === 1) e.setGpr(GPR.RAX, product, 2)
    else {
      e.setGpr(GPR.RAX, product, size)
      e.setGpr(GPR.RDX, i64.shr_u(product, i64.const(size * 8)), size)
    }
    overflowFlags(
      e,
      signed
        ? i64.ne(product, signExtend(product, size))
        : i64.ne(i64.shr_u(product, i64.const(size * 8)), i64.const(0)),
    )
  }

/** Two- and three-operand IMUL: operand 0 = operand `x` × operand `y`. */
const multiply =
  (x: number, y: number): Semantics =>
  (e) => {
    const size = e.size(0)
    const b = e.readSigned(y)
    const a = e.readSigned(x)
    const product = e.let(i64.mul(a, b))
    e.write(0, product)
    overflowFlags(e, size === 8 ? overflows64(e, a, b, product) : i64.ne(product, signExtend(product, size)))
  }
/** i32: whether a signed product of 64-bit numbers does not fit; mostly both are small, and the upper half need not be computed. */
function overflows64(e: InstructionEmitter, a: Expr, b: Expr, product: Expr): Expr {
  return e.choose(
    i32.and(i64.eq(a, signExtend(a, 4)), i64.eq(b, signExtend(b, 4))),
    () => i32.const(0),
    () => i64.ne(e.helper(MULTIPLY_HIGH_SIGNED, a, b), i64.shr_s(product, SIGN)),
    'i32',
  )
}

const mulx: Semantics = (e) => {
  const size = e.size(0)
  const b = e.read(2)
  const a = e.gpr(GPR.RDX, size)
  const low = e.let(i64.mul(a, b))
  const high = size === 8 ? e.let(e.helper(MULTIPLY_HIGH_UNSIGNED, a, b)) : i64.shr_u(low, C32)
  // the upper half wins when both destinations are the same register
  e.write(1, low)
  e.write(0, high)
}

/** rDX:rAX of 2 × `size` bytes up to 8, or AX for bytes, zero- or sign-extended. */
function dividend(e: InstructionEmitter, size: number, signed: boolean): Expr {
  if (size === 1) return e.gpr(GPR.RAX, 2, signed)
  return e.let(i64.or(i64.shl(e.gpr(GPR.RDX, size, signed), i64.const(size * 8)), e.gpr(GPR.RAX, size)))
}
function writeQuotient(e: InstructionEmitter, size: number, quotient: Expr, remainder: Expr): void {
  if (size === 1) {
    e.setGpr(GPR.RAX, i64.or(i64.and(quotient, i64.const(0xff)), i64.shl(remainder, i64.const(8))), 2)
  } else {
    e.setGpr(GPR.RAX, quotient, size)
    e.setGpr(GPR.RDX, remainder, size)
  }
}

const div: Semantics = (e) => {
  const size = e.size(0)
  const d = e.read(0)
  if (size === 8) {
    const low = e.gpr(GPR.RAX)
    const high = e.gpr(GPR.RDX)
    e.raiseIf(i64.ge_u(high, d), VECTOR.DE)
    const q = e.choose(
      i64.eqz(high),
      () => i64.div_u(low, d),
      () => e.helper(DIVIDE_128, high, low, d),
      'i64',
    )
    writeQuotient(e, size, q, e.let(i64.sub(low, i64.mul(q, d))))
    return
  }
  const n = dividend(e, size, false)
  // the quotient fits exactly when the upper half is less than the divisor, which also excludes 0
  e.raiseIf(i64.ge_u(i64.shr_u(n, i64.const(size * 8)), d), VECTOR.DE)
  const q = e.let(i64.div_u(n, d))
  writeQuotient(e, size, q, e.let(i64.sub(n, i64.mul(q, d))))
}

const MOST_NEGATIVE = i64.const(-1n << 63n)
/** A quotient that WebAssembly cannot compute (by 0, or -2^63 by -1) is #DE. */
function raiseUndivisible(e: InstructionEmitter, n: Expr, d: Expr): void {
  e.raiseIf(i32.or(i64.eqz(d), i32.and(i64.eq(d, i64.const(-1)), i64.eq(n, MOST_NEGATIVE))), VECTOR.DE)
}
const idiv: Semantics = (e) => {
  const size = e.size(0)
  const d = e.readSigned(0)
  const zero = i64.const(0)
  if (size === 8) {
    const low = e.gpr(GPR.RAX)
    const high = e.gpr(GPR.RDX)
    const q = e.choose(
      i64.eq(high, i64.shr_s(low, SIGN)),
      () => {
        raiseUndivisible(e, low, d)
        return i64.div_s(low, d)
      },
      () => {
        // magnitudes first, then the sign
        const negative = e.let(i64.shr_s(high, SIGN))
        const flip = e.let(i64.shr_s(d, SIGN))
        const magnitude = e.let(i64.sub(i64.xor(d, flip), flip))
        const n0 = e.let(i64.sub(i64.xor(low, negative), negative))
        const carry = i64.and(i64.extend_i32_u(i64.eqz(n0)), negative)
        const n1 = e.let(i64.add(i64.xor(high, negative), carry))
        e.raiseIf(i64.ge_u(n1, magnitude), VECTOR.DE)
        const unsigned = e.let(e.helper(DIVIDE_128, n1, n0, magnitude))
        const sign = e.let(i64.xor(negative, flip))
        const signed = e.let(i64.sub(i64.xor(unsigned, sign), sign))
        e.raiseIf(i32.and(i64.ne(signed, zero), i64.lt_s(i64.xor(signed, sign), zero)), VECTOR.DE)
        return signed
      },
      'i64',
    )
    writeQuotient(e, size, q, e.let(i64.sub(low, i64.mul(q, d))))
    return
  }
  const n = dividend(e, size, true)
  if (size === 4) raiseUndivisible(e, n, d)
  else e.raiseIf(i64.eqz(d), VECTOR.DE)
  const q = e.let(i64.div_s(n, d))
  e.raiseIf(i64.ne(q, signExtend(q, size)), VECTOR.DE)
  writeQuotient(e, size, q, e.let(i64.sub(n, i64.mul(q, d))))
}

export const MULTIPLY_DIVIDE: readonly InstructionDefinition[] = [
  instruction('MUL', 'F6 /4', 'Eb', multiplyAccumulator(false)),
  instruction('MUL', 'F7 /4', 'Ev', multiplyAccumulator(false)),
  instruction('IMUL', 'F6 /5', 'Eb', multiplyAccumulator(true)),
  instruction('IMUL', 'F7 /5', 'Ev', multiplyAccumulator(true)),
  instruction('IMUL', '0F AF /r', 'Gv Ev', multiply(0, 1)),
  instruction('IMUL', '69 /r id', 'Gv Ev Iz', multiply(1, 2)),
  instruction('IMUL', '6B /r ib', 'Gv Ev Ibs', multiply(1, 2)),
  instruction('DIV', 'F6 /6', 'Eb', div),
  instruction('DIV', 'F7 /6', 'Ev', div),
  instruction('IDIV', 'F6 /7', 'Eb', idiv),
  instruction('IDIV', 'F7 /7', 'Ev', idiv),
  instruction('MULX', 'VEX.LZ.F2.0F38.W F6 /r', 'Gy By Ey', mulx),
]
