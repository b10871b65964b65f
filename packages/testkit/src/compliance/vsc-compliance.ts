// The compliance suite that every client (VSC) runs, built in or a stranger's: what a program, a guest and a host may expect of a driver on the VMBus, whatever its host does.

import type { VscInstance } from '@partita/vmbus/client'
import type { FakeHost } from '../fake-host.ts'
import type { HeldReply } from '../relay-channel.ts'
import { type ComplianceCheck, expectEqual, expectThat, fail, plainCheck, randomCheck } from './check.ts'
import type { SeededRandom } from './seeded-random.ts'
import { expectNoBlunder, type Running, VscBench, type VscSubject } from './vsc-subject.ts'

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Rounds in which held answers come one by one. */
const ROUNDS = 2000

/** Another payload in the place of the right one. */
function garbled(random: SeededRandom, { payload }: HeldReply): Uint8Array {
  switch (random.below(5)) {
    case 0:
      return payload.slice(0, random.below(payload.length))
    case 1:
      return new Uint8Array(random.below(80)).fill(random.pick([0, 0xff]))
    case 2:
      return random.bytes(random.below(200))
    default: {
      const changed = payload.slice()
      const view = new DataView(changed.buffer)
      for (let change = 0; change < 3 && changed.length >= 4; change++)
        view.setUint32(random.below(changed.length - 3), random.edgy(), true)
      return changed
    }
  }
}

/** Let held answers go one at a time, in any order, until `operations` are over or nothing is held. */
async function trickle(
  host: FakeHost,
  random: SeededRandom,
  operations: readonly Running[],
  deliver: (reply: HeldReply) => void,
): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    if (operations.every(({ outcome }) => outcome !== undefined)) return
    if (host.held.length === 0 || random.chance(1, 4)) await host.settle()
    if (host.held.length === 0) return
    const [reply] = host.held.splice(random.below(host.held.length), 1)
    if (reply !== undefined) deliver(reply)
    await host.steps(random.below(4))
  }
}

function answerChecks<Instance extends object>(bench: VscBench<Instance>): ComplianceCheck[] {
  const { subject, runs, concurrency } = bench
  return [
    randomCheck('works with many operations at a time', subject, runs, async (random) => {
      await using bound = await bench.bound(random)
      await bench.succeed(bound.host, bench.begin(bound.host, bound.instance, 0, concurrency))
    }),
    randomCheck('waits for a host that answers late', subject, runs, async (random) => {
      await using bound = await bench.bound(random)
      const { host, instance } = bound
      host.replies = 'hold'
      const operations = bench.begin(host, instance, 0, concurrency)
      await host.settle()
      host.clock.advance(1e9)
      await host.settle()
      await trickle(host, random, operations, (reply) => reply.deliver())
      host.release()
      await bench.succeed(host, operations)
      await bench.works(host, instance)
    }),
    randomCheck('finds the operation of each answer when they come out of order', subject, runs, async (random) => {
      await using bound = await bench.bound(random)
      const { host, instance } = bound
      host.replies = 'hold'
      const operations = bench.begin(host, instance, 0, concurrency)
      for (let round = 0; round < ROUNDS && operations.some(({ outcome }) => outcome === undefined); round++) {
        await host.settle()
        for (const reply of random.shuffle(host.held.splice(0))) reply.deliver()
      }
      host.release()
      await bench.succeed(host, operations)
    }),
    randomCheck('takes an answer once that comes twice', subject, runs, async (random) => {
      await using bound = await bench.bound(random)
      const { host, instance } = bound
      host.replies = 'hold'
      const old: HeldReply[] = []
      for (let round = 0; round < 3; round++) {
        const operations = bench.begin(host, instance, round * concurrency, concurrency)
        await trickle(host, random, operations, (reply) => {
          reply.deliver()
          if (reply.kind !== 'completion') return
          if (random.chance(1, 2)) reply.deliver()
          else old.push(reply)
        })
        host.release()
        await bench.succeed(host, operations)
        host.replies = 'hold'
        for (const reply of random.shuffle(old.splice(0))) reply.deliver()
        await host.settle()
        host.expectNoError()
      }
      host.release()
      await bench.works(host, instance)
    }),
    randomCheck('ignores completions of what it has not asked for', subject, runs, async (random) => {
      await using bound = await bench.bound(random)
      const { host, instance } = bound
      host.replies = 'hold'
      const operations = bench.begin(host, instance, 0, concurrency)
      await host.settle()
      const [channel] = host.channels
      for (let packet = 0; packet < 40; packet++) {
        // Ids in use with another high half, and ids that are far away.
        const low = random.chance(1, 2) ? random.below(100) : 0x8000_0000 + random.below(100)
        const high = low < 100 ? 1 + random.below(9) : 0
        channel?.inject('completion', random.bytes(random.below(100)), low, high)
        if (random.chance(1, 4)) await host.steps(3)
      }
      await host.settle()
      host.release(random)
      await bench.succeed(host, operations)
      await bench.works(host, instance)
    }),
    randomCheck('survives packets that nobody asked for', subject, runs, async (random) => {
      await using bound = await bench.bound(random)
      const { host, instance } = bound
      const operations = bench.begin(host, instance, 0, concurrency)
      for (let packet = 0; packet < 40; packet++) {
        host.channels[0]?.inject('packet', random.bytes(random.below(100)), random.u32(), random.below(3))
        if (random.chance(1, 4)) await host.steps(3)
      }
      await host.settle()
      host.expectNoError()
      await bench.ended(host, operations)
      await host.unbind()
      await bench.works(host, await host.bind(subject.driver))
    }),
    randomCheck(
      'survives wrong answers: operations end, callbacks do not throw, and it starts anew',
      subject,
      2 * runs,
      async (random) => {
        await using bound = await bench.bound(random)
        const { host, instance } = bound
        host.replies = 'hold'
        const operations = bench.begin(host, instance, 0, concurrency)
        await host.settle()
        const onlyCompletions = host.held.every(({ kind }) => kind === 'completion')
        await trickle(host, random, operations, (reply) => {
          reply.deliver(random.chance(1, 2) ? garbled(random, reply) : undefined)
        })
        host.release()
        await host.settle()
        host.expectNoError()
        if (onlyCompletions) await bench.ended(host, operations)
        await host.unbind()
        await bench.ended(host, operations)
        await bench.works(host, await host.bind(subject.driver))
      },
    ),
    randomCheck(
      'puts up with a ring that is full, and loses nothing',
      subject,
      Math.max(1, runs / 4),
      async (random) => {
        await using bound = await bench.bound(random)
        const { host, instance } = bound
        host.deaf = true
        const operations = bench.begin(host, instance, 0, subject.burst ?? 400)
        await host.settle()
        host.deaf = false
        await bench.succeed(host, operations)
        await bench.works(host, instance)
      },
    ),
  ]
}

