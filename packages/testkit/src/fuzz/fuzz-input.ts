// The input of a fuzzer: bytes that are taken as decisions, one after the other.

import { RandomSource } from '../compliance/random-source.ts'

/**
 * Decisions out of bytes. When they are used up, all are 0, so that a short input does little.
 *
 * @example
 * ```ts
 * import { FuzzInput } from '@partita/testkit/fuzz'
 *
 * const input = new FuzzInput(Uint8Array.of(3, 0x34, 0x12))
 * console.log(input.below(2), input.u16().toString(16), input.done) // 1 1234 true
 * ```
 */
export class FuzzInput extends RandomSource {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    super()
    this.#bytes = bytes
  }

  /** Whether all bytes are used up. */
  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** The next byte. */
  u8(): number {
    return this.#bytes[this.#at++] ?? 0
  }

  /** The next two bytes, little-endian. */
  u16(): number {
    return this.u8() | (this.u8() << 8)
  }

  /** The next four bytes, little-endian, unsigned. */
  override u32(): number {
    return (this.u16() | (this.u16() << 16)) >>> 0
  }

  /** A whole number from 0 to `limit - 1`, out of as few bytes as are enough; 0 for a limit below 2, out of none. */
  override below(limit: number): number {
    if (limit < 2) return 0
    return (limit <= 0x100 ? this.u8() : limit <= 0x1_0000 ? this.u16() : this.u32()) % limit
  }

  /** The next `length` bytes. */
  override bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u8())
  }

  /** `length` bytes that are made from the next two: much noise out of a small input. */
  noise(length: number): Uint8Array {
    let state = this.u16()
    return Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) | 0
      return state >>> 24
    })
  }
}
