// INITIATE_CONTACT: which version the guest proposes, and where its messages are to go.

import { MESSAGE_CONNECTION_ID_5, VMBUS_SINT } from '../protocol/constants.ts'
import { MESSAGE_TYPE } from '../protocol/message-type.ts'
import { InitiateContactTarget, VersionResponse, VersionResponse2 } from '../protocol/messages.ts'
import { VMBUS_VERSION } from '../protocol/version.ts'

const MAXIMUM_ADDRESS = BigInt(Number.MAX_SAFE_INTEGER)

/** What the guest proposes. */
export interface Contact {
  readonly version: number
  /** Where its messages go. */
  readonly targetVp: number
  readonly sint: number
  /** Guest physical address of the page that the guest sets bits in, 0 without one. */
  readonly monitorPage: number
}

/** Read a proposal. `payload` has at least the struct's size. */
export function parseContact(payload: DataView): Contact {
  const message = new InitiateContactTarget(payload)
  const { version } = message
  return {
    version,
    // Before 3.0 the field was reserved, and messages went to the first processor.
    targetVp: version >= VMBUS_VERSION.V3_0 ? message.targetVp : 0,
    sint: version >= VMBUS_VERSION.V5_0 ? message.sint : VMBUS_SINT,
    // No memory is there.
    monitorPage: message.childToParentMonitorPage > MAXIMUM_ADDRESS ? 0 : Number(message.childToParentMonitorPage),
  }
}

/**
 * VERSION_RESPONSE. Linux requires 16 bytes of every answer, also where the version has only nine.
 */
export function versionResponse(version: number, accepted: boolean): Uint8Array {
  const message = accepted && version >= VMBUS_VERSION.V6_0 ? VersionResponse2.allocate() : VersionResponse.allocate()
  message.messageType = MESSAGE_TYPE.VERSION_RESPONSE
  message.versionSupported = accepted ? 1 : 0
  if (accepted) message.connectionId = version >= VMBUS_VERSION.V5_0 ? MESSAGE_CONNECTION_ID_5 : version
  return new Uint8Array(message.view.buffer)
}
