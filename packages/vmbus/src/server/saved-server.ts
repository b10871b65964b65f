// The server's saved state: a type of its own, and the check of what comes from a file.

import type { SavedState, SavedValue } from '@partita/interface'
import * as v from 'valibot'
import { VmbusError } from '../vmbus-error.ts'

/** The version of {@link SavedServer}. */
const STATE_VERSION = 1

/** Who messages go to, and in which version. */
interface SavedContact {
  version: number
  targetVp: number
  sint: number
  /** 0: none. */
  monitorPage: number
  features: number
}

/** A request to open a channel. */
interface SavedOpenRequest {
  openId: number
  gpadlId: number
  downstreamPageOffset: number
  userData: Uint8Array
  connectionId: number
  eventFlag: number
  targetVp: number
}

/** A channel that the guest has a number for. */
export interface SavedChannel {
  interfaceId: string
  instanceId: string
  subChannelIndex: number
  relid: number
  monitorId: number | null
  revoked: boolean
  declined: boolean
  guestOpen: boolean
  /** Of an open channel: how it was opened, where reading and writing go on, and whether the device waits for room. */
  open: { request: SavedOpenRequest; reader: number; writer: number; starved: boolean } | null
  reopen: SavedOpenRequest | null
}

/** The state of a server, as plain data. */
export interface SavedServer {
  connection: (SavedContact & { offersRequested: boolean; granted: number }) | null
  /** A disconnection that was under way. */
  after: { type: 'contact' | 'unload'; contact: SavedContact } | null
  channels: SavedChannel[]
  gpadls: { id: number; relid: number; gpas: number[]; lengths: number[]; tearingDown: boolean }[]
  partialGpadls: { id: number; relid: number; rangeCount: number; bytes: Uint8Array; filled: number }[]
  outbox: { vpIndex: number; sint: number; payload: Uint8Array; openResultOf: number | null }[]
  /** How many messages of the outbox, the last ones, are held back; null: the guest has not asked for that. */
  held: number | null
}

type Schema<T> = v.GenericSchema<unknown, T>

const u32: Schema<number> = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff))
const address: Schema<number> = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
/** -1: half of a pair. */
const monitorPage: Schema<number> = v.pipe(v.number(), v.safeInteger(), v.minValue(-1))
const bytes: Schema<Uint8Array> = v.custom<Uint8Array>((value) => value instanceof Uint8Array)
const guid: Schema<string> = v.pipe(v.string(), v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i))

const contactEntries = { version: u32, targetVp: u32, sint: u32, monitorPage, features: u32 }

const openRequest: Schema<SavedOpenRequest> = v.object({
  openId: u32,
  gpadlId: u32,
  downstreamPageOffset: u32,
  userData: bytes,
  connectionId: u32,
  eventFlag: u32,
  targetVp: u32,
})

const channel: Schema<SavedChannel> = v.object({
  interfaceId: guid,
  instanceId: guid,
  subChannelIndex: u32,
  relid: u32,
  monitorId: v.optional(v.nullable(u32), null),
  revoked: v.boolean(),
  declined: v.boolean(),
  guestOpen: v.boolean(),
  open: v.nullable(v.object({ request: openRequest, reader: u32, writer: u32, starved: v.boolean() })),
  reopen: v.nullable(openRequest),
})

const server: Schema<SavedServer> = v.object({
  connection: v.nullable(v.object({ ...contactEntries, offersRequested: v.boolean(), granted: u32 })),
  after: v.nullable(v.object({ type: v.picklist(['contact', 'unload']), contact: v.object(contactEntries) })),
  channels: v.array(channel),
  gpadls: v.array(
    v.object({ id: u32, relid: u32, gpas: v.array(address), lengths: v.array(address), tearingDown: v.boolean() }),
  ),
  partialGpadls: v.array(v.object({ id: u32, relid: u32, rangeCount: u32, bytes, filled: u32 })),
  outbox: v.array(v.object({ vpIndex: u32, sint: u32, payload: bytes, openResultOf: v.nullable(u32) })),
  held: v.nullable(u32),
})

/** Wrap a state up. */
export function savedState(state: SavedServer): SavedState {
  return { version: STATE_VERSION, data: state as unknown as { [key: string]: SavedValue } }
}

/** @throws VmbusError `ERR_STATE_INVALID` when it is not a state of a server */
export function parseSavedState(state: SavedState): SavedServer {
  if (state.version !== STATE_VERSION)
    throw new VmbusError('ERR_STATE_INVALID', `The VMBus cannot restore a state of version ${state.version}`, {
      data: { version: state.version },
    })
  const result = v.safeParse(server, state.data)
  if (!result.success)
    throw new VmbusError('ERR_STATE_INVALID', 'The state of the VMBus is malformed', {
      data: { problem: result.issues[0].message, path: v.getDotPath(result.issues[0]) },
    })
  return result.output
}
