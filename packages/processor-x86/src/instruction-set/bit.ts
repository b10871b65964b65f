// Bit and byte instructions (SDM vol. 1, 5.1.6), BMI1 and BMI2, POPCNT and LZCNT, MOVBE, CRC32. Flags that the architecture leaves undefined after BSF and BSR
// are as AMD's Zen sets them.

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select, signExtend } from '../instruction/emitter.ts'
import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { CRC32 } from './crc32.ts'

const ZERO = i64.const(0)
const ONE = i64.const(1)
const SIGN = i64.const(63)
/** i64: an i32 condition at bit 63. */
const atSign = (condition: Expr): Expr => i64.shl(i64.extend_i32_u(condition), SIGN)

// --- bit test

/** What BT, BTS, BTR and BTC leave of the tested word; `bit` is the mask. */
type BitUpdate = (old: Expr, bit: Expr) => Expr
const set: BitUpdate = (old, bit) => i64.or(old, bit)
const reset: BitUpdate = (old, bit) => i64.and(old, i64.xor(bit, i64.const(-1)))
const complement: BitUpdate = (old, bit) => i64.xor(old, bit)

/** CF is bit `index` (i64, below 64) of `value`; ZF, SF and PF stay; OF and AF, which are undefined, become 0. */
function bitFlag(e: InstructionEmitter, value: Expr, index: Expr): void {
  const carry = e.let(i64.shl(i64.shr_u(value, index), SIGN))
  e.flagsCarry(carry, carry)
}
/** A bit of operand 0 by number. In memory a number in a register reaches as far as it goes: it is signed and counts from the operand's address. */
const bitTest =
  (update?: BitUpdate): Semantics =>
  (e) => {
    const size = e.size(0)
    const bits = size * 8
    const number = e.readSigned(1)
    const index = e.let(i64.and(number, i64.const(bits - 1)))
    let value: Expr
    if (e.isMemory(0) && e.operand(1).kind === 'gpr-reg') {
      const word = i64.shl(i64.shr_s(number, i64.const(Math.log2(bits))), i64.const(Math.log2(size)))
      const offset = e.let(i64.and(i64.add(e.effectiveAddress(0), word), e.addressMask()))
      const address = e.segmentAddress('instruction', offset, size, update ? 'write' : 'read')
      if (update) {
        value = ZERO
        e.modifyInteger(address, size, (old) => {
          value = old
          return update(old, i64.shl(ONE, index))
        })
      } else value = e.loadInteger(address, size)
    } else if (update) {
      value = ZERO
      e.modify(0, (old) => {
        value = old
        return update(old, i64.shl(ONE, index))
      })
    } else value = e.read(0)
    bitFlag(e, value, index)
  }

// --- bit scan and count

/** BSF and BSR: the destination stays when the source is 0. */
const scan =
  (forward: boolean): Semantics =>
  (e) => {
    const source = e.read(1)
    const found = e.let(forward ? i64.ctz(source) : i64.xor(i64.clz(source), SIGN))
    const some = e.let(i32.eqz(i64.eqz(source)))
    e.if(some, () => e.write(0, found))
    e.flagsResult(ZERO, source, e.let(select(some, found, ZERO)))
  }
/** TZCNT and LZCNT: CF when the source is 0, ZF when the result is. */
const countZeros =
  (trailing: boolean): Semantics =>
  (e) => {
    const bits = i64.const(e.size(0) * 8)
    const source = e.read(1)
    const none = e.let(i64.eqz(source))
    const count = trailing
      ? select(none, bits, i64.ctz(source))
      : i64.sub(i64.clz(source), i64.const(64 - e.size(0) * 8))
    const result = e.let(count)
    e.write(0, result)
    e.flagsResult(atSign(none), result, ONE)
  }
const popcnt: Semantics = (e) => {
  const source = e.read(1)
  e.write(0, i64.popcnt(source))
  e.flagsResult(ZERO, source, ONE)
}

// --- BMI

