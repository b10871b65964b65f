// What the parts of the server share: the state of the bus, and the ways out of it.

import { VMBUS_SINT } from '../protocol/constants.ts'
import type { Channel } from './channel.ts'
import type { Contact } from './contact.ts'
import { GpadlTable } from './gpadl.ts'
import type { VmbusHost, VmbusTrace } from './host.ts'
import { MonitoredChannels } from './monitored-channels.ts'
import { Outbox, type OutgoingMessage } from './outbox.ts'

/** Where messages go. */
export type Target = Pick<Contact, 'targetVp' | 'sint'>

/** What the guest and the server agreed on. */
export interface Connection extends Contact {
  offersRequested: boolean
  /** Features of 6.0 that the guest asked for and the server has. */
  readonly granted: number
}

/** What the guest asked for and gets when all channels are closed. */
export interface AfterDisconnection {
  readonly type: 'contact' | 'unload'
  readonly contact: Contact
}

export class Bus {
  readonly host: VmbusHost
  readonly trace: VmbusTrace | undefined
  readonly outbox: Outbox
  readonly gpadls: GpadlTable
  readonly monitored: MonitoredChannels
  /** Every channel that is offered or about to be, and revoked ones that the guest has not released. */
  readonly channels: Set<Channel> = new Set()
  readonly byRelid: Map<number, Channel> = new Map()
  connection: Connection | undefined
  after: AfterDisconnection | undefined
  /** The VM runs. */
  running = false
  /** How often the guest sent what makes no sense, or was refused. */
  faults = 0

  /** `trace`: told of what passes. */
  constructor(host: VmbusHost, trace: VmbusTrace | undefined) {
    this.host = host
    this.trace = trace
    this.gpadls = new GpadlTable(host.memory)
    this.monitored = new MonitoredChannels(host)
    this.outbox = new Outbox((message) => this.#post(message))
  }

  /** Queue a message; an OPEN_CHANNEL_RESULT of success with its channel, whose packets may flow when it is out. */
  send(target: Target, payload: Uint8Array, openResultOf?: number): void {
    const { targetVp: vpIndex, sint } = target
    this.outbox.add(openResultOf === undefined ? { vpIndex, sint, payload } : { vpIndex, sint, payload, openResultOf })
  }

  /** Queue a message for the guest of the connection, if there is one. */
  reply(payload: Uint8Array): void {
    if (this.connection !== undefined) this.send(this.connection, payload)
  }

  #post(message: OutgoingMessage): boolean {
    if (!this.running || !this.host.postMessage(message.vpIndex, message.sint, message.payload)) return false
    this.trace?.message('out', message.payload)
    // No interrupt of the channel comes before this: storvsc would lose it.
    if (message.openResultOf !== undefined) this.byRelid.get(message.openResultOf)?.io?.start()
    return true
  }

  /** The SINT of the channels' event flags. */
  get sint(): number {
    return this.connection?.sint ?? VMBUS_SINT
  }

  /** Whether the guest was granted a feature of 6.0. */
  has(feature: number): boolean {
    return ((this.connection?.granted ?? 0) & feature) !== 0
  }

  /** The guest did what makes no sense. */
  fault(text: string): void {
    this.faults++
    this.trace?.event(0, text)
  }
}
