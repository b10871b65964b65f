/**
 * The VMBus channel protocol: messages as structs, their rules, and numbers. No behaviour.
 *
 * @example
 * ```ts
 * import { MESSAGE_TYPE, RescindChannelOffer } from '@partita/vmbus/protocol'
 *
 * const message = RescindChannelOffer.allocate()
 * message.messageType = MESSAGE_TYPE.RESCIND_CHANNEL_OFFER
 * message.relid = 7
 * ```
 * @packageDocumentation
 */
export {
  CONNECTION_STATE,
  EVENT_CONNECTION_BASE,
  HV_STATUS,
  MAX_MESSAGE_SIZE,
  MAX_RELID,
  MESSAGE_CONNECTION_ID,
  MESSAGE_CONNECTION_ID_5,
  NO_TARGET_VP,
  OFFER_FLAG,
  PAGE_SIZE,
  STATUS,
  SYNIC_MESSAGE_TYPE,
  USER_DEFINED_SIZE,
  VMBUS_SINT,
} from './protocol/constants.ts'
export { FEATURE, SUPPORTED_FEATURES } from './protocol/features.ts'
export { formatMessage } from './protocol/format-message.ts'
export {
  checkMessage,
  MESSAGE_RULES,
  MESSAGE_TYPE,
  type MessageFault,
  type MessageRule,
  type MessageType,
} from './protocol/message-type.ts'
export {
  type ChannelMessage,
  CloseChannel,
  GpadlBody,
  GpadlCreated,
  GpadlHeader,
  GpadlTeardown,
  GpadlTorndown,
  InitiateContact,
  InitiateContact2,
  InitiateContactTarget,
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
  VersionResponse2,
} from './protocol/messages.ts'
export { formatVersion, SUPPORTED_VERSIONS, VMBUS_VERSION } from './protocol/version.ts'
