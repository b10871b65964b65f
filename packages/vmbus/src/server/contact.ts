// INITIATE_CONTACT: which version the guest proposes, where its messages are to go, and which features it could use.

import { CONNECTION_STATE, MESSAGE_CONNECTION_ID_5, VMBUS_SINT } from '../protocol/constants.ts'
import { FEATURE } from '../protocol/features.ts'
import { MESSAGE_TYPE } from '../protocol/message-type.ts'
import { InitiateContact2, InitiateContactTarget, VersionResponse, VersionResponse2 } from '../protocol/messages.ts'
import { VMBUS_VERSION } from '../protocol/version.ts'

const MAXIMUM_ADDRESS = BigInt(Number.MAX_SAFE_INTEGER)

/** What the guest proposes. */
export interface Contact {
  readonly version: number
  /** Where its messages go. */
  readonly targetVp: number
  readonly sint: number
  /** Guest physical address of the page that the guest sets bits in; 0: none; -1: only one of the two pages that go together is there. */
  readonly monitorPage: number
  /** {@link FEATURE}s that it could use. */
  readonly features: number
}

/** The monitor page of a pair; see {@link Contact.monitorPage}. */
export function monitorPageOf(pages: {
  readonly parentToChildMonitorPage: bigint
  readonly childToParentMonitorPage: bigint
}): number {
  const page = pages.childToParentMonitorPage
  if ((page === 0n) !== (pages.parentToChildMonitorPage === 0n)) return -1
  // Beyond, no memory is there.
  return page > MAXIMUM_ADDRESS ? 0 : Number(page)
}

/**
 * Read a proposal; `payload` has at least the struct's size. `elsewhere`: it is for a SINT or a trust level that nobody serves. `undefined`: it ends before the client's
 * id, which it says to have.
 */
export function parseContact(
  payload: DataView,
): { contact: Contact; elsewhere: boolean; clientId: string } | undefined {
  const message = new InitiateContactTarget(payload)
  const { version } = message
  const features = version >= VMBUS_VERSION.V6_0 ? message.features : 0
  const identified = (features & FEATURE.CLIENT_ID) !== 0
  if (identified && payload.byteLength < InitiateContact2.size) return undefined
  const sint = version >= VMBUS_VERSION.V5_0 ? message.sint : VMBUS_SINT
  return {
    contact: {
      version,
      // Before 3.0 the field was reserved, and messages went to the first processor.
      targetVp: version >= VMBUS_VERSION.V3_0 ? message.targetVp : 0,
      sint,
      monitorPage: monitorPageOf(message),
      features,
    },
    elsewhere: sint !== VMBUS_SINT || (version >= VMBUS_VERSION.V5_1 && message.vtl !== 0),
    clientId: identified ? new InitiateContact2(payload).clientId : '',
  }
}

/** What a proposal comes to. */
export const ANSWER = { REFUSED: 0, ACCEPTED: 1, FAILED: 2 } as const
export type Answer = (typeof ANSWER)[keyof typeof ANSWER]

/**
 * VERSION_RESPONSE. Linux requires 16 bytes of every answer, also where the version has only nine. `features`: those that are on.
 */
export function versionResponse(version: number, answer: Answer, features = 0): Uint8Array {
  const known = answer !== ANSWER.REFUSED
  const message = known && version >= VMBUS_VERSION.V6_0 ? VersionResponse2.allocate() : VersionResponse.allocate()
  message.messageType = MESSAGE_TYPE.VERSION_RESPONSE
  message.versionSupported = known ? 1 : 0
  if (known) message.connectionId = version >= VMBUS_VERSION.V5_0 ? MESSAGE_CONNECTION_ID_5 : version
  if (answer === ANSWER.FAILED) message.connectionState = CONNECTION_STATE.FAILED_UNKNOWN_FAILURE
  if ('features' in message) message.features = features
  return new Uint8Array(message.view.buffer)
}
