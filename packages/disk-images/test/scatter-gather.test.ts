// Calls that do less than they are asked for, in any pieces.

import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { moveAll, ScatterGather } from '../src/scatter-gather.ts'

test('moves every byte once, in order, however little a call does', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(40), { maxLength: 30 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 60 })),
      async (lengths, moves) => {
        let next = 0
        const segments = lengths.map((length) => Uint8Array.from({ length }, () => next++ & 0xff))
        const moved: number[] = []
        let position = 1000
        await moveAll(new ScatterGather(position, segments), async (part, at) => {
          expect(at).toBe(position)
          expect(part.every(({ length }) => length > 0)).toBe(true)
          const bytes = part.flatMap((segment) => [...segment])
          const count = Math.min(bytes.length, moves.next().value)
          moved.push(...bytes.slice(0, count))
          position += count
          return count
        })
        expect(moved).toEqual(segments.flatMap((segment) => [...segment]))
      },
    ),
  )
})

test('ends where nothing is moved', async () => {
  const transfer = new ScatterGather(0, [new Uint8Array(8)])
  await expect(moveAll(transfer, async () => 0)).rejects.toThrow('moved nothing')
})

test('gives a call no more segments than the system takes', () => {
  const segments = Array.from({ length: 2500 }, () => new Uint8Array(2))
  const transfer = new ScatterGather(0, segments)
  expect(transfer.next()).toHaveLength(1024)
  transfer.advance(2048)
  expect(transfer.position).toBe(2048)
  transfer.advance(2047)
  const rest = transfer.next() as Uint8Array[]
  expect(rest).toHaveLength(453)
  expect(rest[0]).toHaveLength(1)
  transfer.advance(905)
  expect(transfer.next()).toBeUndefined()
})
