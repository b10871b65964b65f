// A provider as the target of a fuzzer: bytes become a guest that sends right packets, wrong ones and noise, opens and closes, sleeps, changes its memory, is saved and restored.

import { expectThat, fail } from '../compliance/check.ts'
import { expectNothingLeft } from '../compliance/nothing-left.ts'
import { sendNonsense, templates } from '../compliance/vsp-nonsense.ts'
import { VspBench, type VspSubject } from '../compliance/vsp-subject.ts'
import type { FakeGuest } from '../fake-guest.ts'
import type { GuestExchange, GuestPacket } from '../fake-guest-exchange.ts'
import { FuzzInput } from './fuzz-input.ts'
import type { FuzzOutcome, FuzzTarget } from './fuzzer.ts'

/** Bytes of an input: a guest has memory for what so many ask. */
const LONGEST = 1024
/** Packets of the provider's own accord for each step, and as many besides. */
const PACKETS = 64
const MILLISECOND = 1e6
const MAXIMUM_STATE = 65_536

/**
 * Fuzz a provider. It has to survive: nothing is thrown, no request is completed twice, no memory is stored that nobody gave, its state keeps its bound, a guest
 * that was saved goes on, one that begins anew is served as it has to be, and at the end nothing is left behind.
 *
 * @example
 * ```ts
 * import { vspFuzzTarget } from '@partita/testkit/fuzz'
 * import { runFuzzer } from '@partita/testkit/fuzz/node'
 *
 * const target = vspFuzzTarget({ plugin, manifest: packageJson.partita, request: (n) => ({ payload: Uint8Array.of(n) }) })
 * await runFuzzer(target, { corpus: 'test/corpus' })
 * ```
 */
export function vspFuzzTarget(subject: VspSubject): FuzzTarget {
  const bench = new VspBench(subject)
  return { longest: LONGEST, run: (input) => runLife(bench, new FuzzInput(input)) }
}

async function runLife(bench: VspBench, input: FuzzInput): Promise<FuzzOutcome> {
  const { subject } = bench
  const features = new Set<string>()
  let packets = 0
  let steps = 0
  const guest = await bench.boot()
  const asked: GuestExchange[] = []
  guest.onPacket = (packet) => {
    packets++
    features.add(featureOf(packet))
  }
  try {
    await openAndSetUp(bench, guest, input, asked)
    while (!input.done) {
      steps++
      await step(bench, guest, input, asked, features)
      // All memory is looked at when the life is over.
      if (guest.deviceErrors.length + guest.violations.length > 0) break
      if (guest.packets.length > PACKETS + PACKETS * steps) fail(`${guest.packets.length} packets in reply to ${steps}`)
    }
    guest.asleep = false
    guest.memory.onAccess = undefined
    await guest.settle()
    guest.expectNoViolation()
    // Whatever was before: a guest that does it right is served.
    await bench.serves(guest)
    const size = await guest.stateSize()
    expectThat(size <= (subject.maximumState ?? MAXIMUM_STATE), `its state has grown to ${size} bytes`)
  } finally {
    // A failure goes before what is left behind.
    await guest[Symbol.asyncDispose]()
  }
  guest.expectNoViolation()
  expectNothingLeft(guest.machine)
  return { steps, features, counts: { packets } }
}

/** One thing that a guest does. */
async function step(
  bench: VspBench,
  guest: FakeGuest,
  input: FuzzInput,
  asked: GuestExchange[],
  features: Set<string>,
): Promise<void> {
  const action = input.below(20)
  if (!guest.isOpen && action < 16) return openAndSetUp(bench, guest, input, asked)
  switch (action) {
    case 0:
    case 1:
    case 2:
    case 3:
      await bench.requests(guest, input.below(256), 1 + input.below(8))
      return
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
      sendNonsense(input, guest, input.pick(asked))
      return
    case 9:
    case 10:
      return guest.steps(1 + input.below(8))
    case 11:
      guest.asleep = !guest.asleep
      return
    case 12:
      guest.scribble(input)
      return
    case 13:
      // While the host reads and writes.
      guest.memory.onAccess = guest.memory.onAccess === undefined ? () => guest.scribble(input) : undefined
      return
    case 14:
      return guest.close()
    case 15:
      return guest.settle()
    case 16:
      features.add('migrated')
      guest.memory.onAccess = undefined
      await guest.migrate()
      return
    case 17:
      if (input.chance(1, 4)) return guest.reset()
      await guest.connect()
      return
    case 18:
      await guest.pause()
      return guest.resume()
    default:
      return guest.advance(input.below(256) * MILLISECOND)
  }
}

/** Open the channel, and go through as much of the set-up as the input says, most often all. A provider may refuse. */
async function openAndSetUp(
  bench: VspBench,
  guest: FakeGuest,
  input: FuzzInput,
  asked: GuestExchange[],
): Promise<void> {
  const { interfaceId, ringPages } = bench.subject
  if (!(await guest.tryOpen({ interfaceId, upstream: ringPages }))) return
  const { length } = bench.setup
  const count = input.chance(1, 4) ? input.below(length + 1) : length
  for (const exchange of bench.setup.slice(0, count)) await guest.send(exchange)
  await guest.settle()
  if (guest.isOpen && asked.length === 0) asked.push(...(await templates(bench, guest)))
}

/** What a packet of the provider is: its kind, its length, and how it begins. */
function featureOf({ type, payload }: GuestPacket): string {
  const start = Array.from(payload.subarray(0, 8), (byte) => (byte < 16 ? byte : '·')).join(' ')
  return `packet ${type}, ${payload.length} bytes: ${start}`
}
