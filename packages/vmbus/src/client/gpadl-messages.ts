// The messages by which a child lends memory (GPADL_HEADER, GPADL_BODY): a list of ranges of pages, as long as it has to be.

import { MAX_MESSAGE_SIZE } from '../protocol/constants.ts'
import { MESSAGE_TYPE } from '../protocol/message-type.ts'
import { GpadlBody, GpadlHeader } from '../protocol/messages.ts'
import type { GpaRange } from '../ring/ring-writer.ts'

/** The header and bodies that announce a GPADL. */
export function gpadlMessages(relid: number, id: number, ranges: readonly GpaRange[]): Uint8Array[] {
  const data: number[] = []
  for (const { byteOffset, byteCount, pages } of ranges) data.push(byteOffset * 0x1_0000_0000 + byteCount, ...pages)
  const inHeader = Math.min(data.length, (MAX_MESSAGE_SIZE - GpadlHeader.size) >> 3)
  const header = GpadlHeader.allocate(GpadlHeader.size + inHeader * 8)
  header.messageType = MESSAGE_TYPE.GPADL_HEADER
  header.relid = relid
  header.gpadlId = id
  header.length = data.length * 8
  header.rangeCount = ranges.length
  fill(header.view, GpadlHeader.size, data.slice(0, inHeader))
  const messages = [new Uint8Array(header.view.buffer)]
  const perBody = (MAX_MESSAGE_SIZE - GpadlBody.size) >> 3
  for (let at = inHeader; at < data.length; at += perBody) {
    const part = data.slice(at, at + perBody)
    const body = GpadlBody.allocate(GpadlBody.size + part.length * 8)
    body.messageType = MESSAGE_TYPE.GPADL_BODY
    body.messageNumber = messages.length
    body.gpadlId = id
    fill(body.view, GpadlBody.size, part)
    messages.push(new Uint8Array(body.view.buffer))
  }
  return messages
}

function fill(view: DataView, at: number, values: readonly number[]): void {
  for (const [index, value] of values.entries()) view.setBigUint64(at + index * 8, BigInt(value), true)
}