function lifeChecks<Instance extends object>(bench: VscBench<Instance>): ComplianceCheck[] {
  const { subject, runs, concurrency } = bench
  const { driver } = subject
  return [
    randomCheck(
      'fails what waits when its device is taken away, and what comes after',
      subject,
      runs,
      async (random) => {
        await using bound = await bench.bound(random)
        const { host, instance } = bound
        host.replies = 'hold'
        const operations = bench.begin(host, instance, 0, concurrency)
        await host.steps(random.below(30))
        await host.rescind()
        await host.settle()
        await host.unbind()
        // What could do without the host may have ended well.
        await bench.ended(host, operations)
        host.held.length = 0
        host.replies = 'pass'
        host.offer()
        await host.settle()
        await bench.works(host, await host.bind(driver))
      },
    ),
    randomCheck('fails what waits when it is stopped, and what comes after', subject, runs, async (random) => {
      await using bound = await bench.bound(random)
      const { host, instance } = bound
      const { device } = host
      host.replies = 'hold'
      const operations = bench.begin(host, instance, 0, concurrency)
      await host.steps(random.below(30))
      await host.unbind()
      await bench.ended(host, operations)
      if (device !== undefined) {
        let late: unknown
        const operation = Promise.resolve(subject.operate(instance, 0, device)).catch((error: unknown) => {
          late = error
        })
        await host.run(operation, 'an operation after the end')
        if (late === undefined) fail('an operation after the end is said to have succeeded')
        expectNoBlunder(late, 'an operation after the end')
      }
    }),
    randomCheck(
      'gives up its start when the device goes meanwhile, or the host answers wrongly',
      subject,
      2 * runs,
      async (random, run) => {
        await using host = await bench.boot(random)
        host.replies = 'hold'
        const starting = host.beginBind(driver).then(
          () => undefined,
          (error: unknown) => error,
        )
        const wrong = run % 2 === 1
        for (let reply = 0, last = random.below(8); reply < ROUNDS; reply++) {
          await host.settle()
          const held = host.held.shift()
          if (held === undefined || (!wrong && reply >= last)) break
          held.deliver(wrong && random.chance(1, 3) ? garbled(random, held) : undefined)
        }
        await host.settle()
        await host.rescind()
        await host.settle()
        const device = host.device
        if (device !== undefined) await host.run(device.close(), 'the closing of the device')
        const error = await host.run(starting, 'a start whose device is gone')
        if (error !== undefined) expectNoBlunder(error, 'the start')
        await host.unbind()
        host.expectNoError()
      },
    ),
    plainCheck('says so when the host refuses to open its channel', async () => {
      await using host = await bench.boot()
      await host.rescind()
      await host.settle()
      const { offer } = subject.host(host.clock)
      host.pair.server.offer({ offer, open: () => undefined })
      await host.settle()
      const error = await host.bind(driver).then(
        () => fail('it has started all the same'),
        (reason: unknown) => reason,
      )
      expectNoBlunder(error, 'the start')
    }),
    plainCheck('gives back what it took when it is stopped, and can be started again', async () => {
      await using host = await bench.boot()
      const before = host.pair.memory.allocations
      for (let round = 0; round < 3; round++) {
        const instance = await host.bind(driver)
        await bench.works(host, instance)
        await host.unbind()
        expectEqual(host.pair.memory.allocations, before, 'pieces of memory that were not given back')
        expectEqual(host.channels.length, 0, 'channels that are open')
      }
      expectEqual(host.pair.client.pendingRequests, 0, 'requests to the bus without an answer')
    }),
    plainCheck('lets no memory leak while it works', async () => {
      await using bound = await bench.bound()
      const { host, instance } = bound
      await bench.succeed(host, bench.begin(host, instance, 0, concurrency))
      const before = host.pair.memory.allocations
      for (let first = 0; first < 10 * concurrency; first += concurrency)
        await bench.succeed(host, bench.begin(host, instance, first, concurrency))
      const after = host.pair.memory.allocations
      expectThat(after <= before + 4, `${after} pieces of memory are taken instead of ${before}`)
    }),
    randomCheck('sleeps and wakes up, in the middle of things, and goes on', subject, runs, async (random) => {
      await using bound = await bench.bound(random)
      const { host } = bound
      let instance: Instance & VscInstance = bound.instance
      for (let round = 0; round < 2; round++) {
        const sleeps = instance.suspend !== undefined && instance.resume !== undefined
        const operations = sleeps ? bench.begin(host, instance, 0, concurrency) : []
        await host.steps(random.below(20))
        if (sleeps) {
          await host.suspend()
          // What is asked of it in its sleep waits.
          operations.push(...bench.begin(host, instance, 100, random.below(4)))
          await host.steps(random.below(10))
          await host.resume()
          await bench.succeed(host, operations)
        } else {
          await host.suspend()
          instance = await host.bind(driver)
        }
        await bench.works(host, instance)
      }
    }),
  ]
}

