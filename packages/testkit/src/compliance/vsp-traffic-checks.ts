// Checks of a provider's traffic: packets that make no sense or come in the wrong order, rings that are full, guests that change their memory while it
// is read, and requests that get lost.

import { VMBUS_COMPLETION_REQUESTED } from '@partita/interface'
import { contiguousRange } from '@partita/vmbus/client'
import type { Sent } from '../fake-guest.ts'
import { type ComplianceCheck, expectThat, fail, randomCheck } from './check.ts'
import { sendNonsense, templates } from './vsp-nonsense.ts'
import type { VspBench } from './vsp-subject.ts'

/** Packets of a run of nonsense. */
const NONSENSE = 80
/** Requests that a guest sends without looking at an answer. */
const FLOOD = 6000

export function vspTrafficChecks(bench: VspBench): ComplianceCheck[] {
  const { subject } = bench
  const { request } = subject
  const checks: ComplianceCheck[] = [
    randomCheck(
      'survives packets that make no sense, and answers none of them twice',
      subject,
      bench.runs,
      async (random) => {
        await using guest = await bench.opened(random, random.below(bench.setup.length + 1))
        const like = await templates(bench, guest)
        for (let sent = 0; sent < NONSENSE; sent++) {
          if (!sendNonsense(random, guest, random.pick(like))) {
            await guest.settle()
            // The provider has given the channel up, which it may.
            if (!sendNonsense(random, guest, random.pick(like))) break
          }
          if (random.chance(1, 8)) await guest.steps(random.below(5))
        }
        await guest.settle()
        await guest.advance(1e9)
        guest.expectNoViolation()
        if (guest.packets.length > NONSENSE + 64) fail(`${guest.packets.length} packets in reply to ${NONSENSE}`)
        await bench.serves(guest)
      },
    ),
    randomCheck(
      'survives set-up and requests in any order, and then serves a guest that does it right',
      subject,
      bench.runs,
      async (random) => {
        await using guest = await bench.boot(random)
        await bench.open(guest)
        const like = await templates(bench, guest)
        for (const exchange of random.shuffle([...like, ...like])) {
          const { payload, buffer, answer } = exchange
          const flags = answer === undefined || answer === 'completion' ? VMBUS_COMPLETION_REQUESTED : 0
          if (buffer === undefined) guest.sendRaw(payload, 'in-band', flags)
          else {
            const block = guest.memory.allocateBlock(buffer.size) ?? fail('the guest has no memory left')
            guest.sendRaw(payload, 'gpa-direct', flags, [contiguousRange(block.gpa, block.size)])
          }
          if (random.chance(1, 2)) await guest.steps(4)
        }
        await guest.settle()
        guest.expectNoViolation()
        await bench.serves(guest)
      },
    ),
  ]
  if (request === undefined) return checks
  return [
    ...checks,
    randomCheck(
      'loses nothing and repeats nothing when the ring to the guest is full',
      subject,
      bench.runs / 4,
      async (random) => {
        await using guest = await bench.boot(random)
        const { interfaceId } = subject
        // A small ring back fills first.
        if (!(await guest.tryOpen({ interfaceId, upstream: 4, downstream: 1 }))) await bench.open(guest)
        await bench.setUp(guest)
        guest.asleep = true
        const sent: Sent[] = []
        for (let idle = 0; idle < 3 && sent.length < FLOOD; ) {
          const more = await bench.requests(guest, sent.length, 1 + random.below(200))
          sent.push(...more)
          await guest.steps(random.below(20))
          if (more.length === 0 || random.chance(1, 8)) await guest.advance(50e6)
          idle = more.length === 0 ? idle + 1 : 0
        }
        await guest.settle()
        guest.asleep = false
        await bench.answered(guest, sent)
        guest.expectNoViolation()
        await bench.answered(guest, await bench.requests(guest, 0, 3))
      },
    ),
    randomCheck('takes no more than it can hold from a guest that never reads', subject, 2, async (random) => {
      await using guest = await bench.opened(random)
      const { relid } = guest.channel
      const before = await guest.stateSize()
      guest.asleep = true
      let sent = 0
      for (let idle = 0; idle < 3 && sent < FLOOD; ) {
        const more = (await bench.requests(guest, sent, 500)).length
        sent += more
        await guest.advance(50e6)
        idle = more === 0 ? idle + 1 : 0
      }
      const counters = guest.pair.server.channels().find((channel) => channel.relid === relid)?.counters
      const held = (counters?.packetsIn ?? 0) - (counters?.packetsOut ?? 0)
      const most = subject.maximumInFlight ?? 1024
      expectThat(held <= most, `it has taken ${held} packets that it has not answered`)
      const size = await guest.stateSize()
      if (size > before + (subject.maximumState ?? 65_536)) fail(`its state has grown to ${size} bytes`)
      guest.expectNoViolation()
    }),
    randomCheck(
      'reads what a guest changes meanwhile once, and is not led astray',
      subject,
      bench.runs,
      async (random) => {
        await using guest = await bench.opened(random)
        const sent: Sent[] = []
        guest.memory.onAccess = () => guest.scribble(random)
        for (let n = 0; n < 40; n++) {
          const one = await bench.request(guest, n)
          if (one !== undefined) sent.push(one)
          if (random.chance(1, 3)) await guest.steps(random.below(6))
        }
        await guest.until(() =>
          sent.every(({ answer, exchange }) => answer !== undefined || exchange.answer === 'none'),
        )
        guest.memory.onAccess = undefined
        const missing = sent.filter(({ answer, exchange }) => answer === undefined && exchange.answer !== 'none')
        if (missing.length > 0) fail(`${missing.length} requests were never answered`)
        guest.expectNoViolation()
        await bench.serves(guest)
      },
    ),
    randomCheck(
      'lets no request leak: after many of them it is as it was before',
      subject,
      bench.runs / 4,
      async (random) => {
        await using guest = await bench.opened(random)
        const before = await guest.stateSize()
        const timers = guest.machine.clock.armedTimers
        for (let n = 0; n < 400; ) {
          const sent = await bench.requests(guest, n, 1 + random.below(40))
          n += Math.max(1, sent.length)
          await guest.steps(random.below(8))
          if (random.chance(1, 4)) await guest.advance(random.below(1e9))
          await bench.answered(guest, sent)
        }
        guest.expectNoViolation()
        const after = await guest.stateSize()
        expectThat(after <= before + 256, `its state has grown from ${before} to ${after} bytes`)
        const armed = guest.machine.clock.armedTimers
        expectThat(armed <= timers + 2, `${armed} timers are armed instead of ${timers}`)
      },
    ),
    randomCheck('serves any order of requests, pauses, saves and openings', subject, bench.runs, async (random) => {
      await using guest = await bench.opened(random)
      let sent: Sent[] = []
      for (let action = 0; action < 40; action++) {
        switch (random.below(12)) {
          case 0:
            guest.asleep = !guest.asleep
            break
          case 1:
            await guest.pause()
            await guest.resume()
            break
          case 2:
            if (random.chance(1, 3)) await guest.migrate()
            break
          case 3:
            if (!random.chance(1, 4)) break
            if (random.chance(1, 2)) await guest.close()
            else await guest.connect()
            await bench.open(guest)
            await bench.setUp(guest)
            sent = []
            break
          case 4:
            await guest.advance(random.below(100e6))
            break
          case 5:
          case 6:
            await guest.steps(random.below(10))
            break
          default:
            sent.push(...(await bench.requests(guest, random.below(1000), random.below(30))))
        }
      }
      guest.asleep = false
      await bench.answered(guest, sent)
      guest.expectNoViolation()
      await bench.serves(guest)
    }),
  ]
}
