// A message of the channel protocol as a line of text, for traces.

import type { StructType, StructView } from '@partita/struct'
import { MESSAGE_RULES, MESSAGE_TYPE } from './message-type.ts'
import * as messages from './messages.ts'
import { formatVersion, VMBUS_VERSION } from './version.ts'

const T = MESSAGE_TYPE

/** How to read the fields of one kind of message. */
interface Layout {
  readonly size: number
  fields(view: DataView): [string, unknown][]
}

function layout<T extends StructView>(type: number, struct: StructType<T>): [number, Layout] {
  return [type, { size: struct.size, fields: (view) => Object.entries(struct.toObject(new struct(view))) }]
}

const LAYOUTS: ReadonlyMap<number, Layout> = new Map([
  layout(T.OFFER_CHANNEL, messages.OfferChannel),
  layout(T.RESCIND_CHANNEL_OFFER, messages.RescindChannelOffer),
  layout(T.OPEN_CHANNEL, messages.OpenChannel),
  layout(T.OPEN_CHANNEL_RESULT, messages.OpenChannelResult),
  layout(T.CLOSE_CHANNEL, messages.CloseChannel),
  layout(T.GPADL_HEADER, messages.GpadlHeader),
  layout(T.GPADL_BODY, messages.GpadlBody),
  layout(T.GPADL_CREATED, messages.GpadlCreated),
  layout(T.GPADL_TEARDOWN, messages.GpadlTeardown),
  layout(T.GPADL_TORNDOWN, messages.GpadlTorndown),
  layout(T.REL_ID_RELEASED, messages.RelIdReleased),
  layout(T.INITIATE_CONTACT, messages.InitiateContact),
  layout(T.VERSION_RESPONSE, messages.VersionResponse),
  layout(T.TL_CONNECT_REQUEST, messages.TlConnectRequest),
  layout(T.TL_CONNECT_RESULT, messages.TlConnectResult),
  layout(T.MODIFY_CHANNEL, messages.ModifyChannel),
  layout(T.MODIFY_CHANNEL_RESPONSE, messages.ModifyChannelResponse),
  layout(T.MODIFY_CONNECTION, messages.ModifyConnection),
  layout(T.MODIFY_CONNECTION_RESPONSE, messages.ModifyConnectionResponse),
])

/** INITIATE_CONTACT from 5.0 on. */
const [, TARGETED_CONTACT] = layout(T.INITIATE_CONTACT, messages.InitiateContactTarget)

function isTargeted(type: number, view: DataView): boolean {
  return (
    type === T.INITIATE_CONTACT &&
    view.byteLength >= messages.InitiateContactTarget.size &&
    new messages.InitiateContactTarget(view).version >= VMBUS_VERSION.V5_0
  )
}

/** Fields that say little and fill the line. */
const SILENT: ReadonlySet<string> = new Set(['messageType', 'userDefined', 'userData', 'monitorId', 'monitorAllocated'])
const HEXADECIMAL: ReadonlySet<string> = new Set([
  'status',
  'flags',
  'features',
  'gpadlId',
  'ringGpadlId',
  'connectionId',
])

/** `OPEN_CHANNEL relid=1 openId=1 ringGpadlId=0xe1e10 …`, whatever the bytes are. */
export function formatMessage(payload: Uint8Array): string {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  if (view.byteLength < messages.MessageHeader.size) return `${view.byteLength} bytes: shorter than a message`
  const type = view.getUint32(0, true)
  const rule = MESSAGE_RULES.get(type)
  if (rule === undefined) return `message ${type}, ${view.byteLength} bytes`
  const known = isTargeted(type, view) ? TARGETED_CONTACT : LAYOUTS.get(type)
  if (known === undefined) return rule.name
  if (view.byteLength < known.size) return `${rule.name}, cut off after ${view.byteLength} bytes`
  const fields = known
    .fields(view)
    .filter(([name]) => !SILENT.has(name))
    .map(([name, value]) => `${name}=${formatField(name, value)}`)
  return [rule.name, ...fields].join(' ')
}

function formatField(name: string, value: unknown): string {
  if (name === 'version') return formatVersion(value as number)
  if (HEXADECIMAL.has(name) || typeof value === 'bigint') return `0x${(value as number).toString(16)}`
  return String(value)
}
