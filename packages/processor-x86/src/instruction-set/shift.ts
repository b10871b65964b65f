// Shifts and rotates (SDM vol. 1, 5.1.5), and those of BMI2. A count that is 0 after masking leaves the flags alone. Where the architecture leaves flags undefined
// they are as AMD's Zen sets them: AF 1 after shifts; OF by the formula of single shifts for all counts.

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, signExtend } from '../instruction/emitter.ts'

const ADJUST = i64.const(16)
const ONE = i64.const(1)
const SIGN = i64.const(63)

/** Result of one operation for a count that is not 0, with bit 63 of `carry` for CF and of `difference` for CF ^ OF. `r` sign-extended unless a rotate. */
interface Shifted {
  readonly r: Expr
  readonly carry: Expr
  readonly difference: Expr
}
/** `old` is zero-extended, `n` the count, masked to 5 or 6 bits, an i64. */
type Operation = (e: InstructionEmitter, old: Expr, n: Expr, size: number) => Shifted

const before = (e: InstructionEmitter, n: Expr): Expr =>
  e.let(n.constant !== undefined ? i64.const(BigInt(n.constant) - 1n) : i64.sub(n, ONE))
/** The bit `position` of a value moved to bit 63. */
const toSign = (value: Expr, position: number): Expr =>
  position === 63 ? value : i64.shl(value, i64.const(63 - position))

const shl: Operation = (e, old, n, size) => {
  const last = e.let(i64.shl(old, before(e, n)))
  const r = e.let(signExtend(i64.shl(last, ONE), size))
  return { r, carry: signExtend(last, size), difference: i64.or(r, ADJUST) }
}
const shr: Operation = (e, old, n, size) => {
  const last = e.let(i64.shr_u(old, before(e, n)))
  const r = e.let(signExtend(i64.shr_u(last, ONE), size))
  const carry = e.let(i64.shl(last, SIGN))
  return { r, carry, difference: i64.or(i64.xor(carry, toSign(last, size * 8 - 1)), ADJUST) }
}
const sar: Operation = (e, old, n, size) => {
  const last = e.let(i64.shr_s(signExtend(old, size), before(e, n)))
  const carry = e.let(i64.shl(last, SIGN))
  return { r: e.let(i64.shr_s(last, ONE)), carry, difference: i64.or(carry, ADJUST) }
}

/** CF and OF of a left rotate: CF is given, OF = CF ^ the result's sign. */
function leftFlags(e: InstructionEmitter, r: Expr, carry: Expr, size: number): Shifted {
  const sign = i64.and(toSign(r, size * 8 - 1), i64.const(1n << 63n))
  return { r, carry, difference: i64.or(sign, e.adjustWord()) }
}
/** Of a right rotate: OF = the exclusive or of the result's two highest bits. */
function rightFlags(e: InstructionEmitter, r: Expr, carry: Expr, size: number): Shifted {
  const kept = e.let(carry)
  const overflow = i64.xor(toSign(r, size * 8 - 1), toSign(r, size * 8 - 2))
  return { r, carry: kept, difference: i64.or(i64.and(i64.xor(kept, overflow), i64.const(1n << 63n)), e.adjustWord()) }
}

/** i64: a rotation within 1, 2, 4 or 8 bytes; only the result's low `size` bytes count. `old` zero-extended. */
function rotate(e: InstructionEmitter, old: Expr, n: Expr, size: number, left: boolean): Expr {
  if (size === 8) return e.let(left ? i64.rotl(old, n) : i64.rotr(old, n))
  if (size === 4) {
    const value = i32.wrap_i64(old)
    const count = i32.wrap_i64(n)
    return e.let(i64.extend_i32_u(left ? i32.rotl(value, count) : i32.rotr(value, count)))
  }
  // repeated to 32 bits, a rotation by any count is one of 32 bits
  const value = i32.wrap_i64(old)
  const twice = size === 1 ? i32.mul(value, i32.const(0x01010101)) : i32.mul(value, i32.const(0x00010001))
  const count = i32.wrap_i64(n)
  return e.let(i64.extend_i32_u(left ? i32.rotl(twice, count) : i32.rotr(twice, count)))
}
const rol: Operation = (e, old, n, size) => {
  const r = rotate(e, old, n, size, true)
  return leftFlags(e, r, i64.shl(r, SIGN), size)
}
const ror: Operation = (e, old, n, size) => {
  const r = rotate(e, old, n, size, false)
  return rightFlags(e, r, toSign(r, size * 8 - 1), size)
}

