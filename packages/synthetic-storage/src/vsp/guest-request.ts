// One packet in service: the command made of it, the guest's buffer, and what its completion needs. Objects are used again, so that a busy channel makes few.

import type { GuestBuffer, GuestMemory } from '@partita/interface'
import { DIRECTION, type Direction, ScsiCommand } from '@partita/scsi'

const PAGE = 4096

/** A slot for a packet in service. */
export class GuestRequest {
  readonly command: ScsiCommand = new ScsiCommand()
  /** The pages that the command moves data to or from; a copy of the packet's list. */
  readonly buffer: GuestBuffer
  transactionLow = 0
  transactionHigh = 0
  /** Bytes of the completion. */
  responseLength = 0
  pathId = 0
  targetId = 0
  lun = 0
  /** The operation that is answered. */
  operation = 0
  /** Called when the command is complete; made once. */
  readonly completed: () => void

  constructor(buffer: GuestBuffer, complete: (request: GuestRequest) => void) {
    this.buffer = buffer
    this.completed = () => complete(this)
  }

  /**
   * Point the command's segments at the first `length` bytes of the buffer. False when part of them is not the guest's memory, or not memory of that kind.
   */
  map(memory: GuestMemory, length: number, direction: Direction): boolean {
    const { segments } = this.command
    const access = direction === DIRECTION.OUT ? 'read' : 'write'
    segments.length = 0
    let left = length
    for (let piece = 0; left > 0; piece++) {
      const gpa = this.buffer.gpa(piece)
      const count = Math.min(left, this.buffer.length(piece))
      const view = memory.view(gpa, count, access)
      if (view !== undefined) segments.push(view)
      else if (!mapPages(memory, gpa, count, access, segments)) {
        segments.length = 0
        return false
      }
      left -= count
    }
    this.command.length = length
    return true
  }

  /** Tell the processor which bytes of the guest the command may have stored. */
  announceWrites(memory: GuestMemory): void {
    let left = this.command.length
    for (let piece = 0; left > 0; piece++) {
      const count = Math.min(left, this.buffer.length(piece))
      memory.written(this.buffer.gpa(piece), count)
      left -= count
    }
  }
}

/** Pages that follow each other for the guest need not do so for the host. */
function mapPages(
  memory: GuestMemory,
  gpa: number,
  length: number,
  access: 'read' | 'write',
  segments: Uint8Array[],
): boolean {
  const end = gpa + length
  // Beyond that, addresses are not exact, and no memory is there.
  if (!Number.isSafeInteger(end)) return false
  for (let at = gpa; at < end; ) {
    const next = Math.min(end, Math.floor(at / PAGE) * PAGE + PAGE)
    const view = memory.view(at, next - at, access)
    if (view === undefined) return false
    segments.push(view)
    at = next
  }
  return true
}
