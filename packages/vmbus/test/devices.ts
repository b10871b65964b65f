// Devices for tests.

import type { VmbusChannel, VmbusChannelHandler, VmbusDevice, VmbusOffer, VmbusPacket } from '@partita/interface'

export const INTERFACE = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f'
export const INSTANCES = [
  '00000000-0000-8899-0000-000000000001',
  '00000000-0000-8899-0000-000000000002',
  '00000000-0000-8899-0000-000000000003',
] as const

/** Sends every payload back: as a completion where one is asked for, in-band otherwise. */
export class EchoDevice implements VmbusDevice {
  readonly offer: VmbusOffer
  /** The channels in the order of their opening. */
  readonly opened: VmbusChannel[] = []
  /** What happened, oldest first. */
  readonly log: string[] = []
  /** Set to delay the end of a close. */
  closing: Promise<void> | undefined
  /** Set to delay the end of a GPADL. */
  releasing: Promise<void> | undefined
  /** Set to refuse opens. */
  refuse = false
  /** Called with each packet, before it is sent back. */
  onPacket: ((packet: VmbusPacket, channel: VmbusChannel) => void) | undefined
  /** Called when there is room after a send failed. */
  onWritable: ((channel: VmbusChannel) => void) | undefined
  /** Called while a channel opens. */
  onOpen: ((channel: VmbusChannel) => void) | undefined

  constructor(instanceId: string = INSTANCES[0], interfaceId: string = INTERFACE, order = 0) {
    this.offer = { interfaceId, instanceId, order }
  }

  open(channel: VmbusChannel): VmbusChannelHandler | undefined {
    this.log.push(`open ${channel.subChannelIndex}${channel.restored ? ' restored' : ''}`)
    this.opened.push(channel)
    this.onOpen?.(channel)
    if (this.refuse) return undefined
    return {
      receive: (packet) => {
        this.onPacket?.(packet, channel)
        const { bytes, payloadOffset, payloadLength, transactionLow, transactionHigh } = packet
        const end = payloadOffset + payloadLength
        return (packet.flags & 1) !== 0
          ? channel.complete(transactionLow, transactionHigh, bytes, payloadOffset, end)
          : channel.send(bytes, payloadOffset, end, transactionLow, transactionHigh)
      },
      writable: () => this.onWritable?.(channel),
      gpadlTeardown: (id) => {
        this.log.push(`gpadl ${id.toString(16)}`)
        return this.releasing
      },
      close: () => {
        this.log.push(`close ${channel.subChannelIndex}`)
        return this.closing
      },
    }
  }
}