/**
 * The checks of a driver, for any test runner. `vscCompliance` of `@partita/testkit/vitest` makes tests of them.
 *
 * @example
 * ```ts
 * import { scriptedHost, vscChecks } from '@partita/testkit'
 * import { ChannelRequests, defineVscDriver } from '@partita/vmbus/client'
 *
 * const offer = { interfaceId: '7f6c1a10-0000-4000-8000-000000000001', instanceId: '7f6c1a10-0000-4000-8000-000000000002' }
 * const host = () => scriptedHost(offer, (packet) => packet.payload())
 * const operate = async (echo: { echo(bytes: Uint8Array): Promise<Uint8Array> }, n: number) => {
 *   if ((await echo.echo(Uint8Array.of(n)))[0] !== n) throw new Error('this is no echo')
 * }
 * const driver = defineVscDriver({
 *   name: 'echo',
 *   interfaceIds: [offer.interfaceId],
 *   async start(device) {
 *     const requests = new ChannelRequests(await device.open())
 *     return { echo: (bytes: Uint8Array) => requests.send(bytes), stop: () => requests.fail(new Error('stopped')) }
 *   },
 * })
 * for (const check of vscChecks({ driver, host, operate })) test(check.name, check.run)
 * ```
 */
export function vscChecks<Instance extends object>(subject: VscSubject<Instance>): readonly ComplianceCheck[] {
  const bench = new VscBench(subject)
  const { driver } = subject
  return [
    plainCheck('is a driver with a name, for the interface that its host offers', async () => {
      await using host = await bench.boot()
      if (driver.name.trim() === '') fail('it has no name')
      for (const id of driver.interfaceIds) if (!GUID.test(id)) fail(`no GUID in lower case: ${id}`)
      const [offer] = host.pair.client.offers
      expectThat(
        offer !== undefined && driver.interfaceIds.includes(offer.interfaceId),
        `it is not for ${offer?.interfaceId}`,
      )
    }),
    plainCheck('starts, and does what programs ask of it', async () => {
      await using bound = await bench.bound()
      await bench.works(bound.host, bound.instance, 12)
    }),
    ...answerChecks(bench),
    ...lifeChecks(bench),
  ]
}
