// A guest whose behaviour is spelled out by bytes, like the input of a fuzzer: packets, ranges, closing and opening, hot plugging, saving, disks that
// take their time. After each input everything has to add up: each packet that asked for it is answered once, nothing is in flight, no byte outside of
// the ranges that the guest named has changed.

import { MemoryDisk } from '@partita/disk-images'
import {
  DISK_ERROR,
  type GuestBuffer,
  PartitaError,
  VMBUS_PACKET,
  type VmbusChannel,
  type VmbusChannelHandler,
  type VmbusPacket,
} from '@partita/interface'
import { SharedMemory } from '@partita/vmbus/testing'
import { BlockUnit, DvdUnit, StorageController } from '../../src/vsp.ts'

const PAGE = 4096
const PAGES = 64
const SECTORS = 1024
const DEPTH = 16
/** Completions that the guest's ring has room for. */
const RING = 12

/** Problems that an input has shown. */
export class FuzzFailure extends Error {}

/** Reads values from an input; past its end everything is zero. */
class Input {
  readonly #bytes: Uint8Array
  #at = 0
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }
  get ended(): boolean {
    return this.#at >= this.#bytes.length
  }
  u8(): number {
    return this.#bytes[this.#at++] ?? 0
  }
  u16(): number {
    return this.u8() | (this.u8() << 8)
  }
}

class Pieces implements GuestBuffer {
  pieces: (readonly [number, number])[] = []
  get byteLength(): number {
    return this.pieces.reduce((sum, [, length]) => sum + length, 0)
  }
  get pieceCount(): number {
    return this.pieces.length
  }
  gpa(piece: number): number {
    return (this.pieces[piece] as readonly [number, number])[0]
  }
  length(piece: number): number {
    return (this.pieces[piece] as readonly [number, number])[1]
  }
  copyFrom(other: GuestBuffer): void {
    this.pieces = Array.from({ length: other.pieceCount }, (_, i) => [other.gpa(i), other.length(i)] as const)
  }
  read(): boolean {
    throw new FuzzFailure('not used by this device')
  }
  write(): boolean {
    throw new FuzzFailure('not used by this device')
  }
}

interface Sent {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly payload: Uint8Array
  readonly pieces: readonly (readonly [number, number])[]
}

/** A channel without a ring: packets wait in a list, and the guest has room for a few completions. */
class Channel implements VmbusChannel {
  readonly offer: VmbusChannel['offer']
  readonly openData: Uint8Array = new Uint8Array(120)
  readonly version = 0x50003
  readonly targetVp = 0
  restored = false
  isOpen = true
  readonly memory: SharedMemory
  readonly counters = {} as VmbusChannel['counters']
  readonly maxPayload = 4096
  readonly subChannelIndex: number
  handler: VmbusChannelHandler | undefined
  readonly incoming: Sent[] = []
  room = RING
  starved = false
  held = false
  serving = false
  /** Transactions that wait for a completion. */
  readonly open: Set<number> = new Set()
  answers = 0

  constructor(controller: StorageController, memory: SharedMemory, index: number) {
    this.offer = controller.offer
    this.memory = memory
    this.subChannelIndex = index
  }

  send(_payload: Uint8Array, start = 0, end = 0): boolean {
    if (end - start > 64) throw new FuzzFailure(`a packet of ${end - start} bytes`)
    return this.#take()
  }

  complete(low: number, high: number, payload?: Uint8Array, start = 0, end: number = payload?.length ?? 0): boolean {
    if (!this.#take()) return false
    if (!this.open.delete(low) || high !== 0) throw new FuzzFailure(`transaction ${low} is completed and was not open`)
    if (end - start < 12 || end - start > 64) throw new FuzzFailure(`a completion of ${end - start} bytes`)
    const view = new DataView((payload as Uint8Array).buffer, (payload as Uint8Array).byteOffset + start)
    if (view.getUint32(0, true) !== 1) throw new FuzzFailure('a completion that is none')
    this.answers++
    return true
  }

  #take(): boolean {
    if (!this.isOpen) return true
    if (this.room === 0) {
      this.starved = true
      return false
    }
    this.room--
    return true
  }

