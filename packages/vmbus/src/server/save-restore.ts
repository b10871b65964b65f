// From the server's run-time state to its saved state and back.

import type { SavedState, VmbusDevice, VmbusOffer } from '@partita/interface'
import { MAX_RELID } from '../protocol/constants.ts'
import { PieceList } from '../ring/piece-list.ts'
import { VmbusError } from '../vmbus-error.ts'
import type { Bus } from './bus.ts'
import { type Channel, createChannel, type OpenRequest } from './channel.ts'
import type { Contact } from './contact.ts'
import type { GpadlTable } from './gpadl.ts'
import { MONITOR_IDS } from './monitor.ts'
import { channelKey } from './offer.ts'
import type { RingPositions } from './open-rings.ts'
import { parseSavedState, type SavedChannel, type SavedServer, savedState } from './saved-server.ts'

/** The run-time state that is saved. */
export type ServerParts = Pick<Bus, 'connection' | 'after' | 'channels' | 'gpadls' | 'outbox'>

/** What is left to do after {@link restoreServer}. */
export interface Restored {
  /** Channels to open again, primaries first. */
  readonly open: { channel: Channel; request: OpenRequest; positions: RingPositions }[]
  /** Channels whose device is not there any more. */
  readonly absent: Channel[]
}

export function saveServer(parts: ServerParts): SavedState {
  const { connection, after, gpadls, outbox } = parts
  return savedState({
    connection:
      connection === undefined
        ? null
        : { ...contactOf(connection), offersRequested: connection.offersRequested, granted: connection.granted },
    after: after === undefined ? null : { type: after.type, contact: contactOf(after.contact) },
    channels: [...parts.channels].filter((channel) => channel.relid !== 0 || channel.declined).map(saveChannel),
    gpadls: [...gpadls.gpadls.values()].map(({ id, relid, pieces, tearingDown }) => ({
      id,
      relid,
      gpas: Array.from({ length: pieces.pieceCount }, (_, piece) => pieces.gpa(piece)),
      lengths: Array.from({ length: pieces.pieceCount }, (_, piece) => pieces.length(piece)),
      tearingDown,
    })),
    partialGpadls: [...gpadls.partial.values()].map((gpadl) => ({ ...gpadl, bytes: gpadl.bytes.slice() })),
    outbox: outbox.messages.map(({ vpIndex, sint, payload, openResultOf }) => ({
      vpIndex,
      sint,
      payload: payload.slice(),
      openResultOf: openResultOf ?? null,
    })),
    held: outbox.holding ? outbox.heldCount : null,
  })
}

function contactOf({ version, targetVp, sint, monitorPage, features }: Contact): Contact {
  return { version, targetVp, sint, monitorPage, features }
}

function saveChannel(channel: Channel): SavedChannel {
  const { device, subChannelIndex, relid, monitorId, revoked, declined, guestOpen, request, reopen, io } = channel
  return {
    interfaceId: device.offer.interfaceId,
    instanceId: device.offer.instanceId,
    subChannelIndex,
    relid,
    monitorId: monitorId ?? null,
    revoked,
    declined,
    guestOpen,
    // A channel that is closing has no more packets; its device finishes before it is saved.
    open:
      io === undefined || request === undefined
        ? null
        : { request: { ...request }, reader: io.reader.position, writer: io.writer.position, starved: io.starved },
    reopen: reopen === undefined ? null : { ...reopen },
  }
}

/**
 * Fill `parts`, which is as after a reset, from a saved state.
 * @throws VmbusError `ERR_STATE_INVALID`
 */
export function restoreServer(parts: ServerParts, state: SavedState): Restored {
  const saved = parseSavedState(state)
  const relids = new Set<number>()
  const monitorIds = new Set<number>()
  for (const { relid, monitorId } of saved.channels) {
    if (relid > MAX_RELID || relids.has(relid)) throw invalid(`the channel number ${relid}`)
    if (relid !== 0) relids.add(relid)
    if (monitorId === null) continue
    if (monitorId >= MONITOR_IDS || monitorIds.has(monitorId)) throw invalid(`the monitor bit ${monitorId}`)
    monitorIds.add(monitorId)
  }
  // What can be wrong is looked at first: a state that is refused leaves nothing behind.
  const problem = restoreGpadls(parts.gpadls, saved, relids)
  if (problem !== undefined) {
    parts.gpadls.clear()
    throw invalid(problem)
  }
  const restored: Restored = { open: [], absent: [] }
  const primaries = new Map([...parts.channels].map((channel) => [channel.key, channel]))
  for (const channel of saved.channels.toSorted((one, other) => one.subChannelIndex - other.subChannelIndex))
    restoreChannel(parts, channel, primaries, restored)
  parts.connection = saved.connection ?? undefined
  parts.after = saved.after ?? undefined
  const { outbox } = parts
  const going = saved.outbox.length - (saved.held ?? 0)
  for (const [index, { openResultOf, ...message }] of saved.outbox.entries()) {
    if (saved.held !== null && index === going) outbox.hold()
    outbox.add(openResultOf === null ? message : { ...message, openResultOf })
  }
  if (saved.held !== null) outbox.hold()
  return restored
}

/** Returns what is wrong. */
function restoreGpadls(table: GpadlTable, saved: SavedServer, relids: ReadonlySet<number>): string | undefined {
  for (const { id, relid, gpas, lengths, tearingDown } of saved.gpadls) {
    const pieces = new PieceList(gpas.length)
    for (const [piece, gpa] of gpas.entries()) pieces.add(gpa, lengths[piece] ?? 0)
    const sound = pieces.byteLength > 0 && gpas.length === lengths.length && relids.has(relid)
    if (!sound || !table.restore({ id, relid, pieces, tearingDown })) return `the GPADL ${id}`
  }
  for (const gpadl of saved.partialGpadls) if (!table.restorePartial(gpadl)) return `the GPADL ${gpadl.id}`
  return undefined
}

function restoreChannel(
  parts: ServerParts,
  saved: SavedChannel,
  primaries: Map<string, Channel>,
  restored: Restored,
): void {
  const offer: VmbusOffer = { interfaceId: saved.interfaceId, instanceId: saved.instanceId }
  const primary = primaries.get(channelKey(offer, 0))
  const index = saved.subChannelIndex
  const key = channelKey(offer, index)
  let channel: Channel
  if (saved.revoked || primary === undefined) {
    channel = createChannel(absentDevice(offer), key, index)
    channel.revoked = saved.revoked
    if (saved.revoked) channel.gone.resolve()
    else restored.absent.push(channel)
    parts.channels.add(channel)
  } else if (index === 0) {
    channel = primary
    channel.declined = saved.declined
  } else {
    channel = createChannel(primary.device, key, index, primary)
    primary.subChannels.push(channel)
    parts.channels.add(channel)
  }
  channel.relid = saved.relid
  channel.monitorId = saved.monitorId ?? undefined
  channel.guestOpen = saved.guestOpen
  if (channel.revoked || primary === undefined) return
  channel.reopen = saved.reopen ?? undefined
  if (saved.open !== null) {
    const { request, ...positions } = saved.open
    restored.open.push({ channel, request: { ...request }, positions })
  }
}

/** Stands for a device that is gone: its number is kept until the guest releases it. */
function absentDevice(offer: VmbusOffer): VmbusDevice {
  return { offer, open: () => undefined }
}

function invalid(what: string): VmbusError {
  return new VmbusError('ERR_STATE_INVALID', `The state of the VMBus is malformed: ${what}`)
}
