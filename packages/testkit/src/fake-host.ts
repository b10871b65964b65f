// A host for tests of drivers (VSCs): offers a device on a pretended bus, binds a driver to it as a guest's Plug and Play manager does, and stands between the two:
// answers wait until the test lets them go, in any order, changed, twice, or never.

import type { VmbusChannel, VmbusChannelHandler, VmbusDevice, VmbusOffered, VmbusPacket } from '@partita/interface'
import {
  type ClientChannel,
  type ClientOffer,
  type VmbusClient,
  VscDevice,
  type VscDriver,
  type VscInstance,
} from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import { BusPump } from './bus-pump.ts'
import { fail, messageOf } from './compliance/check.ts'
import type { SeededRandom } from './compliance/seeded-random.ts'
import { FakeClock } from './fake-clock.ts'
import { type HeldReply, RelayChannel } from './relay-channel.ts'

/** Options of {@link FakeHost.boot}. */
export interface FakeHostOptions {
  /** Makes the order in which messages and signals pass. Default: the order in which they came. */
  readonly random?: SeededRandom | undefined
  /** Virtual processors of the guest. Default: 1. */
  readonly processorCount?: number | undefined
}

/** What packets are overwritten with after a driver has seen them. */
const SPENT = 0xdb

/**
 * The host, and the guest's bus with one device.
 *
 * @example
 * ```ts
 * import { FakeHost, scriptedHost } from '@partita/testkit'
 *
 * const offer = { interfaceId: '7f6c1a10-0000-4000-8000-000000000001', instanceId: '7f6c1a10-0000-4000-8000-000000000002' }
 * await using host = await FakeHost.boot(() => scriptedHost(offer, (packet) => packet.payload()))
 * const channel = await host.run(host.createDevice().open(), 'the opening')
 * channel.onPacket = ({ transactionLow }) => console.log(transactionLow)
 * host.replies = 'hold'
 * for (const id of [1, 2]) channel.send(Uint8Array.of(id), id, 0, 1)
 * for (const reply of host.held.splice(0).reverse()) reply.deliver()
 * ```
 */
export class FakeHost implements AsyncDisposable {
  /** The time of both sides. By itself it passes only while something is waited for. */
  readonly clock: FakeClock = new FakeClock()
  /** The bus between driver and host. */
  readonly pair: VmbusPair
  /** What becomes of the device's answers: they pass, or are kept in {@link FakeHost.held}. */
  replies: 'pass' | 'hold' = 'pass'
  /** Answers that were kept, oldest first. */
  readonly held: HeldReply[] = []
  /** Channels that are open, the primary one first. */
  readonly channels: RelayChannel[] = []
  /** What the driver threw out of a callback of its channels. */
  readonly driverErrors: unknown[] = []
  readonly #pump: BusPump
  readonly #create: (clock: FakeClock) => VmbusDevice
  #deaf = false
  #offered: VmbusOffered | undefined
  #offer: ClientOffer | undefined
  #device: VscDevice | undefined
  #instance: VscInstance | undefined

  private constructor(create: (clock: FakeClock) => VmbusDevice, options: FakeHostOptions) {
    this.#create = create
    const { random, processorCount } = options
    this.pair = new VmbusPair({
      ramSize: 64 * 1024 * 1024,
      ...(processorCount === undefined ? {} : { processorCount }),
      ...(random === undefined ? {} : { pick: (count) => random.below(count) }),
      onDeviceError: (_device, error) => fail(`the host of the test failed: ${messageOf(error)}`, error),
    })
    this.#pump = new BusPump(this.pair, () => this.clock)
    const { client } = this.pair
    client.onOffer = (offer) => {
      if (offer.subChannelIndex === 0) this.#offer = offer
      else this.#device?.addSubChannel(offer)
    }
    client.onRescind = (offer) => {
      if (offer.subChannelIndex === 0) {
        this.#offer = undefined
        this.#device?.rescinded()
      }
      client.release(offer.relid)
    }
    this.#watch(client)
  }

  /** A host that offers what `create` makes, and a guest that has seen the offer. */
  static async boot(create: (clock: FakeClock) => VmbusDevice, options: FakeHostOptions = {}): Promise<FakeHost> {
    const host = new FakeHost(create, options)
    host.offer()
    await host.run(host.pair.client.connect(), 'the connection')
    await host.run(host.pair.client.requestOffers(), 'the list of offers')
    return host
  }