  sendTransferPages(): boolean {
    throw new FuzzFailure('not used by this device')
  }
  cork(): void {}
  uncork(): void {}
  resume(): void {
    this.held = false
    this.serve()
  }
  gpadl(): undefined {
    return undefined
  }
  createBuffer(): GuestBuffer {
    return new Pieces()
  }
  offerSubChannels(count: number): number {
    return count
  }
  fail(): void {}

  /** The guest takes what is in its ring. */
  consume(): void {
    this.room = RING
    if (!this.starved) return
    this.starved = false
    this.held = false
    this.handler?.writable?.()
    this.serve()
  }

  serve(): void {
    if (this.serving) return
    this.serving = true
    while (this.isOpen && !this.held) {
      const sent = this.incoming[0]
      if (sent === undefined) break
      const bytes = new Uint8Array(16 + sent.payload.length)
      bytes.set(sent.payload, 16)
      const buffer = new Pieces()
      buffer.pieces = [...sent.pieces]
      const packet: VmbusPacket = {
        type: sent.type,
        flags: sent.flags,
        transactionLow: sent.id,
        transactionHigh: 0,
        bytes,
        view: new DataView(bytes.buffer),
        payloadOffset: 16,
        payloadLength: sent.payload.length,
        payload: () => bytes.subarray(16),
        buffer,
        transferPageSet: 0,
        transferRangeCount: 0,
        transferRangeOffset: () => 0,
        transferRangeLength: () => 0,
      }
      if (this.handler?.receive(packet) === false) this.held = true
      else this.incoming.shift()
    }
    this.handler?.batchEnd?.()
    this.serving = false
  }
}

/** A disk that finishes when it is told to, well or not, and checks what it is asked for. */
class Disk extends MemoryDisk {
  readonly waiting: ((error?: Error) => void)[] = []
  override read(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    return this.#later(async () => super.read(sector, segments))
  }
  override write(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    return this.#later(async () => super.write(sector, segments))
  }
  override flush(): Promise<void> {
    return this.#later(() => super.flush())
  }
  #later(run: () => Promise<void>): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.waiting.push((error) => {
        if (error !== undefined) reject(error)
        else
          run().then(resolve, (problem: PartitaError) => {
            // Commands were checked: the disk is never asked for what it does not have.
            if (problem.code === DISK_ERROR.RANGE) failures.push(problem.message)
            reject(problem)
          })
      })
    })
  }
}

/** Problems that disks saw, in promises where nobody would hear of them. */
const failures: string[] = []

const OPERATIONS = [3, 3, 3, 3, 3, 3, 7, 9, 10, 8, 13, 4, 5, 6, 12, 11, 1, 99]
const OPCODES = [
  0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x42, 0x43, 0x46, 0x4a,
  0x55, 0x5a, 0x5e, 0x5f, 0x88, 0x8a, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa8, 0xaa, 0xad, 0xff,
]
const SIZES = [64, 64, 64, 64, 48, 12, 20, 28, 44, 80, 4, 0]

/** Let promises run. */
async function turn(): Promise<void> {
  for (let i = 0; i < 4; i++) await Promise.resolve()
}

/** What an input did, for whoever looks for new behaviour. */
export interface FuzzOutcome {
  readonly steps: number
  readonly answers: number
}

