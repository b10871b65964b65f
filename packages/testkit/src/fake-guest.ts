// A guest for tests of providers: boots on a pretended bus with the plug-in started on it, opens channels, sends packets of any kind and collects what
// comes back. It keeps a book of what it asked for, and notes every answer that it did not.

import {
  guestMemoryToken,
  type Plugin,
  type PluginInstance,
  type SavedState,
  VMBUS_COMPLETION_REQUESTED,
  VMBUS_PACKET,
  type VmbusPacket,
  vmbusServerToken,
} from '@partita/interface'
import { type ClientChannel, type ClientOffer, contiguousRange, type GpaRange } from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import { BusPump } from './bus-pump.ts'
import { fail, messageOf } from './compliance/check.ts'
import { measure, saveOf } from './compliance/plain-data.ts'
import type { RandomSource } from './compliance/random-source.ts'
import type { GuestAnswer, GuestExchange, GuestPacket, GuestStep } from './fake-guest-exchange.ts'
import { FakeMachine } from './fake-machine.ts'
import { GuestLoans } from './guest-loans.ts'
import { type GuestBlock, WatchedMemory } from './watched-memory.ts'

/** Options of {@link FakeGuest.boot}. */
export interface FakeGuestOptions {
  /** The plug-in's options. Default: `{}`. */
  readonly options?: unknown
  /** Provide services that the plug-in needs besides bus, memory and clock. `twin` is the machine whose saved state this one will be given. */
  readonly prepare?: ((machine: FakeMachine, twin?: FakeMachine) => void | Promise<void>) | undefined
  /** Payload of the completion of a provider's packet that asks for one. Default: empty. */
  readonly respond?: ((packet: GuestPacket) => Uint8Array) | undefined
  /** Makes the order in which messages and signals pass. Default: the order in which they came. */
  readonly random?: RandomSource | undefined
  /** Bytes of memory. Default: 4 MiB. */
  readonly ramSize?: number | undefined
}

/** How to open a channel. */
export interface FakeGuestOpenOptions {
  /** Which device. Default: the first offer. */
  readonly interfaceId?: string | undefined
  /** Pages of data of the ring to the host. Default: 4. */
  readonly upstream?: number | undefined
  /** Pages of data of the ring from the host. Default: as the other. */
  readonly downstream?: number | undefined
}

/** A packet that was sent. */
export interface Sent {
  /** What was asked, and how it is to be answered. */
  readonly exchange: GuestExchange
  /** Low half of the transaction id. */
  readonly transaction: number
  /** The memory that the packet names; `undefined` for an in-band packet. It is the guest's again when the answer has come. */
  readonly block: GuestBlock | undefined
  /** What that memory held when the packet was sent. */
  readonly before: Uint8Array | undefined
  /** What the provider answered, once it has. */
  answer: GuestAnswer | undefined
}

/** The high halves of transaction ids: a provider that drops them is noticed. */
const TRANSACTION_HIGH = 0x8765_4321
/** Packets of the provider's own accord that are kept. */
const KEPT_PACKETS = 4096

/**
 * A guest of one machine.
 *
 * @example
 * ```ts
 * import { FakeGuest } from '@partita/testkit'
 *
 * await using guest = await FakeGuest.boot(plugin)
 * await guest.open()
 * const { view } = await guest.ask({ payload: Uint8Array.of(1, 0, 0, 0) })
 * ```
 */
export class FakeGuest implements AsyncDisposable {
  /** The guest's RAM, which notices stores beside what was given to the provider. */
  readonly memory: WatchedMemory
  /** The bus between guest and provider. */
  readonly pair: VmbusPair
  /** What the provider sent of its own accord, oldest first. */
  readonly packets: GuestPacket[] = []
  /** What a provider must not do, in words. */
  readonly violations: string[] = []
  /** What the plug-in threw out of a callback of its channels. */
  readonly deviceErrors: unknown[] = []
  /** Offers that were taken back. */
  rescinded = 0
  /** Told of every packet of the provider, also of answers. */
  onPacket: ((packet: GuestPacket) => void) | undefined
  readonly #pump: BusPump
  readonly #plugin: Plugin<unknown>
  readonly #options: FakeGuestOptions
  #machine!: FakeMachine
  #instance!: PluginInstance
  #channel: ClientChannel | undefined
  #offer: ClientOffer | undefined
  readonly #waiting: Map<number, Sent> = new Map()
  /** Answered by packets that are no completions, in the order of asking. */
  readonly #byPacket: Sent[] = []
  /** Buffers that the guest has changed since it asked. */
  readonly #scribbled: Set<GuestBlock> = new Set()
  /** May be completed, once. */
  readonly #allowed: Set<number> = new Set()
  /** Of earlier openings of the channel. */
  readonly #dead: Set<number> = new Set()
  readonly #loans: GuestLoans
  /** Completions of the guest that found no room. */
  readonly #responses: (() => boolean)[] = []
  readonly #gpadls: number[] = []
  #nextTransaction = 1
  #asleep = false
  #missed = false

