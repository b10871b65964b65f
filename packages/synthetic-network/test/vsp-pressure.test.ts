// What a network adapter does when the guest, the ring or the network has no room.

import { Frame, transportChecksumIsRight } from '@partita/ethernet'
import { FRAME_FLAG } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { makePartial, packet } from '../../ethernet/test/packets.ts'
import { data, frameFor, headersOf, MAC } from './frames.ts'
import { LinuxGuest } from './linux-guest.ts'

describe('pressure', () => {
  it('of frames when the guest has all sections: the network waits, and goes on', async () => {
    const guest = await new LinuxGuest().up(0x60001, { receivePages: 16 })
    const { network, pair } = guest.machine
    guest.lazy = true
    let taken = 0
    while (network.deliver(frameFor(60)) && taken < 1000) taken++
    // Some are kept for the control channel, which goes on.
    expect(taken).toBe(guest.sectionCount - (guest.sectionCount >> 2))
    await pair.settle()
    expect((await guest.query(0x10106)).status).toBe(0)
    expect(guest.device.statistics.receiveNoBuffer).toBe(1)
    expect(network.resumes).toBe(0)
    for (const { type, transaction } of guest.answers) if (type === 7) guest.giveBack(transaction)
    await pair.settle()
    expect(network.resumes).toBe(1)
    expect(network.deliver(frameFor(60))).toBe(true)
  })

  it('of a frame of more segments than the guest has sections: each of them comes once, in order', async () => {
    for (const [version, coalescing] of [
      [4, false],
      [6, false],
      [4, true],
    ] as const) {
      const guest = await new LinuxGuest().up(0x60001, { receivePages: 16 })
      const { network, pair } = guest.machine
      // Parts of a large packet are too many as well.
      const parameters = new Uint8Array(28)
      parameters.set([0x80, 3, 28, 0])
      parameters.set([2, 2], 22)
      if (coalescing) expect(await guest.set(0xfc01020c, parameters)).toBe(0)
      guest.lazy = true
      const payload = data(60_000)
      const made = packet({ version, protocol: 'tcp', payload })
      made.bytes.set(MAC)
      makePartial(made, version)
      const frame = new Frame().plain(made.bytes)
      frame.flags = FRAME_FLAG.CHECKSUM_PARTIAL | (version === 4 ? FRAME_FLAG.GSO_TCP4 : FRAME_FLAG.GSO_TCP6)
      frame.checksumStart = made.transport
      frame.checksumOffset = made.checksum
      frame.gsoSize = 1000
      const received: Uint8Array[] = []
      let offers = 0
      for (let taken = false; !taken; offers++) {
        expect(offers).toBeLessThan(20)
        taken = network.adapter.receive(frame)
        network.adapter.receiveEnd()
        await pair.settle()
        for (const answer of guest.answers.splice(0)) {
          if (answer.type !== 7) continue
          for (const range of answer.ranges.keys()) {
            const view = guest.rangeOf(answer, range)
            const start = view.byteOffset + 8 + view.getUint32(8, true)
            const bytes = new Uint8Array(view.buffer.slice(start, start + view.getUint32(12, true)))
            const headers = headersOf(bytes)
            expect(transportChecksumIsRight(bytes, headers)).toBe(true)
            received.push(bytes.slice(headers.payload))
          }
          guest.giveBack(answer.transaction)
        }
        await pair.settle()
      }
      expect(offers).toBeGreaterThan(1)
      expect(received).toHaveLength(60)
      expect(Buffer.concat(received)).toEqual(Buffer.from(payload))
      expect([guest.device.statistics.receiveErrors, guest.device.sectionsInFlight]).toEqual([0, 0])
    }
  })

  it('of frames and answers when the ring to the guest is full', async () => {
    const guest = new LinuxGuest()
    await guest.open(1)
    await guest.connect(0x60001, { receivePages: 256 })
    await guest.initialize()
    await guest.set(0x1010e, Uint8Array.of(0x0d, 0, 0, 0))
    const { network, pair } = guest.machine
    guest.lazy = true
    // The guest does not look at its ring.
    const signalled = guest.channel.signalled.bind(guest.channel)
    guest.channel.signalled = () => undefined
    let taken = 0
    while (network.deliver(frameFor(60)) && taken < 5000) taken++
    expect(taken).toBeGreaterThan(20)
    // Packets of the guest wait as well, in their ring: no answer has room.
    let sent = 0
    const frame = guest.place(guest.dataMessage(frameFor(60)))
    try {
      for (; sent < 200; sent++) guest.send(guest.rndisMessage(0), frame)
    } catch {
      // full
    }
    await pair.settle()
    expect(sent).toBeGreaterThan(10)
    expect(network.sent.length).toBeLessThan(sent)
    guest.channel.signalled = signalled
    signalled()
    await pair.settle()
    expect(network.sent).toHaveLength(sent)
    expect(guest.answers.filter(({ type }) => type === 11)).toHaveLength(sent)
    expect(guest.answers.filter(({ type }) => type === 7).flatMap(({ ranges }) => ranges)).toHaveLength(taken)
    for (const { type, transaction } of guest.answers) if (type === 7) guest.giveBack(transaction)
    await pair.settle()
    expect(guest.device.sectionsInFlight).toBe(0)
    expect(network.resumes).toBeGreaterThan(0)
  })

  it('of the network: packets wait for it, complete later, in order, and nothing is lost or sent twice', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    network.room = 3
    const three = (from: number): Uint8Array =>
      Uint8Array.from([0, 1, 2].flatMap((n) => [...guest.dataMessage(frameFor(60 + from + n))]))
    for (const from of [0, 3, 6]) guest.send(guest.rndisMessage(0), guest.place(three(from)))
    await pair.settle()
    const done = (): number => guest.answers.filter(({ type }) => type === 11).length
    expect([network.sent.length, done(), guest.device.waiting]).toEqual([3, 1, 2])
    for (const [room, frames, completed] of [
      [1, 4, 1],
      [2, 6, 2],
      [2, 8, 2],
      [9, 9, 3],
    ] as const) {
      network.room = room
      network.adapter.writable()
      await pair.settle()
      expect([network.sent.length, done()]).toEqual([frames, completed])
    }
    expect(network.sent.map(({ bytes }) => bytes.length)).toEqual([60, 61, 62, 63, 64, 65, 66, 67, 68])
    expect(guest.device.waiting).toBe(0)
  })

  it('of the network in the middle of a large send', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    const payload = data(10_000)
    const made = packet({ version: 4, protocol: 'tcp', payload })
    network.room = 4
    guest.send(guest.rndisMessage(0), guest.place(guest.dataMessage(made.bytes, [[2, 1000 | (34 << 20)]])))
    await pair.settle()
    expect(network.sent).toHaveLength(4)
    network.room = 100
    network.adapter.writable()
    await pair.settle()
    expect(Uint8Array.from(network.sent.flatMap(({ bytes }) => [...bytes.subarray(54)]))).toEqual(payload)
    expect(guest.device.statistics.largeSends).toBe(1)
  })

  it('of a network that never has room: what is too much is lost, and the guest is not held up', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    network.room = 0
    const frame = guest.place(guest.dataMessage(frameFor(60)))
    for (let round = 0; round < 10; round++) {
      for (let sent = 0; sent < 100; sent++) guest.send(guest.rndisMessage(0), frame)
      await pair.settle()
    }
    expect(guest.device.waiting).toBe(256)
    expect(guest.device.statistics.transmitDiscards).toBe(1000 - 256)
    expect(guest.answers.filter(({ type }) => type === 11)).toHaveLength(1000 - 256)
    // Completions of received frames are not behind them.
    network.deliver(frameFor(60))
    await pair.settle()
    expect(guest.device.sectionsInFlight).toBe(0)
  })

  it('of control messages: more than a few at a time are busy', async () => {
    const guest = await new LinuxGuest().up(0x60001, { receivePages: 8 })
    const { pair } = guest.machine
    guest.lazy = true
    const request = new Uint8Array(28)
    new DataView(request.buffer).setUint32(0, 4, true)
    request.set([28], 4)
    const pages = guest.place(request)
    for (let sent = 0; sent < 60; sent++) guest.send(guest.rndisMessage(1), pages)
    await pair.settle()
    const statuses = guest.answers.filter(({ type }) => type === 11).map(({ view }) => view.getUint32(4, true))
    expect(statuses).toHaveLength(60)
    expect(statuses.filter((status) => status === 6).length).toBe(60 - 16 - guest.sectionCount - 1)
    const huge = { byteOffset: 0, byteCount: 9000, pages: [1, 2, 3] }
    expect((await guest.ask(guest.rndisMessage(1), [huge])).view.getUint32(4, true)).toBe(5)
  })
})
