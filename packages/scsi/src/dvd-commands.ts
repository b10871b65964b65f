// The commands of a DVD drive (MMC-6, 6) as a table.

import { be16, be32, putBe16, putBe32 } from './bytes.ts'
import { DIRECTION, type ScsiCommand } from './command.ts'
import { getConfiguration } from './dvd-features.ts'
import { readBlocks } from './dvd-reads.ts'
import type { DvdUnit } from './dvd-unit.ts'
import { DVD_BLOCK, PROFILE } from './media.ts'
import { modeSelect } from './mode.ts'
import { ACCESS } from './reservations.ts'
import { SENSE } from './sense.ts'
import { SHARED_COMMANDS } from './shared-commands.ts'
import { type CommandTable, commandTable } from './unit.ts'

const LEAD_OUT = 0xaa
/** ADR 1 (Q sub-channel encodes position), CONTROL 4 (data track, uninterrupted). */
const DATA_TRACK = 0x14
/** First physical sector of the data area of a DVD. */
const DVD_DATA_START = 0x3_0000

/** READ CAPACITY (MMC-6, 6.23). */
function readCapacity(unit: DvdUnit, command: ScsiCommand): undefined {
  const data = new Uint8Array(8)
  putBe32(data, 0, Math.min(Math.max(0, unit.blocks - 1), 0xffff_ffff))
  putBe32(data, 4, DVD_BLOCK)
  return command.answer(data, data.length)
}

/** START STOP UNIT (MMC-6, 6.42): the tray. */
function startStop(unit: DvdUnit, command: ScsiCommand): undefined {
  const byte4 = command.cdb[4] as number
  if ((byte4 & 0x02) === 0) return command.good(0) // spinning up and down is nothing here
  const open = (byte4 & 0x01) === 0
  if (open && unit.locked) return command.fail(SENSE.MEDIUM_REMOVAL_PREVENTED)
  unit.setTray(open)
  return command.good(0)
}

function preventAllow(unit: DvdUnit, command: ScsiCommand): undefined {
  unit.setLocked(((command.cdb[4] as number) & 0x01) !== 0)
  return command.good(0)
}

/** An address as READ TOC gives it: a block number, or minutes, seconds and frames with the 150 frames of the first pregap (MMC-6, 4.3.1). */
function putAddress(data: Uint8Array, at: number, lba: number, msf: boolean): void {
  if (!msf) {
    putBe32(data, at, lba)
    return
  }
  const frames = lba + 150
  data[at] = 0
  data[at + 1] = Math.min(255, Math.floor(frames / (75 * 60)))
  data[at + 2] = Math.floor(frames / 75) % 60
  data[at + 3] = frames % 75
}

/** READ TOC/PMA/ATIP (MMC-6, 6.25): one session with one data track. */
function readToc(unit: DvdUnit, command: ScsiCommand): undefined {
  const { cdb } = command
  const msf = ((cdb[1] as number) & 0x02) !== 0
  // Older initiators put the format in the control byte (MMC-1).
  const format = (cdb[2] as number) & 0x0f || (cdb[9] as number) >> 6
  const start = cdb[6] as number
  const allocation = be16(cdb, 7)
  if (format === 0) {
    if (start > 1 && start !== LEAD_OUT) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
    const tracks = start === LEAD_OUT ? [LEAD_OUT] : [1, LEAD_OUT]
    const data = new Uint8Array(4 + 8 * tracks.length)
    putBe16(data, 0, data.length - 2)
    data[2] = 1
    data[3] = 1
    tracks.forEach((track, i) => {
      const at = 4 + 8 * i
      data[at + 1] = DATA_TRACK
      data[at + 2] = track
      putAddress(data, at + 4, track === LEAD_OUT ? unit.blocks : 0, msf)
    })
    return command.answer(data, allocation)
  }
  if (format === 1) {
    const data = new Uint8Array(12)
    putBe16(data, 0, data.length - 2)
    data[2] = 1
    data[3] = 1
    data[5] = DATA_TRACK
    data[6] = 1
    putAddress(data, 8, 0, msf)
    return command.answer(data, allocation)
  }
  // Raw TOC, of a CD: points A0h, A1h and A2h, and the track; addresses always by time.
  if (format === 2 && unit.profile === PROFILE.CD_ROM) {
    if (start > 1) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
    const data = new Uint8Array(4 + 4 * 11)
    putBe16(data, 0, data.length - 2)
    data[2] = 1
    data[3] = 1
    ;[0xa0, 0xa1, 0xa2, 1].forEach((point, i) => {
      const at = 4 + 11 * i
      data[at] = 1
      data[at + 1] = DATA_TRACK
      data[at + 3] = point
      if (point === 0xa0 || point === 0xa1)
        data[at + 8] = 1 // first and last track; disc type CD-ROM
      else putAddress(data, at + 7, point === 1 ? 0 : unit.blocks, true)
    })
    return command.answer(data, allocation)
  }
  return command.fail(SENSE.INVALID_FIELD_IN_CDB)
}

