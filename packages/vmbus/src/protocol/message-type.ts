// The messages of the channel protocol: number, sender, shortest length, and the version from which on each exists.

import { FEATURE } from './features.ts'
import {
  CloseChannel,
  GpadlBody,
  GpadlCreated,
  GpadlHeader,
  GpadlTeardown,
  GpadlTorndown,
  InitiateContact,
  MessageHeader,
  ModifyChannel,
  ModifyChannelResponse,
  ModifyConnection,
  ModifyConnectionResponse,
  OfferChannel,
  OpenChannel,
  OpenChannel2,
  OpenChannelResult,
  RelIdReleased,
  RescindChannelOffer,
  TlConnectRequest,
  TlConnectResult,
  VersionResponse,
} from './messages.ts'
import { VMBUS_VERSION } from './version.ts'

/** Numbers of the messages. */
export const MESSAGE_TYPE = {
  OFFER_CHANNEL: 1,
  RESCIND_CHANNEL_OFFER: 2,
  REQUEST_OFFERS: 3,
  ALL_OFFERS_DELIVERED: 4,
  OPEN_CHANNEL: 5,
  OPEN_CHANNEL_RESULT: 6,
  CLOSE_CHANNEL: 7,
  GPADL_HEADER: 8,
  GPADL_BODY: 9,
  GPADL_CREATED: 10,
  GPADL_TEARDOWN: 11,
  GPADL_TORNDOWN: 12,
  REL_ID_RELEASED: 13,
  INITIATE_CONTACT: 14,
  VERSION_RESPONSE: 15,
  UNLOAD: 16,
  UNLOAD_COMPLETE: 17,
  OPEN_RESERVED_CHANNEL: 18,
  CLOSE_RESERVED_CHANNEL: 19,
  CLOSE_RESERVED_RESPONSE: 20,
  TL_CONNECT_REQUEST: 21,
  MODIFY_CHANNEL: 22,
  TL_CONNECT_RESULT: 23,
  MODIFY_CHANNEL_RESPONSE: 24,
  MODIFY_CONNECTION: 25,
  MODIFY_CONNECTION_RESPONSE: 26,
  PAUSE: 27,
  PAUSE_RESPONSE: 28,
  RESUME: 29,
} as const
/** One of {@link MESSAGE_TYPE}. */
export type MessageType = (typeof MESSAGE_TYPE)[keyof typeof MESSAGE_TYPE]

/** What is known of a message. */
export interface MessageRule {
  /** The message's name in {@link MESSAGE_TYPE}. */
  readonly name: keyof typeof MESSAGE_TYPE
  /** Who may send it: the child's `client`, or the root's `server`. */
  readonly sender: 'client' | 'server'
  /** Shortest length in bytes, with the header. */
  readonly minimum: number
  /** The first version that has it; 0 for what may come before a version is agreed on. */
  readonly since: number
  /** The feature of 6.0 that it belongs to. */
  readonly feature?: number
  /** What is longer with one of the FEATURE bits `features`: `minimum` is the shortest length then, in bytes. */
  readonly longer?: { readonly features: number; readonly minimum: number }
}

const T = MESSAGE_TYPE
const V = VMBUS_VERSION
const HEADER: number = MessageHeader.size

const rule = (
  name: keyof typeof MESSAGE_TYPE,
  sender: 'client' | 'server',
  minimum: number,
  since: number,
  more: Pick<MessageRule, 'feature' | 'longer'> = {},
): [number, MessageRule] => [T[name], { name, sender, minimum, since, ...more }]

/** OPEN_CHANNEL says more with either. */
const OPEN_CHANNEL_2 = {
  features: FEATURE.GUEST_SPECIFIED_SIGNAL_PARAMETERS | FEATURE.CHANNEL_INTERRUPT_REDIRECTION,
  minimum: OpenChannel2.size,
} as const

