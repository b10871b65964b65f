// Checks of what a provider saves: plain data, in every state of its protocol, with packets on their way, and nothing else than its own.

import type { SavedState } from '@partita/interface'
import { type ComplianceCheck, expectEqual, expectThat, fail, plainCheck, randomCheck } from './check.ts'
import { measure, mutations, restoreOrRefuse, saveOf } from './plain-data.ts'
import type { VspBench } from './vsp-subject.ts'

/** Wrong states that one run tries. */
const WRONG_STATES = 24

export function vspStateChecks(bench: VspBench): ComplianceCheck[] {
  const { subject } = bench
  const limit = subject.maximumState ?? 65_536
  return [
    randomCheck(
      'is saved in every state of its protocol, and goes on elsewhere',
      subject,
      bench.runs / 4,
      async (random) => {
        for (let steps = 0; steps <= bench.setup.length; steps++) {
          await using guest = await bench.opened(random, steps)
          const size = measure((await guest.migrate()).data)
          if (size > limit) fail(`its state has ${size} bytes`)
          await bench.setUp(guest, steps)
          await bench.answered(guest, await bench.requests(guest, 0, 5))
          guest.expectNoViolation()
          await bench.serves(guest)
        }
      },
    ),
    plainCheck('is saved while its channel is closed, and opens elsewhere', async () => {
      await using guest = await bench.boot()
      await guest.migrate()
      await bench.serves(guest)
      await guest.close()
      await guest.migrate()
      await bench.serves(guest)
    }),
    randomCheck(
      'answers what is on its way when it is saved, once, before or after',
      subject,
      bench.runs,
      async (random) => {
        const steps = random.below(bench.setup.length + 1)
        await using guest = await bench.opened(random, steps)
        const next = bench.setup[steps]
        if (next !== undefined) {
          const sent = await guest.send(next)
          await guest.steps(random.below(3))
          await guest.migrate()
          await bench.answered(guest, sent === undefined ? [] : [sent])
          await bench.setUp(guest, steps + 1)
        }
        guest.asleep = random.chance(1, 2)
        const sent = await bench.requests(guest, 0, 1 + random.below(60))
        await guest.steps(random.below(6))
        await guest.migrate()
        sent.push(...(await bench.requests(guest, 100, random.below(20))))
        if (random.chance(1, 2)) await guest.migrate()
        guest.asleep = false
        await bench.answered(guest, sent)
        guest.expectNoViolation()
        await bench.serves(guest)
      },
    ),
    randomCheck(
      'touches nothing while the partition stands, and takes what came when it goes on',
      subject,
      bench.runs / 4,
      async (random) => {
        await using guest = await bench.opened(random)
        const before = await bench.requests(guest, 0, random.below(20))
        await guest.steps(random.below(4))
        await guest.pause()
        const after = await bench.requests(guest, 100, 1 + random.below(5))
        guest.memory.record()
        await guest.settle()
        await guest.advance(5e9)
        expectEqual(guest.memory.stores, 0, 'stores into guest memory while the partition stands')
        await guest.resume()
        await bench.answered(guest, [...before, ...after])
        guest.expectNoViolation()
      },
    ),
    plainCheck('has the same state after it was restored', async () => {
      for (let steps = 0; steps <= bench.setup.length; steps++) {
        await using guest = await bench.opened(undefined, steps)
        const state = await guest.migrate()
        await guest.pause()
        expectEqual(saveOf(guest.instance), state, 'the state of the restored one')
        await guest.resume()
      }
    }),
    randomCheck(
      'refuses a state that is not its own with ERR_STATE_INVALID, unchanged, and survives any other',
      subject,
      bench.runs / 4,
      async (random) => {
        await using used = await bench.opened(random)
        const good = await used.migrate()
        const wrong: SavedState[] = [...mutations(good.data)].map((data) => ({
          version: good.version,
          data: data as SavedState['data'],
        }))
        await used.pause()
        for (const version of [good.version + 1, -1, 1.5])
          expectThat(
            !restoreOrRefuse(used.instance, { version, data: good.data }),
            `a state of version ${version} is taken`,
          )
        expectThat(
          Object.keys(good.data).length === 0 || !restoreOrRefuse(used.instance, { version: good.version, data: {} }),
          'a state without anything is taken',
        )
        for (const state of random.shuffle(wrong).slice(0, WRONG_STATES)) {
          await using guest = await bench.boot(random)
          await guest.pause()
          restoreOrRefuse(guest.instance, state)
          await guest.resume()
          // Whatever it made of that: a guest that boots is served.
          await guest.reset()
          await bench.serves(guest)
        }
        await used.resume()
      },
    ),
  ]
}
