// Places of the function table, taken in runs whose lengths are powers of two. A run lies at a multiple of its length, so that two halves become a whole again (a buddy allocator).

export class RegionPlaces {
  /** First places of free runs of 1, 2, 4 … places. */
  readonly #free: number[][]

  /** `maximum`: how many places there are, a power of two. */
  constructor(maximum: number) {
    const whole = Math.log2(maximum)
    this.#free = Array.from({ length: whole + 1 }, () => [])
    this.give(whole, 0)
  }

  /** The first of a run of `2 ** size` places, or -1 when there is none. */
  take(size: number): number {
    for (let larger = size; larger < this.#free.length; larger++) {
      const first = this.#free[larger]?.pop()
      if (first === undefined) continue
      for (let rest = larger - 1; rest >= size; rest--) this.give(rest, first + (1 << rest))
      return first
    }
    return -1
  }

  /** A run of `2 ** size` places, from `first` on, is free. */
  give(size: number, first: number): void {
    const free = this.#free[size] as number[]
    const other = free.indexOf(first ^ (1 << size))
    if (other < 0) {
      free.push(first)
      return
    }
    free.splice(other, 1)
    this.give(size + 1, first & ~(1 << size))
  }
}
