// GPADLs: lists of ranges of guest memory that the guest announces in one header and any number of body messages. The parts are
// collected in a buffer of the announced length, and understood once it is full.

import type { GuestMemory } from '@partita/interface'
import { PAGE_SIZE, STATUS } from '../protocol/constants.ts'
import { GpadlBody, GpadlHeader } from '../protocol/messages.ts'
import { PieceList, pagesSpanned } from '../ring/piece-list.ts'

/** GPADLs of a connection, complete or not, at most. */
const MAX_GPADLS = 4096
/** Of these, not complete. */
export const MAX_PARTIAL_GPADLS = 64

/** A GPADL that the guest has announced completely. */
export interface Gpadl {
  readonly id: number
  /** The channel it was given to. */
  readonly relid: number
  readonly pieces: PieceList
  /** The guest wants it back; it is waiting for the channel to let go. */
  tearingDown: boolean
}

/** A GPADL of which parts are missing. */
export interface PartialGpadl {
  readonly id: number
  readonly relid: number
  readonly rangeCount: number
  readonly bytes: Uint8Array
  filled: number
}

/** What became of a message: the GPADL is complete, refused with a status, or more is to come. */
export type GpadlProgress =
  | { readonly type: 'complete'; readonly gpadl: Gpadl }
  | { readonly type: 'refused'; readonly relid: number; readonly id: number; readonly status: number }
  | { readonly type: 'partial' }
  | { readonly type: 'ignored'; readonly reason: string }

const PARTIAL: GpadlProgress = { type: 'partial' }

/** The GPADLs of one connection. */
export class GpadlTable {
  readonly gpadls: Map<number, Gpadl> = new Map()
  readonly partial: Map<number, PartialGpadl> = new Map()
  readonly #memory: GuestMemory
  #kept = 0

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  /**
   * What the host keeps of all GPADLs: pieces of those that are complete, and words of 8 bytes of the others, which are a piece each or the lengths of a range. Bytes say
   * nothing of that: a range of one byte is a piece, too.
   */
  get kept(): number {
    return this.#kept
  }

