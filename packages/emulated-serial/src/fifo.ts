// The 16-byte FIFO of a 16550A (data sheet PC16550D, section 8.4), a ring that is never allocated again.

/** Bytes of each FIFO. */
export const FIFO_SIZE = 16

/** Sixteen bytes, first in, first out. */
export class Fifo {
  readonly #bytes: Uint8Array = new Uint8Array(FIFO_SIZE)
  #head = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  /** False, and the byte is lost, when it is full. */
  push(value: number): boolean {
    if (this.#length === FIFO_SIZE) return false
    this.#bytes[(this.#head + this.#length) & (FIFO_SIZE - 1)] = value
    this.#length++
    return true
  }

  /** The oldest byte; 0 when there is none. */
  shift(): number {
    if (this.#length === 0) return 0
    const value = this.#bytes[this.#head] ?? 0
    this.#head = (this.#head + 1) & (FIFO_SIZE - 1)
    this.#length--
    return value
  }

  clear(): void {
    this.#length = 0
  }

  /** What is in it, oldest first. */
  save(): Uint8Array {
    return Uint8Array.from({ length: this.#length }, (_, i) => this.#bytes[(this.#head + i) & (FIFO_SIZE - 1)] ?? 0)
  }

  restore(bytes: Uint8Array): void {
    this.#head = 0
    this.#length = 0
    for (const value of bytes) this.push(value)
  }
}
