// Features of version 6.0: what a guest asks for and gets, and what they do.
import { describe, expect, it } from 'vitest'
import { contiguousRange, gpadlMessages } from '../src/client.ts'
import { FEATURE, formatMessage, MESSAGE_TYPE, SUPPORTED_FEATURES, VMBUS_VERSION } from '../src/protocol.ts'
import { RingMemory, RingWriter } from '../src/ring.ts'
import { VmbusPair } from '../src/testing.ts'
import { EchoDevice, INSTANCES } from './devices.ts'

const PAGE = 4096

/** A guest that writes its messages itself. */
class Guest {
  readonly device: EchoDevice = new EchoDevice()
  readonly pair: VmbusPair = new VmbusPair()
  /** What came, by name. */
  readonly received: string[] = []

  constructor() {
    this.pair.server.offer(this.device)
  }

  post(type: number, ...words: number[]): void {
    this.pair.server.receiveMessage(new Uint8Array(Uint32Array.of(type, 0, ...words).buffer))
    this.take()
  }

  take(): void {
    for (let payload = this.pair.takeMessage(); payload !== undefined; payload = this.pair.takeMessage())
      this.received.push(formatMessage(payload))
  }

  /** Words of the answer to a contact. */
  contact(version: number, features: number, ...more: number[]): number[] {
    const { server } = this.pair
    server.receiveMessage(
      new Uint8Array(
        Uint32Array.of(MESSAGE_TYPE.INITIATE_CONTACT, 0, version, 0, 2, features, 0, 0, 0, 0, ...more).buffer,
      ),
    )
    const answer = this.pair.takeMessage()
    return answer === undefined ? [] : [...new Uint32Array(answer.slice().buffer)]
  }

  /** The offers, and two rings of two pages for channel 1 as GPADL `id`; returns the page where they begin. */
  prepare(id = 7): number {
    this.post(MESSAGE_TYPE.REQUEST_OFFERS)
    return this.ring(1, id)
  }

  ring(relid: number, id: number): number {
    const { memory, server } = this.pair
    const pages = memory.allocatePages(6)
    const first = Math.min(...pages)
    for (const message of gpadlMessages(relid, id, [contiguousRange(first * PAGE, 6 * PAGE)]))
      server.receiveMessage(message)
    this.take()
    return first
  }

  open(id = 7, relid = 1, ...more: number[]): void {
    this.post(MESSAGE_TYPE.OPEN_CHANNEL, relid, 1, id, 0, 3, ...new Array(30).fill(0), ...more)
  }

  /** Write a packet that wants an echo into the ring that begins at a page. */
  send(first: number): void {
    const { memory } = this.pair
    const ring = RingMemory.fromBuffer(memory.bytes.buffer, memory.bytes.byteOffset + first * PAGE, 3 * PAGE)
    const writer = ring === undefined ? undefined : RingWriter.open(ring)
    writer?.writeInBand(new Uint8Array(8))
    expect(writer?.commit()).toBeDefined()
  }
}

describe('features', () => {
  it('are granted from 6.0 on, as far as they are asked for and there', () => {
    const guest = new Guest()
    for (const [asked, granted] of [
      [0, 0],
      [0xff & ~FEATURE.CLIENT_ID, SUPPORTED_FEATURES & ~FEATURE.CLIENT_ID],
      [FEATURE.PAUSE_RESUME | FEATURE.GPA_PINNING, FEATURE.PAUSE_RESUME],
      [0xffff_ff00, 0],
    ] as const) {
      expect(guest.contact(VMBUS_VERSION.V6_0, asked)).toEqual([15, 0, 1, 4, granted])
      expect(guest.pair.server.features).toBe(granted)
    }
    // Before, the words are an address, and the answer has no such field.
    expect(guest.contact(VMBUS_VERSION.V5_3, 0xff)).toEqual([15, 0, 1, 4])
    expect(guest.pair.server.features).toBe(0)
  })

  it('need not be asked for: messages of theirs are then nonsense', () => {
    const guest = new Guest()
    guest.contact(VMBUS_VERSION.V6_0, 0)
    const before = guest.pair.server.faults
    for (const type of [MESSAGE_TYPE.MODIFY_CONNECTION, MESSAGE_TYPE.PAUSE, MESSAGE_TYPE.RESUME])
      guest.post(type, 0, 0, 0, 0)
    expect(guest.pair.server.faults).toBe(before + 3)
    expect(guest.received).toEqual([])
  })

  it('let a client say who it is, in a message that is long enough', () => {
    const guest = new Guest()
    expect(guest.contact(VMBUS_VERSION.V6_0, FEATURE.CLIENT_ID, 1, 2, 3, 4)).toEqual([15, 0, 1, 4, FEATURE.CLIENT_ID])
    expect(guest.contact(VMBUS_VERSION.V6_0, FEATURE.CLIENT_ID, 1, 2, 3)).toEqual([])
    expect(guest.pair.server.version).toBe(VMBUS_VERSION.V6_0)
  })
})

