// Completions of small packets wait for company, so that the guest takes one interrupt for a packet that is sent and for the answer to it.

import { FakeClock } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import { frameFor } from './frames.ts'
import { LinuxGuest } from './linux-guest.ts'
import { Machine } from './machine.ts'

const HALF_A_MILLISECOND = 500_000

async function upWithClock(): Promise<{ guest: LinuxGuest; clock: FakeClock; signals: () => number }> {
  const clock = new FakeClock()
  const guest = await new LinuxGuest(new Machine({ clock })).up()
  const counters = (): number => guest.machine.pair.server.channels()[0]?.counters.signalsOut ?? Number.NaN
  return { guest, clock, signals: counters }
}

/** Send a frame in a section of the send buffer. */
function sendSmall(guest: LinuxGuest, length = 60): number {
  const message = guest.dataMessage(frameFor(length))
  guest.writeSendBuffer(0, message)
  return guest.send(guest.rndisMessage(0, 0, message.length))
}

const completed = (guest: LinuxGuest): number => guest.answers.filter(({ type }) => type === 11).length

describe('a completion of a small packet', () => {
  it('is signalled with the frame that comes next', async () => {
    const { guest, signals } = await upWithClock()
    const { network, pair } = guest.machine
    guest.answers.length = 0
    const before = signals()
    sendSmall(guest)
    await pair.settle()
    expect([network.sent.length, signals() - before, completed(guest)]).toEqual([1, 0, 0])
    expect(network.deliver(frameFor(60))).toBe(true)
    await pair.settle()
    expect(signals() - before).toBe(1)
    expect(guest.answers.map(({ type }) => type)).toEqual([11, 7])
  })

  it('is signalled within a millisecond when nothing comes', async () => {
    const { guest, clock, signals } = await upWithClock()
    const { pair } = guest.machine
    guest.answers.length = 0
    const before = signals()
    sendSmall(guest)
    await pair.settle()
    clock.advance(HALF_A_MILLISECOND)
    await pair.settle()
    expect([signals() - before, completed(guest)]).toEqual([0, 0])
    clock.advance(HALF_A_MILLISECOND)
    await pair.settle()
    expect([signals() - before, completed(guest)]).toEqual([1, 1])
    // Nothing waits: nothing ticks.
    expect(clock.nextDeadline).toBe(Number.POSITIVE_INFINITY)
  })

  it('waits for seven others at most', async () => {
    const { guest, signals } = await upWithClock()
    const { pair } = guest.machine
    guest.answers.length = 0
    const before = signals()
    for (let sent = 1; sent <= 8; sent++) {
      expect(completed(guest)).toBe(0)
      sendSmall(guest)
      await pair.settle()
    }
    expect([signals() - before, completed(guest)]).toEqual([1, 8])
  })

  it('is signalled with a large packet, with an answer to a request, and when the VM stops', async () => {
    const { guest } = await upWithClock()
    const { pair } = guest.machine
    guest.answers.length = 0
    sendSmall(guest)
    guest.send(guest.rndisMessage(0), guest.place(guest.dataMessage(frameFor(1000))))
    await pair.settle()
    expect(completed(guest)).toBe(2)

    sendSmall(guest)
    await pair.settle()
    expect(completed(guest)).toBe(2)
    expect((await guest.query(0x10106)).status).toBe(0)
    guest.answers.length = 0

    sendSmall(guest)
    await pair.settle()
    expect(completed(guest)).toBe(0)
    guest.device.stop()
    await pair.settle()
    expect(completed(guest)).toBe(1)
    guest.device.start()
    sendSmall(guest)
    guest.machine.network.deliver(frameFor(60))
    await pair.settle()
    expect(completed(guest)).toBe(2)
  })

  it('of more than 512 bytes, or without a clock, is signalled at once', async () => {
    const { guest } = await upWithClock()
    guest.answers.length = 0
    sendSmall(guest, 600)
    await guest.machine.pair.settle()
    expect(completed(guest)).toBe(1)
    const without = await new LinuxGuest().up()
    without.answers.length = 0
    sendSmall(without)
    await without.machine.pair.settle()
    expect(completed(without)).toBe(1)
  })
})
