// A server and a client that pretend to be in two partitions: messages, event flags and deferred work wait in queues, and pass when
// the test lets them.

import type { SavedState, VmbusDevice } from '@partita/interface'
import type { VmbusTransport } from '../client/transport.ts'
import { VmbusClient } from '../client/vmbus-client.ts'
import {
  EVENT_CONNECTION_BASE,
  HV_STATUS,
  MESSAGE_CONNECTION_ID,
  MESSAGE_CONNECTION_ID_5,
  VMBUS_SINT,
} from '../protocol/constants.ts'
import type { VmbusHost } from '../server/host.ts'
import { VmbusServer, type VmbusServerOptions } from '../server/vmbus-server.ts'
import { SharedMemory } from './shared-memory.ts'

/** Options of a {@link VmbusPair}. */
export interface VmbusPairOptions extends VmbusServerOptions {
  /** Bytes of the guest's memory. Default: 16 MiB. */
  readonly ramSize?: number
  /** The guest's memory itself, instead of {@link VmbusPairOptions.ramSize}. */
  readonly memory?: SharedMemory
  /** Which of `count` things that wait passes next, 0 to `count - 1`: messages come first, then event flags, then the host's own work. Default: the first. */
  readonly pick?: (count: number) => number
  /** Virtual processors of the guest. Default: 1. */
  readonly processorCount?: number
}

/** How many rounds {@link VmbusPair.settle} waits for silence. */
const MAX_ROUNDS = 10_000

/**
 * The pretended pair. The SINT's slot takes one message at a time, and gets the next when the client has looked at it.
 *
 * @example
 * ```ts
 * const pair = new VmbusPair()
 * pair.server.offer(device)
 * const { client } = pair
 * await pair.run(client.connect())
 * const [offer] = await pair.run(client.requestOffers())
 * const channel = await pair.run(client.open(offer!, pair.rings(4, 4)))
 * ```
 */
export class VmbusPair implements VmbusHost {
  readonly memory: SharedMemory
  /** The child's way to the hypervisor. */
  readonly transport: VmbusTransport
  /** The child's client. There may be others, see {@link VmbusPair.createClient}. */
  readonly client: VmbusClient
  readonly #options: VmbusPairOptions
  #server: VmbusServer
  /** Interrupts of channels that the host asked for. */
  interrupts = 0
  /** Signals of the guest that reached a port. */
  signals = 0
  /** The virtual processors that were interrupted last, by event flag. */
  readonly interruptedVp: Map<number, number> = new Map()
  /** Messages for other SINTs than the bus's: `sint` is the one, `payload` a copy of the message. */
  readonly elsewhere: { readonly sint: number; readonly payload: Uint8Array }[] = []
  /** Whether the server wants to look at the monitor page. */
  polling = false
  /** While true, the client does not look at messages. */
  clientAsleep = false
  readonly #ports: Map<number, () => void> = new Map()
  readonly #flags: Set<number> = new Set()
  readonly #deferred: (() => void)[] = []
  #slot: Uint8Array | undefined

  constructor(options: VmbusPairOptions = {}) {
    this.memory = options.memory ?? new SharedMemory(options.ramSize ?? 16 * 1024 * 1024)
    this.#options = options
    this.#server = new VmbusServer(this, options)
    this.transport = {
      memory: this.memory,
      processorCount: options.processorCount ?? 1,
      allocate: (byteLength) => this.memory.allocate(byteLength),
      adopt: (gpa, byteLength) => this.memory.adopt(gpa, byteLength),
      addressOf: (bytes) => this.memory.addressOf(bytes),
      postMessage: (connectionId, payload) =>
        connectionId === MESSAGE_CONNECTION_ID || connectionId === MESSAGE_CONNECTION_ID_5
          ? this.server.receiveMessage(payload.slice())
          : HV_STATUS.INVALID_PARAMETER,
      signalEvent: (connectionId) => void this.signal(connectionId),
    }
    this.client = this.createClient()
    this.server.start()
  }

  /** The server; after {@link VmbusPair.migrate} it is another one. */
  get server(): VmbusServer {
    return this.#server
  }

