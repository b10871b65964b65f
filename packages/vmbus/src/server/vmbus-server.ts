// The root partition's side of the VMBus: a state machine that takes the guest's messages and signals, and answers through a VmbusHost.
// What the guest does wrong is ignored or refused with a status; it never throws, waits, or grows without bound. Here is the connection; offers,
// GPADLs and channels have their own files.

import type {
  Saveable,
  SavedState,
  Vmbus,
  VmbusChannelInfo,
  VmbusConnectRequest,
  VmbusDevice,
  VmbusOffered,
} from '@partita/interface'
import { CONNECTION_STATE, HV_STATUS, STATUS, VMBUS_SINT } from '../protocol/constants.ts'
import { SUPPORTED_FEATURES } from '../protocol/features.ts'
import { checkMessage, MESSAGE_TYPE } from '../protocol/message-type.ts'
import {
  CloseChannel,
  GpadlTeardown,
  ModifyChannel,
  ModifyConnection,
  RelIdReleased,
  TlConnectRequest,
} from '../protocol/messages.ts'
import { formatVersion, SUPPORTED_VERSIONS, VMBUS_VERSION } from '../protocol/version.ts'
import { type AfterDisconnection, Bus, type Connection } from './bus.ts'
import type { Channel } from './channel.ts'
import { ChannelLife } from './channel-life.ts'
import { ANSWER, type Contact, monitorPageOf, parseContact, versionResponse } from './contact.ts'
import { GpadlRequests } from './gpadl-requests.ts'
import type { VmbusHost, VmbusTrace } from './host.ts'
import { Offers } from './offers.ts'
import {
  bareMessage,
  modifyConnectionResponseMessage,
  modifyResponseMessage,
  tlConnectResultMessage,
} from './replies.ts'
import { restoreServer, saveServer } from './save-restore.ts'

/** Options of a {@link VmbusServer}. */
export interface VmbusServerOptions {
  /** The versions to accept. Default: all that there are from 2.4 to 6.0. */
  readonly versions?: readonly number[]
  /** Told of all messages, and of what becomes of channels. Default: nobody. */
  readonly trace?: VmbusTrace
  /** Told when a device throws. Its channels are then closed, and its offer is rescinded. */
  readonly onDeviceError?: (device: VmbusDevice, error: unknown) => void
}

/** SINTs that there are. */
const SINT_COUNT = 16
/** What a guest that paused its messages may send. */
const WHILE_PAUSED: ReadonlySet<number> = new Set([
  MESSAGE_TYPE.RESUME,
  MESSAGE_TYPE.UNLOAD,
  MESSAGE_TYPE.INITIATE_CONTACT,
])

/**
 * The server. Give it the guest's messages with {@link VmbusServer.receiveMessage}; it runs between {@link VmbusServer.start} and
 * {@link VmbusServer.stop}.
 */
export class VmbusServer implements Vmbus, Saveable {
  readonly #options: VmbusServerOptions
  readonly #bus: Bus
  readonly #offers: Offers
  readonly #gpadls: GpadlRequests
  readonly #life: ChannelLife
  #receiving = false
  #connectRequests: ((request: VmbusConnectRequest) => boolean) | undefined