  /** The most of {@link GpadlTable.kept}: some for rings, and as many as twice the guest's memory has pages. */
  get limit(): number {
    return 0x1_0000 + 2 * (this.#memory.ramSize / PAGE_SIZE)
  }

  /** A GPADL_HEADER whose relid is known. `payload` has at least the struct's size. */
  header(payload: DataView): GpadlProgress {
    const header = new GpadlHeader(payload)
    const { relid, gpadlId: id, length, rangeCount } = header
    const refuse = (status: number): GpadlProgress => ({ type: 'refused', relid, id, status })
    if (this.gpadls.has(id) || this.partial.has(id)) return refuse(STATUS.INVALID_PARAMETER)
    // A range is at least its counts and one page.
    if (rangeCount === 0 || length % 8 !== 0 || length < rangeCount * 16) return refuse(STATUS.INVALID_PARAMETER)
    if (this.count >= MAX_GPADLS || this.partial.size >= MAX_PARTIAL_GPADLS)
      return refuse(STATUS.INSUFFICIENT_RESOURCES)
    const words = length / 8
    if (this.#kept + words > this.limit) return refuse(STATUS.INSUFFICIENT_RESOURCES)
    const gpadl: PartialGpadl = { id, relid, rangeCount, bytes: new Uint8Array(length), filled: 0 }
    this.partial.set(id, gpadl)
    this.#kept += words
    return this.#append(gpadl, payload, GpadlHeader.size)
  }

  /** A GPADL_BODY. `payload` has at least the struct's size. */
  body(payload: DataView): GpadlProgress {
    const gpadl = this.partial.get(new GpadlBody(payload).gpadlId)
    if (gpadl === undefined) return { type: 'ignored', reason: 'a GPADL body without a header' }
    return this.#append(gpadl, payload, GpadlBody.size)
  }

  /** Forget a GPADL, complete or not. */
  delete(id: number): void {
    this.#kept -= (this.gpadls.get(id)?.pieces.pieceCount ?? 0) + wordsOf(this.partial.get(id))
    this.gpadls.delete(id)
    this.partial.delete(id)
  }

  /** Forget all GPADLs of a channel. */
  deleteOf(relid: number): void {
    for (const { id } of [...this.gpadls.values(), ...this.partial.values()].filter((gpadl) => gpadl.relid === relid))
      this.delete(id)
  }

  clear(): void {
    this.gpadls.clear()
    this.partial.clear()
    this.#kept = 0
  }

  /** GPADLs, complete or not. */
  get count(): number {
    return this.gpadls.size + this.partial.size
  }

  /** Take over a complete GPADL from saved state. False when its memory is not there, or a limit is passed. */
  restore(gpadl: Gpadl): boolean {
    const { pieceCount } = gpadl.pieces
    if (!this.#isRam(gpadl.pieces) || !this.#hasRoom(gpadl.id, pieceCount)) return false
    this.gpadls.set(gpadl.id, gpadl)
    this.#kept += pieceCount
    return true
  }

  /** Take over a GPADL of which parts are missing from saved state. False when nothing is missing, or a limit is passed. */
  restorePartial(gpadl: PartialGpadl): boolean {
    const words = wordsOf(gpadl)
    if (gpadl.filled >= gpadl.bytes.length || words % 1 !== 0 || gpadl.filled % 8 !== 0) return false
    if (this.partial.size >= MAX_PARTIAL_GPADLS || !this.#hasRoom(gpadl.id, words)) return false
    this.partial.set(gpadl.id, { ...gpadl, bytes: gpadl.bytes.slice() })
    this.#kept += words
    return true
  }

  /** Whether a GPADL from saved state is one more, and not one too many. */
  #hasRoom(id: number, kept: number): boolean {
    return !this.gpadls.has(id) && !this.partial.has(id) && this.count < MAX_GPADLS && this.#kept + kept <= this.limit
  }

  /** What the message holds beyond what is missing is padding. */
  #append(gpadl: PartialGpadl, payload: DataView, from: number): GpadlProgress {
    const count = Math.min(gpadl.bytes.length - gpadl.filled, (payload.byteLength - from) & ~7)
    gpadl.bytes.set(new Uint8Array(payload.buffer, payload.byteOffset + from, count), gpadl.filled)
    gpadl.filled += count
    if (gpadl.filled < gpadl.bytes.length) return PARTIAL
    this.delete(gpadl.id)
    const pieces = parseRanges(gpadl.bytes, gpadl.rangeCount)
    const { id, relid } = gpadl
    if (pieces === undefined || !this.#isRam(pieces))
      return { type: 'refused', relid, id, status: STATUS.INVALID_PARAMETER }
    const complete: Gpadl = { id, relid, pieces, tearingDown: false }
    this.gpadls.set(id, complete)
    this.#kept += pieces.pieceCount
    return { type: 'complete', gpadl: complete }
  }

  #isRam(pieces: PieceList): boolean {
    for (let piece = 0; piece < pieces.pieceCount; piece++)
      if (!this.#memory.isRam(pieces.gpa(piece), pieces.length(piece))) return false
    return true
  }
}

/** The pieces of `count` ranges, or `undefined` when they are malformed or empty. */
function parseRanges(bytes: Uint8Array, count: number): PieceList | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const pieces = new PieceList()
  let at = 0
  for (let range = 0; range < count; range++) {
    if (bytes.length - at < 8) return undefined
    const byteCount = view.getUint32(at, true)
    const byteOffset = view.getUint32(at + 4, true)
    const pages = pagesSpanned(byteOffset, byteCount)
    at += 8
    if (byteOffset >= PAGE_SIZE || byteCount === 0 || pages * 8 > bytes.length - at) return undefined
    pieces.addRange(view, at, byteOffset, byteCount)
    at += pages * 8
  }
  // The list has grown by doubling; what is kept for long has no room to spare.
  const kept = new PieceList(pieces.pieceCount)
  kept.copyFrom(pieces)
  return kept
}

function wordsOf(gpadl: PartialGpadl | undefined): number {
  return gpadl === undefined ? 0 : gpadl.bytes.length / 8
}
