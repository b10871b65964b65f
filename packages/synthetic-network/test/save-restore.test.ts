// An adapter that goes on in another process: with frames in the guest's hands, answers that wait, and all settings.

import { Frame } from '@partita/ethernet'
import { describe, expect, it } from 'vitest'
import { NetworkDevice } from '../src/vsp.ts'
import { LinuxGuest } from './linux-guest.ts'
import { deviceOptions, type Machine } from './machine.ts'
import { TestNetwork } from './test-network.ts'

const frameFor = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length).fill(length & 255)
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0xb5])
  return bytes
}

/** Put another device in the place of the machine's, with its state; `early`: before the bus opens the channels. */
function migrate(machine: Machine, early: boolean): TestNetwork {
  machine.device.stop()
  const state = structuredClone(machine.device.save())
  const network = new TestNetwork()
  const device = new NetworkDevice(deviceOptions)
  device.connect(network, {})
  if (early) device.restore(state)
  device.stop()
  machine.pair.migrate([device])
  if (!early) device.restore(state)
  device.start()
  machine.device = device
  return network
}

describe('an adapter', () => {
  for (const early of [true, false]) {
    it(`goes on with its settings and buffers, restored ${early ? 'before' : 'after'} the channels`, async () => {
      const guest = await new LinuxGuest().up()
      const { machine } = guest
      const { pair } = machine
      guest.lazy = true
      for (const length of [60, 70, 80]) machine.network.deliver(frameFor(length))
      await pair.settle()
      const held = guest.answers.filter(({ type, view }) => type === 7 && view.getUint32(4, true) === 0)
      expect(held).toHaveLength(3)
      const before = machine.device.sectionsInFlight
      const network = migrate(machine, early)
      await pair.settle()
      expect(machine.device.sectionsInFlight).toBe(before)
      expect(machine.device.statistics.received.directedFrames).toBe(3)
      // The guest gives back what it got before.
      for (const { transaction } of held) guest.giveBack(transaction)
      await pair.settle()
      expect(machine.device.sectionsInFlight).toBe(before - 3)
      expect((await guest.query(0x1010e)).info.getUint32(0, true)).toBe(0x0d)
      guest.writeSendBuffer(0, guest.dataMessage(frameFor(99)))
      await guest.ask(guest.rndisMessage(0, 0, 143))
      expect(network.sent.map(({ bytes }) => bytes)).toEqual([frameFor(99)])
      network.deliver(frameFor(64))
      await pair.settle()
      expect(guest.answers.at(-1)?.ranges[0]?.[1]).toBe(44 + 64)
    })
  }

  it('completes what waited for the network, which is lost', async () => {
    const guest = await new LinuxGuest().up()
    const { machine } = guest
    machine.network.room = 0
    for (let sent = 0; sent < 5; sent++) guest.send(guest.rndisMessage(0), guest.place(guest.dataMessage(frameFor(60))))
    await machine.pair.settle()
    expect(machine.device.waiting).toBe(5)
    migrate(machine, false)
    await machine.pair.settle()
    expect(guest.answers.filter(({ type }) => type === 11)).toHaveLength(5)
  })

  it('sends answers that had no room before it was saved', async () => {
    const guest = new LinuxGuest()
    await guest.open(1)
    await guest.connect(0x60001, { receivePages: 256 })
    await guest.initialize()
    await guest.set(0x1010e, Uint8Array.of(0x0d, 0, 0, 0))
    const { machine } = guest
    guest.lazy = true
    const signalled = guest.channel.signalled.bind(guest.channel)
    guest.channel.signalled = () => undefined
    while (machine.network.deliver(frameFor(60)));
    const before = guest.answers.length
    for (let sent = 0; sent < 3; sent++) guest.send(guest.rndisMessage(0), guest.place(guest.dataMessage(frameFor(60))))
    await machine.pair.settle()
    expect(guest.answers).toHaveLength(before)
    const network = migrate(machine, true)
    guest.channel.signalled = signalled
    await machine.pair.settle()
    expect(guest.answers.filter(({ type }) => type === 11)).toHaveLength(3)
    expect(machine.network.sent.length + network.sent.length).toBe(3)
  })

  it('waits while it is stopped: nothing is taken from either side', async () => {
    const guest = await new LinuxGuest().up()
    const { network, pair } = guest.machine
    guest.device.stop()
    expect(network.adapter.receive(new Frame().plain(frameFor(60)))).toBe(false)
    guest.send(guest.rndisMessage(0), guest.place(guest.dataMessage(frameFor(60))))
    await pair.settle()
    expect(network.sent).toHaveLength(0)
    guest.device.start()
    await pair.settle()
    expect([network.sent.length, network.resumes]).toEqual([1, 1])
  })

  it('refuses states that are none', async () => {
    const guest = await new LinuxGuest().up()
    guest.device.stop()
    const state = guest.device.save()
    const fresh = (): NetworkDevice => new NetworkDevice(deviceOptions)
    expect(() => fresh().restore({ ...state, version: 2 })).toThrow(/no saved state/)
    expect(() => fresh().restore({ version: 1, data: {} })).toThrow(/no saved state/)
    const adapter = {
      ...(state.data['adapter'] as object),
      scaling: { enabled: true, hashTypes: 0, key: new Uint8Array(40), table: [9] },
    }
    expect(() => fresh().restore({ version: 1, data: { ...state.data, adapter } as never })).toThrow(/no saved state/)
  })

  it('is as new after a reset', async () => {
    const guest = await new LinuxGuest().up()
    guest.machine.network.deliver(frameFor(60))
    guest.device.stop()
    await guest.machine.pair.run(guest.channel.close())
    guest.device.reset()
    guest.device.start()
    expect([guest.device.version, guest.device.initialized, guest.device.statistics.received.directedFrames]).toEqual([
      0,
      false,
      0,
    ])
    await guest.up()
    expect(guest.device.initialized).toBe(true)
  })
})