  private constructor(plugin: Plugin<unknown>, options: FakeGuestOptions) {
    this.#plugin = plugin
    this.#options = options
    const { random } = options
    this.memory = new WatchedMemory(options.ramSize ?? 4 * 1024 * 1024)
    this.pair = new VmbusPair({
      memory: this.memory,
      ...(random === undefined ? {} : { pick: (count) => random.below(count) }),
      onDeviceError: (_device, error) => void this.deviceErrors.push(error),
    })
    this.#loans = new GuestLoans(this.pair, this.memory)
    this.#pump = new BusPump(this.pair, () => this.#machine.clock)
    this.pair.client.onRescind = (offer) => {
      this.rescinded++
      if (offer.relid === this.#offer?.relid) this.#forget()
      this.pair.client.release(offer.relid)
    }
  }

  /** Start `plugin` on a bus, and boot up to the list of offers. */
  // biome-ignore lint/suspicious/noExplicitAny: plug-ins with any options
  static async boot(plugin: Plugin<any>, options: FakeGuestOptions = {}): Promise<FakeGuest> {
    const guest = new FakeGuest(plugin, options)
    await guest.#start(undefined)
    await guest.instance.start?.()
    await guest.connect()
    return guest
  }

  /** Services of the machine; its bus and memory are the guest's. */
  get machine(): FakeMachine {
    return this.#machine
  }

  /** The started plug-in. */
  get instance(): PluginInstance {
    return this.#instance
  }

  /** The open channel. @throws ComplianceError when none is */
  get channel(): ClientChannel {
    if (this.#channel !== undefined) return this.#channel
    this.expectNoViolation()
    return fail('no channel is open')
  }

  /** Whether the channel is open. */
  get isOpen(): boolean {
    return this.#channel !== undefined
  }

  /** What the bus offers, in order. */
  get offers(): readonly ClientOffer[] {
    return this.pair.client.offers
  }

  /** Packets that wait for an answer. */
  get waiting(): number {
    return this.#waiting.size + this.#byPacket.length
  }

  async #start(twin: FakeMachine | undefined): Promise<void> {
    const machine = new FakeMachine({
      services: { [vmbusServerToken.name]: this.pair.server, [guestMemoryToken.name]: this.memory },
    })
    if (twin !== undefined) machine.clock.skip(twin.clock.now())
    await this.#options.prepare?.(machine, twin)
    this.#instance = await machine.start(this.#plugin, this.#options.options)
    this.#machine = machine
  }

  // The bus.

  /** Make contact anew, as a kernel does that starts: what was open is no longer. */
  async connect(): Promise<readonly ClientOffer[]> {
    this.#forget()
    await this.run(this.pair.client.connect(), 'the connection')
    this.#loans.reclaim()
    return await this.run(this.pair.client.requestOffers(), 'the list of offers')
  }

  /** Open the primary channel of a device. @throws ComplianceError when there is no such offer, or the provider refuses */
  async open(options: FakeGuestOpenOptions = {}): Promise<ClientChannel> {
    if (!(await this.tryOpen(options))) fail('the provider refuses to open its channel')
    return this.channel
  }

  /** As {@link FakeGuest.open}; false when the provider refuses. */
  async tryOpen(options: FakeGuestOpenOptions = {}): Promise<boolean> {
    const offer = this.offers.find(
      ({ subChannelIndex, interfaceId }) =>
        subChannelIndex === 0 && (options.interfaceId === undefined || interfaceId === options.interfaceId),
    )
    if (offer === undefined) return fail('there is no such offer')
    const upstream = options.upstream ?? 4
    const downstream = options.downstream ?? upstream
    const opening = this.pair.client.open(offer, this.#loans.rings(upstream, downstream))
    const channel = await this.run(
      opening.catch(() => undefined),
      'the opening of the channel',
    )
    if (channel === undefined) {
      this.#loans.reclaim()
      return false
    }
    const signalled = channel.signalled.bind(channel)
    channel.signalled = () => {
      if (this.#asleep) this.#missed = true
      else signalled()
    }
    channel.onPacket = (packet) => this.#received(channel, packet)
    channel.onWritable = () => this.#respond()
    this.#channel = channel
    this.#offer = offer
    return true
  }

  /** Close the channel, and take back what was given to it. */
  async close(): Promise<void> {
    const { channel } = this
    const { relid } = channel
    const gpadls = this.#gpadls.splice(0)
    this.#forget()
    await this.run(channel.close(), 'the closing of the channel')
    for (const id of gpadls) await this.run(this.pair.client.teardownGpadl(relid, id), 'the end of a GPADL')
    this.#loans.reclaim()
  }

  #forget(): void {
    for (const transaction of [...this.#waiting.keys(), ...this.#allowed]) this.#dead.add(transaction)
    for (const { block } of [...this.#waiting.values(), ...this.#byPacket])
      if (block !== undefined) this.#loans.add(block)
    this.#waiting.clear()
    this.#allowed.clear()
    this.#byPacket.length = 0
    this.#responses.length = 0
    this.#scribbled.clear()
    this.#gpadls.length = 0
    this.#channel = undefined
    this.#offer = undefined
    this.#asleep = false
    this.#missed = false
  }

  /** Give pages to the open channel, for good; the id of the GPADL. They are taken back when it is closed. */
  async createGpadl(pages: readonly number[]): Promise<number> {
    const ranges: GpaRange[] = [{ byteOffset: 0, byteCount: pages.length * 4096, pages }]
    const id = await this.run(this.pair.client.createGpadl(this.channel.relid, ranges), 'a GPADL')
    this.#gpadls.push(id)
    return id
  }

  // Packets.

  /** Send a packet; `undefined` when the ring has no room. */
  async send(step: GuestStep): Promise<Sent | undefined> {
    return this.sendNow(typeof step === 'function' ? await step(this) : step)
  }

  /** As {@link FakeGuest.send}, at once. */
  sendNow(exchange: GuestExchange): Sent | undefined {
    const { channel } = this
    const { payload, buffer } = exchange
    const answer = exchange.answer ?? 'completion'
    const flags = (exchange.completionRequested ?? answer === 'completion') ? VMBUS_COMPLETION_REQUESTED : 0
    const transaction = this.#nextTransaction++
    const block = buffer === undefined ? undefined : this.memory.allocateBlock(buffer.size)
    // A guest without memory waits, as one whose ring is full.
    if (buffer !== undefined && block === undefined) return undefined
    if (block !== undefined) {
      const { gpa, size } = block
      this.memory.bytes.fill(0, gpa, gpa + size).set(buffer?.contents?.subarray(0, size) ?? [], gpa)
    }
    const sent: Sent = {
      exchange,
      transaction,
      block,
      before: block === undefined ? undefined : this.memory.bytes.slice(block.gpa, block.gpa + block.size),
      answer: undefined,
    }
    if (this.waiting === 0) this.memory.record()
    // In the book before it is sent: the provider answers at once.
    if (answer === 'completion') this.#waiting.set(transaction, sent)
    else if (answer === 'packet') this.#byPacket.push(sent)
    if (answer !== 'completion' && flags !== 0) this.#allowed.add(transaction)
    const done =
      block === undefined
        ? channel.send(payload, transaction, TRANSACTION_HIGH, flags)
        : channel.sendGpaDirect([contiguousRange(block.gpa, block.size)], payload, transaction, TRANSACTION_HIGH)
    if (done) return sent
    this.#waiting.delete(transaction)
    this.#allowed.delete(transaction)
    const at = this.#byPacket.indexOf(sent)
    if (at >= 0) this.#byPacket.splice(at, 1)
    if (block !== undefined) this.memory.freeBlock(block)
    return undefined
  }

  /** Send a packet and wait for its answer, which is checked. @throws ComplianceError when there is none, or it is wrong */
  async ask(step: GuestStep): Promise<GuestAnswer> {
    const sent = (await this.send(step)) ?? fail('the ring is full before anything was asked')
    if (sent.exchange.answer === 'none') {
      await this.settle()
      return { type: 0, payload: new Uint8Array(0), view: new DataView(new ArrayBuffer(0)), buffer: new Uint8Array(0) }
    }
    if (!(await this.until(() => sent.answer !== undefined))) fail(`no answer to ${describe(sent)}`)
    this.verify(sent)
    return sent.answer as GuestAnswer
  }

  /** Look at an answer as the exchange wants it. @throws ComplianceError when there is none, or it is wrong */
  verify(sent: Sent): void {
    const { answer, exchange } = sent
    if (exchange.answer === 'none') return
    if (answer === undefined) fail(`no answer to ${describe(sent)}`)
    try {
      exchange.check?.(answer)
    } catch (error) {
      fail(`the answer to ${describe(sent)} is wrong: ${messageOf(error)}`, error)
    }
  }

  /** A packet with ids that are in no book: false when the ring has no room. `ranges` make it GPA-direct. */
  sendRaw(
    payload: Uint8Array,
    kind: 'in-band' | 'completion' | 'gpa-direct',
    flags = 0,
    ranges: readonly GpaRange[] = [],
  ): boolean {
    const transaction = this.#nextTransaction++
    if (flags !== 0 || kind === 'gpa-direct') this.#allowed.add(transaction)
    switch (kind) {
      case 'in-band':
        return this.channel.send(payload, transaction, TRANSACTION_HIGH, flags)
      case 'completion':
        return this.channel.complete(transaction, TRANSACTION_HIGH, payload)
      default:
        return this.channel.sendGpaDirect(ranges, payload, transaction, TRANSACTION_HIGH)
    }
  }

  #received(channel: ClientChannel, packet: VmbusPacket): void {
    const copy: GuestPacket = {
      type: packet.type,
      flags: packet.flags,
      transaction: packet.transactionLow,
      payload: packet.payload().slice(0, packet.payloadLength),
      transferPageSet: packet.transferPageSet,
      transferRanges: Array.from({ length: packet.transferRangeCount }, (_, range) => ({
        offset: packet.transferRangeOffset(range),
        length: packet.transferRangeLength(range),
      })),
    }
    this.onPacket?.(copy)
    if (packet.type === VMBUS_PACKET.COMPLETION) {
      this.#completed(packet, copy)
      return
    }
    if ((packet.flags & VMBUS_COMPLETION_REQUESTED) !== 0) {
      const { transactionLow, transactionHigh } = packet
      const payload = this.#options.respond?.(copy)
      this.#responses.push(() => channel.complete(transactionLow, transactionHigh, payload))
      this.#respond()
    }
    const at = this.#byPacket.findIndex(({ exchange }) => exchange.matches?.(copy) ?? true)
    const [sent] = at < 0 ? [] : this.#byPacket.splice(at, 1)
    if (sent !== undefined) this.#answered(sent, copy)
    else if (this.packets.length < KEPT_PACKETS) this.packets.push(copy)
    else this.#violation('the provider sends packets without end that nobody asked for')
  }

  #completed({ transactionLow, transactionHigh }: VmbusPacket, copy: GuestPacket): void {
    const sent = this.#waiting.get(transactionLow)
    const known = transactionHigh === TRANSACTION_HIGH
    if (sent !== undefined && known) {
      this.#waiting.delete(transactionLow)
      this.#answered(sent, copy)
    } else if (known && this.#allowed.delete(transactionLow)) {
      // Nobody needs it.
    } else if (known && this.#dead.has(transactionLow))
      this.#violation(`a completion of transaction ${transactionLow}, which was of an earlier opening`)
    else this.#violation(`a completion of transaction ${transactionLow}, which was not open`)
  }

  #respond(): void {
    while (this.#responses[0]?.() === true) this.#responses.shift()
  }

  #answered(sent: Sent, packet: GuestPacket): void {
    const { block } = sent
    const { payload } = packet
    sent.answer = {
      type: packet.type,
      payload,
      view: new DataView(payload.buffer, payload.byteOffset, payload.byteLength),
      buffer: block === undefined ? new Uint8Array(0) : this.memory.bytes.slice(block.gpa, block.gpa + block.size),
    }
    if (block === undefined) return
    const stray = this.memory.guardBroken(block)
    if (stray !== undefined)
      this.#violation(`a byte was stored outside of the buffer of ${describe(sent)}: ${stray - block.gpa}`)
    const { before } = sent
    const scribbled = this.#scribbled.delete(block)
    if (!scribbled && this.memory.onAccess === undefined && before !== undefined && this.waiting === 0) {
      const { buffer } = sent.answer
      const silent = buffer.findIndex((byte, at) => byte !== before[at] && !this.memory.wasAnnounced(block.gpa + at))
      if (silent >= 0)
        this.#violation(
          `byte ${silent} of the buffer of ${describe(sent)} was stored without a word to the processor (GuestMemory.written)`,
        )
    }
    this.memory.freeBlock(block)
  }

  #violation(text: string): void {
    if (this.violations.length < 10) this.violations.push(text)
  }

  /** Change the buffers of packets that wait for their answer, as a guest may at any time; or put back what was there. */
  scribble(random: RandomSource): void {
    for (const { block, before } of [...this.#waiting.values(), ...this.#byPacket]) {
      if (block === undefined || before === undefined || random.chance(1, 2)) continue
      this.#scribbled.add(block)
      if (random.chance(1, 2)) this.memory.bytes.set(before, block.gpa)
      else
        for (let change = 0; change < 4; change++) {
          const at = random.below(random.chance(1, 2) ? Math.min(64, block.size) : block.size)
          this.memory.bytes[block.gpa + at] = random.chance(1, 2) ? 0xff : random.u32() & 0xff
        }
    }
  }

  // Time and order.

  /** While true, the guest takes nothing out of its ring. Awake again, it takes all. */
  get asleep(): boolean {
    return this.#asleep
  }

  set asleep(asleep: boolean) {
    this.#asleep = asleep
    if (asleep || !this.#missed) return
    this.#missed = false
    this.#channel?.signalled()
  }

  /** Let at most `count` messages, signals and pieces of the host's work pass. */
  steps(count: number): Promise<void> {
    return this.#pump.steps(count)
  }

  /** Let everything pass until there is silence; no time passes. */
  settle(): Promise<void> {
    return this.#pump.settle()
  }

  /** Let everything pass, and time with it, until `condition` holds; false when it never does. */
  until(condition: () => boolean): Promise<boolean> {
    return this.#pump.until(condition)
  }

  /** Wait for `promise` while everything goes on. @throws ComplianceError when it does not end */
  run<T>(promise: PromiseLike<T>, what: string): Promise<T> {
    return this.#pump.run(promise, what)
  }

  /** Nanoseconds pass. */
  advance(nanoseconds: number): Promise<void> {
    return this.#pump.advance(nanoseconds)
  }

  // The machine around it.

  /** The partition stops: devices first, then the bus. */
  async pause(): Promise<void> {
    await this.run(Promise.resolve(this.#instance.stop?.()), 'stop()')
    this.pair.server.stop()
  }

  /** The partition runs again. */
  async resume(): Promise<void> {
    this.pair.server.start()
    await this.#instance.start?.()
  }

  /** Stop, save, and go on with another instance of the plug-in, as in another process. Returns the plug-in's state. */
  async migrate(): Promise<SavedState> {
    await this.pause()
    const bus = structuredClone(this.pair.server.save())
    const state = saveOf(this.#instance)
    this.pair.replaceServer()
    await this.#start(this.#machine)
    this.pair.server.restore(bus)
    if (this.#instance.restore === undefined) fail('there is no restore()')
    this.#instance.restore(state)
    await this.resume()
    return state
  }

  /** Power-on reset of bus and plug-in; the guest boots anew. */
  async reset(): Promise<void> {
    await this.pause()
    this.pair.server.reset()
    this.#instance.reset?.()
    await this.resume()
    await this.connect()
  }

  /** Bytes of the plug-in's state now. */
  async stateSize(): Promise<number> {
    await this.pause()
    const size = measure(saveOf(this.#instance).data)
    await this.resume()
    return size
  }

  /** Take the plug-in away while the guest runs. */
  async withdraw(): Promise<void> {
    await this.run(this.#machine[Symbol.asyncDispose](), 'the disposal of the plug-in')
    await this.settle()
    this.#loans.reclaim()
  }

  /** @throws ComplianceError when the provider has done what it must not */
  expectNoViolation(): void {
    if (this.deviceErrors.length > 0)
      fail(`the provider threw out of a callback: ${messageOf(this.deviceErrors[0])}`, this.deviceErrors[0])
    if (this.violations.length > 0) fail(this.violations.join('; '))
    const stray = this.memory.strayByte()
    if (stray !== undefined) fail(`byte ${stray} of the guest's memory was stored, which nobody gave away`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.withdraw()
  }
}

function describe({ exchange, transaction }: Sent): string {
  const { payload, name } = exchange
  const start = Array.from(payload.subarray(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join(' ')
  return `${name ?? 'packet'} ${transaction} (${payload.length} bytes: ${start}${payload.length > 16 ? ' …' : ''})`
}
