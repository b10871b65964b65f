// A synthetic network adapter: the device on the VMBus on one side, an adapter at the port of a network on the other.

import { formatMacAddress, readMacAddress } from '@partita/ethernet'
import {
  type Clock,
  ETHERNET_HEADER_LENGTH,
  FRAME_FLAG,
  type GuestMemory,
  type Network,
  type NetworkAdapter,
  type NetworkConnection,
  type NetworkFrame,
  type NetworkPort,
  type Saveable,
  type SavedState,
  type Timer,
  type VmbusChannel,
  type VmbusChannelHandler,
  type VmbusDevice,
  type VmbusOffer,
  type VmbusPacket,
} from '@partita/interface'
import { NetworkError } from '../network-error.ts'
import {
  NDIS_CONFIG_CAPABILITY,
  NETWORK_INTERFACE_ID,
  NVSP_MESSAGE,
  NVSP_STATUS,
  NVSP_VERSION,
  NvspSendTable,
  packetSize,
  SEND_TABLE_SIZE,
} from '../protocol/nvsp.ts'
import { type AdapterFeatures, AdapterState, type LinkView } from './adapter-state.ts'
import { agreedMtu } from './control.ts'
import { ControlQueue } from './control-queue.ts'
import { GuestBuffers, SEND_SECTION_SIZE } from './guest-buffers.ts'
import { type Negotiation, startNegotiation } from './negotiation.ts'
import { type ChannelHost, NetworkChannel } from './network-channel.ts'
import { answerMessage, type SetupHost } from './nvsp-messages.ts'
import type { OutgoingPacket } from './outgoing-packet.ts'
import { RECEIVED, ReceivePath } from './receive.ts'
import type { ReceiveBuffer } from './receive-buffer.ts'
import { parseState, type SavedDevice } from './saved-device.ts'
import type { NetworkStatistics } from './statistics.ts'
import { TransmitPath, type TransmitSource } from './transmit.ts'

/** Options of {@link NetworkDevice}. */
export interface NetworkDeviceOptions extends AdapterFeatures {
  /** GUID of this adapter; stable over the life of the VM. */
  readonly instanceId: string
  /** Position among the adapters. */
  readonly order: number
  /** For logs and captures. */
  readonly name: string
  /** The newest version of NVSP to agree on. */
  readonly maximumVersion: number
  /** With it completions of small packets wait up to a millisecond for something else to tell the guest, which then takes one interrupt for both. */
  readonly clock?: Clock | undefined
}

/** Nanoseconds that completions wait at least, and twice as long at most. */
const HOLD_TIME = 500_000

/**
 * An adapter. Without a network its cable is unplugged.
 *
 * @example
 * ```ts
 * const device = new NetworkDevice(options)
 * vmbus.offer(device)
 * device.connect(network, {})
 * ```
 */
