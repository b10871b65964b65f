// A fixed ring of bytes, first in, first out. Nothing is allocated after its making.

/** Bytes on their way from a device to the controller. */
export class ByteQueue {
  readonly capacity: number
  readonly #bytes: Uint8Array
  #head = 0
  #length = 0

  constructor(capacity: number) {
    this.capacity = capacity
    this.#bytes = new Uint8Array(capacity)
  }

  get length(): number {
    return this.#length
  }

  get room(): number {
    return this.capacity - this.#length
  }

  /** False, and the byte is lost, when it is full. */
  push(value: number): boolean {
    if (this.#length === this.capacity) return false
    this.#bytes[(this.#head + this.#length) % this.capacity] = value
    this.#length++
    return true
  }

  /** The oldest byte, or -1. */
  shift(): number {
    if (this.#length === 0) return -1
    const value = this.#bytes[this.#head] ?? -1
    this.#head = (this.#head + 1) % this.capacity
    this.#length--
    return value
  }

  /** Make the newest byte another. */
  replaceLast(value: number): void {
    if (this.#length > 0) this.#bytes[(this.#head + this.#length - 1) % this.capacity] = value
  }

  clear(): void {
    this.#length = 0
  }

  save(): Uint8Array {
    return Uint8Array.from({ length: this.#length }, (_, i) => this.#bytes[(this.#head + i) % this.capacity] ?? 0)
  }

  /** At most `capacity` bytes. */
  restore(bytes: Uint8Array): void {
    this.#head = 0
    this.#length = 0
    for (const value of bytes) this.push(value)
  }
}
