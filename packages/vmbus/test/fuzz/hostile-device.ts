// A device that does what it should not.

import type { VmbusChannel, VmbusChannelHandler, VmbusDevice, VmbusOffer, VmbusPacket } from '@partita/interface'
import { check } from './invariant.ts'

/** What a device knows of the machine that it is in. */
export interface HostileMachine {
  /** Opened lately. */
  readonly channels: VmbusChannel[]
  /** Note that something was reached. */
  reach(what: string): void
  /** Call the bus from inside of a call of the bus. */
  reenter(): void
  /** Resolves in a later step. */
  later(): Promise<void>
}

/** How a device behaves, as bits. */
export const MODE = {
  REFUSE: 1,
  THROW: 2,
  HOLD: 4,
  SLOW_CLOSE: 8,
  TOUCH: 16,
  REENTER: 32,
  SLOW_GPADL: 64,
  DRAIN: 128,
} as const

export class HostileDevice implements VmbusDevice {
  readonly offer: VmbusOffer
  mode = 0
  readonly #guest: HostileMachine

  constructor(guest: HostileMachine, index: number) {
    this.#guest = guest
    this.offer = {
      interfaceId: `00000000-0000-0000-0000-00000000000${index % 3}`,
      instanceId: `00000000-0000-0000-0000-0000000000f${index}`,
      monitored: index % 2 === 1,
    }
  }

  open(channel: VmbusChannel): VmbusChannelHandler | undefined {
    if (this.mode & MODE.REENTER) this.#guest.reenter()
    if (this.mode & MODE.THROW) throw new Error('open')
    this.#guest.channels.push(channel)
    if (this.#guest.channels.length > 16) this.#guest.channels.shift()
    if (this.mode & MODE.REFUSE) return undefined
    return {
      receive: (packet) => this.#receive(channel, packet),
      batchEnd: () => {
        this.#guest.reach('batch end')
        if (this.mode & MODE.REENTER) this.#guest.reenter()
      },
      writable: () => {
        this.#guest.reach('writable')
        if (this.mode & MODE.THROW) throw new Error('writable')
      },
      gpadlTeardown: () => {
        this.#guest.reach('device gpadl')
        if (this.mode & MODE.THROW) throw new Error('gpadl')
        return this.mode & MODE.SLOW_GPADL ? this.#guest.later() : undefined
      },
      close: () => {
        if (this.mode & MODE.REENTER) this.#guest.reenter()
        if (this.mode & MODE.THROW) throw new Error('close')
        return this.mode & MODE.SLOW_CLOSE ? this.#guest.later() : undefined
      },
    }
  }

  #receive(channel: VmbusChannel, packet: VmbusPacket): boolean {
    const { bytes, payloadOffset, payloadLength, buffer } = packet
    this.#guest.reach(
      `packet ${packet.type} ${packet.flags & 1} ${Math.min(buffer.pieceCount, 3)} ${this.mode & MODE.HOLD}`,
    )
    check(payloadOffset >= 16 && payloadOffset + payloadLength <= bytes.length, 'payload outside of the copy')
    for (let range = 0; range < packet.transferRangeCount; range++) {
      packet.transferRangeOffset(range)
      packet.transferRangeLength(range)
    }
    if (this.mode & MODE.THROW) throw new Error('receive')
    if (this.mode & MODE.REENTER) this.#guest.reenter()
    if (this.mode & MODE.TOUCH) {
      const data = new Uint8Array(Math.min(buffer.byteLength, 64))
      if (buffer.read(channel.memory, 0, data)) buffer.write(channel.memory, buffer.byteLength - data.length, data)
    }
    if (this.mode & MODE.HOLD) return false
    const end = payloadOffset + Math.min(payloadLength, channel.maxPayload)
    return packet.flags & 1
      ? channel.complete(packet.transactionLow, packet.transactionHigh, bytes, payloadOffset, end)
      : this.mode & MODE.DRAIN
        ? true
        : channel.send(bytes, payloadOffset, end)
  }
}
