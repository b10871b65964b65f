// An input of the fuzzer: bytes that are taken as decisions, one after the other. When they are used up, everything is 0.

/** Decisions out of bytes. */
export class Input {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  u8(): number {
    return this.#bytes[this.#at++] ?? 0
  }

  u16(): number {
    return this.u8() | (this.u8() << 8)
  }

  u32(): number {
    return (this.u16() | (this.u16() << 16)) >>> 0
  }

  below(limit: number): number {
    return this.u8() % limit
  }

  pick<T>(list: readonly T[]): T {
    return list[this.u8() % list.length] as T
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u8())
  }
}

/** Numbers that repeat with their seed (xorshift32). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e37_79b1) | 0 || 1
  }

  u32(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return x >>> 0
  }

  below(limit: number): number {
    return this.u32() % limit
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() >>> 9)
  }
}
