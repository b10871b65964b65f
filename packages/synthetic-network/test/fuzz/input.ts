// Decisions out of the bytes of an input.

/** Reads values from an input; past its end everything is zero. */
export class Input {
  readonly #bytes: Uint8Array
  #at = 0
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }
  get ended(): boolean {
    return this.#at >= this.#bytes.length
  }
  u8(): number {
    return this.#bytes[this.#at++] ?? 0
  }
  u16(): number {
    return this.u8() | (this.u8() << 8)
  }
  /** Small, or anything. */
  u32(): number {
    const kind = this.u8()
    return kind < 128 ? this.u8() : kind < 200 ? this.u16() : (this.u16() | (this.u16() << 16)) >>> 0
  }
  pick<T>(list: readonly T[]): T {
    return list[this.u8() % list.length] as T
  }
}
