// The arena of decoded blocks against a model: what is in use never overlaps, and all that was dropped is found again.

import { describe, expect, test } from 'vitest'
import { BLOCK_HEADER, BlockArena, HEADER_SIZE } from './block-arena.ts'
import { RECORD } from './state-layout.ts'

const START = 4096
const MAXIMUM = 49

class Model {
  readonly i32: Int32Array
  readonly arena: BlockArena
  /** Ends by header. */
  readonly blocks: Map<number, number> = new Map()
  readonly #taken: Uint8Array
  #seed = 1

  constructor(records: number) {
    const end = START + records * RECORD.SIZE
    this.i32 = new Int32Array(end >> 2)
    this.#taken = new Uint8Array(end)
    this.arena = new BlockArena(this.i32, START, end, MAXIMUM)
  }
  random(below: number): number {
    this.#seed = (Math.imul(this.#seed, 1103515245) + 12345) >>> 0
    return (this.#seed >>> 8) % below
  }
  /** False: no room. */
  add(records: number): boolean {
    const first = this.arena.allocate(records)
    if (first === 0) return false
    const header = first - HEADER_SIZE
    const end = first + records * RECORD.SIZE
    expect(this.#taken.subarray(header, end).includes(1)).toBe(false)
    this.#taken.fill(1, header, end)
    // records have any content
    this.i32.fill(this.random(2) - 1, header >> 2, end >> 2)
    this.i32[(header >> 2) + BLOCK_HEADER.PAGE] = 7
    this.i32[(header >> 2) + BLOCK_HEADER.COUNT] = (records << 2) | this.random(4)
    this.blocks.set(header, end)
    return true
  }
  drop(header: number): void {
    this.#taken.fill(0, header, this.blocks.get(header))
    this.blocks.delete(header)
    this.i32[(header >> 2) + BLOCK_HEADER.PAGE] = -1
  }
  get used(): number {
    let used = 0
    for (const [header, end] of this.blocks) used += end - header
    return used
  }
}

describe('the arena of decoded blocks', () => {
  test('is all free again when all blocks were dropped', () => {
    const model = new Model(1000)
    for (let round = 0; round < 3; round++) {
      while (model.add(1 + model.random(MAXIMUM)));
      expect(model.arena.size - model.used).toBeLessThan(MAXIMUM * RECORD.SIZE + HEADER_SIZE)
      for (const header of [...model.blocks.keys()]) model.drop(header)
      expect(model.arena.reclaim()).toBe(model.arena.size)
    }
  })

  test('gives what was dropped to others, and nothing that is in use', () => {
    const model = new Model(2000)
    for (let step = 0; step < 200; step++) {
      while (model.add(1 + model.random(step % 3 === 0 ? 8 : MAXIMUM)));
      for (const header of [...model.blocks.keys()]) if (model.random(3) === 0) model.drop(header)
      // a piece that has room for a header alone counts, too
      expect(model.arena.reclaim()).toBe(model.arena.size - model.used)
    }
    for (const header of [...model.blocks.keys()]) model.drop(header)
    model.arena.clear()
    while (model.add(MAXIMUM));
    expect(model.blocks.size).toBe(Math.floor(2000 / (MAXIMUM + 1)))
  })
})
