// The two rings of a channel from the GPADL that the guest gave for them: guest to host first, host to guest behind it.

import type { GuestMemory } from '@partita/interface'
import { PAGE_SIZE } from '../protocol/constants.ts'
import type { PieceList } from '../ring/piece-list.ts'
import { RingMemory } from '../ring/ring-memory.ts'
import { RingReader } from '../ring/ring-reader.ts'
import { RingWriter } from '../ring/ring-writer.ts'

/** What a channel reads and writes. */
export interface Rings {
  readonly reader: RingReader
  readonly writer: RingWriter
}

/** Where a channel of a saved state had got to. */
export interface RingPositions {
  readonly reader: number
  readonly writer: number
  /** The device waits for room. */
  readonly starved: boolean
}

/**
 * Open both rings. `undefined` when the pieces are not whole pages of memory, the split leaves one ring without control page and data, or a control page has
 * pointers that are none.
 */
export function openRings(
  memory: GuestMemory,
  pieces: PieceList,
  downstreamPageOffset: number,
  saved?: RingPositions,
): Rings | undefined {
  const pages = pagesOf(memory, pieces)
  if (pages === undefined || downstreamPageOffset >= pages.views.length) return undefined
  const incoming = RingMemory.fromPages(pages.views.slice(0, downstreamPageOffset))
  const outgoing = RingMemory.fromPages(pages.views.slice(downstreamPageOffset))
  if (incoming === undefined || outgoing === undefined) return undefined
  const reader = RingReader.open(incoming, saved?.reader)
  const writer = RingWriter.open(outgoing, saved?.writer)
  if (reader === undefined || writer === undefined) return undefined
  const data = pages.gpas.slice(downstreamPageOffset + 1)
  outgoing.onStored = (offset, length) => announce(memory, data, offset, length)
  return { reader, writer }
}

/** Tell the processor of bytes that were stored into the pages of `gpas`. */
function announce(memory: GuestMemory, gpas: readonly number[], offset: number, length: number): void {
  for (let at = offset; at < offset + length; ) {
    const inPage = at % PAGE_SIZE
    const count = Math.min(offset + length - at, PAGE_SIZE - inPage)
    memory.written((gpas[(at - inPage) / PAGE_SIZE] as number) + inPage, count)
    at += count
  }
}

/** A list of whole pages as windows on the guest's memory. */
function pagesOf(memory: GuestMemory, pieces: PieceList): { views: Uint8Array[]; gpas: number[] } | undefined {
  const views: Uint8Array[] = []
  const gpas: number[] = []
  for (let piece = 0; piece < pieces.pieceCount; piece++) {
    const gpa = pieces.gpa(piece)
    const length = pieces.length(piece)
    if (gpa % PAGE_SIZE !== 0 || length % PAGE_SIZE !== 0) return undefined
    for (let at = 0; at < length; at += PAGE_SIZE) {
      const view = memory.view(gpa + at, PAGE_SIZE, 'write')
      if (view === undefined) return undefined
      views.push(view)
      gpas.push(gpa + at)
    }
  }
  return { views, gpas }
}
