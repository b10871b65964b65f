// CRC32 of SSE4.2: the CRC-32C polynomial 11EDC6F41h, bits reflected (SDM vol. 2, CRC32). The register after n bits is linear in what it was and in the data,
// so it is the exclusive or of one constant for each bit that is set; four bits are looked at together.

import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { type Expr, i32, i64 } from '../wasm/expression.ts'
import { simd, v128 } from '../wasm/simd.ts'

const POLYNOMIAL = 0x82f63b78n

/** The register after `bits` steps that began with only bit `bit` set. */
function contribution(bit: number, bits: number): number {
  let register = 1n << BigInt(bit)
  for (let i = 0; i < bits; i++) register = register & 1n ? (register >> 1n) ^ POLYNOMIAL : register >> 1n
  return Number(register & 0xffffffffn)
}
function lanes(values: readonly number[]): Expr {
  return v128.const(values.flatMap((v) => [v & 0xff, (v >>> 8) & 0xff, (v >>> 16) & 0xff, v >>> 24]))
}

/** (register, data zero-extended from `size` bytes) → register. */
function crc32(size: number): HelperFunction {
  const bits = size * 8
  return helperFunction(`crc32-${bits}`, ['i64', 'i64'], 'i64', (e, [register, data]) => {
    if (!register || !data) throw new TypeError('crc32')
    const input = e.let(i64.xor(register, data))
    const low = e.let(simd['i32x4.splat'](i32.wrap_i64(input)))
    const high = size === 8 ? e.let(simd['i32x4.splat'](i32.wrap_i64(i64.shr_u(input, i64.const(32))))) : low
    let sum: Expr | undefined
    for (let bit = 0; bit < bits; bit += 4) {
      const mask = lanes([0, 1, 2, 3].map((k) => 1 << ((bit + k) & 31)))
      const constants = lanes([0, 1, 2, 3].map((k) => contribution(bit + k, bits)))
      const set = simd['i32x4.eq'](simd['v128.and'](bit < 32 ? low : high, mask), mask)
      const term = simd['v128.and'](set, constants)
      sum = e.let(sum ? simd['v128.xor'](sum, term) : term)
    }
    if (!sum) throw new RangeError('crc32 of nothing')
    const lane = (k: number): Expr => simd['i32x4.extract_lane'](sum as Expr, k)
    const folded = i64.extend_i32_u(i32.xor(i32.xor(lane(0), lane(1)), i32.xor(lane(2), lane(3))))
    e.return(size < 4 ? i64.xor(folded, i64.shr_u(register, i64.const(bits))) : folded)
  })
}
export const CRC32: Readonly<Record<number, HelperFunction>> = { 1: crc32(1), 2: crc32(2), 4: crc32(4), 8: crc32(8) }
