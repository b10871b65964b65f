// A set of interrupt vectors, as the registers ISR, TMR and IRR of a local APIC hold them (Intel SDM vol. 3, 11.8.4).

const WORDS = 8

/** 256 bits. */
export class VectorSet {
  readonly words: Uint32Array = new Uint32Array(WORDS)

  has(vector: number): boolean {
    return ((this.words[vector >>> 5] as number) & (1 << (vector & 31))) !== 0
  }

  set(vector: number, member: boolean): void {
    const word = this.words[vector >>> 5] as number
    this.words[vector >>> 5] = member ? word | (1 << (vector & 31)) : word & ~(1 << (vector & 31))
  }

  /** The highest vector, or -1. */
  get highest(): number {
    for (let index = WORDS - 1; index >= 0; index--) {
      const word = this.words[index] as number
      if (word !== 0) return index * 32 + 31 - Math.clz32(word)
    }
    return -1
  }

  clear(): void {
    this.words.fill(0)
  }
}
