// A set of interrupt vectors, as ISR, TMR and IRR hold them: 256 bits, read in eight double words (SDM vol. 3, 11.8.4). The highest is kept at hand.

export class VectorSet {
  readonly words: Uint32Array = new Uint32Array(8)
  /** The highest vector of the set, or -1. */
  highest = -1

  has(vector: number): boolean {
    return ((this.words[vector >>> 5] >>> (vector & 31)) & 1) !== 0
  }

  add(vector: number): void {
    this.words[vector >>> 5] |= 1 << (vector & 31)
    if (vector > this.highest) this.highest = vector
  }

  remove(vector: number): void {
    this.words[vector >>> 5] &= ~(1 << (vector & 31))
    if (vector === this.highest) this.#search(vector >>> 5)
  }

  clear(): void {
    this.words.fill(0)
    this.highest = -1
  }

  /** Take over eight double words. */
  assign(words: ArrayLike<number>): void {
    this.words.set(words)
    this.#search(7)
  }

  #search(from: number): void {
    for (let i = from; i >= 0; i--) {
      const word = this.words[i]
      if (word === 0) continue
      this.highest = i * 32 + 31 - Math.clz32(word)
      return
    }
    this.highest = -1
  }
}
