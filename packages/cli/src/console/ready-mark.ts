// Finds in a guest's output the mark with which it says that its console is set up, and takes it out.

/** Looks for one mark, whose first byte is in it once. */
export class ReadyMark {
  readonly #mark: Uint8Array
  /** The last bytes of the output so far, where they may be the mark's beginning. */
  #held: Uint8Array = new Uint8Array()
  #seen = false

  constructor(mark: string) {
    this.#mark = new TextEncoder().encode(mark)
  }

  get seen(): boolean {
    return this.#seen
  }

  /** The output up to here without the mark, and without an end that may be its beginning. */
  remove(data: Uint8Array): Uint8Array {
    if (this.#seen) return data
    const output = joined(this.#held, data)
    let from = 0
    for (;;) {
      const start = output.indexOf(this.#mark[0] as number, from)
      if (start < 0) break
      const length = this.#matching(output, start)
      if (length === this.#mark.length) {
        this.#seen = true
        this.#held = new Uint8Array()
        return joined(output.subarray(0, start), output.subarray(start + length))
      }
      if (start + length === output.length) {
        this.#held = output.subarray(start)
        return output.subarray(0, start)
      }
      from = start + 1
    }
    this.#held = new Uint8Array()
    return output
  }

  /** What has been held, at the end. */
  rest(): Uint8Array {
    return this.#held
  }

  /** How many bytes from `start` on are the mark's. */
  #matching(output: Uint8Array, start: number): number {
    let length = 0
    while (length < this.#mark.length && output[start + length] === this.#mark[length]) length++
    return length
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length)
  all.set(first)
  all.set(second, first.length)
  return all
}