describe('signal parameters of the guest', () => {
  const opened = () => {
    const guest = new Guest()
    guest.pair.server.offer(new EchoDevice(INSTANCES[1]))
    guest.contact(VMBUS_VERSION.V6_0, FEATURE.GUEST_SPECIFIED_SIGNAL_PARAMETERS | FEATURE.CHANNEL_INTERRUPT_REDIRECTION)
    const first = guest.prepare()
    guest.received.length = 0
    return { guest, first }
  }

  it('replace the numbers of the offer, through saves and restores', async () => {
    const { guest, first } = opened()
    const { pair } = guest
    guest.open(7, 1, 0x3456, 99)
    expect(guest.received).toEqual(['OPEN_CHANNEL_RESULT relid=1 openId=1 status=0x0'])
    expect([pair.hasPort(1), pair.signal(0x2001)]).toEqual([false, false])
    guest.send(first)
    expect(pair.signal(0x3456)).toBe(true)
    expect([...pair.interruptedVp.keys()]).toEqual([99])
    pair.interruptedVp.clear()
    pair.migrate([guest.device, new EchoDevice(INSTANCES[1])])
    expect(pair.server.features).toBe(0x03)
    // After a restore every open channel is signalled.
    expect([...pair.interruptedVp.keys()]).toEqual([99])
    guest.send(first)
    expect(pair.signal(0x3456)).toBe(true)
    expect(pair.server.channels()[0]?.counters.packetsIn).toBe(1)
    guest.post(MESSAGE_TYPE.CLOSE_CHANNEL, 1)
    expect(pair.signal(0x3456)).toBe(false)
  })

  it('are refused when they are no numbers of events, or another channel’s', () => {
    const { guest } = opened()
    const refused = 'OPEN_CHANNEL_RESULT relid=1 openId=1 status=0xc000000d'
    for (const [connectionId, eventFlag] of [
      [4, 1],
      [0x1fff, 1],
      [0x2001, 2048],
      [0x2001, 0xffff],
    ] as const) {
      guest.open(7, 1, connectionId, eventFlag)
      expect(guest.received.splice(0)).toEqual([refused])
    }
    guest.open(7, 1, 0x5000, 0)
    expect(guest.received.splice(0)).toEqual(['OPEN_CHANNEL_RESULT relid=1 openId=1 status=0x0'])
    guest.ring(2, 8)
    guest.received.length = 0
    guest.open(8, 2, 0x5000, 2)
    expect(guest.received.splice(0)).toEqual(['OPEN_CHANNEL_RESULT relid=2 openId=1 status=0xc000000d'])
    guest.open(8, 2, 0x5001, 2)
    expect(guest.received.splice(0)).toEqual(['OPEN_CHANNEL_RESULT relid=2 openId=1 status=0x0'])
  })

  it('are expected when they were agreed on: a message without them is too short', () => {
    const { guest } = opened()
    const before = guest.pair.server.faults
    guest.open()
    expect(guest.received).toEqual([])
    expect(guest.pair.server.faults).toBe(before + 1)
  })
})

describe('the modification of a connection', () => {
  it('gives it other monitor pages, or none, and refuses half of a pair', () => {
    const guest = new Guest()
    const { memory, server } = guest.pair
    Object.assign(guest.device.offer, { monitored: true })
    const [old, fresh] = memory.allocatePages(2) as [number, number]
    server.receiveMessage(
      new Uint8Array(
        Uint32Array.of(14, 0, VMBUS_VERSION.V6_0, 0, 2, FEATURE.MODIFY_CONNECTION, old * PAGE, 0, old * PAGE, 0).buffer,
      ),
    )
    guest.take()
    const first = guest.prepare()
    guest.open()
    const monitored = (page: number): boolean => {
      const { signalsIn } = server.channels()[0]?.counters ?? { signalsIn: 0 }
      guest.send(first)
      memory.writeU32(page * PAGE + 8, 1)
      server.pollMonitors()
      memory.writeU32(page * PAGE + 8, 0)
      return (server.channels()[0]?.counters.signalsIn ?? 0) > signalsIn
    }
    expect([monitored(old), monitored(fresh)]).toEqual([true, false])
    guest.received.length = 0
    guest.post(MESSAGE_TYPE.MODIFY_CONNECTION, fresh * PAGE, 0, fresh * PAGE, 0)
    expect([monitored(old), monitored(fresh)]).toEqual([false, true])
    guest.post(MESSAGE_TYPE.MODIFY_CONNECTION, 0, 0, fresh * PAGE, 0)
    expect(monitored(fresh)).toBe(true)
    guest.post(MESSAGE_TYPE.MODIFY_CONNECTION, 0, 0, 0, 0)
    expect(monitored(fresh)).toBe(false)
    expect(guest.received).toEqual([
      'MODIFY_CONNECTION_RESPONSE connectionState=0',
      'MODIFY_CONNECTION_RESPONSE connectionState=2',
      'MODIFY_CONNECTION_RESPONSE connectionState=0',
    ])
  })
})

