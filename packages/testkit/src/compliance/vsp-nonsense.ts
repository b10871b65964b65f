// Packets that make no sense: what a provider has to survive.

import { VMBUS_COMPLETION_REQUESTED } from '@partita/interface'
import { contiguousRange, type GpaRange } from '@partita/vmbus/client'
import type { FakeGuest } from '../fake-guest.ts'
import type { GuestExchange } from '../fake-guest-exchange.ts'
import type { RandomSource } from './random-source.ts'
import type { VspBench } from './vsp-subject.ts'

/** A payload that resembles `like`, or nothing. */
function malformed(random: RandomSource, like: Uint8Array): Uint8Array {
  switch (random.below(8)) {
    case 0:
      return random.bytes(random.below(120))
    case 1:
      return like.slice(0, random.below(like.length + 1))
    case 2: {
      const longer = new Uint8Array(like.length + 1 + random.below(300))
      longer.set(like)
      return longer
    }
    default: {
      const changed = like.slice()
      const view = new DataView(changed.buffer)
      for (let change = 0; change <= random.below(4); change++) {
        const at = random.below(changed.length)
        if (at + 4 <= changed.length && random.chance(1, 2)) view.setUint32(at, random.edgy(), true)
        else if (changed.length > 0) changed[at] = random.u32() & 0xff
      }
      return changed
    }
  }
}

/** Ranges of memory, of which some are none. */
function oddRanges(random: RandomSource, guest: FakeGuest): GpaRange[] {
  return Array.from({ length: 1 + random.below(3) }, () => {
    if (random.chance(1, 2)) {
      const block = guest.memory.allocateBlock(1 + random.below(5000))
      if (block !== undefined) return contiguousRange(block.gpa, block.size)
    }
    const beyond = Math.floor(guest.memory.ramSize / 4096) + random.pick([0, 1, 2 ** 20, 2 ** 36, 2 ** 51])
    return { byteOffset: random.below(4096), byteCount: random.below(9000), pages: [beyond, beyond + 1, 0x7f] }
  })
}

/** All that a guest may ask, for the templates of nonsense. */
export async function templates(bench: VspBench, guest: FakeGuest): Promise<GuestExchange[]> {
  const steps = [...bench.setup, ...Array.from({ length: 8 }, (_, n) => bench.subject.request?.(n))]
  const exchanges: GuestExchange[] = [{ payload: new Uint8Array(16) }]
  for (const step of steps)
    if (step !== undefined) exchanges.push(typeof step === 'function' ? await step(guest) : step)
  return exchanges
}

/** Send one packet of nonsense; false when the ring has no room. */
export function sendNonsense(random: RandomSource, guest: FakeGuest, like: GuestExchange): boolean {
  const payload = random.chance(1, 4) ? like.payload : malformed(random, like.payload)
  const flags = random.chance(1, 5) ? 0 : VMBUS_COMPLETION_REQUESTED
  switch (random.below(5)) {
    case 0:
      return guest.sendRaw(payload, 'completion')
    case 1:
    case 2:
      return guest.sendRaw(payload, 'gpa-direct', flags, oddRanges(random, guest))
    default:
      return guest.sendRaw(payload, 'in-band', flags)
  }
}
