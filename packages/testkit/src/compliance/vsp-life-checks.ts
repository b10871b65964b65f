// Checks of a provider's life: offers, opening, closing, opening again in the middle of things, rescinding, reset, disposal.

import type { FakeGuest } from '../fake-guest.ts'
import { type ComplianceCheck, expectEqual, expectThat, fail, plainCheck, randomCheck } from './check.ts'
import { expectNothingLeft } from './nothing-left.ts'
import type { SeededRandom } from './seeded-random.ts'
import type { VspBench } from './vsp-subject.ts'

const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Where a guest may be when something happens to it: after so many packets of the set-up, and with one more, or requests, on their way. */
function* places(bench: VspBench): Generator<number> {
  for (let steps = 0; steps <= bench.setup.length; steps++) yield steps
}

/** Send what comes next, and let a little of it happen. */
async function inTheMiddle(bench: VspBench, guest: FakeGuest, steps: number, random: SeededRandom): Promise<void> {
  const next = bench.setup[steps]
  if (next !== undefined) await guest.send(next)
  else await bench.requests(guest, 0, 1 + random.below(12))
  await guest.steps(random.below(4))
}

export function vspLifeChecks(bench: VspBench): ComplianceCheck[] {
  const { subject } = bench
  return [
    plainCheck('offers the same devices at each start, and takes them back when it goes', async () => {
      const offersOf = (guest: FakeGuest): string[] =>
        guest.offers.map(({ interfaceId, instanceId }) => `${interfaceId} ${instanceId}`).sort()
      const guest = await bench.boot()
      bench.offer(guest)
      for (const { interfaceId, instanceId } of guest.offers)
        if (!GUID.test(interfaceId) || !GUID.test(instanceId)) fail(`no GUIDs: ${interfaceId} ${instanceId}`)
      const count = guest.offers.length
      const again = await bench.boot()
      expectEqual(offersOf(again), offersOf(guest), 'offers of the second start')
      await again.withdraw()
      await guest.withdraw()
      expectEqual(guest.rescinded, count, 'rescinded offers')
      expectEqual(guest.pair.server.channels().length, 0, 'channels that are left')
    }),
    plainCheck('opens, closes and opens its channel again, as often as a guest likes', async () => {
      await using guest = await bench.boot()
      for (let round = 0; round < 5; round++) {
        await bench.open(guest)
        await guest.close()
      }
      await bench.open(guest)
      guest.expectNoViolation()
    }),
    ...(bench.setup.length + (subject.request === undefined ? 0 : 1) === 0
      ? []
      : [
          plainCheck('answers set-up and requests, each once and as it has to', async () => {
            await using guest = await bench.opened()
            for (let n = 0; n < 12; n++) {
              const step = subject.request?.(n)
              if (step !== undefined) await guest.ask(step)
            }
            guest.expectNoViolation()
            await bench.serves(guest)
          }),
        ]),
    plainCheck('refuses rings that are too small for it, or works with them', async () => {
      await using guest = await bench.boot()
      const { interfaceId } = subject
      for (const [upstream, downstream] of [
        [1, 1],
        [1, 8],
        [8, 1],
      ]) {
        if (!(await guest.tryOpen({ interfaceId, upstream, downstream }))) continue
        await bench.setUp(guest)
        await bench.answered(guest, await bench.requests(guest, 0, 3))
        await guest.close()
      }
      guest.expectNoViolation()
    }),
    randomCheck(
      'begins anew when its channel is closed in the middle of anything and opened again',
      subject,
      bench.runs / 4,
      async (random) => {
        await using guest = await bench.boot(random)
        for (const steps of places(bench)) {
          await bench.open(guest)
          await bench.setUp(guest, 0, steps)
          await inTheMiddle(bench, guest, steps, random)
          await guest.close()
          await bench.serves(guest)
          await guest.close()
        }
        await guest.advance(10e9)
        guest.expectNoViolation()
      },
    ),
    randomCheck(
      'begins anew for a kernel that was started by the one before',
      subject,
      bench.runs / 4,
      async (random) => {
        await using guest = await bench.boot(random)
        for (const steps of places(bench)) {
          await bench.open(guest)
          await bench.setUp(guest, 0, steps)
          await inTheMiddle(bench, guest, steps, random)
          await guest.connect()
          await bench.serves(guest)
          await guest.close()
        }
        guest.expectNoViolation()
      },
    ),
    randomCheck(
      'can be taken away in the middle of anything, and then touches nothing any more',
      subject,
      bench.runs / 4,
      async (random) => {
        for (const steps of places(bench)) {
          const guest = await bench.opened(random, steps)
          const { machine } = guest
          await inTheMiddle(bench, guest, steps, random)
          await guest.withdraw()
          expectThat(guest.rescinded > 0, 'the offer was not taken back')
          expectNothingLeft(machine)
          guest.memory.record()
          machine.clock.advance(10e9)
          await guest.settle()
          expectEqual(guest.memory.stores, 0, 'stores into guest memory after the end')
          guest.expectNoViolation()
        }
      },
    ),
    plainCheck('gives everything back when it is disposed of, twice, and can be started again', async () => {
      const guest = await bench.opened()
      await guest.run(guest.instance[Symbol.asyncDispose](), 'the disposal')
      await guest.run(guest.instance[Symbol.asyncDispose](), 'the second disposal')
      await guest.settle()
      expectNothingLeft(guest.machine)
      await guest.machine.start(subject.plugin, subject.options?.[0] ?? {})
      await guest.settle()
      bench.offer(guest)
      await bench.serves(guest)
      await guest.withdraw()
    }),
    randomCheck('is as new after a reset', subject, bench.runs / 4, async (random) => {
      await using guest = await bench.boot(random)
      const fresh = await guest.stateSize()
      for (const steps of places(bench)) {
        await bench.open(guest)
        await bench.setUp(guest, 0, steps)
        await inTheMiddle(bench, guest, steps, random)
        await guest.reset()
        expectEqual(await guest.stateSize(), fresh, 'bytes of the state after a reset')
        await bench.serves(guest)
        await guest.close()
      }
      guest.expectNoViolation()
    }),
  ]
}
