// What a guest has lent to a channel: pages of rings, and buffers of packets that were never answered. They are the provider's until it has let go of the channel; from then on
// whatever it stores there is a mistake.

import type { VmbusPair } from '@partita/vmbus/testing'
import type { GuestBlock, WatchedMemory } from './watched-memory.ts'

type Rings = ReturnType<VmbusPair['rings']>

/** The loans of one guest. */
export class GuestLoans {
  readonly #pair: VmbusPair
  readonly #memory: WatchedMemory
  readonly #blocks: GuestBlock[] = []
  readonly #rings: { readonly size: string; readonly rings: Rings }[] = []
  /** Pages that nobody uses, by the sizes of their rings: pages are never given out twice otherwise. */
  readonly #free: Map<string, Rings[]> = new Map()

  constructor(pair: VmbusPair, memory: WatchedMemory) {
    this.#pair = pair
    this.#memory = memory
  }

  /** Pages for two rings of a channel that is about to be opened. */
  rings(upstream: number, downstream: number): Rings {
    const size = `${upstream} ${downstream}`
    const rings = this.#free.get(size)?.pop() ?? this.#pair.rings(upstream, downstream)
    this.#rings.push({ size, rings })
    return rings
  }

  /** A buffer whose packet nobody waits for any longer. */
  add(block: GuestBlock): void {
    this.#blocks.push(block)
  }

  /** The provider has let go. */
  reclaim(): void {
    for (const block of this.#blocks.splice(0)) this.#memory.freeBlock(block)
    for (const { size, rings } of this.#rings.splice(0)) this.#free.set(size, [...(this.#free.get(size) ?? []), rings])
  }
}
