// Bytes between a socket of the host and a guest: the chunks as they came, from the first one that the guest has not acknowledged.

const NOTHING: Uint8Array = new Uint8Array(0)

/** A queue of chunks, addressed by distance from its first byte. */
export class ByteChunks {
  readonly #chunks: Uint8Array[] = []
  /** The first chunk that is in use. */
  #head = 0
  /** Bytes of it that are gone. */
  #skip = 0
  #length = 0
  /** Where the last copy ended: chunk, and the distance of its first byte. */
  #cursor = 0
  #cursorAt = 0

  get length(): number {
    return this.#length
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#length += chunk.length
  }

  /** Forget the first `count` bytes. */
  drop(count: number): void {
    let left = count
    this.#length -= count
    while (left > 0) {
      const chunk = this.#chunks[this.#head] as Uint8Array
      const rest = chunk.length - this.#skip
      if (left < rest) {
        this.#skip += left
        break
      }
      left -= rest
      this.#skip = 0
      // Let go of it now; its place goes with the next tidying up.
      this.#chunks[this.#head++] = NOTHING
    }
    if (this.#head > 32 && this.#head * 2 > this.#chunks.length) {
      this.#chunks.splice(0, this.#head)
      this.#head = 0
    }
    this.#cursor = this.#head
    this.#cursorAt = -this.#skip
  }

  /** Copy `count` bytes from the distance `offset` on to `target` at `at`. They must be there. */
  copy(offset: number, count: number, target: Uint8Array, at: number): void {
    if (offset < this.#cursorAt || this.#cursor < this.#head) {
      this.#cursor = this.#head
      this.#cursorAt = -this.#skip
    }
    let place = at
    let from = offset
    let left = count
    while (left > 0) {
      const chunk = this.#chunks[this.#cursor] as Uint8Array
      const begin = from - this.#cursorAt
      if (begin >= chunk.length) {
        this.#cursorAt += chunk.length
        this.#cursor++
        continue
      }
      const size = Math.min(left, chunk.length - begin)
      target.set(begin === 0 && size === chunk.length ? chunk : chunk.subarray(begin, begin + size), place)
      place += size
      from += size
      left -= size
    }
  }

  clear(): void {
    this.#chunks.length = 0
    this.#head = 0
    this.#skip = 0
    this.#length = 0
    this.#cursor = 0
    this.#cursorAt = 0
  }
}