  /**
   * Save the server, and put another one with these devices in its place, as if the VM went on in another process. Returns the state, as it would come from a
   * file.
   */
  migrate(devices: readonly VmbusDevice[]): SavedState {
    this.#server.stop()
    const state = structuredClone(this.#server.save())
    this.replaceServer()
    for (const device of devices) this.#server.offer(device)
    this.#server.restore(state)
    this.#server.start()
    return state
  }

  /** Put a server that knows nothing, and does not run yet, in the place of the one that there is, as if that one's process had ended. */
  replaceServer(): VmbusServer {
    this.#ports.clear()
    this.#deferred.length = 0
    this.#server = new VmbusServer(this, this.#options)
    return this.#server
  }

  /** Nothing waits: no message, no event flag, no work of the host. */
  get idle(): boolean {
    return this.#slot === undefined && this.#flags.size === 0 && this.#deferred.length === 0
  }

  /** Another client in the same partition: a kernel that was started by the one before. */
  createClient(): VmbusClient {
    return new VmbusClient(this.transport)
  }

  /** Signal a connection, as the guest's hypercall does. False: there is no such port. */
  signal(connectionId: number): boolean {
    const port = this.#ports.get(connectionId)
    if (port === undefined) return false
    this.signals++
    port()
    return true
  }

  /** Whether a channel has an event port. */
  hasPort(relid: number): boolean {
    return this.#ports.has(EVENT_CONNECTION_BASE + relid)
  }

  // The host's side.

  postMessage(_vpIndex: number, sint: number, payload: Uint8Array): boolean {
    if (sint !== VMBUS_SINT) {
      this.elsewhere.push({ sint, payload: payload.slice() })
      return true
    }
    if (this.#slot !== undefined) return false
    this.#slot = payload.slice()
    return true
  }

  signalEvent(vpIndex: number, _sint: number, flag: number): void {
    this.interrupts++
    this.interruptedVp.set(flag, vpIndex)
    this.#flags.add(flag)
  }

  createEventPort(connectionId: number, signal: () => void): Disposable {
    if (this.#ports.has(connectionId)) throw new RangeError(`connection ${connectionId} has a port`)
    this.#ports.set(connectionId, signal)
    return { [Symbol.dispose]: () => void this.#ports.delete(connectionId) }
  }

  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  pollMonitors(wanted: boolean): void {
    this.polling = wanted
  }

  // The test's side.

  /** Take the message in the slot, as the guest's interrupt handler does; the next one follows. */
  takeMessage(): Uint8Array | undefined {
    const message = this.#slot
    this.#slot = undefined
    if (message !== undefined) this.server.messageSlotFree()
    return message
  }

  /** Let one thing pass for the client that is asked for. False: nothing waits. */
  step(client: VmbusClient = this.client): boolean {
    const message = this.clientAsleep ? undefined : this.#slot
    const messages = message === undefined ? 0 : 1
    const count = messages + this.#flags.size + Math.min(1, this.#deferred.length)
    if (count === 0) return false
    let chosen = this.#options.pick?.(count) ?? 0
    if (message !== undefined && chosen-- === 0) {
      client.receiveMessage(message)
      this.takeMessage()
      client.retry()
      return true
    }
    for (const flag of this.#flags) {
      if (chosen-- > 0) continue
      this.#flags.delete(flag)
      client.eventFlag(flag)
      return true
    }
    this.#deferred.shift()?.()
    return true
  }

  /** Let everything pass until there is silence. */
  async settle(client: VmbusClient = this.client): Promise<void> {
    for (let round = 0, silent = 0; silent < 5; round++) {
      if (round === MAX_ROUNDS) throw new RangeError('the pair does not come to rest')
      silent = this.step(client) ? 0 : silent + 1
      await Promise.resolve()
    }
  }

  /** Let everything pass until a request is answered. */
  async run<T>(request: PromiseLike<T>, client: VmbusClient = this.client): Promise<T> {
    // A rejection is the caller's.
    request.then(undefined, () => undefined)
    await this.settle(client)
    return await request
  }

  /** Pages for two rings, of so many pages of data each: `pages` are their numbers, and at index `downstreamPageOffset` the ring from the host begins. */
  rings(upstream: number, downstream: number, gap = 1): { pages: number[]; downstreamPageOffset: number } {
    return { pages: this.memory.allocatePages(upstream + downstream + 2, gap), downstreamPageOffset: upstream + 1 }
  }
}
