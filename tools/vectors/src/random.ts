/**
 * The generator of operands: a seeded xoshiro128** and the distributions that find mistakes, with much weight on the edges of each format.
 *
 * Vectors store seeds, not operands: a change here invalidates vector files (`FORMAT_VERSION` in `format.ts`).
 */

const SIZES = [1, 2, 4, 8]

/** Exponent bias, fraction bits and size of the formats that share a hidden integer bit. */
const BINARY = { f32: { bias: 127, fraction: 23, size: 4 }, f64: { bias: 1023, fraction: 52, size: 8 } } as const

/** FNV-1a with a finaliser: a 32-bit seed from a name. */
export function hashName(name: string, seed = 0): number {
  let h = (0x811c9dc5 ^ seed) >>> 0
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

export class Random {
  #a = 0
  #b = 0
  #c = 0
  #d = 0

  constructor(seed: number) {
    let s = seed
    const next = (): number => {
      s = (s + 0x9e3779b9) | 0
      let z = Math.imul(s ^ (s >>> 16), 0x21f0aaad)
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
      return z ^ (z >>> 15)
    }
    this.#a = next()
    this.#b = next()
    this.#c = next()
    this.#d = next()
  }

  /** 32 random bits, unsigned. */
  u32(): number {
    const t = Math.imul(this.#b, 5)
    const result = Math.imul((t << 7) | (t >>> 25), 9) >>> 0
    const s = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= s
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32())
  }

  /** A whole number from 0 to `n - 1`. */
  below(n: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * n)
  }

  /** True once in `n` times. */
  once(n: number): boolean {
    return this.below(n) === 0
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  bytes(to: DataView, at: number, size: number): void {
    let i = 0
    for (; i + 4 <= size; i += 4) to.setUint32(at + i, this.u32(), true)
    for (; i < size; i++) to.setUint8(at + i, this.u32() >>> 24)
  }

  /** An integer of `size` bytes (1, 2, 4 or 8) with half of the weight on values at which something changes. */
  integer(size: number): bigint {
    const bits = size * 8
    const top = 1n << BigInt(bits - 1)
    const mask = (top << 1n) - 1n
    switch (this.below(10)) {
      case 0:
        return this.pick([0n, 1n, mask, top, top - 1n, top + 1n, mask - 1n, 2n])
      case 1:
        return BigInt(this.below(33) - 16) & mask
      case 2:
        return ((1n << BigInt(this.below(bits))) + BigInt(this.below(3) - 1)) & mask
      case 3:
        return this.u64() & this.u64() & mask
      case 4:
        return (this.u64() | this.u64()) & mask
      default:
        return this.u64() & mask
    }
  }

  put(to: DataView, at: number, size: number, value: bigint): void {
    if (size === 8) to.setBigUint64(at, BigInt.asUintN(64, value), true)
    else if (size === 4) to.setUint32(at, Number(BigInt.asUintN(32, value)), true)
    else if (size === 2) to.setUint16(at, Number(BigInt.asUintN(16, value)), true)
    else to.setUint8(at, Number(BigInt.asUintN(8, value)))
  }

  putInteger(to: DataView, at: number, size: number): void {
    if (this.once(2)) this.bytes(to, at, size)
    else this.put(to, at, size, this.integer(size))
  }

  /** A general register: random, with an edge value in one of its lower parts. */
  register(to: DataView, at: number): void {
    this.bytes(to, at, 8)
    if (this.once(8)) return
    const size = this.pick(SIZES)
    this.put(to, at, size, this.integer(size))
    if (size === 1 && this.once(2)) this.put(to, at + 1, 1, this.integer(1))
    if (this.once(4)) for (let i = size; i < 8; i++) to.setUint8(at + i, 0)
  }

  /** Integer lanes of one size, chosen anew each time. */
  lanes(to: DataView, at: number, size: number): void {
    if (this.once(4)) {
      this.bytes(to, at, size)
      return
    }
    const lane = Math.min(this.pick(SIZES), size)
    for (let i = 0; i < size; i += lane) this.putInteger(to, at + i, lane)
  }

  /** Short text over a small alphabet with a terminator, as PCMPxSTRx compare it; `lane` is 1 or 2 bytes. */
  text(to: DataView, at: number, size: number): void {
    const lane = this.once(2) ? 1 : 2
    const alphabet = 2 + this.below(4)
    const first = this.pick([0x61, 0x7e, 0xfe])
    for (let i = 0; i < size; i += lane) {
      const value = this.once(12) ? 0 : first + this.below(alphabet)
      this.put(to, at + i, lane, BigInt(value))
    }
  }

  /** A value of binary32 or binary64: zeros, infinities, quiet and signalling NaNs, denormals, limits, halves, powers and bits. */
  float(to: DataView, at: number, format: 'f32' | 'f64'): void {
    const { bias, fraction, size } = BINARY[format]
    const one = 1n << BigInt(fraction)
    const top = BigInt(2 * bias + 1)
    const sign = BigInt(this.below(2)) << BigInt(size * 8 - 1)
    const noise = this.u64() & (one - 1n)
    const exponent = (n: number): bigint => BigInt(bias + n) * one
    let value: bigint
    switch (this.below(16)) {
      case 0:
        value = 0n
        break
      case 1:
        value = this.pick([
          exponent(0),
          exponent(1),
          exponent(0) | (one >> 1n),
          exponent(-1),
          exponent(0) - 1n,
          exponent(0) + 1n,
        ])
        break
      case 2:
        value = top * one // infinity
        break
      case 3:
        value = (top * one) | (one >> 1n) | (this.once(2) ? noise : 0n) // quiet NaN
        break
      case 4:
        value = (top * one) | (noise & ~(one >> 1n) || 1n) // signalling NaN
        break
      case 5:
        value = this.pick([1n, one - 1n, noise, one >> 1n]) // denormal
        break
      case 6:
        value = this.pick([one, one + 1n, top * one - 1n, (top - 1n) * one]) // limits of normal numbers
        break
      case 7:
        value = this.pick([23, 24, 31, 32, 52, 53, 62, 63, 64].map((n) => exponent(n))) + BigInt(this.below(3) - 1) // limits of integers
        break
      case 8: {
        const v = this.below(4096) - 2048 + this.pick([0, 0.5, 0.25, 0.75]) // ties of rounding to an integer
        if (size === 4) to.setFloat32(at, v, true)
        else to.setFloat64(at, v, true)
        return
      }
      case 9:
        value = this.u64() & ((1n << BigInt(size * 8 - 1)) - 1n)
        break
      case 10:
        value = exponent(this.below(80) - 40) | noise
        break
      case 11:
        value = exponent(this.below(8) - 4) | (noise & ~((1n << BigInt(fraction >> 1)) - 1n)) // products that are exact
        break
      default:
        value = exponent(this.below(8) - 4) | noise
    }
    this.put(to, at, size, value | sign)
  }

  /** An x87 register of 80 bits, with the encodings that the 80387 no longer supports. */
  extended(to: DataView, at: number): void {
    const sign = this.below(2) << 15
    const integer = 1n << 63n
    const noise = this.u64() | integer
    let exponent: number
    let significand = noise
    switch (this.below(20)) {
      case 0:
        exponent = 0
        significand = 0n
        break
      case 1:
        exponent = 0x3fff + this.below(2)
        significand = this.pick([integer, integer + 1n, (1n << 64n) - 1n, integer | (integer >> 1n)])
        break
      case 2:
        exponent = 0x7fff
        significand = integer
        break
      case 3:
        exponent = 0x7fff
        significand = noise | (integer >> 1n)
        break
      case 4:
        exponent = 0x7fff
        significand = (noise & ~(integer >> 1n)) | 1n
        break
      case 5:
        exponent = 0
        significand = this.pick([1n, integer - 1n, noise & (integer - 1n)])
        break
      case 6:
        exponent = this.pick([1, 2, 0x7ffe, 0x7ffd])
        significand = this.pick([integer, (1n << 64n) - 1n, noise])
        break
      case 7:
        // pseudo-denormal, unnormal, pseudo-infinity, pseudo-NaN
        exponent = this.pick([0, 0x3fff, 0x7fff, 0x7fff])
        significand =
          exponent === 0
            ? noise
            : exponent === 0x3fff
              ? noise & (integer - 1n)
              : this.once(2)
                ? 0n
                : noise & (integer - 1n)
        break
      case 8:
        exponent = this.below(0x7fff)
        break
      case 9: {
        // An integer, or one and a half of it, near the limits of 16, 32 and 64 bits.
        const bits = this.pick([4, 8, 15, 16, 31, 32, 62, 63, 64])
        exponent = 0x3fff + bits - 1
        significand = this.once(2) ? integer : noise & ~((1n << BigInt(63 - Math.min(bits, 62))) - 1n)
        break
      }
      case 10:
        exponent = this.pick([0x3fff - 127, 0x3fff + 127, 0x3fff - 1023, 0x3fff + 1023]) + this.below(5) - 2
        break
      case 11:
        // A binary64 or binary32 value, or one halfway between two.
        exponent = 0x3fff + this.below(40) - 20
        significand = (noise & ~((1n << BigInt(this.pick([10, 11, 39, 40]))) - 1n)) | integer
        break
      case 12:
        exponent = 0x3fff + this.below(140) - 70
        break
      default:
        exponent = 0x3fff + this.below(8) - 4
    }
    to.setBigUint64(at, significand, true)
    to.setUint16(at + 8, exponent | sign, true)
  }

  /** Ten bytes of packed decimal digits, now and then with digits that are none. */
  decimal(to: DataView, at: number): void {
    const wild = this.once(16)
    const zeros = this.below(10)
    for (let i = 0; i < 9; i++) {
      const byte = wild ? this.below(256) : this.below(10) * 16 + this.below(10)
      to.setUint8(at + i, 9 - i <= zeros ? 0 : byte)
    }
    to.setUint8(at + 9, this.once(2) ? 0 : 0x80)
  }
}
