// Ports of the root partition to which a guest's connections lead, and its way to the guest's SynICs (TLFS, "Ports and Connections").

import type { SynicPorts } from '@partita/interface'
import { HypervisorError } from '../error.ts'
import type { Ports } from './calls/communication.ts'
import type { Synic } from './synic.ts'

type Receive = (vpIndex: number, messageType: number, payload: Uint8Array) => number
type Signal = (flag: number) => void

export class SynicPortTable implements SynicPorts, Ports {
  readonly messagePorts: Map<number, Receive> = new Map()
  readonly eventPorts: Map<number, Signal> = new Map()
  readonly #synic: (vpIndex: number) => Synic | undefined
  readonly #slotFree: ((vpIndex: number, sint: number) => void)[] = []

  constructor(synic: (vpIndex: number) => Synic | undefined) {
    this.#synic = synic
  }

  createMessagePort(connectionId: number, receive: Receive): Disposable {
    return this.#create(this.messagePorts, connectionId, receive)
  }

  createEventPort(connectionId: number, signal: Signal): Disposable {
    return this.#create(this.eventPorts, connectionId, signal)
  }

  #create<T>(ports: Map<number, T>, connectionId: number, port: T): Disposable {
    if (this.messagePorts.has(connectionId) || this.eventPorts.has(connectionId)) {
      throw new HypervisorError('ERR_PORT_CONFLICT', `Connection id ${connectionId} is already taken`, {
        data: { connectionId },
      })
    }
    ports.set(connectionId, port)
    return {
      [Symbol.dispose](): void {
        if (ports.get(connectionId) === port) ports.delete(connectionId)
      },
    }
  }

  postMessage(vpIndex: number, sint: number, messageType: number, payload: Uint8Array): boolean {
    return this.#synic(vpIndex)?.postMessage(sint, messageType, payload) ?? false
  }

  signalEvent(vpIndex: number, sint: number, flag: number): boolean {
    return this.#synic(vpIndex)?.signalEvent(sint, flag) ?? false
  }

  onMessageSlotFree(callback: (vpIndex: number, sint: number) => void): Disposable {
    const callbacks = this.#slotFree
    callbacks.push(callback)
    return {
      [Symbol.dispose](): void {
        const index = callbacks.indexOf(callback)
        if (index >= 0) callbacks.splice(index, 1)
      },
    }
  }

  /** The queue of a SINT that had no room has some. */
  slotFree(vpIndex: number, sint: number): void {
    for (const callback of [...this.#slotFree]) callback(vpIndex, sint)
  }
}
