// A guest and a network whose behaviour is spelled out by bytes, like the input of a fuzzer: set-up, control and data messages, completions, buffers that are taken back,
// channels that are closed and opened, saving; frames for the guest, a network that has no room, links that change. After each input everything has to add up: each packet
// that asked for it is answered once, no part of the receive buffer is given out twice, all of it comes back, no byte outside of it has changed.

import { Frame, FrameHeaders } from '@partita/ethernet'
import { FRAME_FLAG, type GuestBuffer, VMBUS_PACKET } from '@partita/interface'
import { FakeClock } from '@partita/testkit'
import { PieceList } from '@partita/vmbus/ring'
import { SharedMemory } from '@partita/vmbus/testing'
import { makePartial } from '../../../ethernet/test/packets.ts'
import { OID } from '../../src/protocol.ts'
import { NetworkDevice } from '../../src/vsp.ts'
import { MAC } from '../frames.ts'
import { deviceOptions } from '../machine.ts'
import { CheckedNetwork } from './checked-network.ts'
import { type ChannelWitness, FakeChannel, FuzzFailure } from './fake-channel.ts'
import { Input } from './input.ts'
import { largePacket } from './large-packet.ts'

const PAGE = 4096
const PAGES = 160
/** Numbers of GPADLs, and their pages: two receive buffers, a send buffer, and one that is no buffer. */
const GPADLS: Readonly<Record<number, readonly (readonly [number, number])[]>> = {
  1: [[16, 16]],
  2: [
    [40, 3],
    [48, 5],
    [64, 1],
  ],
  3: [[80, 8]],
  4: [[100, 2]],
}
const BAD_GPADL = 5
/** Those with objects that a guest sets. */
const SET_OBJECTS: readonly number[] = [
  OID.GEN_CURRENT_PACKET_FILTER,
  OID.GEN_RECEIVE_SCALE_PARAMETERS,
  OID.GEN_RNDIS_CONFIG_PARAMETER,
  OID.ETHERNET_MULTICAST_LIST,
  OID.OFFLOAD_ENCAPSULATION,
  OID.TCP_OFFLOAD_PARAMETERS,
]
/** All that have a name, some of them more often, and one that has not. */
export const OIDS: readonly number[] = [...Object.values(OID), 0x12345, ...SET_OBJECTS, ...SET_OBJECTS]
const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(OID).map(([name, oid]) => [oid, name]))
/** Messages: QUERY and SET most of all. */
export const CONTROL_TYPES: readonly number[] = [4, 4, 4, 5, 5, 5, 5, 2, 3, 6, 8, 9, 1, 0x80000002]
const VERSIONS = [2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001, 0x70000]
const TYPES = [0, 2, 99, 102, 105, 109, 120, 128, 129, 131, 132, 134, 135, 136, 0xffffffff]
const UNTOUCHED: Uint8Array = new Uint8Array(PAGE).fill(0x5a)

/** What an input led to. */
export interface Outcome {
  readonly steps: number
  readonly features: ReadonlySet<string>
}

/** Run an input. @throws FuzzFailure when something does not add up */
export function runInput(bytes: Uint8Array): Outcome {
  return new Run(bytes).run()
}

class Run implements ChannelWitness {
  readonly #input: Input
  readonly #memory = new SharedMemory(PAGES * PAGE)
  readonly #features: Set<string> = new Set()
  readonly #clock = new FakeClock()
  #network = this.#makeNetwork()
  #device = this.#makeDevice()
  #channels: FakeChannel[] = []
  /** Parts of the receive buffer that the guest has: channel, transaction, ranges. */
  #outstanding: { channel: FakeChannel; transaction: number; ranges: [number, number][] }[] = []
  /** By the number of a request: the name of what it asks for or sets. */
  readonly #named: Map<number, string> = new Map()
  /** Frames of the network that were turned away. */
  #turnedAway: Frame | undefined
  /** The receive buffer that they are parts of. */
  #buffer: NetworkDevice['receiveBuffer']
  readonly #lost: Set<number> = new Set()
  #next = 1
  /** Of control messages. */
  #request = 1
  #steps = 0
  #stopped = false
  /** The group of the step before. */
  #before = -1

