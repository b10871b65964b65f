// Bytes on their way to the guest. A guest that does not read makes the source wait.

/** Above this many bytes the source is paused; below half of it it goes on. */
const HIGH_WATER = 0x10000

/** What the queue is filled from. */
export interface PausableSource {
  pause(): unknown
  resume(): unknown
}

/** A queue of chunks. */
export class InputQueue {
  readonly #chunks: Uint8Array[] = []
  #offset = 0
  #length = 0
  #paused = false
  #source: PausableSource | undefined

  /** Bytes that wait. */
  get length(): number {
    return this.#length
  }

  /** Where chunks come from now. One that comes to a full queue waits too. */
  set source(source: PausableSource | undefined) {
    this.#source = source
    if (this.#paused) source?.pause()
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#length += chunk.length
    if (this.#length > HIGH_WATER && !this.#paused) {
      this.#paused = true
      this.#source?.pause()
    }
  }

  /** Move at most `target.length` bytes to `target`. */
  read(target: Uint8Array): number {
    let done = 0
    while (done < target.length) {
      const chunk = this.#chunks[0]
      if (chunk === undefined) break
      const count = Math.min(target.length - done, chunk.length - this.#offset)
      target.set(chunk.subarray(this.#offset, this.#offset + count), done)
      done += count
      this.#offset += count
      if (this.#offset === chunk.length) {
        this.#chunks.shift()
        this.#offset = 0
      }
    }
    this.#length -= done
    if (this.#paused && this.#length < HIGH_WATER / 2) {
      this.#paused = false
      this.#source?.resume()
    }
    return done
  }
}