/** The messages by number. 18–20 (reserved channels) are absent: Partita's server offers none. */
export const MESSAGE_RULES: ReadonlyMap<number, MessageRule> = new Map([
  rule('OFFER_CHANNEL', 'server', OfferChannel.size, V.V0_13),
  rule('RESCIND_CHANNEL_OFFER', 'server', RescindChannelOffer.size, V.V0_13),
  rule('REQUEST_OFFERS', 'client', HEADER, V.V0_13),
  rule('ALL_OFFERS_DELIVERED', 'server', HEADER, V.V0_13),
  rule('OPEN_CHANNEL', 'client', OpenChannel.size, V.V0_13, { longer: OPEN_CHANNEL_2 }),
  rule('OPEN_CHANNEL_RESULT', 'server', OpenChannelResult.size, V.V0_13),
  rule('CLOSE_CHANNEL', 'client', CloseChannel.size, V.V0_13),
  rule('GPADL_HEADER', 'client', GpadlHeader.size, V.V0_13),
  rule('GPADL_BODY', 'client', GpadlBody.size, V.V0_13),
  rule('GPADL_CREATED', 'server', GpadlCreated.size, V.V0_13),
  rule('GPADL_TEARDOWN', 'client', GpadlTeardown.size, V.V0_13),
  rule('GPADL_TORNDOWN', 'server', GpadlTorndown.size, V.V0_13),
  rule('REL_ID_RELEASED', 'client', RelIdReleased.size, V.V0_13),
  rule('INITIATE_CONTACT', 'client', InitiateContact.size, 0),
  rule('VERSION_RESPONSE', 'server', VersionResponse.size, 0),
  rule('UNLOAD', 'client', HEADER, V.V0_13),
  rule('UNLOAD_COMPLETE', 'server', HEADER, V.V0_13),
  rule('TL_CONNECT_REQUEST', 'client', TlConnectRequest.size, V.V4_0),
  rule('MODIFY_CHANNEL', 'client', ModifyChannel.size, V.V4_1),
  rule('TL_CONNECT_RESULT', 'server', TlConnectResult.size, V.V4_1),
  rule('MODIFY_CHANNEL_RESPONSE', 'server', ModifyChannelResponse.size, V.V5_3),
  rule('MODIFY_CONNECTION', 'client', ModifyConnection.size, V.V6_0, { feature: FEATURE.MODIFY_CONNECTION }),
  rule('MODIFY_CONNECTION_RESPONSE', 'server', ModifyConnectionResponse.size, V.V6_0, {
    feature: FEATURE.MODIFY_CONNECTION,
  }),
  rule('PAUSE', 'client', HEADER, V.V6_0, { feature: FEATURE.PAUSE_RESUME }),
  rule('PAUSE_RESPONSE', 'server', HEADER, V.V6_0, { feature: FEATURE.PAUSE_RESUME }),
  rule('RESUME', 'client', HEADER, V.V6_0, { feature: FEATURE.PAUSE_RESUME }),
])

/** Why a message is not to be used. */
export type MessageFault = 'short' | 'unknown' | 'unexpected'

/**
 * Whether `payload` is a message that `sender` may send under `version` (0: none is agreed on yet) with the `features` that are on, and long enough. `short`: below the
 * length of its kind; `unknown`: no such message; `unexpected`: from the wrong side, or not in this version or with these features.
 */
export function checkMessage(
  payload: DataView,
  sender: 'client' | 'server',
  version: number,
  features = 0,
): MessageRule | MessageFault {
  if (payload.byteLength < HEADER) return 'short'
  const found = MESSAGE_RULES.get(payload.getUint32(0, true))
  if (found === undefined) return 'unknown'
  if (found.sender !== sender || version < found.since) return 'unexpected'
  if (found.feature !== undefined && (features & found.feature) === 0) return 'unexpected'
  const { longer } = found
  const minimum = longer !== undefined && (features & longer.features) !== 0 ? longer.minimum : found.minimum
  return payload.byteLength < minimum ? 'short' : found
}
