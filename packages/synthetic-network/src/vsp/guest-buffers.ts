// The two buffers that a guest gives to its adapter: where received messages go, and where it puts small ones that it sends.

import type { VmbusChannel } from '@partita/interface'
import { BufferMap } from './buffer-map.ts'
import { type PacketInFlight, ReceiveBuffer } from './receive-buffer.ts'

/** Bytes of a section of the send buffer: Hyper-V's number. */
export const SEND_SECTION_SIZE = 6144

/** The guest's send buffer. */
interface SendBuffer {
  readonly map: BufferMap
  readonly gpadlId: number
  readonly id: number
}

/** Both, as saved state. */
export interface BuffersState {
  readonly receiveBuffer: {
    readonly gpadlId: number
    readonly id: number
    readonly sectionSize: number
    readonly inFlight: readonly PacketInFlight[]
  } | null
  readonly sendBuffer: { readonly gpadlId: number; readonly id: number } | null
}

/** The buffers of one adapter. */
export class GuestBuffers {
  readonly #receiveChanged: () => void
  #receive: ReceiveBuffer | undefined
  #send: SendBuffer | undefined

  /** `receiveChanged` is called when the receive buffer is another one, or none. */
  constructor(receiveChanged: () => void) {
    this.#receiveChanged = receiveChanged
  }

  get receive(): ReceiveBuffer | undefined {
    return this.#receive
  }

  get send(): BufferMap | undefined {
    return this.#send?.map
  }

  /** The guest's number for its send buffer. */
  get sendId(): number | undefined {
    return this.#send?.id
  }

  /** Map a receive buffer with sections of `size` bytes; `undefined` when the GPADL cannot be one. */
  prepareReceive(channel: VmbusChannel, gpadlId: number, id: number, size: number): ReceiveBuffer | undefined {
    const map = mapOf(channel, gpadlId)
    return map === undefined || map.byteLength < size ? undefined : new ReceiveBuffer(map, gpadlId, id, size)
  }

  /** Use a receive buffer, or none any longer. */
  setReceive(buffer: ReceiveBuffer | undefined): void {
    this.#receive = buffer
    this.#receiveChanged()
  }

  /** Use a send buffer. False: the GPADL cannot be one. */
  setSend(channel: VmbusChannel, gpadlId: number, id: number): boolean {
    const map = mapOf(channel, gpadlId)
    if (map === undefined || map.byteLength < SEND_SECTION_SIZE) return false
    this.#send = { map, gpadlId, id }
    return true
  }

  dropSend(): void {
    this.#send = undefined
  }

  /** The guest takes its memory back. */
  teardown(gpadlId: number): void {
    if (this.#receive?.gpadlId === gpadlId) this.setReceive(undefined)
    if (this.#send?.gpadlId === gpadlId) this.#send = undefined
  }

  save(): BuffersState {
    const receive = this.#receive
    const send = this.#send
    return {
      receiveBuffer:
        receive === undefined
          ? null
          : {
              gpadlId: receive.gpadlId,
              id: receive.id,
              sectionSize: receive.sectionSize,
              inFlight: receive.saveInFlight(),
            },
      sendBuffer: send === undefined ? null : { gpadlId: send.gpadlId, id: send.id },
    }
  }

  /** Map the buffers of a saved state anew, when their channel is open again. False: they are not there. */
  restore(channel: VmbusChannel, { receiveBuffer, sendBuffer }: BuffersState): boolean {
    if (receiveBuffer !== null) {
      const { gpadlId, id, sectionSize, inFlight } = receiveBuffer
      const buffer = this.prepareReceive(channel, gpadlId, id, sectionSize)
      if (!buffer?.restoreInFlight(inFlight)) return false
      this.setReceive(buffer)
    }
    return sendBuffer === null || this.setSend(channel, sendBuffer.gpadlId, sendBuffer.id)
  }
}

function mapOf(channel: VmbusChannel, gpadlId: number): BufferMap | undefined {
  const pieces = channel.gpadl(gpadlId)
  return pieces === undefined ? undefined : BufferMap.open(channel.memory, pieces)
}
