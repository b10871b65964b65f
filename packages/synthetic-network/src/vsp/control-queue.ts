// The control channel of an adapter: requests wait in a short queue while an answer finds no section or no room, so that they do not keep completions behind them.

import type { GuestMemory } from '@partita/interface'
import { NO_SEND_SECTION, NVSP_STATUS } from '../protocol/nvsp.ts'
import { RNDIS_STATUS } from '../protocol/rndis.ts'
import type { AdapterState } from './adapter-state.ts'
import type { BufferMap } from './buffer-map.ts'
import { ControlPath } from './control.ts'
import type { NetworkChannel } from './network-channel.ts'
import { NO_SECTION, type ReceiveBuffer } from './receive-buffer.ts'
import type { TransmitSource } from './transmit.ts'

/** Requests that wait. A driver has one under way, or a few. */
const MAXIMUM_WAITING = 16
/** Bytes of a request. */
const MAXIMUM_REQUEST = 8192
/** Units of a link's speed in an indication: bits per second. */
const LINK_SPEED_UNIT = 100

/** What waits, as saved state. */
export interface ControlState {
  readonly requests: readonly Uint8Array[]
  readonly answer: Uint8Array
  readonly announceLink: boolean
  readonly announceSpeed: boolean
}

/** Requests, answers and indications of one adapter. */
export class ControlQueue {
  readonly #state: AdapterState
  readonly #path: ControlPath
  #requests: Uint8Array[] = []
  /** Bytes of the answer that waits in the path's buffer; 0 when none does. */
  #answer = 0
  #announceLink = false
  #announceSpeed = false

  constructor(state: AdapterState) {
    this.#state = state
    this.#path = new ControlPath(state)
  }

  /** Take a request. Returns an NVSP status. */
  add(source: TransmitSource, memory: GuestMemory, sendBuffer: BufferMap | undefined, sendSectionSize: number): number {
    const { buffer, sectionIndex } = source
    const head = sectionIndex === NO_SEND_SECTION ? 0 : source.sectionSize
    const place = sectionIndex * sendSectionSize
    if (head > 0 && (sendBuffer === undefined || head > sendSectionSize || place + head > sendBuffer.byteLength))
      return NVSP_STATUS.INVALID_RNDIS_PACKET
    if (head + buffer.byteLength > MAXIMUM_REQUEST) return NVSP_STATUS.INVALID_RNDIS_PACKET
    if (this.#requests.length >= MAXIMUM_WAITING) return NVSP_STATUS.BUSY
    const request = new Uint8Array(head + buffer.byteLength)
    if (head > 0) sendBuffer?.read(place, request, 0, head)
    if (buffer.byteLength > 0 && !buffer.read(memory, 0, request.subarray(head)))
      return NVSP_STATUS.INVALID_RNDIS_PACKET
    this.#requests.push(request)
    return NVSP_STATUS.SUCCESS
  }

  /** The port's link or speed has changed: the guest is to be told. */
  announce(link: boolean, speed: boolean): void {
    this.#announceLink ||= link
    this.#announceSpeed ||= speed
  }

  /** Forget everything. */
  clear(): void {
    this.#requests = []
    this.#answer = 0
    this.#announceLink = false
    this.#announceSpeed = false
  }

  /** Serve requests as long as answers find their way. Answers of a guest without a receive buffer are lost. */
  serve(channel: NetworkChannel, buffer: ReceiveBuffer | undefined): void {
    for (;;) {
      if (this.#answer > 0 && !this.#send(channel, buffer)) return
      const request = this.#requests.shift()
      if (request === undefined) break
      this.#answer = this.#path.serve(request)
    }
    if (!this.#state.initialized) {
      // Who begins asks for it.
      this.#announceLink = false
      this.#announceSpeed = false
    }
    if (this.#announceSpeed) {
      this.#announceSpeed = false
      const speed = Math.min(0xffff_ffff, Math.floor(this.#state.link.linkSpeed / LINK_SPEED_UNIT))
      this.#answer = this.#path.indicate(RNDIS_STATUS.LINK_SPEED_CHANGE, speed)
      if (!this.#send(channel, buffer)) return
    }
    if (this.#announceLink) {
      this.#announceLink = false
      this.#answer = this.#path.indicate(
        this.#state.link.linkUp ? RNDIS_STATUS.MEDIA_CONNECT : RNDIS_STATUS.MEDIA_DISCONNECT,
      )
      this.#send(channel, buffer)
    }
  }

  /** Send the answer. False: it waits. */
  #send(channel: NetworkChannel, buffer: ReceiveBuffer | undefined): boolean {
    if (buffer !== undefined) {
      const section = buffer.take()
      if (section === NO_SECTION) return false
      buffer.map.write(buffer.place(section), this.#path.answer, 0, this.#answer)
      if (!channel.outgoing(buffer).sendControl(section, this.#answer)) {
        buffer.release(section)
        return false
      }
    }
    this.#answer = 0
    return true
  }

  save(): ControlState {
    return {
      requests: this.#requests.map((request) => request.slice()),
      answer: this.#path.answer.slice(0, this.#answer),
      announceLink: this.#announceLink,
      announceSpeed: this.#announceSpeed,
    }
  }

  /** False: that is no state of a queue. */
  restore({ requests, answer, announceLink, announceSpeed }: ControlState): boolean {
    if (requests.length > MAXIMUM_WAITING || requests.some((request) => request.length > MAXIMUM_REQUEST)) return false
    if (answer.length > this.#path.answer.length) return false
    this.#requests = requests.map((request) => request.slice())
    this.#path.answer.set(answer)
    this.#answer = answer.length
    this.#announceLink = announceLink
    this.#announceSpeed = announceSpeed
    return true
  }
}
