// What the driver asks the provider: messages of the set-up, answered by completions, and RNDIS requests, answered in the receive buffer.

import { VMBUS_COMPLETION_REQUESTED, type VmbusPacket } from '@partita/interface'
import type { ClientChannel, DmaBuffer, VscDevice } from '@partita/vmbus/client'
import { NetworkError } from '../network-error.ts'
import { NVSP_STATUS, PACKET_SIZE_V61 } from '../protocol/nvsp.ts'
import { RNDIS_HEADER_SIZE, RndisComplete } from '../protocol/rndis.ts'
import type { Transmitter } from './transmitter.ts'

/** Messages of the set-up have transaction ids from here on. */
const SETUP_TRANSACTION = 0x8000_0000
/** The RNDIS request under way. */
const CONTROL_TRANSACTION = 0x7fff_ffff
const CONTROL_BYTES = 4096

interface Waiting {
  readonly resolve: (answer: Uint8Array) => void
  readonly reject: (error: unknown) => void
}

/** Questions that wait for their answers. */
export class Requests {
  /** The primary channel, when it is open. */
  channel: ClientChannel | undefined
  readonly #transmitter: Transmitter
  readonly #buffer: DmaBuffer
  readonly #answers: Map<number, Waiting> = new Map()
  readonly #requests: Map<number, Waiting> = new Map()
  #nextTransaction = 0
  #nextRequest = 1
  /** The end of the request before. */
  #before: Promise<unknown> = Promise.resolve()
  #failure: unknown

  constructor(device: VscDevice, transmitter: Transmitter) {
    this.#transmitter = transmitter
    this.#buffer = device.allocate(CONTROL_BYTES)
  }

  /** Why nothing can be asked any more; `undefined` while it can. */
  get failure(): unknown {
    return this.#failure
  }

  /** Whatever waits fails, and so does what comes after. The first reason counts. */
  fail(error: unknown): void {
    this.#failure ??= error
    for (const waiting of [...this.#answers.values(), ...this.#requests.values()]) waiting.reject(this.#failure)
    this.#answers.clear()
    this.#requests.clear()
  }

  /** Send a message without an answer. */
  tell(fill: (view: DataView) => void): void {
    const message = new Uint8Array(PACKET_SIZE_V61)
    fill(viewOf(message))
    this.channel?.send(message)
  }

  /** Send a message of the set-up, and wait for its answer, which has to be of a type. @throws NetworkError `ERR_NETWORK_PROTOCOL` */
  async ask(fill: (view: DataView) => void, type: number): Promise<DataView> {
    const message = new Uint8Array(PACKET_SIZE_V61)
    fill(viewOf(message))
    const transaction = SETUP_TRANSACTION + (this.#nextTransaction++ % SETUP_TRANSACTION)
    const answer = viewOf(
      await this.#wait(this.#answers, transaction, () =>
        this.channel?.send(message, transaction, 0, VMBUS_COMPLETION_REQUESTED),
      ),
    )
    const got = answer.getUint32(0, true)
    if (got === type) return answer
    throw new NetworkError('ERR_NETWORK_PROTOCOL', `a message of type ${got} answers one for ${type}`)
  }

  /** Send an RNDIS request, one at a time, and wait for its answer. @throws NetworkError `ERR_NETWORK_PROTOCOL` */
  request(build: (requestId: number) => Uint8Array): Promise<Uint8Array> {
    const run = (): Promise<Uint8Array> => {
      const requestId = this.#nextRequest++ % 0x1_0000_0000
      const request = build(requestId)
      return this.#wait(this.#requests, requestId, () => {
        const { bytes } = this.#buffer
        if (request.length > bytes.length) return false
        bytes.set(request)
        const { channel } = this
        const part = bytes.subarray(0, request.length)
        return channel !== undefined && this.#transmitter.sendControl(channel, part, CONTROL_TRANSACTION)
      })
    }
    const result = this.#before.then(run)
    this.#before = result.catch(() => undefined)
    return result
  }

  #wait(list: Map<number, Waiting>, id: number, send: () => boolean | undefined): Promise<Uint8Array> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    list.set(id, { resolve, reject })
    if (send() !== true) {
      list.delete(id)
      reject(new NetworkError('ERR_NETWORK_PROTOCOL', 'a request does not fit in the ring'))
    }
    return promise
  }

  // ── answers ──

  /** Whether a completion is of something that was asked, and not of a frame. */
  owns(transaction: number): boolean {
    return transaction >= CONTROL_TRANSACTION
  }

  /** A completion that {@link Requests.owns}. False: nobody waits for it. */
  completed(packet: VmbusPacket): boolean {
    const { transactionLow: id } = packet
    if (id === CONTROL_TRANSACTION) {
      this.#controlCompleted(packet)
      return true
    }
    const waiting = this.#answers.get(id)
    this.#answers.delete(id)
    const copy = new Uint8Array(PACKET_SIZE_V61)
    copy.set(packet.payload().subarray(0, copy.length))
    waiting?.resolve(copy)
    return waiting !== undefined
  }

  /** A request that the provider does not take has no other answer. */
  #controlCompleted({ view, payloadOffset, payloadLength }: VmbusPacket): void {
    const status = payloadLength < 8 ? NVSP_STATUS.FAILURE : view.getUint32(payloadOffset + 4, true)
    if (status === NVSP_STATUS.SUCCESS) return
    for (const waiting of this.#requests.values())
      waiting.reject(new NetworkError('ERR_NETWORK_PROTOCOL', 'a request is refused', { data: { status } }))
    this.#requests.clear()
  }

  /** An RNDIS message, lent, that has a request id behind its header. False: nobody waits for it. */
  answered(message: Uint8Array): boolean {
    const requestId = viewOf(message).getUint32(RNDIS_HEADER_SIZE, true)
    const waiting = this.#requests.get(requestId)
    if (waiting === undefined) return false
    this.#requests.delete(requestId)
    const answer = new Uint8Array(Math.max(message.length, RndisComplete.size))
    answer.set(message)
    waiting.resolve(answer)
    return true
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
