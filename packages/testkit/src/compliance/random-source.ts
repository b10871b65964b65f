// Choices out of bits, wherever the bits come from: a seed, or the input of a fuzzer.

/** A source of choices. */
export abstract class RandomSource {
  /** 32 random bits, unsigned. */
  abstract u32(): number

  /** A whole number from 0 to `limit - 1`; 0 for a limit below 1. */
  below(limit: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * Math.max(1, limit))
  }

  /** True `times` out of `outOf`. */
  chance(times: number, outOf: number): boolean {
    return this.below(outOf) < times
  }

  /** One of `items`. @throws RangeError when there are none */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('there is nothing to pick from')
    return items[this.below(items.length)] as T
  }

  /** `length` random bytes. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() & 0xff)
  }

  /** A number that finds mistakes: small, a power of two or its neighbour, or any. */
  edgy(): number {
    switch (this.below(4)) {
      case 0:
        return this.below(20)
      case 1:
        return ((2 ** this.below(32) + this.pick([-1, 0, 1])) & 0xffff_ffff) >>> 0
      case 2:
        return this.pick([0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff, 0x1_0000])
      default:
        return this.u32()
    }
  }

  /** The same items in another order. */
  shuffle<T>(items: readonly T[]): T[] {
    const left = [...items]
    return items.map(() => left.splice(this.below(left.length), 1)[0] as T)
  }
}
