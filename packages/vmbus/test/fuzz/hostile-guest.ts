// A guest that does what it should not, and devices that are no better, in a machine whose host checks that it is not hurt. An input is
// a program of steps; the same input does the same again.

import type { SavedState, VmbusChannel, VmbusOffered } from '@partita/interface'
import { gpadlMessages } from '../../src/client.ts'
import {
  EVENT_CONNECTION_BASE,
  formatMessage,
  HV_STATUS,
  MESSAGE_TYPE,
  SUPPORTED_VERSIONS,
} from '../../src/protocol.ts'
import { CONTROL, type GpaRange, RingMemory, RingReader, RingWriter } from '../../src/ring.ts'
import { type VmbusHost, VmbusServer, type VmbusTrace } from '../../src/server.ts'
import { SharedMemory } from '../../src/testing.ts'
import { HostileDevice, type HostileMachine } from './hostile-device.ts'
import { Input, Random } from './input.ts'
import { check, InvariantError } from './invariant.ts'
import { observe } from './observed.ts'
import { WatchedMemory } from './watched-memory.ts'

const PAGES = 64
const PAGE = 4096
const GPADLS = 9
const DEVICES = 4
/** Replies, and whatever the host's own offers and rescinds add. */
const MAX_QUEUED = 64 + 16 + 2 * 64

/** Pieces of GPADLs that a server keeps, besides two for each page of memory. */
const MAX_PIECES = 65_536
/** Calls that wait for the host's turn: one of each channel that was open since the last. */
const MAX_DEFERRED = 64
/** Accesses of the host to the guest's memory in one step, at most: what a batch of packets and the answers to it take, and more. */
const MAX_ACCESSES = 100_000

/** One memory for all guests: a new one for each input would cost more than the input. */
const shared: SharedMemory = new SharedMemory(PAGES * PAGE)

/** What kind of guest it is. */
export interface HostileGuestOptions {
  /** Its other processors may store between any two accesses of the host to a ring, and not only when the host looks at memory for the first time. Default: false. */
  readonly torn?: boolean
  /** It stays with one server all its life. Default: false. */
  readonly stays?: boolean
  /** Told what the server traces, to look at an input closely. */
  readonly onTrace?: (line: string) => void
}

/** The guest, the host under it, and the steps of a program. */
export class HostileGuest implements VmbusHost, HostileMachine {
  readonly memory: WatchedMemory = new WatchedMemory(shared)
  readonly channels: VmbusChannel[] = []
  /** What was reached, as text without numbers: tells inputs apart. */
  readonly features: Set<string> = new Set()
  steps = 0
  #server: VmbusServer
  readonly #input: Input
  readonly #devices: HostileDevice[]
  readonly #offered: (VmbusOffered | undefined)[]
  readonly #ports: Map<number, () => void> = new Map()
  readonly #deferred: (() => void)[] = []
  readonly #pending: (() => void)[] = []
  /** First page of what a GPADL id stands for. */
  readonly #bases: number[] = new Array(GPADLS).fill(1)
  /** First pages of the rings that were meant to be opened last. */
  readonly #opened: number[] = [1]
  #slot: Uint8Array | undefined
  #polling = false
  #depth = 0
  #feature = ''
  readonly #options: HostileGuestOptions
  /** Accesses of the host in this step, while they are counted. */
  #accesses = 0
  #violation: InvariantError | undefined

  constructor(bytes: Uint8Array, options: HostileGuestOptions = {}) {
    shared.bytes.fill(0)
    this.#options = options
    this.#input = new Input(bytes)
    this.#devices = Array.from({ length: DEVICES }, (_, index) => new HostileDevice(this, index))
    this.#offered = new Array(DEVICES).fill(undefined)
    this.#server = this.#createServer()
    this.#offer(0)
    this.#offer(1)
    this.#server.start()
  }

  // The host.