describe('paused messages', () => {
  const paused = () => {
    const guest = new Guest()
    guest.contact(VMBUS_VERSION.V6_0, FEATURE.PAUSE_RESUME)
    guest.prepare()
    guest.open()
    guest.received.length = 0
    return guest
  }

  it('wait behind the answer until the guest resumes, in their order', () => {
    const guest = paused()
    const { server } = guest.pair
    guest.post(MESSAGE_TYPE.PAUSE)
    void server.offer(new EchoDevice(INSTANCES[1]))
    void server.offer(new EchoDevice(INSTANCES[2]))
    guest.take()
    expect(guest.received).toEqual(['PAUSE_RESPONSE'])
    expect(server.queuedMessages).toBe(2)
    const before = server.faults
    guest.post(MESSAGE_TYPE.CLOSE_CHANNEL, 1)
    expect(server.faults).toBe(before + 1)
    expect(guest.device.log).toEqual(['open 0'])
    guest.post(MESSAGE_TYPE.RESUME)
    expect(guest.received.map((line) => line.split(' ')[0])).toEqual([
      'PAUSE_RESPONSE',
      'OFFER_CHANNEL',
      'OFFER_CHANNEL',
    ])
    guest.post(MESSAGE_TYPE.CLOSE_CHANNEL, 1)
    expect(guest.device.log).toEqual(['open 0', 'close 0'])
  })

  it('do not hold back the answer, nor what was under way', () => {
    const guest = paused()
    const { server, pair } = { server: guest.pair.server, pair: guest.pair }
    // The slot is taken, and one more waits.
    void server.offer(new EchoDevice(INSTANCES[1]))
    void server.offer(new EchoDevice(INSTANCES[2]))
    server.receiveMessage(new Uint8Array(Uint32Array.of(MESSAGE_TYPE.PAUSE, 0).buffer))
    void server.offer(new EchoDevice('00000000-0000-8899-0000-0000000000ff'))
    const names: string[] = []
    for (let payload = pair.takeMessage(); payload !== undefined; payload = pair.takeMessage())
      names.push(formatMessage(payload).split(' ')[0] as string)
    expect(names).toEqual(['OFFER_CHANNEL', 'OFFER_CHANNEL', 'PAUSE_RESPONSE'])
    expect(server.queuedMessages).toBe(1)
  })

  it('stay paused through a save and a restore, with what waits', () => {
    const guest = paused()
    const second = new EchoDevice(INSTANCES[1])
    void guest.pair.server.offer(second)
    guest.take()
    guest.received.length = 0
    guest.post(MESSAGE_TYPE.PAUSE)
    const third = new EchoDevice(INSTANCES[2])
    void guest.pair.server.offer(third)
    guest.pair.migrate([guest.device, second, third])
    guest.take()
    expect(guest.received).toEqual(['PAUSE_RESPONSE'])
    expect(guest.pair.server.queuedMessages).toBe(1)
    guest.post(MESSAGE_TYPE.RESUME)
    expect(guest.received.map((line) => line.split(' ')[0])).toEqual(['PAUSE_RESPONSE', 'OFFER_CHANNEL'])
  })

  it('end with the connection', () => {
    for (const type of ['unload', 'contact'] as const) {
      const guest = paused()
      guest.post(MESSAGE_TYPE.PAUSE)
      void guest.pair.server.offer(new EchoDevice(INSTANCES[1]))
      guest.received.length = 0
      if (type === 'unload') guest.post(MESSAGE_TYPE.UNLOAD)
      else guest.contact(VMBUS_VERSION.V6_0, 0)
      expect(guest.received).toEqual(type === 'unload' ? ['UNLOAD_COMPLETE'] : [])
      expect(guest.pair.server.queuedMessages).toBe(0)
      guest.contact(VMBUS_VERSION.V6_0, 0)
      guest.post(MESSAGE_TYPE.REQUEST_OFFERS)
      expect(guest.received.filter((line) => line.startsWith('OFFER'))).toHaveLength(2)
    }
  })
})