  constructor(bytes: Uint8Array) {
    this.#input = new Input(bytes)
    this.#memory.bytes.fill(0x5a)
  }

  #makeNetwork(): CheckedNetwork {
    const network = new CheckedNetwork()
    network.room = 50
    network.onResume = () => this.#feature('resume')
    return network
  }

  #makeDevice(): NetworkDevice {
    const device = new NetworkDevice({ ...deviceOptions, clock: this.#clock })
    device.connect(this.#network, {})
    return device
  }

  #feature(name: string): void {
    this.#features.add(name)
  }

  /** With another receive buffer nothing is left of the one before, and no guest gives back what it has not. */
  #sync(): void {
    const { receiveBuffer } = this.#device
    if (receiveBuffer === this.#buffer) return
    this.#buffer = receiveBuffer
    this.#outstanding = []
    for (const channel of this.#channels) channel?.forgetCompletions()
  }

  get #bufferPages(): readonly (readonly [number, number])[] {
    return GPADLS[this.#buffer?.gpadlId ?? 0] ?? []
  }

  // ── what the channels tell ──

  gpadl(id: number): GuestBuffer | undefined {
    if (this.#lost.has(id)) return undefined
    const list = new PieceList()
    if (id === BAD_GPADL) {
      list.add(100, 5000)
      return list
    }
    for (const [page, count] of GPADLS[id] ?? []) list.add(page * PAGE, count * PAGE)
    return list.byteLength > 0 ? list : undefined
  }

  offered(count: number): number {
    return count
  }

  transferred(
    channel: FakeChannel,
    transaction: number,
    pageSet: number,
    ranges: Uint32Array,
    payload: Uint8Array,
  ): void {
    this.#sync()
    if (pageSet !== this.#buffer?.id) throw new FuzzFailure(`page set ${pageSet}`)
    if (payload.length !== 28 && payload.length !== 40)
      throw new FuzzFailure(`${payload.length} bytes with transfer pages`)
    const size = this.#bufferPages.reduce((sum, [, count]) => sum + count * PAGE, 0)
    const mine: [number, number][] = []
    for (let at = 0; at < ranges.length; at += 2) {
      const length = ranges[at] as number
      const offset = ranges[at + 1] as number
      if (length === 0 || offset + length > size)
        throw new FuzzFailure(`${length} bytes at ${offset} of a receive buffer of ${size}`)
      mine.push([offset, length])
      const type = this.#word(offset)
      if (this.#word(offset + 4) !== length) throw new FuzzFailure('a message whose length is not its range')
      if (type !== 0x80000004 && type !== 0x80000005) this.#feature(`message ${type} `)
      else {
        const status = this.#word(offset + 12)
        this.#feature(`message ${type} ${status}`)
        this.#feature(`${this.#named.get(this.#word(offset + 8)) ?? 'another'} ${status}`)
      }
    }
    if (ranges.length > 2) this.#feature('several ranges')
    for (const other of this.#outstanding)
      for (const [offset, length] of other.ranges)
        for (const [from, count] of mine)
          if (from < offset + length && offset < from + count)
            throw new FuzzFailure('a section that the guest has is used again')
    if (this.#outstanding.some((other) => other.transaction === transaction))
      throw new FuzzFailure('a transaction twice')
    this.#outstanding.push({ channel, transaction, ranges: mine })
  }

  #word(offset: number): number {
    let value = 0
    for (let byte = 3; byte >= 0; byte--) {
      let at = offset + byte
      for (const [page, count] of this.#bufferPages) {
        if (at < count * PAGE) {
          value = value * 256 + (this.#memory.bytes[page * PAGE + at] as number)
          break
        }
        at -= count * PAGE
      }
    }
    return value
  }

  answered(payload: Uint8Array): void {
    if (payload.length < 8) return
    const view = new DataView(payload.buffer, payload.byteOffset)
    const type = view.getUint32(0, true)
    const status = view.getUint32(type === 2 ? 12 : 4, true)
    // What PD_API answers with is what it was asked.
    this.#feature(`answer ${type} ${type === 135 ? '' : status}`)
  }

  // ── the guest ──

  #open(index: number, restored = false): FakeChannel | undefined {
    const channel = new FakeChannel(this, this.#memory, index)
    channel.restored = restored
    const handler = this.#device.open(channel)
    if (handler === undefined) return undefined
    channel.handler = handler
    this.#channels[index] = channel
    return channel
  }

  #close(index: number): void {
    const channel = this.#channels[index]
    if (channel === undefined) return
    channel.isOpen = false
    void channel.handler?.close?.()
    channel.handler = undefined
    delete this.#channels[index]
    this.#outstanding = this.#outstanding.filter((other) => index !== 0 && other.channel !== channel)
  }

  #reopen(): void {
    for (const index of [3, 2, 1, 0]) this.#close(index)
    this.#sync()
    this.#lost.clear()
    this.#open(0)
  }

  #message(type: number, fill?: (view: DataView) => void, size = 40): Uint8Array {
    const payload = new Uint8Array(size)
    const view = new DataView(payload.buffer)
    view.setUint32(0, type, true)
    fill?.(view)
    return payload
  }

  #push(channel: FakeChannel, payload: Uint8Array, pieces: readonly (readonly [number, number])[] = []): void {
    const input = this.#input
    const odd = input.u8()
    if (odd >= 240) for (let change = 0; change < odd % 4; change++) payload[input.u8() % payload.length] = input.u8()
    const cut = odd === 239 ? payload.subarray(0, input.u8() % 41) : payload
    channel.push({
      type: pieces.length > 0 ? VMBUS_PACKET.GPA_DIRECT : VMBUS_PACKET.IN_BAND,
      flags: odd === 238 ? 0 : 1,
      low: this.#next++,
      high: 7,
      payload: cut,
      pieces,
    })
    channel.serve()
  }

  #setUp(channel: FakeChannel): void {
    const input = this.#input
    const version = input.u8() < 200 ? 0x60001 : input.pick(VERSIONS)
    const plain = (payload: Uint8Array, pieces: readonly (readonly [number, number])[] = []): void => {
      channel.push({
        type: pieces.length > 0 ? VMBUS_PACKET.GPA_DIRECT : VMBUS_PACKET.IN_BAND,
        flags: 1,
        low: this.#next++,
        high: 7,
        payload,
        pieces,
      })
      channel.serve()
    }
    plain(
      this.#message(1, (view) => {
        view.setUint32(4, version, true)
        view.setUint32(8, version, true)
      }),
    )
    const mtu = input.u8() < 200 ? 1514 : 14 + input.u16()
    plain(
      this.#message(125, (view) => {
        view.setUint32(4, mtu, true)
        view.setUint32(12, 0xff, true)
      }),
    )
    plain(
      this.#message(100, (view) => {
        view.setUint32(4, 6, true)
        view.setUint32(8, input.u8() < 200 ? 30 : input.u8(), true)
      }),
    )
    this.#giveReceiveBuffer(1, plain)
    plain(this.#message(104, (view) => view.setUint32(4, 3, true)))
    plain(
      this.#message(107, (view) => {
        view.setUint32(4, 1, true)
        view.setUint32(8, 0xffffffff, true)
      }),
      this.#place([2, 24, 1, 1, 0, 0x4000]),
    )
    plain(
      this.#message(107, (view) => {
        view.setUint32(4, 1, true)
        view.setUint32(8, 0xffffffff, true)
      }),
      this.#place([5, 32, 2, 0x1010e, 4, 20, 0, 0x2f]),
    )
    if (input.u8() < 100)
      plain(
        this.#message(133, (view) => {
          view.setUint32(4, 1, true)
          view.setUint32(8, 2, true)
        }),
      )
  }

  #giveReceiveBuffer(gpadl: number, send: (payload: Uint8Array) => void): void {
    send(
      this.#message(101, (view) => {
        view.setUint32(4, gpadl, true)
        view.setUint16(8, 0xcafe, true)
      }),
    )
  }

  /** Words in the guest's memory. */
  #place(words: readonly number[], at: number = 2 * PAGE): (readonly [number, number])[] {
    const view = new DataView(this.#memory.bytes.buffer, at)
    for (const [index, word] of words.entries()) view.setUint32(index * 4, word, true)
    return [[at, words.length * 4]]
  }

  /** Bytes in the guest's memory, in pieces of it. */
  #scatter(bytes: Uint8Array): (readonly [number, number])[] {
    const input = this.#input
    const pieces: (readonly [number, number])[] = []
    let at = input.u16() % PAGE
    for (let from = 0; from < bytes.length; ) {
      const count = Math.min(bytes.length - from, 1 + (input.u8() << 4), 12 * PAGE - at)
      this.#memory.bytes.set(bytes.subarray(from, from + count), at)
      pieces.push([at, count])
      from += count
      at = (at + count + 64) % (11 * PAGE)
    }
    if (input.u8() > 250) pieces.push([2 ** (20 + (input.u8() % 40)), 1 + input.u16()])
    return pieces
  }

  #control(channel: FakeChannel): void {
    const input = this.#input
    const type = input.pick(CONTROL_TYPES)
    const oid = input.u8() > 250 ? input.u32() : input.pick(OIDS)
    const info: number[] = []
    if (oid === OID.GEN_RECEIVE_SCALE_PARAMETERS && input.u8() < 200) {
      const entries = 1 << (input.u8() % 9)
      info.push(
        0x0089 | (2 << 8) | (40 << 16),
        input.u8() & 0x1f,
        0x1701,
        entries * 4,
        40,
        40,
        40 + entries * 4,
        0,
        0,
        0,
      )
      for (let entry = 0; entry < entries; entry++) info.push(input.u8() % 5)
      for (let word = 0; word < 10; word++) info.push(input.u32())
    } else if (oid === OID.TCP_OFFLOAD_PARAMETERS && input.u8() < 200) {
      info.push(0x80 | (3 << 8) | (28 << 16), input.u32(), input.u32(), input.u32(), 0, input.u32() << 16, 0)
    } else if (oid === OID.OFFLOAD_ENCAPSULATION && input.u8() < 200) {
      info.push(0xa8 | (1 << 8) | (28 << 16))
      for (let family = 0; family < 2; family++) info.push(input.u8() % 3, input.u8() < 200 ? 2 : input.u32(), 14)
    } else if (oid === OID.GEN_RNDIS_CONFIG_PARAMETER && input.u8() < 200) {
      const value = Array.from({ length: 12 }, () => '0123456789abcdefX'[input.u8() % 17]).join('')
      const strings = Buffer.from(`NetworkAddress${value}`, 'utf16le')
      info.push(20, 28, 2, 48, value.length * 2)
      for (let at = 0; at < strings.length; at += 4) info.push(strings.readUInt32LE(at))
    } else if (oid === OID.GEN_CURRENT_PACKET_FILTER) info.push(input.u8())
    else for (let count = input.u8() % 12; count > 0; count--) info.push(input.u32())
    const words = [type, 28 + info.length * 4, this.#request++, oid, info.length * 4, 20, 0, ...info]
    for (let change = input.u8() > 220 ? input.u8() % 3 : 0; change > 0; change--)
      words[input.u8() % words.length] = input.u32()
    const name = NAMES.get(words[3] as number)
    if (name !== undefined) this.#named.set(words[2] as number, `${words[0] === 4 ? 'query' : 'set'} ${name}`)
    const bytes = new Uint8Array(words.length * 4)
    const view = new DataView(bytes.buffer)
    for (const [index, word] of words.entries()) view.setUint32(index * 4, word >>> 0, true)
    this.#push(
      channel,
      this.#message(107, (message) => {
        message.setUint32(4, 1, true)
        message.setUint32(8, 0xffffffff, true)
      }),
      this.#scatter(bytes),
    )
  }

  /** An RNDIS data message. */
  #dataMessage(): Uint8Array {
    const input = this.#input
    const frame = this.#frame()
    const infos: [number, number][] = []
    for (let count = input.u8() % 4; count > 0; count--) {
      const type = input.pick([0, 2, 6, 8, 0x80000001, 99])
      const value =
        type === 2 && input.u8() < 200
          ? (input.u16() % 2000) + (34 << 20) + (input.u8() % 4) * 0x40000000
          : input.u32() | (input.u8() % 32)
      infos.push([type, value >>> 0])
    }
    const headers = 44 + infos.length * 16
    const bytes = new Uint8Array(headers + frame.length + (input.u8() % 9))
    const view = new DataView(bytes.buffer)
    for (const [at, word] of [
      1,
      bytes.length,
      headers - 8,
      frame.length,
      0,
      0,
      0,
      infos.length === 0 ? 0 : 36,
      infos.length * 16,
    ].entries())
      view.setUint32(at * 4, word, true)
    for (const [index, [type, value]] of infos.entries()) {
      const at = 44 + index * 16
      for (const [word, content] of [16, type, 12, value].entries()) view.setUint32(at + word * 4, content, true)
    }
    bytes.set(frame, headers)
    for (let change = input.u8() > 220 ? input.u8() % 3 : 0; change > 0; change--)
      view.setUint32((input.u8() % Math.floor(headers / 4)) * 4, input.u32(), true)
    return bytes
  }

  #frame(): Uint8Array {
    const input = this.#input
    const kind = input.u8()
    if (kind < 60) {
      const bytes = new Uint8Array(input.u16() % 1700).fill(kind)
      bytes.set(MAC.slice(0, bytes.length))
      return bytes
    }
    const version = (kind & 1) !== 0 ? 4 : 6
    const protocol = (kind & 2) !== 0 ? 'tcp' : 'udp'
    const length = kind > 230 ? input.u16() % 20_000 : input.u16() % 1400
    const bytes = largePacket(version, protocol, (input.u8() % 3) * 4, (kind & 4) !== 0 ? 8 : 0, length, kind)
    if ((kind & 24) === 24 && version === 4) bytes.set([0, 0], 16)
    for (let change = input.u8() > 200 ? input.u8() % 4 : 0; change > 0; change--)
      bytes[input.u8() % bytes.length] = input.u8()
    return bytes
  }

  #data(channel: FakeChannel): void {
    const input = this.#input
    const messages: Uint8Array[] = []
    for (let count = 1 + (input.u8() % 3); count > 0; count--) messages.push(this.#dataMessage())
    const bytes = Buffer.concat(messages)
    const kind = input.u8()
    if (kind < 100) {
      this.#push(
        channel,
        this.#message(107, (view) => view.setUint32(8, 0xffffffff, true)),
        this.#scatter(bytes),
      )
      return
    }
    const section = kind > 250 ? input.u32() : kind % 5
    const inSection = Math.min(bytes.length, kind < 160 ? input.u16() % 6145 : 6144)
    this.#memory.bytes.set(bytes.subarray(0, inSection), 80 * PAGE + Math.min(section % 5, 4) * 6144)
    this.#push(
      channel,
      this.#message(107, (view) => {
        view.setUint32(8, section, true)
        view.setUint32(12, input.u8() > 250 ? input.u32() : inSection, true)
      }),
      inSection < bytes.length ? this.#scatter(bytes.subarray(inSection)) : [],
    )
  }

  #giveBack(): void {
    this.#sync()
    const input = this.#input
    const index = input.u8()
    const held = this.#outstanding[index % Math.max(1, this.#outstanding.length)]
    if (index > 240 || held === undefined) {
      const low = input.u32()
      this.#channels[0]?.push({
        type: VMBUS_PACKET.COMPLETION,
        flags: 0,
        low,
        // Ids of sections are small: none of them is hit.
        high: low < 1000 ? 1 : 0,
        payload: new Uint8Array(0),
        pieces: [],
      })
      this.#channels[0]?.serve()
      return
    }
    this.#returnOne(held)
  }

  #returnOne(held: { channel: FakeChannel; transaction: number }): void {
    this.#outstanding = this.#outstanding.filter((other) => other !== held)
    // Straight into the ring, whatever waits there: the guest may count on that.
    held.channel.incoming.push({
      type: VMBUS_PACKET.COMPLETION,
      flags: 0,
      low: held.transaction,
      high: 0,
      payload: new Uint8Array(8),
      pieces: [],
    })
    held.channel.serve()
  }

  // ── the network ──

  #deliver(): void {
    const input = this.#input
    const frame = this.#turnedAway ?? new Frame()
    if (this.#turnedAway === undefined) {
      const kind = input.u8()
      frame.plain(this.#frame())
      const headers = new FrameHeaders()
      if (headers.parse(frame.bytes, 0, frame.end) && headers.payload > 0 && !headers.fragment && kind < 200) {
        const field = headers.transport + headers.checksumField
        if ((kind & 1) !== 0) frame.flags |= FRAME_FLAG.CHECKSUM_VALID
        else {
          makePartial({ bytes: frame.bytes, transport: headers.transport, checksum: field }, headers.ipVersion as 4 | 6)
          frame.flags |= FRAME_FLAG.CHECKSUM_PARTIAL
          frame.checksumStart = headers.transport
          frame.checksumOffset = field
          if ((kind & 2) !== 0 && headers.protocol === 6) {
            frame.flags |= headers.ipVersion === 4 ? FRAME_FLAG.GSO_TCP4 : FRAME_FLAG.GSO_TCP6
            frame.gsoSize = 1 + (input.u16() % 2000)
          }
        }
      }
      if ((kind & 4) !== 0) {
        frame.flags |= FRAME_FLAG.VLAN
        frame.vlan = input.u16()
      }
    }
    const taken = this.#device.receive(frame)
    this.#feature(`deliver ${taken} ${frame.flags}`)
    this.#turnedAway = taken ? undefined : frame
    if (!taken || input.u8() < 160) this.#device.receiveEnd()
  }

  #migrate(): void {
    this.#device.stop()
    this.#sync()
    const state = structuredClone(this.#device.save())
    const old = this.#channels
    for (const channel of old) if (channel !== undefined) channel.isOpen = false
    this.#network = this.#makeNetwork()
    this.#device = this.#makeDevice()
    const early = (this.#input.u8() & 1) !== 0
    if (early) this.#device.restore(state)
    this.#device.stop()
    this.#channels = []
    for (const before of old) {
      if (before === undefined) continue
      const channel = this.#open(before.subChannelIndex, true)
      if (channel === undefined) throw new FuzzFailure('a channel that was open is refused')
      channel.incoming.push(...before.incoming)
      for (const id of before.asked) channel.asked.add(id)
      channel.room = before.room
      for (const held of this.#outstanding) if (held.channel === before) held.channel = channel
    }
    if (!early) this.#device.restore(state)
    this.#buffer = this.#device.receiveBuffer
    this.#stopped = false
    this.#device.start()
    for (const channel of this.#channels) channel?.serve()
    this.#feature('migrated')
  }

  // ── the whole ──

  #step(): void {
    const input = this.#input
    const action = input.u8()
    const channel = this.#channels[action >= 192 ? 1 + (action % 3) : 0] ?? this.#channels[0]
    if (channel === undefined) return
    // What follows what.
    const kind = Math.min(action % 64, 52)
    const group = kind < 20 ? kind : kind < 30 ? 20 : kind < 40 ? 21 : kind < 52 ? 22 : 23
    this.#feature(`${this.#before} then ${group}`)
    this.#before = group
    switch (action % 64) {
      case 0:
        this.#setUp(channel)
        break
      case 1:
        this.#reopen()
        break
      case 2: {
        const index = 1 + (input.u8() % 3)
        if (this.#channels[index] === undefined) this.#open(index)
        else this.#close(index)
        break
      }
      case 3:
        if (!this.#stopped) this.#migrate()
        break
      case 4:
        if (this.#stopped) this.#device.start()
        else this.#device.stop()
        this.#stopped = !this.#stopped
        for (const each of this.#channels) each?.serve()
        break
      case 5: {
        const id = 1 + (input.u8() % 4)
        this.#lost.add(id)
        void this.#channels[0]?.handler?.gpadlTeardown?.(id)
        break
      }
      case 6: {
        this.#push(
          channel,
          this.#message(input.pick([103, 106]), (view) => view.setUint16(4, input.pick([0xcafe, 0, 1]), true)),
        )
        break
      }
      case 7:
        this.#lost.clear()
        if (channel.subChannelIndex === 0)
          this.#giveReceiveBuffer(input.pick([1, 2]), (payload) => this.#push(channel, payload))
        break
      case 8:
        this.#push(
          channel,
          this.#message(104, (view) => view.setUint32(4, input.pick([3, 4, 5, 9]), true)),
        )
        break
      case 9:
        this.#push(
          channel,
          this.#message(input.pick(TYPES), (view) => view.setUint32(4, input.u32(), true)),
        )
        break
      case 10:
        this.#push(
          channel,
          this.#message(133, (view) => {
            view.setUint32(4, input.u8() % 3, true)
            view.setUint32(8, input.u8() % 6, true)
          }),
        )
        break
      case 11:
        this.#push(
          channel,
          this.#message(1, (view) => {
            view.setUint32(4, input.pick(VERSIONS), true)
            view.setUint32(8, input.pick(VERSIONS), true)
          }),
        )
        break
      case 12:
        this.#memory.bytes.fill(input.u8(), 0, 12 * PAGE)
        break
      case 13:
        this.#network.linkUp = (input.u8() & 1) !== 0
        this.#network.linkSpeed = input.u32() * 1e6
        this.#network.mtu = 1280 + (input.u16() % 9000)
        this.#device.portChanged()
        break
      case 14:
        this.#network.accepts = input.u8() & 31
        break
      case 15:
      case 16:
        this.#network.room = input.u8() % 40
        this.#device.writable()
        break
      case 17:
      case 18:
      case 19:
        channel.consume()
        break
      default:
        if (action % 64 < 30) this.#giveBack()
        else if (action % 64 < 40) this.#control(channel)
        else if (action % 64 < 52) this.#data(channel)
        else this.#deliver()
    }
    if (this.#device.waiting > 4 * 256) throw new FuzzFailure(`${this.#device.waiting} packets wait`)
  }

  run(): Outcome {
    this.#open(0)
    while (!this.#input.ended) {
      this.#steps++
      this.#step()
      if (this.#steps % 4 === 0) this.#tick()
    }
    this.#settle()
    this.#check()
    return { steps: this.#steps, features: this.#features }
  }

  /** Half a millisecond passes. */
  #tick(): void {
    this.#clock.advance(500_000)
    for (const channel of this.#channels) channel?.tick()
  }

  #settle(): void {
    if (this.#stopped) this.#device.start()
    this.#network.room = Number.POSITIVE_INFINITY
    for (let round = 0; round < 400; round++) {
      this.#device.writable()
      for (const channel of this.#channels) {
        channel?.consume()
        channel?.serve()
      }
      this.#sync()
      for (const held of this.#outstanding.slice()) if (held.channel.isOpen) this.#returnOne(held)
      this.#device.receiveEnd()
      if (
        this.#outstanding.length === 0 &&
        this.#device.waiting === 0 &&
        this.#device.sectionsInFlight === 0 &&
        this.#channels.every(
          (channel) => channel === undefined || (channel.incoming.length === 0 && channel.asked.size === 0),
        )
      )
        break
    }
  }

  #check(): void {
    for (const channel of this.#channels) {
      if (channel === undefined) continue
      if (channel.incoming.length > 0) throw new FuzzFailure(`${channel.incoming.length} packets were not taken`)
      if (channel.asked.size > 0) throw new FuzzFailure(`${channel.asked.size} packets were not answered`)
    }
    if (this.#device.waiting !== 0) throw new FuzzFailure(`${this.#device.waiting} packets wait still`)
    if (this.#device.sectionsInFlight !== 0)
      throw new FuzzFailure(`${this.#device.sectionsInFlight} sections did not come back`)
    for (const index of [3, 2, 1, 0]) this.#close(index)
    for (let page = 12; page < PAGES; page++) {
      // Receive buffers, and the send buffer, which the harness writes to.
      if (
        (page >= 16 && page < 32) ||
        (page >= 40 && page < 43) ||
        (page >= 48 && page < 53) ||
        page === 64 ||
        (page >= 80 && page < 88)
      )
        continue
      const bytes = Buffer.from(this.#memory.bytes.buffer, page * PAGE, PAGE)
      if (bytes.compare(UNTOUCHED) !== 0) throw new FuzzFailure(`page ${page} changed, which nobody named`)
    }
  }
}
