// Offers: what a device may ask for, their order, and the message that carries them.

import type { VmbusOffer } from '@partita/interface'
import { isGuid } from '@partita/struct'
import { EVENT_CONNECTION_BASE, OFFER_FLAG, USER_DEFINED_SIZE } from '../protocol/constants.ts'
import { MESSAGE_TYPE } from '../protocol/message-type.ts'
import { OfferChannel } from '../protocol/messages.ts'
import { VmbusError } from '../vmbus-error.ts'

/** @throws VmbusError `ERR_VMBUS_OFFER` when the offer cannot be put into a message */
export function checkOffer(offer: VmbusOffer): void {
  const problem = problemOf(offer)
  if (problem !== undefined)
    throw new VmbusError('ERR_VMBUS_OFFER', problem, {
      data: { interfaceId: offer.interfaceId, instanceId: offer.instanceId },
    })
}

function problemOf(offer: VmbusOffer): string | undefined {
  if (!isGuid(offer.interfaceId)) return `'${offer.interfaceId}' is not a GUID of an interface`
  if (!isGuid(offer.instanceId)) return `'${offer.instanceId}' is not a GUID of an instance`
  const { order = 0, flags = 0, mmioMegabytes = 0, userDefined } = offer
  if (!Number.isSafeInteger(order)) return `${order} is not a position among offers`
  if (!isU16(flags)) return `${flags} are not offer flags`
  if (!isU16(mmioMegabytes)) return `${mmioMegabytes} MiB are not a size of MMIO space`
  if (userDefined !== undefined && userDefined.length > USER_DEFINED_SIZE)
    return `${userDefined.length} bytes for the driver are more than ${USER_DEFINED_SIZE}`
  return undefined
}

function isU16(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff
}

/** What tells one channel from another across saves and hibernation of the guest. */
export function channelKey(offer: VmbusOffer, subChannelIndex: number): string {
  return `${offer.interfaceId.toLowerCase()} ${offer.instanceId.toLowerCase()} ${subChannelIndex}`
}

/** The order of offers: by interface, position and instance, so that a guest finds the same numbers when it comes back. */
export function compareOffers(left: VmbusOffer, right: VmbusOffer): number {
  return (
    compareText(left.interfaceId, right.interfaceId) ||
    (left.order ?? 0) - (right.order ?? 0) ||
    compareText(left.instanceId, right.instanceId)
  )
}

function compareText(a: string, b: string): number {
  const left = a.toLowerCase()
  const right = b.toLowerCase()
  return left < right ? -1 : left > right ? 1 : 0
}

/** OFFER_CHANNEL. */
export function offerMessage(
  offer: VmbusOffer,
  subChannelIndex: number,
  relid: number,
  monitorId?: number,
): Uint8Array {
  const message = OfferChannel.allocate()
  message.messageType = MESSAGE_TYPE.OFFER_CHANNEL
  message.interfaceId = offer.interfaceId
  message.instanceId = offer.instanceId
  message.flags = offer.flags ?? OFFER_FLAG.ENUMERATE_DEVICE_INTERFACE
  message.mmioMegabytes = offer.mmioMegabytes ?? 0
  if (offer.userDefined !== undefined) message.userDefined = offer.userDefined
  message.subChannelIndex = subChannelIndex
  message.relid = relid
  if (monitorId !== undefined) {
    message.monitorId = monitorId
    message.monitorAllocated = 1
  }
  message.isDedicatedInterrupt = 1
  message.connectionId = EVENT_CONNECTION_BASE + relid
  return new Uint8Array(message.view.buffer)
}
