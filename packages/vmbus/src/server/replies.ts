// The server's messages, except for offers and the version response.

import type { StructView } from '@partita/struct'
import { MESSAGE_TYPE } from '../protocol/message-type.ts'
import {
  GpadlCreated,
  GpadlTorndown,
  MessageHeader,
  ModifyChannelResponse,
  ModifyConnectionResponse,
  OfferChannel,
  OpenChannelResult,
  RescindChannelOffer,
  TlConnectResult,
} from '../protocol/messages.ts'

/** A message without fields. */
export function bareMessage(type: number): Uint8Array {
  const message = MessageHeader.allocate()
  message.messageType = type
  return bytesOf(message)
}

export function rescindMessage(relid: number): Uint8Array {
  const message = RescindChannelOffer.allocate()
  message.messageType = MESSAGE_TYPE.RESCIND_CHANNEL_OFFER
  message.relid = relid
  return bytesOf(message)
}

export function openResultMessage(relid: number, openId: number, status: number): Uint8Array {
  const message = OpenChannelResult.allocate()
  message.messageType = MESSAGE_TYPE.OPEN_CHANNEL_RESULT
  message.relid = relid
  message.openId = openId
  message.status = status
  return bytesOf(message)
}

export function gpadlCreatedMessage(relid: number, gpadlId: number, status: number): Uint8Array {
  const message = GpadlCreated.allocate()
  message.messageType = MESSAGE_TYPE.GPADL_CREATED
  message.relid = relid
  message.gpadlId = gpadlId
  message.status = status
  return bytesOf(message)
}

export function gpadlTorndownMessage(gpadlId: number): Uint8Array {
  const message = GpadlTorndown.allocate()
  message.messageType = MESSAGE_TYPE.GPADL_TORNDOWN
  message.gpadlId = gpadlId
  return bytesOf(message)
}

export function modifyResponseMessage(relid: number, status: number): Uint8Array {
  const message = ModifyChannelResponse.allocate()
  message.messageType = MESSAGE_TYPE.MODIFY_CHANNEL_RESPONSE
  message.relid = relid
  message.status = status
  return bytesOf(message)
}

export function modifyConnectionResponseMessage(connectionState: number): Uint8Array {
  const message = ModifyConnectionResponse.allocate()
  message.messageType = MESSAGE_TYPE.MODIFY_CONNECTION_RESPONSE
  message.connectionState = connectionState
  return bytesOf(message)
}

export function tlConnectResultMessage(endpointId: string, serviceId: string, status: number): Uint8Array {
  const message = TlConnectResult.allocate()
  message.messageType = MESSAGE_TYPE.TL_CONNECT_RESULT
  message.endpointId = endpointId
  message.serviceId = serviceId
  message.status = status
  return bytesOf(message)
}

/** The channel that a message offers, 0 when it is no offer. */
export function offeredRelid(payload: Uint8Array): number {
  const message = new OfferChannel(new DataView(payload.buffer, payload.byteOffset, payload.byteLength))
  return message.messageType === MESSAGE_TYPE.OFFER_CHANNEL ? message.relid : 0
}

function bytesOf(message: StructView): Uint8Array {
  return new Uint8Array(message.view.buffer)
}