/** i64: `n` modulo 9 or 17 for bytes and words: a rotation through the carry. */
function throughCarryCount(e: InstructionEmitter, n: Expr, size: number): Expr {
  if (size > 2 || n.constant === 1n) return n
  return e.let(i64.rem_u(n, i64.const(size * 8 + 1)))
}
const rcl: Operation = (e, old, n, size) => {
  const bits = size * 8
  const count = throughCarryCount(e, n, size)
  const carry = e.carry()
  if (size === 8) {
    const high = i64.or(i64.shl(old, count), i64.shl(carry, before(e, count)))
    const r = e.let(i64.or(high, i64.shr_u(i64.shr_u(old, ONE), i64.sub(i64.const(64), count))))
    return leftFlags(e, r, i64.shl(old, before(e, count)), size)
  }
  const whole = e.let(i64.or(old, i64.shl(carry, i64.const(bits))))
  const r = e.let(i64.or(i64.shl(whole, count), i64.shr_u(whole, i64.sub(i64.const(bits + 1), count))))
  return leftFlags(e, r, toSign(r, bits), size)
}
const rcr: Operation = (e, old, n, size) => {
  const bits = size * 8
  const count = throughCarryCount(e, n, size)
  const carry = e.carry()
  if (size === 8) {
    const low = i64.or(i64.shr_u(old, count), i64.shl(carry, i64.sub(i64.const(64), count)))
    const r = e.let(i64.or(low, i64.shl(i64.shl(old, ONE), i64.sub(i64.const(64), count))))
    return rightFlags(e, r, i64.shl(i64.shr_u(old, before(e, count)), SIGN), size)
  }
  const whole = e.let(i64.or(old, i64.shl(carry, i64.const(bits))))
  const r = e.let(i64.or(i64.shr_u(whole, count), i64.shl(whole, i64.sub(i64.const(bits + 1), count))))
  return rightFlags(e, r, toSign(r, bits), size)
}

/** i64: the count operand masked as the operand size asks. */
function count(e: InstructionEmitter, n: number): Expr {
  return e.let(i64.and(e.read(n), i64.const(e.size(0) === 8 ? 63 : 31)))
}

/** A shift or rotate by 1. */
const byOne =
  (operation: Operation, rotates: boolean): Semantics =>
  (e) => {
    let shifted: Shifted | undefined
    e.modify(0, (old) => {
      shifted = operation(e, old, ONE, e.size(0))
      return shifted.r
    })
    if (shifted) e.flagsCarry(shifted.carry, shifted.difference, rotates ? undefined : shifted.r)
  }

/** By CL or an immediate. A 32-bit register is written, and so its upper half cleared, even with a count of 0. */
const byCount =
  (operation: Operation, rotates: boolean): Semantics =>
  (e) => {
    const size = e.size(0)
    const n = count(e, 1)
    const result = e.local('i64')
    e.modify(0, (old) => {
      e.set(result, old)
      e.if(i32.eqz(i64.eqz(n)), () => {
        const { r, carry, difference } = operation(e, old, n, size)
        e.set(result, r)
        e.flagsCarry(carry, difference, rotates ? undefined : r)
      })
      return e.get(result)
    })
  }

