// GPADLs: lists of ranges of guest memory that the guest announces in one header and any number of body messages. The parts are
// collected in a buffer of the announced length, and understood once it is full.

import type { GuestMemory } from '@partita/interface'
import { PAGE_SIZE, STATUS } from '../protocol/constants.ts'
import { GpadlBody, GpadlHeader } from '../protocol/messages.ts'
import { PieceList, pagesSpanned } from '../ring/piece-list.ts'

/** GPADLs of a connection, complete or not, at most. */
export const MAX_GPADLS = 4096
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
  #pages = 0

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  /** Pages that all GPADLs together may have: some for rings, and twice the guest's memory. */
  get #pageLimit(): number {
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
    if (this.#pages + length / 8 > this.#pageLimit) return refuse(STATUS.INSUFFICIENT_RESOURCES)
    const gpadl: PartialGpadl = { id, relid, rangeCount, bytes: new Uint8Array(length), filled: 0 }
    this.partial.set(id, gpadl)
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
    const gpadl = this.gpadls.get(id)
    if (gpadl !== undefined) this.#pages -= pageCount(gpadl.pieces)
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
    this.#pages = 0
  }

  /** GPADLs, complete or not. */
  get count(): number {
    return this.gpadls.size + this.partial.size
  }

  /** Take over a complete GPADL from saved state. False when its memory is not there. */
  restore(gpadl: Gpadl): boolean {
    if (!this.#isRam(gpadl.pieces) || this.gpadls.has(gpadl.id) || this.count >= MAX_GPADLS) return false
    this.gpadls.set(gpadl.id, gpadl)
    this.#pages += pageCount(gpadl.pieces)
    return true
  }

  /** What the message holds beyond what is missing is padding. */
  #append(gpadl: PartialGpadl, payload: DataView, from: number): GpadlProgress {
    const count = Math.min(gpadl.bytes.length - gpadl.filled, (payload.byteLength - from) & ~7)
    gpadl.bytes.set(new Uint8Array(payload.buffer, payload.byteOffset + from, count), gpadl.filled)
    gpadl.filled += count
    if (gpadl.filled < gpadl.bytes.length) return PARTIAL
    this.partial.delete(gpadl.id)
    const pieces = parseRanges(gpadl.bytes, gpadl.rangeCount)
    const { id, relid } = gpadl
    if (pieces === undefined || !this.#isRam(pieces))
      return { type: 'refused', relid, id, status: STATUS.INVALID_PARAMETER }
    const complete: Gpadl = { id, relid, pieces, tearingDown: false }
    this.gpadls.set(id, complete)
    this.#pages += pageCount(pieces)
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
  return pieces
}

function pageCount(pieces: PieceList): number {
  return Math.ceil(pieces.byteLength / PAGE_SIZE)
}