/** ZF and SF by the result, CF given as an i32, OF = 0. */
function bmiFlags(e: InstructionEmitter, result: Expr, carry?: Expr): void {
  const r = e.let(signExtend(result, e.size(0)))
  e.flagsResult(carry ? atSign(carry) : ZERO, r, r)
}
const andn: Semantics = (e) => {
  const r = e.let(i64.and(i64.xor(e.read(1), i64.const(-1)), e.read(2)))
  e.write(0, r)
  bmiFlags(e, r)
}
const bextr: Semantics = (e) => {
  const bits = e.size(0) * 8
  const source = e.read(1)
  const control = e.read(2)
  const start = e.let(i64.and(control, i64.const(0xff)))
  const length = e.let(i64.and(i64.shr_u(control, i64.const(8)), i64.const(0xff)))
  const shifted = select(i64.lt_u(start, i64.const(bits)), i64.shr_u(source, start), ZERO)
  const mask = select(i64.lt_u(length, i64.const(64)), i64.sub(i64.shl(ONE, length), ONE), i64.const(-1))
  const r = e.let(i64.and(shifted, mask))
  e.write(0, r)
  bmiFlags(e, r)
}
/** The instructions on the lowest set bit; `whenZero`: whether CF tells a source of 0, or one that is not. */
const lowestBit =
  (operation: (source: Expr) => Expr, whenZero: boolean): Semantics =>
  (e) => {
    const source = e.read(1)
    const r = e.let(operation(source))
    e.write(0, r)
    const zero = i64.eqz(source)
    bmiFlags(e, r, whenZero ? zero : i32.eqz(zero))
  }
const bzhi: Semantics = (e) => {
  const bits = i64.const(e.size(0) * 8)
  const source = e.read(1)
  const start = e.let(i64.and(e.read(2), i64.const(0xff)))
  const inside = e.let(i64.lt_u(start, bits))
  const r = e.let(select(inside, i64.and(source, i64.sub(i64.shl(ONE, start), ONE)), source))
  e.write(0, r)
  bmiFlags(e, r, i32.eqz(inside))
}

/** (source, mask): a loop over the mask's set bits. */
function bitDistribution(name: string, deposit: boolean): HelperFunction {
  return helperFunction(name, ['i64', 'i64'], 'i64', (e, [source, given]) => {
    if (!source || !given) throw new TypeError(name)
    const mask = e.local('i64')
    const position = e.local('i64')
    const result = e.local('i64')
    e.set(mask, given)
    e.set(position, ONE)
    e.set(result, ZERO)
    e.block((done) => {
      e.loop((again) => {
        e.brIf(done, i64.eqz(e.get(mask)))
        const lowest = i64.and(e.get(mask), i64.sub(ZERO, e.get(mask)))
        const from = deposit ? e.get(position) : lowest
        const to = deposit ? lowest : e.get(position)
        e.set(result, i64.or(e.get(result), select(i64.eqz(i64.and(source, from)), ZERO, to)))
        e.set(mask, i64.and(e.get(mask), i64.sub(e.get(mask), ONE)))
        e.set(position, i64.shl(e.get(position), ONE))
        e.br(again)
      })
    })
    e.return(e.get(result))
  })
}
const DEPOSIT: HelperFunction = bitDistribution('pdep', true)
const EXTRACT: HelperFunction = bitDistribution('pext', false)
const distribute =
  (helper: HelperFunction): Semantics =>
  (e) => {
    const source = e.read(1)
    e.write(0, e.helper(helper, source, e.read(2)))
  }

// --- bytes

/** i64: the low `size` bytes of a zero-extended value in reverse order. */
export function swapBytes(e: InstructionEmitter, value: Expr, size: number): Expr {
  if (size === 2)
    return i64.or(i64.shr_u(value, i64.const(8)), i64.and(i64.shl(value, i64.const(8)), i64.const(0xff00)))
  const mask = i64.const(0x00ff00ff00ff00ffn)
  const pairs = e.let(
    i64.or(i64.and(i64.shr_u(value, i64.const(8)), mask), i64.shl(i64.and(value, mask), i64.const(8))),
  )
  const half = i64.const(0x0000ffff0000ffffn)
  const quads = i64.or(i64.and(i64.shr_u(pairs, i64.const(16)), half), i64.shl(i64.and(pairs, half), i64.const(16)))
  return size === 4 ? quads : i64.rotl(quads, i64.const(32))
}
const movbe: Semantics = (e) => e.write(0, swapBytes(e, e.read(1), e.size(0)))

