// The pages of the partition's memory that nobody has: first fit from the lowest address on.

import type { SavedValue } from '@partita/interface'
import { GuestError } from '../guest-error.ts'

/** Bytes. */
export const PAGE_SIZE = 4096

/** A run of pages. */
export interface PageRange {
  /** Number of the first page: its address divided by {@link PAGE_SIZE}. */
  readonly page: number
  readonly count: number
}

/** Gives out pages that lie one after the other. */
export class PageAllocator {
  /** In ascending order, never touching each other. */
  #free: PageRange[] = []

  /** Pages that are free. */
  get available(): number {
    return this.#free.reduce((sum, { count }) => sum + count, 0)
  }

  /** Take `count` pages; the number of the first. @throws GuestError `ERR_GUEST_MEMORY` */
  allocate(count: number): number {
    const index = this.#free.findIndex((range) => range.count >= count)
    const range = this.#free[index]
    if (range === undefined || count < 1)
      throw new GuestError('ERR_GUEST_MEMORY', `${count} pages that lie one after the other are not free`, {
        hint: 'Give the virtual machine more memory.',
        data: { count, available: this.available },
      })
    if (range.count === count) this.#free.splice(index, 1)
    else this.#free[index] = { page: range.page + count, count: range.count - count }
    return range.page
  }

  /** Give pages back, or give them for the first time. */
  free(page: number, count: number): void {
    if (count < 1) return
    const index = this.#free.findIndex((range) => range.page > page)
    this.#free.splice(index < 0 ? this.#free.length : index, 0, { page, count })
    const merged: PageRange[] = []
    for (const range of this.#free) {
      const last = merged.at(-1)
      if (last !== undefined && last.page + last.count === range.page)
        merged[merged.length - 1] = { page: last.page, count: last.count + range.count }
      else merged.push(range)
    }
    this.#free = merged
  }

  save(): SavedValue {
    return this.#free.map(({ page, count }) => [page, count])
  }

  restore(saved: SavedValue): void {
    this.#free = (saved as readonly (readonly [number, number])[]).map(([page, count]) => ({ page, count }))
  }
}
