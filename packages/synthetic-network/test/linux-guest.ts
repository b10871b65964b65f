// Linux' hv_netvsc, byte by byte, without this package's own structs: the messages that it sends, in its order, and the checks that it makes of the answers.

import { VMBUS_COMPLETION_REQUESTED, type VmbusPacket } from '@partita/interface'
import { type ClientChannel, contiguousRange, type GpaRange } from '@partita/vmbus/client'
import { Machine } from './machine.ts'

/** Linux' sizeof(struct nvsp_message). */
export const NVSP_SIZE = 40
const RECEIVE_BUFFER_ID = 0xcafe

export interface Answer {
  readonly type: number
  readonly transaction: number
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Of transfer pages: offset and length. */
  readonly ranges: readonly (readonly [number, number])[]
}

export class LinuxGuest {
  readonly machine: Machine
  readonly answers: Answer[] = []
  /** Received packets stay with the guest. */
  lazy = false
  channel!: ClientChannel
  receivePages: number[] = []
  sendPages: number[] = []
  sectionSize = 0
  sectionCount = 0
  sendSectionSize = 0
  #transaction = 0
  #request = 0

  constructor(machine: Machine = new Machine()) {
    this.machine = machine
  }

  get device(): Machine['device'] {
    return this.machine.device
  }

  async open(pages = 32): Promise<this> {
    const { pair } = this.machine
    const { client } = pair
    if (client.version === 0) {
      await pair.run(client.connect())
      await pair.run(client.requestOffers())
    }
    const offer = client.offers.find(({ subChannelIndex }) => subChannelIndex === 0)
    if (offer === undefined) throw new Error('no offer')
    this.channel = await pair.run(client.open(offer, pair.rings(pages, pages)))
    this.listen(this.channel)
    return this
  }

  listen(channel: ClientChannel): void {
    channel.onPacket = (packet: VmbusPacket) => {
      const bytes = packet.payload().slice()
      const ranges = Array.from(
        { length: packet.transferRangeCount },
        (_, range) => [packet.transferRangeOffset(range), packet.transferRangeLength(range)] as const,
      )
      this.answers.push({
        type: packet.type,
        transaction: packet.transactionLow,
        bytes,
        view: new DataView(bytes.buffer),
        ranges,
      })
      if (packet.type === 7 && !this.lazy) this.giveBack(packet.transactionLow, channel)
    }
  }

  /** netvsc's completion of a received packet. */
  giveBack(transaction: number, channel: ClientChannel = this.channel): boolean {
    const message = new Uint8Array(8)
    const view = new DataView(message.buffer)
    view.setUint32(0, 108, true)
    view.setUint32(4, 1, true)
    return channel.complete(transaction, 0, message)
  }

