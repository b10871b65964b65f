// Random numbers from a seed: the same programs everywhere (splitmix32).

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** 32 bits. */
  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    let z = this.#state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  below(limit: number): number {
    return this.u32() % limit
  }
  /** From `low` to `high`. */
  range(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }
  /** True once in `n` times. */
  once(n: number): boolean {
    return this.below(n) === 0
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
  /** By weight. */
  weighted<T>(list: readonly (readonly [weight: number, value: T])[]): T {
    let at = this.below(list.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, value] of list) {
      at -= weight
      if (at < 0) return value
    }
    throw new RangeError('no weights')
  }
  /** Small numbers, bounds of sizes, and anything else. */
  u64(): bigint {
    const any = (BigInt(this.u32()) << 32n) | BigInt(this.u32())
    switch (this.below(6)) {
      case 0:
        return BigInt(this.below(16))
      case 1:
        return BigInt.asUintN(64, -BigInt(this.below(16)))
      case 2:
        return BigInt.asUintN(64, (1n << BigInt(this.below(64))) - BigInt(this.below(3)))
      case 3:
        return any >> BigInt(this.below(64))
      default:
        return any
    }
  }
  bytes(target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) {
      if ((i & 15) === 0 && this.once(4)) {
        // numbers of floating point, zeros, and what looks like addresses make more happen than noise
        const value = this.pick([
          0x3ff0000000000000n,
          0x7ff0000000000000n,
          0x40490fdb3f800000n,
          0n,
          0xffffffffffffffffn,
        ])
        for (let k = 0; k < 8 && i < target.length; k++, i++) target[i] = Number((value >> BigInt(8 * k)) & 255n)
        i--
        continue
      }
      target[i] = this.u32() & 255
    }
  }
}

/** `n` bytes, little-endian. */
export function little(value: number | bigint, n: number): number[] {
  let rest = BigInt.asUintN(n * 8, BigInt(value))
  return Array.from({ length: n }, () => {
    const byte = Number(rest & 255n)
    rest >>= 8n
    return byte
  })
}
