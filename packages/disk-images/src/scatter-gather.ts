// Scatter-gather calls (readv, writev) until all segments are done: each may do less than it was asked for.

/** Segments of one call (IOV_MAX). */
const MAXIMUM_SEGMENTS = 1024

/** What is left to move. */
export class ScatterGather {
  readonly #segments: readonly Uint8Array[]
  #index = 0
  /** Bytes of the segment at the index that are done. */
  #within = 0
  /** Where in the file it goes on. */
  position: number

  constructor(position: number, segments: readonly Uint8Array[]) {
    this.position = position
    this.#segments = segments
  }

  /** Segments of the next call; undefined when there is no more to do. */
  next(): Uint8Array[] | undefined {
    const part: Uint8Array[] = []
    for (let i = this.#index; i < this.#segments.length && part.length < MAXIMUM_SEGMENTS; i++) {
      const segment = this.#segments[i] as Uint8Array
      // A call that has nothing to do would look like one that found the end of the file.
      if (segment.length > 0)
        part.push(i === this.#index && this.#within > 0 ? segment.subarray(this.#within) : segment)
    }
    return part.length > 0 ? part : undefined
  }

  /**
   * The call moved `bytes`.
   * @throws Error when it moved nothing: to ask again would have no end
   */
  advance(bytes: number): void {
    if (bytes <= 0) throw new Error('the system moved nothing')
    this.position += bytes
    for (let left = bytes + this.#within; ; this.#index++) {
      const segment = this.#segments[this.#index]
      if (segment === undefined || left < segment.length) {
        this.#within = left
        return
      }
      left -= segment.length
    }
  }
}

/** Move all by calls that settle later. */
export async function moveAll(
  transfer: ScatterGather,
  call: (part: Uint8Array[], position: number) => Promise<number>,
): Promise<void> {
  for (let part = transfer.next(); part !== undefined; part = transfer.next())
    transfer.advance(await call(part, transfer.position))
}