/** GET EVENT STATUS NOTIFICATION (MMC-6, 6.6): polled, the media class. */
function getEventStatus(unit: DvdUnit, command: ScsiCommand): undefined {
  const { cdb } = command
  if (((cdb[1] as number) & 0x01) === 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB) // asynchronous operation
  const allocation = be16(cdb, 7)
  const wanted = ((cdb[4] as number) & 0x10) !== 0
  const data = new Uint8Array(wanted ? 8 : 4)
  putBe16(data, 0, data.length - 2)
  data[2] = wanted ? 0x04 : 0x80 // media class, or NEA
  data[3] = 0x10
  if (wanted) {
    // An event that does not fit into the answer stays (MMC-6, 6.6.2).
    data[4] = allocation > 4 && command.length > 4 ? unit.takeEvent() : 0
    data[5] = (unit.trayOpen ? 0x01 : 0) | (unit.medium !== undefined ? 0x02 : 0)
  }
  return command.answer(data, allocation)
}

/** READ DISC INFORMATION (MMC-6, 6.21), the standard kind: a complete disc that nobody can write to. */
function readDiscInformation(_unit: DvdUnit, command: ScsiCommand): undefined {
  if (((command.cdb[1] as number) & 0x07) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const data = new Uint8Array(34)
  putBe16(data, 0, data.length - 2)
  data[2] = 0x0e // last session complete, disc finalized
  data[3] = 1
  data[4] = 1
  data[5] = 1
  data[6] = 1
  data[7] = 0x20 // URU: for unrestricted use
  data.fill(0xff, 16, 24) // no further lead-in, no lead-out start
  return command.answer(data, be16(command.cdb, 7))
}

/** READ TRACK INFORMATION (MMC-6, 6.26) of the one track. */
function readTrackInformation(unit: DvdUnit, command: ScsiCommand): undefined {
  const { cdb } = command
  const type = (cdb[1] as number) & 0x03
  const address = be32(cdb, 2)
  const here = type === 0 ? address < unit.blocks : type < 3 && address === 1
  if (!here) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const data = new Uint8Array(36)
  putBe16(data, 0, data.length - 2)
  data[2] = 1
  data[3] = 1
  data[5] = 0x04 // data track
  data[6] = 0x01 // data mode 1
  putBe32(data, 24, unit.blocks)
  return command.answer(data, be16(cdb, 7))
}

/** READ DISC STRUCTURE (MMC-6, 6.22) of a DVD: physical format, copyright, manufacturer, and the list of these. */
function readDiscStructure(unit: DvdUnit, command: ScsiCommand): undefined {
  const { cdb } = command
  if (unit.profile !== PROFILE.DVD_ROM) return command.fail(SENSE.INCOMPATIBLE_FORMAT)
  const allocation = be16(cdb, 8)
  if (((cdb[1] as number) & 0x0f) !== 0 || (cdb[6] as number) > 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  switch (cdb[7]) {
    case 0x00: {
      const data = new Uint8Array(4 + 2048)
      putBe16(data, 0, data.length - 2)
      data[4] = 0x01 // book type DVD-ROM, part version 1
      data[5] = 0x0f // 120 mm; no maximum rate
      data[6] = 0x01 // one layer, embossed
      putBe32(data, 8, DVD_DATA_START)
      putBe32(data, 12, DVD_DATA_START + Math.max(0, unit.blocks - 1))
      return command.answer(data, allocation)
    }
    case 0x01: {
      const data = new Uint8Array(8)
      putBe16(data, 0, data.length - 2)
      return command.answer(data, allocation)
    }
    case 0x04: {
      const data = new Uint8Array(4 + 2048)
      putBe16(data, 0, data.length - 2)
      return command.answer(data, allocation)
    }
    case 0xff: {
      const formats: readonly (readonly [number, number])[] = [
        [0x00, 2052],
        [0x01, 8],
        [0x04, 2052],
      ]
      const data = new Uint8Array(4 + 4 * formats.length)
      putBe16(data, 0, data.length - 2)
      formats.forEach(([format, length], i) => {
        data[4 + 4 * i] = format
        data[5 + 4 * i] = 0x40 // readable
        putBe16(data, 6 + 4 * i, length)
      })
      return command.answer(data, allocation)
    }
    default:
      return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  }
}

/** SEEK (10) (MMC-6, 6.38): there is nothing to move. */
function seek(unit: DvdUnit, command: ScsiCommand): undefined {
  if (be32(command.cdb, 2) >= unit.blocks) return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  return command.good(0)
}

/** MECHANISM STATUS (MMC-6, 6.8): no changer. */
function mechanismStatus(unit: DvdUnit, command: ScsiCommand): undefined {
  const data = new Uint8Array(8)
  data[1] = unit.trayOpen ? 0x10 : 0
  return command.answer(data, be16(command.cdb, 8))
}

const { ANY, READ } = ACCESS
const { IN, OUT } = DIRECTION
const NONE = DIRECTION.ANY
const done = (_unit: DvdUnit, command: ScsiCommand): undefined => command.good(0)

/** What a DVD drive can do: what every unit can, and the rest in the order of the operation codes. */
export const DVD_COMMANDS: CommandTable<DvdUnit> = commandTable<DvdUnit>([
  ...SHARED_COMMANDS,
  {
    name: 'MODE SELECT (6)',
    opcode: 0x15,
    access: READ,
    direction: OUT,
    run: (u, c) => modeSelect(u.modeFacts(), c, false, () => {}),
  },
  { name: 'START STOP UNIT', opcode: 0x1b, access: ANY, direction: NONE, run: startStop },
  { name: 'PREVENT ALLOW MEDIUM REMOVAL', opcode: 0x1e, access: ANY, direction: NONE, run: preventAllow },
  { name: 'READ CAPACITY', opcode: 0x25, access: ANY, direction: IN, needsMedium: true, run: readCapacity },
  {
    name: 'READ (10)',
    opcode: 0x28,
    access: READ,
    direction: IN,
    needsMedium: true,
    run: readBlocks,
  },
  { name: 'SEEK (10)', opcode: 0x2b, access: ANY, direction: NONE, needsMedium: true, run: seek },
  { name: 'SYNCHRONIZE CACHE (10)', opcode: 0x35, access: READ, direction: NONE, needsMedium: true, run: done },
  { name: 'READ TOC/PMA/ATIP', opcode: 0x43, access: ANY, direction: IN, needsMedium: true, run: readToc },
  {
    name: 'GET CONFIGURATION',
    opcode: 0x46,
    access: ANY,
    direction: IN,
    ignoresAttention: true,
    run: getConfiguration,
  },
  {
    name: 'GET EVENT STATUS NOTIFICATION',
    opcode: 0x4a,
    access: ANY,
    direction: IN,
    ignoresAttention: true,
    run: getEventStatus,
  },
  {
    name: 'READ DISC INFORMATION',
    opcode: 0x51,
    access: ANY,
    direction: IN,
    needsMedium: true,
    run: readDiscInformation,
  },
  {
    name: 'READ TRACK INFORMATION',
    opcode: 0x52,
    access: ANY,
    direction: IN,
    needsMedium: true,
    run: readTrackInformation,
  },
  {
    name: 'MODE SELECT (10)',
    opcode: 0x55,
    access: READ,
    direction: OUT,
    run: (u, c) => modeSelect(u.modeFacts(), c, true, () => {}),
  },
  {
    name: 'READ (12)',
    opcode: 0xa8,
    access: READ,
    direction: IN,
    needsMedium: true,
    run: readBlocks,
  },
  { name: 'READ DISC STRUCTURE', opcode: 0xad, access: ANY, direction: IN, needsMedium: true, run: readDiscStructure },
  { name: 'READ CD MSF', opcode: 0xb9, access: READ, direction: IN, needsMedium: true, run: readBlocks },
  { name: 'SET CD SPEED', opcode: 0xbb, access: ANY, direction: NONE, run: done },
  { name: 'MECHANISM STATUS', opcode: 0xbd, access: ANY, direction: IN, run: mechanismStatus },
  { name: 'READ CD', opcode: 0xbe, access: READ, direction: IN, needsMedium: true, run: readBlocks },
])
