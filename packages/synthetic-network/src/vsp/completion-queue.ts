// Answers that found no room in the ring: transaction ids and statuses, in order. Its bound is that nobody takes another packet while something waits here.

/** A queue of three words each. */
export class CompletionQueue {
  #words: Uint32Array = new Uint32Array(3 * 64)
  #head = 0
  #count = 0

  get length(): number {
    return this.#count
  }

  push(low: number, high: number, status: number): void {
    const capacity = this.#words.length / 3
    if (this.#count === capacity) this.#grow()
    const at = 3 * ((this.#head + this.#count) % (this.#words.length / 3))
    this.#words[at] = low
    this.#words[at + 1] = high
    this.#words[at + 2] = status
    this.#count++
  }

  get low(): number {
    return this.#words[3 * this.#head] as number
  }

  get high(): number {
    return this.#words[3 * this.#head + 1] as number
  }

  get status(): number {
    return this.#words[3 * this.#head + 2] as number
  }

  /** Drop the first one. */
  shift(): void {
    this.#head = (this.#head + 1) % (this.#words.length / 3)
    this.#count--
  }

  /** All words in order, as saved state. */
  save(): number[] {
    const words: number[] = []
    const capacity = this.#words.length / 3
    for (let index = 0; index < this.#count; index++) {
      const at = 3 * ((this.#head + index) % capacity)
      words.push(...this.#words.subarray(at, at + 3))
    }
    return words
  }

  #grow(): void {
    const words = new Uint32Array(this.#words.length * 2)
    words.set(this.save())
    this.#words = words
    this.#head = 0
  }
}
