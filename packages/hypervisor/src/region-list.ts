// Mapped regions of a GPA space: sorted, merged where they continue each other, with the last hit remembered. A partition has a handful of them.

/** Guest physical addresses that are backed by consecutive bytes of the store with the same rights. */
export interface Region {
  /** First byte's GPA. */
  readonly gpa: number
  /** GPA after the last byte. */
  readonly end: number
  /** Byte offset of the first byte in the store. */
  readonly offset: number
  readonly access: number
}

/** Regions by address. */
export class RegionList {
  #regions: readonly Region[] = []
  #last: Region | undefined

  /** In ascending order. */
  get regions(): readonly Region[] {
    return this.#regions
  }

  /** The region that holds `gpa`. */
  find(gpa: number): Region | undefined {
    const last = this.#last
    if (last !== undefined && gpa >= last.gpa && gpa < last.end) return last
    const regions = this.#regions
    let low = 0
    let high = regions.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const region = regions[middle] as Region
      if (gpa < region.gpa) high = middle - 1
      else if (gpa < region.end) {
        this.#last = region
        return region
      } else low = middle + 1
    }
    return undefined
  }

  /** What is mapped of `[start, end)`, cut to it. */
  within(start: number, end: number): Region[] {
    return this.#regions
      .filter((region) => region.gpa < end && start < region.end)
      .map((region) => ({
        gpa: Math.max(start, region.gpa),
        end: Math.min(end, region.end),
        offset: region.offset + Math.max(start, region.gpa) - region.gpa,
        access: region.access,
      }))
  }

  remove(start: number, end: number): void {
    this.#last = undefined
    const kept: Region[] = []
    for (const region of this.#regions) {
      if (region.end <= start || region.gpa >= end) kept.push(region)
      else {
        if (region.gpa < start) kept.push({ ...region, end: start })
        if (region.end > end) kept.push({ ...region, gpa: end, offset: region.offset + end - region.gpa })
      }
    }
    this.#regions = kept
  }

  /** Add a region; what was there before is replaced. */
  set(added: Region): void {
    this.remove(added.gpa, added.end)
    const sorted = [...this.#regions, added].sort((a, b) => a.gpa - b.gpa)
    const merged: Region[] = []
    for (const region of sorted) {
      const before = merged.at(-1)
      if (
        before &&
        before.end === region.gpa &&
        before.access === region.access &&
        before.offset + before.end - before.gpa === region.offset
      ) {
        merged[merged.length - 1] = { ...before, end: region.end }
      } else merged.push(region)
    }
    this.#regions = merged
  }
}
