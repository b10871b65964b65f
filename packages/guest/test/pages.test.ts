import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PageAllocator } from '../src/kernel/boot/page-allocator.ts'

describe('the page allocator', () => {
  it('gives nothing twice, and everything again', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 20 })), { maxLength: 100 }), (steps) => {
        const pages = new PageAllocator()
        pages.free(100, 50)
        pages.free(200, 30)
        const held: { page: number; count: number }[] = []
        const owned = new Set<number>()
        for (const [take, count] of steps) {
          if (take) {
            let page: number
            try {
              page = pages.allocate(count)
            } catch (error) {
              expect(error).toMatchObject({ code: 'ERR_GUEST_MEMORY' })
              continue
            }
            for (let i = page; i < page + count; i++) {
              expect(owned.has(i)).toBe(false)
              expect((i >= 100 && i < 150) || (i >= 200 && i < 230)).toBe(true)
              owned.add(i)
            }
            held.push({ page, count })
          } else {
            const back = held.splice(count % Math.max(1, held.length), 1)[0]
            if (back === undefined) continue
            for (let i = back.page; i < back.page + back.count; i++) owned.delete(i)
            pages.free(back.page, back.count)
          }
          expect(pages.available).toBe(80 - owned.size)
        }
        for (const { page, count } of held) pages.free(page, count)
        expect([pages.allocate(50), pages.allocate(30)]).toEqual([100, 200])
      }),
      { numRuns: 200 },
    )
  })
})
