// What a guest sends while the back end holds back: bytes that the wire would carry already, so that nothing which a guest does to its transmitter takes
// them back. A driver that looks at THRE adds next to nothing; Linux' kernel console waits 10 ms for it and writes all the same.

/** Bytes that are kept; later ones are lost. */
export const BACKLOG_SIZE = 0x10000

/** A bounded queue of bytes. */
export class Backlog {
  /** Most ports never need it. */
  #bytes: Uint8Array | undefined
  #head = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  /** False, and the byte is lost, when it is full. */
  push(value: number): boolean {
    if (this.#length === BACKLOG_SIZE) return false
    this.#bytes ??= new Uint8Array(BACKLOG_SIZE)
    this.#bytes[(this.#head + this.#length) % BACKLOG_SIZE] = value
    this.#length++
    return true
  }

  /** At most `count` of the oldest bytes, in an array of their own. */
  take(count: number): Uint8Array {
    const taken = this.#copy(Math.min(count, this.#length))
    this.#head = (this.#head + taken.length) % BACKLOG_SIZE
    this.#length -= taken.length
    return taken
  }

  /** What is in it, oldest first. */
  save(): Uint8Array {
    return this.#copy(this.#length)
  }

  /** @param bytes At most {@link BACKLOG_SIZE}. */
  restore(bytes: Uint8Array): void {
    this.#head = 0
    this.#length = 0
    for (const value of bytes) this.push(value)
  }

  #copy(count: number): Uint8Array {
    const copy = new Uint8Array(count)
    if (this.#bytes === undefined) return copy
    const first = this.#bytes.subarray(this.#head, this.#head + count)
    copy.set(first)
    copy.set(this.#bytes.subarray(0, count - first.length), first.length)
    return copy
  }
}