/** SHLD and SHRD. A count above 16 of 16-bit operands continues with the second operand, as AMD's processors do. */
const double =
  (left: boolean): Semantics =>
  (e) => {
    const size = e.size(0)
    const bits = i64.const(size * 8)
    const n = count(e, 2)
    const filler = e.read(1)
    const result = e.local('i64')
    e.modify(0, (old) => {
      e.set(result, old)
      e.if(i32.eqz(i64.eqz(n)), () => {
        let r: Expr
        if (size === 2) {
          const fill = i64.mul(filler, i64.const(0x10001))
          r = left
            ? i64.shr_u(i64.shl(i64.or(i64.shl(old, i64.const(32)), fill), n), i64.const(32))
            : i64.shr_u(i64.or(old, i64.shl(fill, bits)), n)
        } else {
          const rest = i64.sub(bits, n)
          r = left ? i64.or(i64.shl(old, n), i64.shr_u(filler, rest)) : i64.or(i64.shr_u(old, n), i64.shl(filler, rest))
        }
        r = e.let(signExtend(r, size))
        e.set(result, r)
        const last = e.let(left ? i64.shl(old, before(e, n)) : i64.shr_u(old, before(e, n)))
        if (left) e.flagsCarry(signExtend(last, size), i64.or(signExtend(i64.shl(last, ONE), size), ADJUST), r)
        else {
          const carry = e.let(i64.shl(last, SIGN))
          const overflow = i64.xor(r, toSign(r, size * 8 - 2))
          e.flagsCarry(carry, i64.or(i64.xor(carry, overflow), ADJUST), r)
        }
      })
      return e.get(result)
    })
  }

// --- BMI2: no flags

const rorx: Semantics = (e) => {
  const value = e.read(1)
  const n = e.immediateByte()
  e.write(
    0,
    e.size(0) === 8 ? i64.rotr(value, i64.extend_i32_u(n)) : i64.extend_i32_u(i32.rotr(i32.wrap_i64(value), n)),
  )
}
const shiftWithout =
  (kind: 'shl' | 'shr' | 'sar'): Semantics =>
  (e) => {
    const size = e.size(0)
    const value = kind === 'sar' ? e.readSigned(1) : e.read(1)
    const n = i64.and(e.read(2), i64.const(size * 8 - 1))
    e.write(0, kind === 'shl' ? i64.shl(value, n) : kind === 'shr' ? i64.shr_u(value, n) : i64.shr_s(value, n))
  }

function group2(mnemonic: string, digit: number, operation: Operation, rotates: boolean): InstructionDefinition[] {
  return [
    instruction(mnemonic, `C0 /${digit} ib`, 'Eb Ib', byCount(operation, rotates)),
    instruction(mnemonic, `C1 /${digit} ib`, 'Ev Ib', byCount(operation, rotates)),
    instruction(mnemonic, `D0 /${digit}`, 'Eb 1', byOne(operation, rotates)),
    instruction(mnemonic, `D1 /${digit}`, 'Ev 1', byOne(operation, rotates)),
    instruction(mnemonic, `D2 /${digit}`, 'Eb CL', byCount(operation, rotates)),
    instruction(mnemonic, `D3 /${digit}`, 'Ev CL', byCount(operation, rotates)),
  ]
}

export const SHIFT: readonly InstructionDefinition[] = [
  ...group2('ROL', 0, rol, true),
  ...group2('ROR', 1, ror, true),
  ...group2('RCL', 2, rcl, true),
  ...group2('RCR', 3, rcr, true),
  ...group2('SHL', 4, shl, false),
  ...group2('SHR', 5, shr, false),
  ...group2('SHL', 6, shl, false),
  ...group2('SAR', 7, sar, false),
  instruction('SHLD', '0F A4 /r ib', 'Ev Gv Ib', double(true)),
  instruction('SHLD', '0F A5 /r', 'Ev Gv CL', double(true)),
  instruction('SHRD', '0F AC /r ib', 'Ev Gv Ib', double(false)),
  instruction('SHRD', '0F AD /r', 'Ev Gv CL', double(false)),
  instruction('RORX', 'VEX.LZ.F2.0F3A.W F0 /r ib', 'Gy Ey Ib', rorx),
  instruction('SHLX', 'VEX.LZ.66.0F38.W F7 /r', 'Gy Ey By', shiftWithout('shl')),
  instruction('SARX', 'VEX.LZ.F3.0F38.W F7 /r', 'Gy Ey By', shiftWithout('sar')),
  instruction('SHRX', 'VEX.LZ.F2.0F38.W F7 /r', 'Gy Ey By', shiftWithout('shr')),
]
