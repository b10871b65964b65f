// Random numbers that a seed repeats: sfc32 (Chris Doty-Humphrey's small fast counting generator), started by a mix of the seed.

/**
 * A source of random numbers that gives the same ones for the same seed, on every machine.
 *
 * @example
 * ```ts
 * import { SeededRandom } from '@partita/testkit'
 *
 * const random = new SeededRandom(7)
 * const size = random.pick([1, 2, 4])
 * ```
 */
export class SeededRandom {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** `path` makes independent sources of one seed: the name of a check, the number of a run. */
  constructor(seed: number, ...path: readonly (string | number)[]) {
    let mixed = mix(0x9e37_79b9, seed)
    for (const part of path) {
      if (typeof part === 'number') mixed = mix(mixed, part)
      else for (let at = 0; at < part.length; at++) mixed = mix(mixed, part.charCodeAt(at))
    }
    this.#a = mixed
    this.#b = mix(mixed, 1)
    this.#c = mix(mixed, 2)
    for (let round = 0; round < 12; round++) this.u32()
  }

  /** 32 random bits, unsigned. */
  u32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0
    return result >>> 0
  }

  /** A whole number from 0 to `limit - 1`; 0 for a limit below 1. */
  below(limit: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * Math.max(1, limit))
  }

  /** True `times` out of `outOf`. */
  chance(times: number, outOf: number): boolean {
    return this.below(outOf) < times
  }

  /** One of `items`. @throws RangeError when there are none */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('there is nothing to pick from')
    return items[this.below(items.length)] as T
  }

  /** `length` random bytes. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() & 0xff)
  }

  /** A number that finds mistakes: small, a power of two or its neighbour, or any. */
  edgy(): number {
    switch (this.below(4)) {
      case 0:
        return this.below(20)
      case 1:
        return ((2 ** this.below(32) + this.pick([-1, 0, 1])) & 0xffff_ffff) >>> 0
      case 2:
        return this.pick([0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff, 0x1_0000])
      default:
        return this.u32()
    }
  }

  /** The same items in another order. */
  shuffle<T>(items: readonly T[]): T[] {
    const left = [...items]
    return items.map(() => left.splice(this.below(left.length), 1)[0] as T)
  }
}

/** The finishing steps of MurmurHash3 over two words. */
function mix(a: number, b: number): number {
  let x = (Math.imul(a, 0x85eb_ca6b) ^ b) | 0
  x ^= x >>> 16
  x = Math.imul(x, 0x85eb_ca6b)
  x ^= x >>> 13
  x = Math.imul(x, 0xc2b2_ae35)
  return x ^ (x >>> 16)
}