  constructor(host: VmbusHost, options: VmbusServerOptions = {}) {
    this.#options = options
    const bus = new Bus(host, options.trace)
    this.#bus = bus
    this.#offers = new Offers(bus, (channel) => this.#life.close(channel))
    this.#gpadls = new GpadlRequests(bus, (channel, error) => this.#life.deviceFailed(channel, error))
    this.#life = new ChannelLife(bus, this.#offers, this.#gpadls, {
      closed: () => this.#finishDisconnect(),
      deviceFailed: (device, error) => options.onDeviceError?.(device, error),
    })
  }

  /** The version that the guest and the server agreed on; 0 while there is none. */
  get version(): number {
    return this.#bus.connection?.version ?? 0
  }

  /** The features of 6.0 that are on: bits of `FEATURE`. */
  get features(): number {
    return this.#bus.connection?.granted ?? 0
  }

  /** How often the guest sent what makes no sense, or was refused. */
  get faults(): number {
    return this.#bus.faults
  }

  /** Messages that wait for the guest. */
  get queuedMessages(): number {
    return this.#bus.outbox.length
  }

  /** GPADLs that the guest has announced, complete or not. */
  get gpadlCount(): number {
    return this.#bus.gpadls.count
  }

  /** Pieces of memory that are kept of them: at most 65,536 and two for each page of the guest's memory. */
  get gpadlPieces(): number {
    return this.#bus.gpadls.kept
  }

  /** The channels, for an inspector. */
  channels(): VmbusChannelInfo[] {
    return [...this.#bus.channels].map(({ device, subChannelIndex, relid, state, revoked, counters }) => ({
      interfaceId: device.offer.interfaceId,
      instanceId: device.offer.instanceId,
      subChannelIndex,
      relid,
      state,
      revoked,
      counters: { ...counters },
    }))
  }

  // The VM.

  /** The VM runs: messages, packets and signals flow. After a restore every open channel is signalled, so that nobody waits for a signal that was lost. */
  start(): void {
    const { channels, outbox, monitored } = this.#bus
    this.#bus.running = true
    outbox.pump()
    const waiting = new Set(outbox.messages.map(({ openResultOf }) => openResultOf))
    for (const { io, relid } of [...channels]) if (io !== undefined && !waiting.has(relid)) io.start(io.restored)
    monitored.watch(true)
  }

  /** The VM stands: nothing is delivered to devices or to the guest. */
  stop(): void {
    this.#bus.running = false
    for (const channel of this.#bus.channels) channel.io?.stop()
    this.#bus.monitored.watch(false)
  }

  /** Back to power-on: no connection. Offers stay. */
  reset(): void {
    const bus = this.#bus
    bus.outbox.clear()
    bus.after = undefined
    bus.connection = undefined
    this.#life.disconnect()
  }

  /** Look for signals in the guest's monitor page. */
  pollMonitors(): void {
    this.#bus.monitored.poll(this.#bus.connection?.monitorPage ?? 0)
  }

  /** A slot for messages is free again. */
  messageSlotFree(): void {
    this.#bus.outbox.pump()
  }

  /** The state, without that of the devices. Stop the VM first. */
  save(): SavedState {
    return saveServer(this.#bus)
  }

  /**
   * Take over a state. The devices have been offered by now; those of the state that are missing are rescinded, and new ones are offered.
   * @throws VmbusError `ERR_STATE_INVALID` when it is not a state of a VMBus, or not of this memory
   */
  restore(state: SavedState): void {
    this.reset()
    const { channels, byRelid } = this.#bus
    const restored = restoreServer(this.#bus, state)
    for (const channel of channels) if (channel.relid !== 0) byRelid.set(channel.relid, channel)
    const lost: Channel[] = [...restored.absent]
    // No guest runs yet; a message now would find half a state.
    this.#receiving = true
    for (const { channel, request, positions } of restored.open)
      if (this.#life.setUp(channel, request, positions) !== STATUS.SUCCESS) lost.push(channel)
    this.#receiving = false
    lost.sort((a, b) => b.subChannelIndex - a.subChannelIndex)
    for (const channel of lost) this.#offers.revoke(channel)
    for (const channel of [...channels]) if (channel.state === 'closed') this.#life.closed(channel)
    this.#finishDisconnect()
    this.#offers.send()
  }

  // Offers.

  offer(device: VmbusDevice): VmbusOffered {
    return this.#offers.add(device)
  }

  onConnectRequest(callback: (request: VmbusConnectRequest) => boolean): Disposable {
    this.#connectRequests = callback
    return {
      [Symbol.dispose]: () => {
        if (this.#connectRequests === callback) this.#connectRequests = undefined
      },
    }
  }

  // Messages.

  /**
   * A message that the guest posted. Returns an HV_STATUS for it: 0, or INSUFFICIENT_BUFFERS when too many answers wait for the guest and it is to try
   * again.
   */
  receiveMessage(payload: Uint8Array): number {
    if (this.#receiving) return HV_STATUS.INSUFFICIENT_BUFFERS
    const bus = this.#bus
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
    const rule = checkMessage(view, 'client', this.version, this.features)
    const type = typeof rule === 'string' ? 0 : view.getUint32(0, true)
    // Contact and unload discard what waits, and resume lets go of it, so they need no room. Nonsense needs none either.
    const roomless = type === 0 || WHILE_PAUSED.has(type)
    if (bus.outbox.full && !roomless && !bus.outbox.holding) return HV_STATUS.INSUFFICIENT_BUFFERS
    bus.trace?.message('in', payload)
    if (typeof rule === 'string') {
      bus.fault(`${rule} message`)
      return HV_STATUS.SUCCESS
    }
    if (bus.outbox.holding && !WHILE_PAUSED.has(type)) {
      bus.fault('a message while messages are paused')
      return HV_STATUS.SUCCESS
    }
    this.#receiving = true
    try {
      this.#dispatch(type, view)
    } finally {
      this.#receiving = false
    }
    return HV_STATUS.SUCCESS
  }

  #dispatch(type: number, view: DataView): void {
    if (type === MESSAGE_TYPE.INITIATE_CONTACT) {
      this.#contact(view)
      return
    }
    const { connection } = this.#bus
    // The version's check lets nothing else through.
    if (connection === undefined) return
    switch (type) {
      case MESSAGE_TYPE.REQUEST_OFFERS:
        if (connection.offersRequested) {
          this.#bus.fault('offers requested again')
          return
        }
        connection.offersRequested = true
        this.#offers.send()
        this.#bus.reply(bareMessage(MESSAGE_TYPE.ALL_OFFERS_DELIVERED))
        break
      case MESSAGE_TYPE.OPEN_CHANNEL:
        this.#life.openRequested(view)
        break
      case MESSAGE_TYPE.CLOSE_CHANNEL:
        this.#life.closeRequested(new CloseChannel(view).relid)
        break
      case MESSAGE_TYPE.GPADL_HEADER:
        this.#gpadls.header(view)
        break
      case MESSAGE_TYPE.GPADL_BODY:
        this.#gpadls.body(view)
        break
      case MESSAGE_TYPE.GPADL_TEARDOWN:
        this.#gpadls.teardown(new GpadlTeardown(view).gpadlId)
        break
      case MESSAGE_TYPE.REL_ID_RELEASED:
        this.#offers.released(new RelIdReleased(view).relid)
        break
      case MESSAGE_TYPE.MODIFY_CHANNEL:
        this.#modifyChannel(connection, new ModifyChannel(view))
        break
      case MESSAGE_TYPE.TL_CONNECT_REQUEST:
        this.#tlConnect(connection, new TlConnectRequest(view))
        break
      case MESSAGE_TYPE.MODIFY_CONNECTION:
        this.#modifyConnection(connection, new ModifyConnection(view))
        break
      case MESSAGE_TYPE.PAUSE:
        this.#bus.reply(bareMessage(MESSAGE_TYPE.PAUSE_RESPONSE))
        this.#bus.outbox.hold()
        break
      case MESSAGE_TYPE.RESUME:
        this.#bus.outbox.release()
        break
      case MESSAGE_TYPE.UNLOAD:
        this.#disconnect({ type: 'unload', contact: connection })
        break
    }
  }

  #modifyChannel(connection: Connection, { relid, targetVp }: ModifyChannel): void {
    const bus = this.#bus
    const request = bus.byRelid.get(relid)?.request
    if (request === undefined) bus.fault(`channel ${relid} is not open`)
    else {
      request.targetVp = targetVp
      bus.trace?.event(relid, `interrupts go to virtual processor ${targetVp}`)
    }
    if (connection.version >= VMBUS_VERSION.V5_3)
      bus.reply(modifyResponseMessage(relid, request === undefined ? STATUS.UNSUCCESSFUL : STATUS.SUCCESS))
  }

  #modifyConnection(connection: Connection, message: ModifyConnection): void {
    const bus = this.#bus
    const monitorPage = monitorPageOf(message)
    if (monitorPage < 0) bus.fault('half of a pair of monitor pages')
    else bus.connection = { ...connection, monitorPage }
    const { SUCCESSFUL, FAILED_UNKNOWN_FAILURE } = CONNECTION_STATE
    bus.reply(modifyConnectionResponseMessage(monitorPage < 0 ? FAILED_UNKNOWN_FAILURE : SUCCESSFUL))
  }

  #tlConnect(connection: Connection, { endpointId, serviceId }: TlConnectRequest): void {
    if (this.#connectRequests?.({ endpointId, serviceId }) === true) return
    if (connection.version >= VMBUS_VERSION.V4_1)
      this.#bus.reply(tlConnectResultMessage(endpointId, serviceId, STATUS.CONNECTION_REFUSED))
  }

  // Connection.

  #contact(view: DataView): void {
    const parsed = parseContact(view)
    if (parsed === undefined) {
      this.#bus.fault('short message')
      return
    }
    const { contact, elsewhere, clientId } = parsed
    if (elsewhere) {
      // Somebody else's contact, which leaves the connection that there is alone. It waits at the place that it names.
      this.#bus.fault(`contact for SINT ${contact.sint}`)
      const sint = contact.sint < SINT_COUNT ? contact.sint : VMBUS_SINT
      this.#bus.send({ targetVp: contact.targetVp, sint }, versionResponse(contact.version, ANSWER.REFUSED))
      return
    }
    if (clientId !== '') this.#bus.trace?.event(0, `client ${clientId}`)
    this.#disconnect({ type: 'contact', contact })
  }

  /** Close all channels and forget all GPADLs, then go on with what the guest asked for. */
  #disconnect(after: AfterDisconnection): void {
    const bus = this.#bus
    // What waits is of the old connection. Whoever asks now does not know what it means.
    bus.outbox.clear()
    bus.after = after
    if (bus.connection !== undefined) {
      bus.connection = undefined
      bus.trace?.event(0, 'disconnected')
      this.#life.disconnect()
    }
    this.#finishDisconnect()
  }

  /** When all devices have let go: answer. */
  #finishDisconnect(): void {
    const bus = this.#bus
    const { after } = bus
    if (after === undefined) return
    for (const channel of bus.channels) if (channel.state === 'closing') return
    bus.after = undefined
    const { contact } = after
    if (after.type === 'unload') bus.send(contact, bareMessage(MESSAGE_TYPE.UNLOAD_COMPLETE))
    else this.#connect(contact)
  }

  #connect(contact: Contact): void {
    const bus = this.#bus
    const { version, targetVp } = contact
    const known = (this.#options.versions ?? SUPPORTED_VERSIONS).includes(version)
    const answer = !known ? ANSWER.REFUSED : contact.monitorPage < 0 ? ANSWER.FAILED : ANSWER.ACCEPTED
    const accepted = answer === ANSWER.ACCEPTED
    const granted = accepted ? contact.features & SUPPORTED_FEATURES : 0
    bus.trace?.event(0, `version ${formatVersion(version)} ${accepted ? 'accepted' : 'refused'}`)
    if (accepted) bus.connection = { ...contact, offersRequested: false, granted }
    // The guest waits for this without a time limit.
    bus.send({ targetVp, sint: VMBUS_SINT }, versionResponse(version, answer, granted))
  }
}