/** Run one input. @throws FuzzFailure when something does not add up */
export async function runInput(bytes: Uint8Array): Promise<FuzzOutcome> {
  const input = new Input(bytes)
  const memory = new SharedMemory(PAGES * PAGE)
  memory.bytes.fill(0x5a)
  /** Which bytes a packet named. */
  const named = new Uint8Array(PAGES * PAGE)
  const disks: Disk[] = []
  const make = (): StorageController =>
    new StorageController({ instanceId: '00000000-0000-0000-0000-000000000000', subChannels: 1, queueDepth: DEPTH })
  let controller = make()
  const plug = (lun: number, disk: Disk, dvd: boolean): void =>
    controller.target.attach(lun, dvd ? new DvdUnit({ serial: 'd' }, disk) : new BlockUnit(disk, { serial: 's' }))
  const newDisk = (): Disk => {
    const disk = new Disk(SECTORS)
    disks.push(disk)
    return disk
  }
  const plugged = new Map<number, { disk: Disk; dvd: boolean }>()
  const attach = (lun: number, dvd: boolean): void => {
    const disk = newDisk()
    plug(lun, disk, dvd)
    plugged.set(lun, { disk, dvd })
  }
  attach(0, false)
  attach(1, true)
  const closing: Promise<void>[] = []
  let channels: Channel[] = []
  let steps = 0
  let answers = 0
  let next = 1

  const open = (index: number, restored = false): Channel => {
    const channel = new Channel(controller, memory, index)
    channel.restored = restored
    channel.handler = controller.open(channel)
    if (channel.handler === undefined) throw new FuzzFailure('the channel was refused')
    return channel
  }
  const close = (channel: Channel): void => {
    channel.isOpen = false
    answers += channel.answers
    const done = channel.handler?.close?.()
    if (done !== undefined) closing.push(done)
    channel.handler = undefined
  }
  const reopen = (): void => {
    for (const channel of channels) close(channel)
    channels = [open(0), open(1)]
  }
  const finish = async (how: number): Promise<void> => {
    for (const disk of disks) {
      const finishing = how & 1 ? disk.waiting.splice(0) : disk.waiting.splice(0, 1)
      if (how & 2) finishing.reverse()
      for (const done of finishing) done(how & 4 ? new PartitaError(DISK_ERROR.IO, 'no') : undefined)
    }
    await turn()
  }
  const settle = async (): Promise<void> => {
    for (let quiet = 0, round = 0; quiet < 3; round++) {
      if (round > 100_000) throw new FuzzFailure('it does not come to rest')
      const busy = disks.some((disk) => disk.waiting.length > 0) || channels.some((channel) => channel.starved)
      for (const channel of channels) channel.consume()
      await finish(1)
      quiet = busy ? 0 : quiet + 1
    }
  }

  const packet = (channel: Channel): void => {
    const operation = OPERATIONS[input.u8() % OPERATIONS.length] as number
    const payload = new Uint8Array(SIZES[input.u8() % SIZES.length] as number)
    const whole = new Uint8Array(96)
    const view = new DataView(whole.buffer)
    view.setUint32(0, operation, true)
    view.setUint32(4, 1, true)
    const pieces: (readonly [number, number])[] = []
    if (operation === 9)
      view.setUint16(12, [0x0602, 0x0600, 0x0501, 0x0402, 0x0200, 0x0700][input.u8() % 6] as number, true)
    else if (operation === 13) view.setUint16(12, input.u8() % 3, true)
    else if (operation === 3 || operation === 4) {
      view.setUint8(19, [0, 0, 0, 1, 2, 63, 64, 255][input.u8() % 8] as number)
      view.setUint8(20, 16)
      view.setUint8(22, input.u8() % 3)
      view.setUint8(28, OPCODES[input.u8() % OPCODES.length] as number)
      const fields = input.u8() % 8
      for (let i = 0; i < fields; i++) view.setUint8(29 + (input.u8() % 15), input.u8())
      const count = input.u8() % 4
      for (let i = 0; i < count; i++) {
        const page = input.u8()
        const gpa = page < 250 ? (page % PAGES) * PAGE + (input.u16() % PAGE) : 2 ** (page - 200) * PAGE
        const length = 1 + (input.u16() % (2 * PAGE))
        pieces.push([gpa, length])
        for (let at = gpa; at < gpa + length && at < named.length; at++) named[at] = 1
      }
      const total = pieces.reduce((sum, [, length]) => sum + length, 0)
      view.setUint32(24, input.u8() < 230 ? total : total + input.u16(), true)
    }
    const mutations = input.u8() & 0x80 ? input.u8() % 4 : 0
    for (let i = 0; i < mutations; i++) whole[input.u8() % whole.length] = input.u8()
    payload.set(whole.subarray(0, payload.length))
    const odd = input.u8()
    const sent: Sent = {
      type: odd === 255 ? VMBUS_PACKET.COMPLETION : pieces.length > 0 ? VMBUS_PACKET.GPA_DIRECT : VMBUS_PACKET.IN_BAND,
      flags: odd === 254 ? 0 : 1,
      id: next++,
      payload,
      pieces,
    }
    if (sent.type !== VMBUS_PACKET.COMPLETION && sent.flags === 1) channel.open.add(sent.id)
    channel.incoming.push(sent)
    channel.serve()
  }

  /** Save, and go on in another process, with what the disks have. */
  const migrate = async (): Promise<void> => {
    const stopping = controller.stop()
    for (let i = 0; i < 200 && controller.inFlight > 0; i++) await finish(1)
    await stopping
    const state = structuredClone(controller.save())
    const old = channels
    for (const channel of old) {
      channel.isOpen = false
      channel.handler = undefined
    }
    controller = make()
    for (const [lun, { disk, dvd }] of plugged) plug(lun, disk, dvd)
    const early = input.u8() & 1
    if (early) controller.restore(state)
    await controller.stop()
    channels = old.map((channel) => {
      const restored = open(channel.subChannelIndex, true)
      restored.incoming.push(...channel.incoming)
      for (const id of channel.open) restored.open.add(id)
      restored.room = channel.room
      restored.answers = channel.answers
      return restored
    })
    if (!early) controller.restore(state)
    controller.start()
    for (const channel of channels) channel.serve()
  }

  reopen()
  while (!input.ended) {
    steps++
    const action = input.u8()
    const channel = channels[action & 0x80 ? 1 : 0] as Channel
    switch (action % 32) {
      case 24:
      case 25:
        await finish(input.u8())
        break
      case 26:
        channel.consume()
        break
      case 27:
        memory.bytes.fill(input.u8(), 0, PAGE)
        named.fill(1, 0, PAGE)
        break
      case 28: {
        const lun = 2 + (input.u8() % 3)
        if (plugged.delete(lun)) closing.push(controller.target.detach(lun).then(() => {}))
        else attach(lun, (input.u8() & 1) !== 0)
        break
      }
      case 29:
        if (input.u8() < 64) reopen()
        break
      case 30:
        // What sets the protocol up, so that not every input has to find it out.
        for (const [operation, version] of [[7], [9, 0x0602], [10], [8]] as const) {
          const bytes = new Uint8Array(64)
          const view = new DataView(bytes.buffer)
          view.setUint32(0, operation, true)
          view.setUint16(12, version ?? 0, true)
          const primary = channels[0] as Channel
          primary.open.add(next)
          primary.incoming.push({ type: VMBUS_PACKET.IN_BAND, flags: 1, id: next++, payload: bytes, pieces: [] })
          primary.serve()
        }
        break
      case 31:
        if (input.u8() < 64) await migrate()
        break
      default:
        packet(channel)
    }
    if (controller.inFlight > 2 * DEPTH) throw new FuzzFailure(`${controller.inFlight} requests in flight`)
    await turn()
  }
  await settle()
  for (const channel of channels) {
    if (channel.incoming.length > 0) throw new FuzzFailure(`${channel.incoming.length} packets were not taken`)
    if (channel.open.size > 0) throw new FuzzFailure(`${channel.open.size} packets were not answered`)
  }
  if (controller.inFlight !== 0) throw new FuzzFailure(`${controller.inFlight} requests are still in flight`)
  for (const channel of channels) close(channel)
  await Promise.all(closing)
  for (let at = 0; at < named.length; at++)
    if (named[at] === 0 && memory.bytes[at] !== 0x5a) throw new FuzzFailure(`byte ${at} changed, which nobody named`)
  if (failures.length > 0) throw new FuzzFailure(failures.splice(0).join('; '))
  return { steps, answers }
}