export class NetworkDevice implements VmbusDevice, Saveable, NetworkAdapter, LinkView, AsyncDisposable {
  readonly offer: VmbusOffer
  readonly name: string
  readonly accepts: number =
    FRAME_FLAG.CHECKSUM_PARTIAL |
    FRAME_FLAG.CHECKSUM_VALID |
    FRAME_FLAG.VLAN |
    FRAME_FLAG.GSO_TCP4 |
    FRAME_FLAG.GSO_TCP6
  readonly #options: NetworkDeviceOptions
  readonly #state: AdapterState
  readonly #control: ControlQueue
  readonly #receivePath: ReceivePath
  #transmitPath: TransmitPath | undefined
  #memory: GuestMemory | undefined
  #negotiation: Negotiation = startNegotiation()
  /** By index; the primary is 0. */
  readonly #channels: (NetworkChannel | undefined)[] = []
  readonly #buffers: GuestBuffers = new GuestBuffers(() => {
    for (const channel of this.#channels) channel?.forgetOutgoing()
  })
  #port: NetworkPort | undefined
  #stopped = false
  #transmitting = false
  /** Frames went to the network, and it has not been told the end of the batch. */
  #batch = false
  /** The network has room again, and was not asked since. */
  #retry = false
  /** A frame of the network was turned away. */
  #starved = false
  /** The guest is to get the table of channels to send on. */
  #sendTable = false
  /** Armed while completions may wait for company. */
  readonly #holdTimer: Timer | undefined
  #lastLinkUp = false
  #lastLinkSpeed = 0
  /** What was restored before the channels were open. */
  #restored: SavedDevice | undefined

  constructor(options: NetworkDeviceOptions) {
    this.#options = options
    this.name = options.name
    this.offer = { interfaceId: NETWORK_INTERFACE_ID, instanceId: options.instanceId, order: options.order }
    this.#state = new AdapterState(options, this)
    this.#state.onAddress = () => this.#port?.adapterChanged()
    this.#control = new ControlQueue(this.#state)
    this.#receivePath = new ReceivePath(this.#state)
    this.#holdTimer = options.clock?.createTimer(() => this.#age())
  }

  // ── for the host ──

  /** Plug the cable in. */
  connect(network: Network, connection: NetworkConnection): void {
    this.#port = network.connect(this, connection)
    this.#lastLinkUp = this.#port.linkUp
    this.#lastLinkSpeed = this.#port.linkSpeed
    this.#control.announce(true, true)
    this.#serveControl()
  }

  /** Counters since power-on. */
  get statistics(): Readonly<NetworkStatistics> {
    return this.#state.statistics
  }

  /** The agreed version of NVSP; 0 before. */
  get version(): number {
    return this.#negotiation.version
  }

  /** The guest's driver is up. */
  get initialized(): boolean {
    return this.#state.initialized
  }

  /** Channels that are open. */
  get openChannels(): number {
    return this.#channels.reduce((count, channel) => (channel === undefined ? count : count + 1), 0)
  }

  /** Packets of the guest that wait for the network. */
  get waiting(): number {
    return this.#channels.reduce((count, channel) => count + (channel?.waiting ?? 0), 0)
  }

  /** The guest's receive buffer; another one when it gives another. @internal */
  get receiveBuffer(): Pick<ReceiveBuffer, 'gpadlId' | 'id' | 'sectionSize' | 'sectionCount'> | undefined {
    return this.#buffers.receive
  }

  /** Sections of the receive buffer that the guest has. */
  get sectionsInFlight(): number {
    const buffer = this.#buffers.receive
    return buffer === undefined ? 0 : buffer.sectionCount - buffer.freeCount
  }

  // ── LinkView ──

  /** Whether the network behind the adapter has a link. */
  get linkUp(): boolean {
    return this.#port?.linkUp ?? false
  }

  get linkSpeed(): number {
    return this.#port?.linkSpeed ?? 0
  }

  get mtu(): number {
    const { largestFrame } = this.#negotiation
    return agreedMtu(largestFrame, this.#port?.mtu ?? largestFrame)
  }

  // ── NetworkAdapter ──

  get macAddress(): string {
    return formatMacAddress(this.#state.currentAddress)
  }

  receive(frame: NetworkFrame): boolean {
    if (this.#stopped) {
      this.#starved = true
      return false
    }
    const buffer = this.#buffers.receive
    const { statistics } = this.#state
    if (!this.#state.initialized || buffer === undefined || this.#channels[0] === undefined) {
      statistics.receiveFiltered++
      return true
    }
    const { bytes, start, end } = frame
    if (end - start < ETHERNET_HEADER_LENGTH || !this.#state.wants(readMacAddress(bytes, start))) {
      statistics.receiveFiltered++
      return true
    }
    if (this.#receivePath.receive(frame, buffer, this.#packetOf) === RECEIVED.TAKEN) return true
    this.#starved = true
    // What the guest has not seen it cannot give back.
    this.receiveEnd()
    return false
  }

  receiveEnd(): void {
    for (const channel of this.#channels) channel?.flushOutgoing()
  }

  writable(): void {
    this.#retry = true
    if (!this.#transmitting && !this.#batch) this.#transmitWaiting()
  }

  portChanged(): void {
    const { linkUp, linkSpeed } = this
    this.#control.announce(linkUp !== this.#lastLinkUp, linkSpeed !== this.#lastLinkSpeed)
    this.#lastLinkUp = linkUp
    this.#lastLinkSpeed = linkSpeed
    this.#serveControl()
  }

  /** The packet under way of the channel that serves a queue; one that is not open is served by the primary. */
  readonly #packetOf = (queue: number): OutgoingPacket => {
    const channel = this.#channels[queue] ?? (this.#channels[0] as NetworkChannel)
    return channel.outgoing(this.#buffers.receive as ReceiveBuffer)
  }

  // ── VmbusDevice ──

  open(channel: VmbusChannel): VmbusChannelHandler | undefined {
    const index = channel.subChannelIndex
    this.#memory = channel.memory
    this.#transmitPath ??= new TransmitPath(channel.memory)
    if (index === 0 && !channel.restored) this.#begin()
    const { subChannels } = this.#negotiation
    if (index > subChannels && !channel.restored) return undefined
    const serving = new NetworkChannel(this.#channelHost, channel)
    this.#channels[index] = serving
    if (channel.restored) this.#adopt(serving)
    else if (index > 0 && this.openChannels === subChannels + 1) {
      this.#sendTable = true
      this.#sendIndirectionTable()
    }
    return {
      receive: (packet) => serving.receive(packet),
      batchEnd: () => this.#batchEnd(),
      writable: () => this.#writableChannel(serving),
      gpadlTeardown: (gpadlId) => this.#buffers.teardown(gpadlId),
      close: () => this.#closed(serving),
    }
  }

  #batchEnd(): void {
    if (this.#retry) this.#transmitWaiting()
    this.#endBatch()
    this.#serveControl()
    this.#resumeReceive()
  }

  #writableChannel(channel: NetworkChannel): void {
    channel.flushCompletions()
    channel.flushOutgoing()
    this.#sendIndirectionTable()
    this.#serveControl()
    this.#resumeReceive()
  }

  #closed(channel: NetworkChannel): void {
    const { index } = channel
    if (this.#channels[index] !== channel) return
    channel.discardOutgoing()
    this.#channels[index] = undefined
    if (index === 0) this.#begin()
    else this.#buffers.receive?.closed(index)
  }

  /** Nothing is agreed on. */
  #begin(): void {
    this.#restored = undefined
    this.#negotiation = startNegotiation()
    this.#state.halt()
    this.#state.coalescingAgreed = false
    this.#control.clear()
    this.#buffers.setReceive(undefined)
    this.#buffers.dropSend()
    this.#sendTable = false
    // Whoever waits for room gets rid of its frames now.
    this.#resumeReceive(true)
  }

  // ── frames ──

  #transmit(source: TransmitSource, skip: number): number {
    const path = this.#transmitPath
    if (path === undefined || !this.#state.initialized) return NVSP_STATUS.SUCCESS
    this.#transmitting = true
    this.#batch = true
    const { statistics } = this.#state
    const status = path.transmit(source, skip, this.#buffers.send, SEND_SECTION_SIZE, this.#port, statistics)
    this.#transmitting = false
    return status
  }

  /** Send what waits for the network, which says that it has room. */
  #transmitWaiting(): void {
    this.#retry = false
    for (const channel of this.#channels) {
      if (channel === undefined || channel.waiting === 0) continue
      channel.channel.cork()
      const all = channel.transmitWaiting()
      channel.channel.uncork()
      if (!all) break
    }
    this.#endBatch()
  }

  /** Completions wait for company: not for long. */
  #hold(): boolean {
    const timer = this.#holdTimer
    const clock = this.#options.clock
    if (timer === undefined || clock === undefined || this.#stopped) return false
    if (timer.deadline === Number.POSITIVE_INFINITY) timer.arm(clock.now() + HOLD_TIME)
    return true
  }

  #age(): void {
    let waiting = false
    for (const channel of this.#channels) if (channel?.age()) waiting = true
    if (waiting) this.#hold()
  }

  #endBatch(): void {
    if (!this.#batch) return
    this.#batch = false
    this.#port?.sendEnd()
  }

  /** Ask the network for the frames that were turned away, if there is room for them now. */
  #resumeReceive(anyway = false): void {
    if (!this.#starved || this.#stopped) return
    if (!anyway && this.#buffers.receive?.available === 0) return
    this.#starved = false
    this.#port?.resume()
  }

  // ── control ──

  #serveControl(): void {
    const primary = this.#channels[0]
    if (primary !== undefined && !this.#stopped) this.#control.serve(primary, this.#buffers.receive)
  }

  #sendIndirectionTable(): void {
    const primary = this.#channels[0]
    if (!this.#sendTable || primary === undefined || this.#stopped) return
    const size = packetSize(this.#negotiation.version)
    const message = new Uint8Array(size + SEND_TABLE_SIZE * 4)
    const view = new DataView(message.buffer)
    const table = new NvspSendTable(view)
    table.messageType = NVSP_MESSAGE.SEND_INDIRECTION_TABLE
    table.count = SEND_TABLE_SIZE
    table.tableOffset = size
    for (let entry = 0; entry < SEND_TABLE_SIZE; entry++)
      view.setUint32(size + entry * 4, entry % (this.#negotiation.subChannels + 1), true)
    if (primary.channel.send(message)) this.#sendTable = false
    primary.release()
  }

  readonly #channelHost: ChannelHost = this.#makeChannelHost()

  #makeChannelHost(): ChannelHost {
    const device = this
    const setup = this.#makeSetupHost()
    return {
      get version() {
        return device.#negotiation.version
      },
      get receiveBuffer() {
        return device.#buffers.receive
      },
      get stopped() {
        return device.#stopped
      },
      get transmitting() {
        return device.#transmitting
      },
      get sentFrames() {
        return device.#transmitPath?.sent ?? 0
      },
      transmit: (source, skip) => device.#transmit(source, skip),
      hold: () => device.#hold(),
      discarded: () => void device.#state.statistics.transmitDiscards++,
      control: (_packet: VmbusPacket, source: TransmitSource) =>
        device.#memory === undefined
          ? NVSP_STATUS.FAILURE
          : device.#control.add(source, device.#memory, device.#buffers.send, SEND_SECTION_SIZE),
      message: (channel, packet, type) => answerMessage(setup, channel, packet, type),
    }
  }

  #makeSetupHost(): SetupHost {
    const device = this
    return {
      get negotiation() {
        return device.#negotiation
      },
      get maximumVersion() {
        return device.#options.maximumVersion
      },
      get maximumSubChannels() {
        return device.#negotiation.version >= NVSP_VERSION.V5 ? device.#options.queues - 1 : 0
      },
      get coalescing() {
        return device.#state.coalescingAgreed && device.#options.receiveCoalescing
      },
      buffers: device.#buffers,
      setNdisVersion: (major, minor) => {
        device.#state.ndisMajor = major
        device.#state.ndisMinor = minor
      },
      configured: () => {
        const { version, capabilities } = device.#negotiation
        device.#state.coalescingAgreed =
          version >= NVSP_VERSION.V61 && (capabilities & NDIS_CONFIG_CAPABILITY.RSC) !== 0
      },
    }
  }

  // ── the life of the VM ──

  /** The VM runs (again). */
  start(): void {
    this.#stopped = false
    for (const channel of this.#channels) {
      if (channel === undefined) continue
      channel.channel.cork()
      channel.flushCompletions()
      channel.flushOutgoing()
      channel.channel.uncork()
    }
    this.#sendIndirectionTable()
    this.#serveControl()
    this.#resumeReceive(true)
  }

  /** The VM stands: frames that wait are lost, as on any network. */
  stop(): void {
    for (const channel of this.#channels) {
      if (channel === undefined) continue
      channel.discardWaiting()
      if (!channel.flushOutgoing()) channel.discardOutgoing()
      channel.release()
    }
    this.#holdTimer?.cancel()
    this.#stopped = true
  }

  /** As after power-on. The bus closes the channels. */
  reset(): void {
    this.#begin()
    this.#state.reset()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holdTimer?.cancel()
    const port = this.#port
    this.#port = undefined
    await port?.[Symbol.asyncDispose]()
  }

  // ── saved state ──

  /** The adapter is stopped. */
  save(): SavedState {
    const { filter, multicast, rxOffload, coalesceIp4, coalesceIp6, lookahead, ndisMajor, ndisMinor } = this.#state
    const device: SavedDevice = {
      negotiation: { ...this.#negotiation },
      ...this.#buffers.save(),
      adapter: {
        initialized: this.#state.initialized,
        currentAddress: this.#state.currentAddress,
        filter,
        multicast: [...multicast],
        rxOffload,
        coalesceIp4,
        coalesceIp6,
        lookahead,
        ndisMajor,
        ndisMinor,
        scaling: this.#state.scaling.save(),
      },
      statistics: structuredClone(this.#state.statistics),
      control: this.#control.save(),
      sendTable: this.#sendTable,
      channels: this.#channels.flatMap((channel) =>
        channel === undefined ? [] : [{ index: channel.index, completions: channel.saveCompletions() }],
      ),
    }
    return { version: 1, data: device as unknown as SavedState['data'] }
  }

  /** Before or after the bus opens its channels again. @throws NetworkError `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    const device = parseState(state)
    const fits =
      device !== undefined &&
      this.#state.scaling.restore(device.adapter.scaling) &&
      this.#control.restore(device.control)
    if (!fits) {
      throw new NetworkError('ERR_STATE_INVALID', 'this is no saved state of a network adapter', {
        data: { version: state.version },
      })
    }
    const { scaling: _scaling, currentAddress, ...adapter } = device.adapter
    Object.assign(this.#state, adapter)
    this.#state.statistics = structuredClone(device.statistics)
    this.#state.setAddress(currentAddress)
    this.#negotiation = { ...device.negotiation }
    this.#state.coalescingAgreed =
      device.negotiation.version >= NVSP_VERSION.V61 &&
      (device.negotiation.capabilities & NDIS_CONFIG_CAPABILITY.RSC) !== 0
    this.#sendTable = device.sendTable
    this.#restored = device
    for (const channel of this.#channels) if (channel !== undefined) this.#adopt(channel)
    if (!this.#channels.some((channel) => channel !== undefined) && device.channels.length === 0)
      this.#restored = undefined
  }

  /** A channel that is open again gets back what was its own; with the primary come the buffers. */
  #adopt(channel: NetworkChannel): void {
    const device = this.#restored
    if (device === undefined) return
    const { index } = channel
    const saved = device.channels.find((other) => other.index === index)
    if (saved !== undefined) channel.restoreCompletions(saved.completions)
    if (index !== 0) return
    if (!this.#buffers.restore(channel.channel, device))
      channel.channel.fail('the buffers are not those of the saved state')
  }
}
