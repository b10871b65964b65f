// Random numbers that a seed repeats: sfc32 (Chris Doty-Humphrey's small fast counting generator), started by a mix of the seed.

import { RandomSource } from './random-source.ts'

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
export class SeededRandom extends RandomSource {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** `path` makes independent sources of one seed: the name of a check, the number of a run. */
  constructor(seed: number, ...path: readonly (string | number)[]) {
    super()
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