  postMessage(_vpIndex: number, sint: number, payload: Uint8Array): boolean {
    check(sint >= 0 && sint < 16 && payload.length <= 240, 'message')
    // Refusals go to the SINT that was asked for.
    if (sint !== 2) {
      check(payload[0] === MESSAGE_TYPE.VERSION_RESPONSE && payload[8] === 0, 'a message for another SINT')
      return true
    }
    if (this.#slot !== undefined) return false
    this.#slot = payload
    this.reach(`out ${payload[0]}`)
    return true
  }

  signalEvent(_vpIndex: number, sint: number, flag: number): void {
    check(sint === 2 && flag >= 0 && flag < 2048, 'event flag')
  }

  createEventPort(connectionId: number, signal: () => void): Disposable {
    check(!this.#ports.has(connectionId), 'a port twice')
    this.#ports.set(connectionId, signal)
    return {
      [Symbol.dispose]: () => {
        // After a migration the number may be another server's.
        if (this.#ports.get(connectionId) === signal) this.#ports.delete(connectionId)
      },
    }
  }

  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  pollMonitors(wanted: boolean): void {
    this.#polling = wanted
  }

  // For devices.

  later(): Promise<void> {
    return new Promise((resolve) => {
      this.#pending.push(resolve)
    })
  }

  /** Act from inside of a callback. */
  reenter(): void {
    if (this.#depth >= 3) return
    this.#depth++
    try {
      this.#step()
    } finally {
      this.#depth--
    }
  }

  // The program.

  /** Run all steps; `now` is called now and then. Throws when the host was hurt. */
  async run(now?: () => void): Promise<void> {
    using _ = this.#options.torn
      ? observe(shared.bytes.buffer, { before: (offset) => this.memory.onAccess?.(offset) })
      : undefined
    while (!this.#input.done) {
      this.#accesses = 0
      this.#step()
      if (this.#pending.length > 0 && this.#input.below(8) === 0) await this.#finishPending()
      if ((this.steps & 31) === 0) this.#checkHost()
      if ((this.steps & 4095) === 0) now?.()
    }
    await this.#finishPending()
    for (const run of this.#deferred.splice(0)) run()
    this.#checkHost()
    this.#save()
    // However it got there, a guest can always begin anew.
    this.#slot = undefined
    this.memory.onAccess = undefined
    for (const device of this.#devices) device.mode = 0
    this.#server.start()
    check(this.#post(MESSAGE_TYPE.INITIATE_CONTACT, 0x0005_0003, 0, 2, 0, 0, 0, 0, 0) === 0, 'contact refused')
    for (let round = 0; round < 10; round++) await this.#finishPending()
    check(this.#server.version === 0x0005_0003, 'no connection')
    check(this.#server.gpadlCount === 0 && this.#ports.size === 0, 'something is left of the old connection')
    check(this.#server.gpadlPieces === 0, 'pieces are left of the old connection')
  }

  #step(): void {
    this.steps++
    const input = this.#input
    const relid = input.pick([0, 1, 1, 1, 2, 2, 3, 4, 5, 6])
    switch (input.below(30)) {
      case 0:
        if (input.below(6) === 0) this.#contact()
        break
      case 1:
        if (input.below(3) === 0) this.#post(MESSAGE_TYPE.REQUEST_OFFERS)
        else this.#usual(relid)
        break
      case 2:
      case 3:
        this.#ringGpadl(relid, input.below(GPADLS))
        break
      case 4:
        this.#strangeGpadl(relid)
        break
      case 5:
      case 6:
        this.#openChannel(relid)
        break
      case 7:
        this.#post(MESSAGE_TYPE.CLOSE_CHANNEL, relid)
        break
      case 8:
        this.#post(MESSAGE_TYPE.GPADL_TEARDOWN, relid, input.below(GPADLS))
        break
      case 9:
        this.#post(MESSAGE_TYPE.REL_ID_RELEASED, relid)
        break
      case 10:
        this.#post(MESSAGE_TYPE.MODIFY_CHANNEL, relid, input.pick([0, 1, 0xffff_ffff]))
        break
      case 11:
        this.#post(MESSAGE_TYPE.TL_CONNECT_REQUEST, relid, 0, 0, 0, 0, 0, 0, 0)
        break
      case 12:
        if (input.below(8) === 0) this.#post(MESSAGE_TYPE.UNLOAD)
        break
      case 13:
        this.#postRaw(input.bytes(input.pick([0, 3, 8, 12, 40, 148, 240])), input.below(32))
        break
      case 14:
      case 15:
      case 16:
        this.#takeMessage()
        break
      case 17:
      case 18:
        this.#signal(relid)
        break
      case 19:
      case 20:
        this.#writePackets()
        break
      case 21:
        this.#scribble()
        break
      case 22:
        this.#readPackets()
        break
      case 23:
        this.#useChannel()
        break
      case 24:
        this.#plug()
        break
      case 25:
        for (const run of this.#deferred.splice(0)) run()
        break
      case 26:
        this.#machine()
        break
      case 27:
        this.#device(input.below(DEVICES)).mode = input.u8() & input.u8() & input.u8()
        break
      case 28:
        if (this.#server.features !== 0 && input.below(2) === 0) this.#feature60()
        else this.#watch()
        break
      default:
        this.#usual(relid)
    }
  }

  /** What a well-behaved guest does on its way: connect, enumerate, open. */
  #usual(relid: number): void {
    this.#takeMessage()
    if (this.#server.version === 0) {
      this.#post(MESSAGE_TYPE.INITIATE_CONTACT, 0x0005_0003, 0, 2, 0, 0, 0, 0, 0)
      this.#takeMessage()
      this.#post(MESSAGE_TYPE.REQUEST_OFFERS)
      for (let message = 0; message < 8; message++) this.#takeMessage()
      return
    }
    const id = relid % GPADLS
    this.#ringGpadl(relid, id)
    this.#takeMessage()
    this.#noteOpen(id)
    this.#post(MESSAGE_TYPE.OPEN_CHANNEL, relid, 1, id, 0, 3, ...new Array(30).fill(0), ...this.#signalWords(relid))
    this.#takeMessage()
    this.#takeMessage()
  }

  #contact(): void {
    const { pick, u32 } = { pick: this.#input.pick.bind(this.#input), u32: () => this.#input.u32() }
    const version = pick([...SUPPORTED_VERSIONS, 0x0001_0001, 13, u32()])
    const place = pick([2, 2, 2, 0, 77, 0x102])
    const features = pick([0, 0, 0x25, 0x25, 0x2f, u32()])
    const pages = pick([
      [0, 0, 0, 0],
      [0, 0, 0, 0],
      [PAGE * 60, 0, PAGE * 61, 0],
      [0, 0, PAGE, 0],
    ])
    const message = [
      version,
      pick([0, 1, 0xffff_ffff]),
      place,
      features,
      ...pages,
      ...(features & 8 ? [1, 2, 3, 4] : []),
    ]
    this.#post(MESSAGE_TYPE.INITIATE_CONTACT, ...message)
  }

  /** What only a connection of 6.0 with these features takes. */
  #feature60(): void {
    const { pick } = { pick: this.#input.pick.bind(this.#input) }
    switch (this.#input.below(4)) {
      case 0:
        this.#post(MESSAGE_TYPE.PAUSE)
        break
      case 1:
      case 2:
        this.#post(MESSAGE_TYPE.RESUME)
        break
      default:
        this.#post(MESSAGE_TYPE.MODIFY_CONNECTION, PAGE * pick([0, 60]), 0, PAGE * pick([0, 61, 63]), 0)
        this.#server.pollMonitors()
    }
  }

  #ringGpadl(relid: number, id: number): void {
    const base = 1 + this.#input.below(PAGES - 8)
    this.#bases[id] = base
    const range: GpaRange = { byteOffset: 0, byteCount: 6 * PAGE, pages: [0, 1, 2, 3, 4, 5].map((page) => base + page) }
    // Pointers of an earlier ring would mostly be refused.
    if (this.#input.below(4) !== 0) for (const page of [0, 3]) shared.fill((base + page) * PAGE, 128, 0)
    for (const message of gpadlMessages(relid, id, [range])) this.#postRaw(message)
  }

  #strangeGpadl(relid: number): void {
    const input = this.#input
    if (input.below(16) === 0) this.#manyPieces(relid)
    const id = input.below(GPADLS)
    const ranges = Array.from({ length: 1 + input.below(3) }, () => ({
      byteOffset: input.pick([0, 0, 8, 100, 4095, 4096]),
      byteCount: input.pick([0, 1, 100, PAGE, 5 * PAGE, 0xffff_ffff, 30 * PAGE]),
      pages: Array.from({ length: input.below(40) }, () => input.below(PAGES + 2)),
    }))
    const messages = gpadlMessages(relid, id, ranges)
    if (input.below(2) === 0) this.#mutate(messages[input.below(messages.length)] as Uint8Array)
    for (const message of messages) if (input.below(8) !== 0) this.#postRaw(message)
  }

  /** GPADLs that are long for the host and short for the guest. */
  #manyPieces(relid: number): void {
    const input = this.#input
    const pieces = input.pick([1, 50, 1000, 4000])
    const ranges = Array.from({ length: pieces }, (_, piece) => ({
      byteOffset: 2 * (piece % 2000),
      byteCount: 1,
      pages: [input.below(PAGES)],
    }))
    for (let count = input.below(24); count >= 0; count--) {
      for (const message of gpadlMessages(relid, GPADLS + input.below(64), ranges)) this.#postRaw(message)
      this.#takeMessage()
    }
  }

  #openChannel(relid: number): void {
    const { input } = { input: this.#input }
    const split = input.pick([3, 3, 3, 2, 1, 0, 5, 6, 0xffff_ffff])
    const message = new Uint8Array(
      Uint32Array.of(
        MESSAGE_TYPE.OPEN_CHANNEL,
        0,
        relid,
        input.u8(),
        input.below(GPADLS),
        0,
        split,
        ...new Array(30).fill(1),
        ...this.#signalWords(relid),
      ).buffer,
    )
    if (input.below(16) === 0) this.#mutate(message)
    this.#noteOpen(message[16] as number)
    this.#postRaw(message)
  }

  /** Connection id and event flag, where the guest chooses them. */
  #signalWords(relid: number): number[] {
    if ((this.#server.features & 3) === 0) return []
    const input = this.#input
    return [
      input.pick([EVENT_CONNECTION_BASE + relid, EVENT_CONNECTION_BASE + 1, 0, 0x7777, 0xffff_ffff]),
      input.pick([relid, 1, 2047, 2048, 0xffff]),
    ]
  }

  #noteOpen(id: number): void {
    this.#opened.push(this.#bases[id % GPADLS] as number)
    if (this.#opened.length > 4) this.#opened.shift()
  }

  /** A page where a ring begins that may be in use. */
  #base(): number {
    return this.#input.pick(this.#opened)
  }

  #mutate(message: Uint8Array): void {
    const count = 1 + this.#input.below(4)
    for (let change = 0; change < count; change++) message[this.#input.below(message.length)] = this.#input.u8()
  }

  #takeMessage(): void {
    if (this.#slot === undefined) return
    this.#slot = undefined
    this.#server.messageSlotFree()
  }

  #signal(relid: number): void {
    const signal = this.#ports.get(EVENT_CONNECTION_BASE + relid) ?? this.#ports.get(0x7777)
    signal?.()
    if (!this.#polling) return
    shared.writeU32(PAGE * this.#input.pick([60, 61, 63]) + 8 * (1 + this.#input.below(4)), this.#input.u8())
    this.#server.pollMonitors()
  }

  /** One half of a pair of rings whose control page is the page `base`. */
  #ring(base: number): RingMemory | undefined {
    return RingMemory.fromBuffer(shared.bytes.buffer, base * PAGE, 3 * PAGE)
  }

  #writePackets(): void {
    const base = this.#base()
    const ring = this.#ring(base)
    const writer = ring === undefined ? undefined : RingWriter.open(ring)
    if (writer === undefined) return
    const input = this.#input
    for (let count = input.below(5); count >= 0; count--) {
      const payload = input.bytes(input.pick([0, 1, 8, 64])).slice()
      const flags = input.below(2)
      switch (input.below(5)) {
        case 0:
          writer.writeCompletion(input.u8(), 0, payload)
          break
        case 1:
          writer.writeTransferPages(
            input.u8(),
            Uint32Array.from({ length: 2 * input.below(4) }, () => input.u8()),
            payload,
          )
          break
        case 2:
          writer.writeGpaDirect(this.#ranges(), payload, 1, 0, flags)
          break
        default:
          writer.writeInBand(payload, 0, payload.length, input.u8(), 0, flags)
      }
    }
    if (input.below(6) === 0) this.#corruptPacket(base)
    writer.commit()
    if (input.below(8) !== 0) for (const signal of [...this.#ports.values()]) signal()
  }

  #ranges(): GpaRange[] {
    const input = this.#input
    return Array.from({ length: input.below(4) }, () => {
      const byteOffset = input.pick([0, 1, 4095])
      const byteCount = input.pick([0, 1, 512, PAGE, 3 * PAGE])
      const right = Math.ceil((byteOffset + byteCount) / PAGE)
      const pages = Array.from({ length: right }, () => input.pick([1, 2, input.below(PAGES + 1), 2 ** 44]))
      return { byteOffset, byteCount, pages }
    })
  }

  /** Change a descriptor or a header of the packets that are about to be seen. */
  #corruptPacket(base: number): void {
    const at = (shared.readU32(base * PAGE + CONTROL.IN * 4) ?? 0) + 4 * this.#input.below(12)
    if (at < 2 * PAGE) shared.writeU32((base + 1) * PAGE + (at & ~3), this.#input.u32())
  }

  #scribble(): void {
    const input = this.#input
    const base = this.#base() + input.pick([0, 0, 3, 1, 4])
    const word = input.pick([0, 1, 2, 3, 16, input.u8()])
    shared.writeU32(base * PAGE + word * 4, input.pick([0, 1, 8, 16, 4096, 8184, 8192, 0xffff_fff8, input.u32()]))
  }

  #readPackets(): void {
    const ring = this.#ring(this.#base() + 3)
    const reader = ring === undefined ? undefined : RingReader.open(ring)
    if (reader === undefined) return
    while (reader.next() === 1);
    if (reader.commit()) for (const signal of [...this.#ports.values()]) signal()
    if (this.#input.below(2) === 0) reader.mask()
    else reader.unmask()
  }

  /** What a device does on its own time. */
  #useChannel(): void {
    const input = this.#input
    const open = this.channels.filter(({ isOpen }) => isOpen)
    const list = open.length > 0 && input.below(4) > 0 ? open : this.channels
    const channel = list[input.below(Math.max(list.length, 1))]
    if (channel === undefined) return
    const payload = new Uint8Array(Math.min(input.u16(), channel.maxPayload))
    switch (input.below(9)) {
      case 0:
        this.reach(`send ${channel.isOpen} ${channel.send(payload)}`)
        break
      case 1:
        this.reach(`complete ${channel.isOpen} ${channel.complete(input.u8(), 0)}`)
        break
      case 2:
        if (channel.maxPayload > 5000) channel.sendTransferPages(1, Uint32Array.of(4, 4), payload.subarray(0, 4000))
        break
      case 3:
        channel.resume()
        break
      case 4:
        channel.fail('because')
        break
      case 5:
        channel.offerSubChannels(input.below(4))
        break
      case 6:
        channel.cork()
        break
      case 7:
        channel.uncork()
        break
      default:
        channel.gpadl(input.below(GPADLS))?.read(channel.memory, 0, new Uint8Array(100))
    }
  }

  #plug(): void {
    const index = this.#input.below(DEVICES)
    if (!this.#isOffered(index)) this.#offer(index)
    else void this.#offered[index]?.[Symbol.asyncDispose]()
  }

  /** A device that threw was taken away by the server. */
  #isOffered(index: number): boolean {
    const { instanceId } = this.#device(index).offer
    return this.#server.channels().some((channel) => channel.instanceId === instanceId && !channel.revoked)
  }

  #offer(index: number): void {
    this.#offered[index] = this.#server.offer(this.#device(index))
  }

  #device(index: number): HostileDevice {
    return this.#devices[index] as HostileDevice
  }

  #machine(): void {
    // A VM is not stopped, reset or saved from inside of a callback.
    if (this.#depth > 0) return
    switch (this.#input.below(16)) {
      case 0:
        this.#server.stop()
        this.#server.reset()
        this.#server.start()
        break
      case 1:
      case 2:
        this.#migrate()
        break
      case 3:
        this.#server.stop()
        break
      default:
        this.#server.start()
    }
  }

  #migrate(): void {
    this.#server.stop()
    const state = this.#save()
    if (this.#options.stays) {
      this.#server.start()
      return
    }
    const offered = this.#devices.map((_, index) => this.#isOffered(index))
    this.#ports.clear()
    this.#deferred.length = 0
    this.#server = this.#createServer()
    for (const [index, present] of offered.entries()) if (present) this.#offer(index)
    this.#server.restore(state)
    this.#server.start()
    this.reach('migrated')
  }

  /** The state, which has what the server says that it keeps. */
  #save(): SavedState {
    const state = structuredClone(this.#server.save())
    const { gpadls, partialGpadls, outbox } = state.data as unknown as {
      gpadls: { gpas: number[] }[]
      partialGpadls: { bytes: Uint8Array }[]
      outbox: unknown[]
    }
    const pieces = gpadls.reduce((sum, { gpas }) => sum + gpas.length, 0)
    const words = partialGpadls.reduce((sum, { bytes }) => sum + bytes.length / 8, 0)
    check(pieces + words === this.#server.gpadlPieces, `${pieces} pieces and ${words} words of GPADLs`)
    check(gpadls.length + partialGpadls.length === this.#server.gpadlCount, 'GPADLs that are not counted')
    check(outbox.length === this.#server.queuedMessages, 'messages that are not counted')
    return state
  }

  /** From now on the guest's other processors change its memory when the host looks at it. The same input does the same. */
  #watch(): void {
    const input = this.#input
    const often = input.pick([1, 2, 3, 4, 5, 20, 100])
    const random = new Random(input.u8())
    const kind = input.below(4)
    let left = 1
    this.memory.onAccess =
      kind === 0
        ? undefined
        : (offset) => {
            check(++this.#accesses < MAX_ACCESSES, 'the guest keeps the host busy without end')
            if (--left > 0) return
            left = 1 + random.below(2 * often - 1)
            if (kind === 1) this.#tear(random, offset)
            else if (kind === 2) this.#tear(random)
            else this.#flip(offset)
          }
  }

  /** Change a word of a ring: of that which is looked at, or any. */
  #tear(random: Random, offset?: number): void {
    const page = offset === undefined ? (this.#opened[random.below(this.#opened.length)] as number) : offset >>> 12
    const control = page + (offset === undefined ? ([0, 0, 3][random.below(3)] as number) : 0)
    const values = [0, 1, 8, 16, 8184, 8192, 8 * random.below(1024), random.u32()]
    const value = values[random.below(values.length)] as number
    if (offset !== undefined && random.below(2) === 0)
      shared.writeU32(((offset + 4 * random.below(8)) & ~3) % (PAGES * PAGE), value)
    else if (random.below(2) === 0) shared.writeU32(control * PAGE + 4 * random.below(4), value)
    else shared.writeU32(((control + 1) * PAGE + 4 * random.below(1024)) % (PAGES * PAGE), value)
  }

  /** `in` is something else each time: there is always something new, and nothing comes of it. */
  #flip(offset: number | undefined): void {
    if (offset === undefined || offset % PAGE !== 4 * CONTROL.IN) return
    const out = shared.readU32(offset + 4 * (CONTROL.OUT - CONTROL.IN)) ?? 0
    shared.writeU32(offset, shared.readU32(offset) === out ? (out + 24) % (2 * PAGE) : out)
  }

  async #finishPending(): Promise<void> {
    for (const resolve of this.#pending.splice(0)) resolve()
    for (let tick = 0; tick < 4; tick++) await Promise.resolve()
  }

  #post(type: number, ...words: number[]): number {
    return this.#postRaw(new Uint8Array(Uint32Array.of(type, 0, ...words).buffer))
  }

  #postRaw(payload: Uint8Array, type?: number): number {
    if (type !== undefined && payload.length >= 4) payload.set([type, 0, 0, 0])
    const status = this.#server.receiveMessage(payload)
    check(status === HV_STATUS.SUCCESS || status === HV_STATUS.INSUFFICIENT_BUFFERS, 'status')
    // A message is a copy, and changing it afterwards is nobody's business.
    payload.fill(0xff)
    return status
  }

  #createServer(): VmbusServer {
    const trace: VmbusTrace = {
      message: (direction, payload) => {
        this.#options.onTrace?.(`${direction} ${formatMessage(payload)}`)
        this.reach(`${direction} ${Math.min(payload[0] ?? 0, 30)}`)
      },
      event: (relid, text) => {
        this.#options.onTrace?.(`${relid}: ${text}`)
        this.reach(text.replace(/0x[0-9a-f]+|\d+/g, '#'))
      },
    }
    const onDeviceError = (_device: unknown, error: unknown): void => {
      this.reach('device failed')
      // Found inside of a call of a device, whose errors the server takes for the device's.
      if (error instanceof InvariantError) this.#violation ??= error
    }
    return new VmbusServer(this, { trace, onDeviceError })
  }

  /** Pairs of what was reached one after the other: a small measure of coverage. */
  reach(what: string): void {
    this.features.add(`${this.#feature} > ${what}`)
    this.#feature = what
  }

  #checkHost(): void {
    if (this.#violation !== undefined) throw this.#violation
    const server = this.#server
    const channels = server.channels()
    const relids = channels.map(({ relid }) => relid).filter((relid) => relid !== 0)
    check(new Set(relids).size === relids.length, 'a number twice')
    check(
      relids.every((relid) => relid <= 2047),
      'a number that is none',
    )
    check(server.queuedMessages <= MAX_QUEUED, `${server.queuedMessages} messages wait`)
    check(server.gpadlCount <= 4096, 'too many GPADLs')
    check(server.gpadlPieces <= MAX_PIECES + 2 * (this.memory.ramSize / PAGE), 'too many pieces of GPADLs')
    check(this.#deferred.length <= MAX_DEFERRED, `${this.#deferred.length} calls wait`)
    check(this.#ports.size === channels.filter(({ state }) => state === 'open').length, 'a port without a channel')
    check(channels.length <= 2047 + DEVICES, `${channels.length} channels`)
  }
}

/** Run one input; returns its steps and what it reached. */
export async function runGuestInput(
  bytes: Uint8Array,
  torn: boolean,
): Promise<{ steps: number; features: ReadonlySet<string> }> {
  const guest = new HostileGuest(bytes, { torn })
  await guest.run()
  return { steps: guest.steps, features: guest.features }
}