  message(type: number, fill?: (view: DataView) => void, size: number = NVSP_SIZE): Uint8Array {
    const bytes = new Uint8Array(size)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, type, true)
    fill?.(view)
    return bytes
  }

  send(message: Uint8Array, ranges: readonly GpaRange[] = [], channel: ClientChannel = this.channel): number {
    const transaction = ++this.#transaction
    const sent =
      ranges.length > 0
        ? channel.sendGpaDirect(ranges, message, transaction)
        : channel.send(message, transaction, 0, VMBUS_COMPLETION_REQUESTED)
    if (!sent) throw new Error('the ring is full')
    return transaction
  }

  /** Send and take the completion. */
  async ask(message: Uint8Array, ranges: readonly GpaRange[] = [], channel?: ClientChannel): Promise<Answer> {
    const transaction = this.send(message, ranges, channel)
    await this.machine.pair.settle()
    return this.take((answer) => answer.type === 11 && answer.transaction === transaction)
  }

  take(match: (answer: Answer) => boolean): Answer {
    const at = this.answers.findIndex(match)
    const [answer] = at < 0 ? [] : this.answers.splice(at, 1)
    if (answer === undefined) throw new Error('no such answer')
    return answer
  }

  async init(version: number): Promise<Answer> {
    return this.ask(
      this.message(1, (view) => {
        view.setUint32(4, version, true)
        view.setUint32(8, version, true)
      }),
    )
  }

  /** netvsc_connect_vsp with one version: INIT, NDIS_CONFIG, NDIS_VER, both buffers. */
  async connect(
    version = 0x60001,
    options: { mtu?: number; receivePages?: number; sendPages?: number } = {},
  ): Promise<{ init: Answer; receive: Answer; send: Answer }> {
    const { pair } = this.machine
    const { client, memory } = pair
    const init = await this.init(version)
    if (init.view.getUint32(12, true) !== 1) throw new Error('no such version')
    if (version > 2) {
      this.channel.send(
        this.message(125, (view) => {
          view.setUint32(4, (options.mtu ?? 1500) + 14, true)
          view.setUint32(12, 0x8 | (version >= 0x50000 ? 0x24 : 0) | (version >= 0x60001 ? 0x80 : 0), true)
        }),
      )
    }
    this.channel.send(
      this.message(100, (view) => {
        view.setUint32(4, 6, true)
        view.setUint32(8, version >= 0x50000 ? 0x1e : 1, true)
      }),
    )
    const buffer = async (count: number, type: number, id: number): Promise<{ pages: number[]; answer: Answer }> => {
      // vmalloc gives pages that lie apart.
      const pages = memory.allocatePages(count, 2)
      const gpadl = await pair.run(
        client.createGpadl(this.channel.relid, [{ byteOffset: 0, byteCount: count * 4096, pages }]),
      )
      const answer = await this.ask(
        this.message(type, (view) => {
          view.setUint32(4, gpadl, true)
          view.setUint16(8, id, true)
        }),
      )
      return { pages, answer }
    }
    const receive = await buffer(options.receivePages ?? 64, 101, RECEIVE_BUFFER_ID)
    this.receivePages = receive.pages
    this.sectionSize = receive.answer.view.getUint32(16, true)
    this.sectionCount = receive.answer.view.getUint32(20, true)
    const send = await buffer(options.sendPages ?? 16, 104, 0)
    this.sendPages = send.pages
    this.sendSectionSize = send.answer.view.getUint32(8, true)
    return { init, receive: receive.answer, send: send.answer }
  }

  /** A request on the control channel, and the RNDIS message that answers it. */
  async rndis(type: number, words: readonly number[], info: Uint8Array = new Uint8Array(0)): Promise<DataView> {
    const { pair } = this.machine
    const request = new Uint8Array(8 + 4 + words.length * 4 + info.length)
    const view = new DataView(request.buffer)
    const id = ++this.#request
    view.setUint32(0, type, true)
    view.setUint32(4, request.length, true)
    view.setUint32(8, id, true)
    for (const [at, word] of words.entries()) view.setUint32(12 + at * 4, word, true)
    request.set(info, 12 + words.length * 4)
    // The struct crosses a page, as kmalloc's may.
    const [page = 0] = pair.memory.allocatePages(2)
    const gpa = page * 4096 + 4096 - 24
    pair.memory.write(gpa, request)
    const completion = await this.ask(this.rndisMessage(1), [contiguousRange(gpa, request.length)])
    if (completion.view.getUint32(0, true) !== 108) throw new Error('not completed')
    const answer = this.take((packet) => packet.type === 7 && packet.view.getUint32(4, true) === 1)
    return this.rangeOf(answer, 0)
  }

  /** SEND_RNDIS_PACKET. */
  rndisMessage(channelType: number, section = 0xffffffff, size = 0): Uint8Array {
    return this.message(107, (view) => {
      view.setUint32(4, channelType, true)
      view.setUint32(8, section, true)
      view.setUint32(12, size, true)
    })
  }

  /** The bytes of one range of a packet of transfer pages. */
  rangeOf(answer: Answer, range: number): DataView {
    const [offset, length] = answer.ranges[range] as readonly [number, number]
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; at++) {
      const page = this.receivePages[Math.floor((offset + at) / 4096)] as number
      bytes[at] = this.machine.pair.memory.bytes[page * 4096 + ((offset + at) % 4096)] as number
    }
    return new DataView(bytes.buffer)
  }

  /** rndis_filter_init_device. */
  async initialize(): Promise<DataView> {
    return this.rndis(2, [1, 0, 0x4000])
  }

  async query(oid: number, info: Uint8Array = new Uint8Array(0)): Promise<{ status: number; info: DataView }> {
    const view = await this.rndis(4, [oid, info.length, 20, 0], info)
    const length = view.getUint32(16, true)
    const offset = view.getUint32(20, true)
    return { status: view.getUint32(12, true), info: new DataView(view.buffer, 8 + offset, length) }
  }

  async set(oid: number, info: Uint8Array): Promise<number> {
    const view = await this.rndis(5, [oid, info.length, 20, 0], info)
    return view.getUint32(12, true)
  }

  /** Everything that rndis_filter_device_add does, and the filter of an interface that is up. */
  async up(
    version = 0x60001,
    options: { mtu?: number; receivePages?: number; sendPages?: number } = {},
  ): Promise<this> {
    await this.open()
    await this.connect(version, options)
    await this.initialize()
    await this.set(0x1010e, Uint8Array.of(0x0d, 0, 0, 0))
    return this
  }

  /** An RNDIS data message as netvsc_xmit builds it. */
  dataMessage(frame: Uint8Array, infos: readonly (readonly [number, number])[] = [], padding = 0): Uint8Array {
    const headers = 44 + infos.length * 16
    const bytes = new Uint8Array(headers + frame.length + padding)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, 1, true)
    view.setUint32(4, bytes.length, true)
    view.setUint32(8, 36 + infos.length * 16, true)
    view.setUint32(12, frame.length, true)
    view.setUint32(28, 36, true)
    view.setUint32(32, infos.length * 16, true)
    for (const [index, [type, value]] of infos.entries()) {
      const at = 44 + index * 16
      view.setUint32(at, 16, true)
      view.setUint32(at + 4, type, true)
      view.setUint32(at + 8, 12, true)
      view.setUint32(at + 12, value, true)
    }
    bytes.set(frame, headers)
    return bytes
  }

  /** Put bytes into the send buffer. */
  writeSendBuffer(offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at++) {
      const page = this.sendPages[Math.floor((offset + at) / 4096)] as number
      this.machine.pair.memory.bytes[page * 4096 + ((offset + at) % 4096)] = bytes[at] as number
    }
  }

  /** Bytes in pages of their own, which lie apart, from `start` of the first page on. */
  place(bytes: Uint8Array, start = 0): GpaRange[] {
    const { memory } = this.machine.pair
    const ranges: GpaRange[] = []
    for (let at = 0; at < bytes.length; ) {
      const offset = ranges.length === 0 ? start : 0
      const count = Math.min(bytes.length - at, 4096 - offset)
      const [page = 0] = memory.allocatePages(1, 2)
      memory.write(page * 4096 + offset, bytes.subarray(at, at + count))
      ranges.push(contiguousRange(page * 4096 + offset, count))
      at += count
    }
    return ranges
  }
}