const crc32: Semantics = (e) => {
  const helper = CRC32[e.size(1)]
  if (!helper) throw new RangeError(`CRC32 of ${e.size(1)} bytes`)
  const data = e.read(1)
  // with REX.W the destination is 64 bits wide, its upper half 0
  e.write(0, e.helper(helper, e.let(i64.and(e.read(0), i64.const(0xffffffff))), data))
}

const setcc =
  (cc: number): Semantics =>
  (e) =>
    e.write(0, i64.extend_i32_u(e.condition(cc)))

const CONDITIONS = ['O', 'NO', 'B', 'NB', 'Z', 'NZ', 'BE', 'NBE', 'S', 'NS', 'P', 'NP', 'L', 'NL', 'LE', 'NLE'] as const
const hex = (value: number): string => value.toString(16).toUpperCase()

export const BIT: readonly InstructionDefinition[] = [
  instruction('BT', '0F A3 /r', 'Ev Gv', bitTest()),
  instruction('BTS', '0F AB /r', 'Ev Gv', bitTest(set), { lock: true }),
  instruction('BTR', '0F B3 /r', 'Ev Gv', bitTest(reset), { lock: true }),
  instruction('BTC', '0F BB /r', 'Ev Gv', bitTest(complement), { lock: true }),
  instruction('BT', '0F BA /4 ib', 'Ev Ib', bitTest()),
  instruction('BTS', '0F BA /5 ib', 'Ev Ib', bitTest(set), { lock: true }),
  instruction('BTR', '0F BA /6 ib', 'Ev Ib', bitTest(reset), { lock: true }),
  instruction('BTC', '0F BA /7 ib', 'Ev Ib', bitTest(complement), { lock: true }),
  instruction('BSF', '0F BC /r', 'Gv Ev', scan(true)),
  instruction('BSR', '0F BD /r', 'Gv Ev', scan(false)),
  instruction('TZCNT', 'F3 0F BC /r', 'Gv Ev', countZeros(true)),
  instruction('LZCNT', 'F3 0F BD /r', 'Gv Ev', countZeros(false)),
  instruction('POPCNT', 'F3 0F B8 /r', 'Gv Ev', popcnt),
  ...CONDITIONS.map((name, cc) => instruction(`SET${name}`, `0F ${hex(0x90 + cc)} /r`, 'Eb', setcc(cc))),
  instruction('ANDN', 'VEX.LZ.NP.0F38.W F2 /r', 'Gy By Ey', andn),
  instruction(
    'BLSR',
    'VEX.LZ.NP.0F38.W F3 /1',
    'By Ey',
    lowestBit((v) => i64.and(i64.sub(v, ONE), v), true),
  ),
  instruction(
    'BLSMSK',
    'VEX.LZ.NP.0F38.W F3 /2',
    'By Ey',
    lowestBit((v) => i64.xor(i64.sub(v, ONE), v), true),
  ),
  instruction(
    'BLSI',
    'VEX.LZ.NP.0F38.W F3 /3',
    'By Ey',
    lowestBit((v) => i64.and(i64.sub(ZERO, v), v), false),
  ),
  instruction('BZHI', 'VEX.LZ.NP.0F38.W F5 /r', 'Gy Ey By', bzhi),
  instruction('BEXTR', 'VEX.LZ.NP.0F38.W F7 /r', 'Gy Ey By', bextr),
  instruction('PDEP', 'VEX.LZ.F2.0F38.W F5 /r', 'Gy By Ey', distribute(DEPOSIT)),
  instruction('PEXT', 'VEX.LZ.F3.0F38.W F5 /r', 'Gy By Ey', distribute(EXTRACT)),
  instruction('MOVBE', '0F 38 F0 /r', 'Gv Mv', movbe),
  instruction('MOVBE', '0F 38 F1 /r', 'Mv Gv', movbe),
  instruction('CRC32', 'F2 0F 38 F0 /r', 'Gy Eb', crc32),
  instruction('CRC32', 'F2 0F 38 F1 /r', 'Gy Ev', crc32),
]
