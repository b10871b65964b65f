// MODE SENSE and MODE SELECT, 6 and 10 (SPC-4, 6.11 to 6.14), over pages that a unit lists as data.

import { be16, putBe16, putBe32 } from './bytes.ts'
import type { ScsiCommand } from './command.ts'
import { SENSE } from './sense.ts'

/** Mode pages (SPC-4, 7.5; SBC-3, 6.5; MMC-6, 7). */
export const MODE_PAGE = {
  READ_WRITE_ERROR_RECOVERY: 0x01,
  CACHING: 0x08,
  CONTROL: 0x0a,
  INFORMATIONAL_EXCEPTIONS: 0x1c,
  CAPABILITIES: 0x2a,
  ALL: 0x3f,
} as const

const PAGE_CONTROL = { CURRENT: 0, CHANGEABLE: 1, DEFAULT: 2, SAVED: 3 } as const

/** One mode page: what follows its two bytes of header. */
export interface ModePage {
  /** Page code, 0x00–0x3E. */
  readonly code: number
  /** The values after power-on. */
  readonly defaults: Uint8Array
  /** The bits that MODE SELECT may change. */
  readonly changeable: Uint8Array
  /** The values now. */
  current(): Uint8Array
}

/** A page that nothing changes. */
export function fixedPage(code: number, body: readonly number[]): ModePage {
  const defaults = Uint8Array.from(body)
  return { code, defaults, changeable: new Uint8Array(body.length), current: () => defaults }
}

/** What the mode parameter header and block descriptor say. */
export interface ModeFacts {
  /** MEDIUM TYPE of the header; 0 for disks. */
  readonly mediumType: number
  /** The device-specific parameter: write protection and DPOFUA of a disk (SBC-3, table 171). */
  readonly deviceSpecific: number
  /** Blocks and their length, for a block descriptor; none for MMC devices. */
  readonly blocks: number | undefined
  /** Bytes of a block. */
  readonly blockLength: number
  /** The unit's pages in the order of their codes. */
  readonly pages: readonly ModePage[]
}

function blockDescriptor(facts: ModeFacts, long: boolean, blocks: number): Uint8Array {
  if (long) {
    const data = new Uint8Array(16)
    putBe32(data, 0, Math.floor(blocks / 0x1_0000_0000))
    putBe32(data, 4, blocks % 0x1_0000_0000)
    putBe32(data, 12, facts.blockLength)
    return data
  }
  const data = new Uint8Array(8)
  // A count that four bytes cannot carry is all ones (SBC-3, 6.4.2.2).
  putBe32(data, 0, Math.min(blocks, 0xffff_ffff))
  putBe32(data, 4, facts.blockLength)
  return data
}

/** Serve MODE SENSE (6), or MODE SENSE (10). */
export function modeSense(facts: ModeFacts, command: ScsiCommand, ten: boolean): undefined {
  const { cdb } = command
  const withoutDescriptors = ((cdb[1] as number) & 0x08) !== 0
  const long = ten && ((cdb[1] as number) & 0x10) !== 0
  const control = (cdb[2] as number) >> 6
  const code = (cdb[2] as number) & 0x3f
  const subpage = cdb[3] as number
  if (control === PAGE_CONTROL.SAVED) return command.fail(SENSE.SAVING_PARAMETERS_NOT_SUPPORTED)
  if (subpage !== 0 && !(subpage === 0xff && code === MODE_PAGE.ALL)) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const pages = code === MODE_PAGE.ALL ? facts.pages : facts.pages.filter((page) => page.code === code)
  if (pages.length === 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const parts: Uint8Array[] = []
  const header = new Uint8Array(ten ? 8 : 4)
  parts.push(header)
  const descriptor =
    withoutDescriptors || facts.blocks === undefined ? new Uint8Array(0) : blockDescriptor(facts, long, facts.blocks)
  parts.push(descriptor)
  for (const page of pages) {
    parts.push(Uint8Array.of(page.code, page.defaults.length))
    if (control === PAGE_CONTROL.CHANGEABLE) parts.push(page.changeable)
    else parts.push(control === PAGE_CONTROL.CURRENT ? page.current() : page.defaults)
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  if (ten) {
    putBe16(header, 0, length - 2)
    header[2] = facts.mediumType
    header[3] = facts.deviceSpecific
    header[4] = long ? 0x01 : 0x00
    putBe16(header, 6, descriptor.length)
  } else {
    header[0] = length - 1
    header[1] = facts.mediumType
    header[2] = facts.deviceSpecific
    header[3] = descriptor.length
  }
  const data = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    data.set(part, at)
    at += part.length
  }
  return command.answer(data, ten ? be16(cdb, 7) : (cdb[4] as number))
}

/**
 * Serve MODE SELECT (6), or MODE SELECT (10). Each page of the list is checked before the first is applied. `apply` gets the new body of a page in which
 * changeable bits alone differ.
 */
export function modeSelect(
  facts: ModeFacts,
  command: ScsiCommand,
  ten: boolean,
  apply: (code: number, body: Uint8Array) => void,
): undefined {
  const { cdb } = command
  const flags = cdb[1] as number
  // PF is needed (pages have the standard's format); SP is not offered.
  if ((flags & 0x10) === 0 || (flags & 0x01) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const length = ten ? be16(cdb, 7) : (cdb[4] as number)
  if (length === 0) return command.good(0)
  const headerLength = ten ? 8 : 4
  if (length > command.length || length < headerLength) return command.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  const list = command.copyOut(length)
  const descriptorLength = ten ? be16(list, 6) : (list[3] as number)
  let at = headerLength + descriptorLength
  if (at > length) return command.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  const changes: [ModePage, Uint8Array][] = []
  while (at < length) {
    const code = (list[at] as number) & 0x3f
    const page = facts.pages.find((candidate) => candidate.code === code)
    if (page === undefined || ((list[at] as number) & 0x40) !== 0 || list[at + 1] !== page.defaults.length)
      return command.fail(SENSE.INVALID_FIELD_IN_PARAMETER_LIST)
    const body = list.subarray(at + 2, at + 2 + page.defaults.length)
    if (body.length < page.defaults.length) return command.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
    const current = page.current()
    for (let i = 0; i < body.length; i++) {
      const difference = (body[i] as number) ^ (current[i] as number)
      if ((difference & ~(page.changeable[i] as number)) !== 0)
        return command.fail(SENSE.INVALID_FIELD_IN_PARAMETER_LIST)
    }
    changes.push([page, body])
    at += 2 + body.length
  }
  for (const [page, body] of changes) apply(page.code, body)
  return command.good(length)
}