  /** Spoil each packet when the driver has seen it, and note what the driver throws. */
  #watch(client: VmbusClient): void {
    const open = client.open.bind(client)
    client.open = async (offer, options) => {
      const channel: ClientChannel = await open(offer, options)
      const signalled = channel.signalled.bind(channel)
      channel.signalled = () => {
        try {
          signalled()
        } catch (error) {
          this.driverErrors.push(error)
        }
        channel.reader.packet.bytes.fill(SPENT)
      }
      return channel
    }
  }

  // The host's side.

  /** Offer the device: a new one, when there was one before. */
  offer(): void {
    const device = this.#create(this.clock)
    this.#offered = this.pair.server.offer({
      offer: device.offer,
      open: (channel: VmbusChannel): VmbusChannelHandler | undefined => {
        const relay = new RelayChannel(this, channel)
        const handler = device.open(relay)
        if (handler === undefined) return undefined
        this.channels.push(relay)
        return relay.handler(handler)
      },
    })
  }

  /** Take the device away. The guest hears of it with the next messages. */
  async rescind(): Promise<void> {
    const offered = this.#offered
    this.#offered = undefined
    if (offered !== undefined) await this.run(offered[Symbol.asyncDispose](), 'the end of the offer')
  }

  /** While true, the device takes no packet: the ring to it fills up. */
  get deaf(): boolean {
    return this.#deaf
  }

  set deaf(deaf: boolean) {
    this.#deaf = deaf
    if (!deaf) for (const channel of this.channels) channel.resume()
  }

  /** Keep an answer. For `RelayChannel`. */
  hold(reply: HeldReply): void {
    this.held.push(reply)
  }

  /** A channel was closed. For `RelayChannel`. */
  channelClosed(channel: RelayChannel): void {
    const index = this.channels.indexOf(channel)
    if (index >= 0) this.channels.splice(index, 1)
  }

  /** Let go of what is held, in the order that `random` makes, or as it came; later answers pass. */
  release(random?: SeededRandom): void {
    const held = this.held.splice(0)
    for (const reply of random === undefined ? held : random.shuffle(held)) reply.deliver()
    this.replies = 'pass'
  }

  // The guest's side.

  /** Bind a driver to the device that is offered, and wait until it has started. @throws what the driver throws */
  bind<Instance extends object>(driver: VscDriver<Instance>): Promise<Instance & VscInstance> {
    return this.run(this.beginBind(driver), 'the start of the driver')
  }

  /** As {@link FakeHost.bind}, without waiting. */
  async beginBind<Instance extends object>(driver: VscDriver<Instance>): Promise<Instance & VscInstance> {
    const device = this.createDevice()
    const instance = await driver.start(device)
    this.#instance = instance
    return instance
  }

  /** The offered device as a driver sees it, closed. */
  createDevice(): VscDevice {
    const offer = this.#offer ?? fail('no device is offered')
    this.#device = new VscDevice({ client: this.pair.client, transport: this.pair.transport, offer })
    return this.#device
  }

  /** The device that the driver is bound to; while it sleeps, the one that it was bound to. */
  get device(): VscDevice | undefined {
    return this.#device
  }

  /** The driver lets go of the device, as when it is not wanted any more or was rescinded. */
  async unbind(): Promise<void> {
    const device = this.#device
    const instance = this.#instance
    this.#device = undefined
    this.#instance = undefined
    instance?.stop?.()
    if (device !== undefined) await this.run(device.close(), 'the closing of the device')
  }

  /** Put the driver to sleep, and give back what it took. */
  async suspend(): Promise<void> {
    await this.run(Promise.resolve(this.#instance?.suspend?.()), 'suspend()')
    const device = this.#device
    if (device !== undefined) await this.run(device.close(), 'the closing of the device')
  }

  /** Wake it up, with the device that is offered then. */
  async resume(): Promise<void> {
    const device = this.createDevice()
    await this.run(Promise.resolve(this.#instance?.resume?.(device)), 'resume()')
  }

  // Both.

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

  /** @throws ComplianceError when the driver threw out of a callback */
  expectNoError(): void {
    if (this.driverErrors.length > 0)
      fail(`the driver threw out of a callback: ${messageOf(this.driverErrors[0])}`, this.driverErrors[0])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unbind()
    await this.rescind()
  }
}

/**
 * A device for {@link FakeHost} that is a function: it is given each packet, and returns the payload of the answer: a completion where the packet asks for one, a packet
 * otherwise. `undefined`: no answer.
 */
export function scriptedHost(
  offer: VmbusDevice['offer'],
  serve: (packet: VmbusPacket, channel: VmbusChannel) => Uint8Array | undefined,
): VmbusDevice {
  return {
    offer,
    open: (channel) => ({
      receive: (packet) => {
        const answer = serve(packet, channel)
        if (answer === undefined) return true
        const { transactionLow, transactionHigh, flags } = packet
        return (flags & 1) !== 0
          ? channel.complete(transactionLow, transactionHigh, answer)
          : channel.send(answer, 0, answer.length, transactionLow, transactionHigh)
      },
    }),
  }
}
