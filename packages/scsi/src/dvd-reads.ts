// The commands that read blocks of a CD or DVD (MMC-6, 6.16 to 6.19): READ (10), READ (12), READ CD and READ CD MSF. What their CDBs ask for, and how they are served.

import type { Disk } from '@partita/interface'
import { be16, be24, be32, putBe32 } from './bytes.ts'
import { CD_SECTOR, finishCdSector } from './cd-sector.ts'
import { SCSI_STATUS, type ScsiCommand } from './command.ts'
import type { DvdUnit } from './dvd-unit.ts'
import { DVD_BLOCK } from './media.ts'
import { SENSE, type Sense } from './sense.ts'
import { nextTurn, STEPS_A_TURN } from './turn.ts'

const OPCODE = { READ_10: 0x28, READ_12: 0xa8, READ_CD_MSF: 0xb9, READ_CD: 0xbe } as const
/** Frames before the first block of the program area. */
const PREGAP = 150
/** Blocks whose sectors are made at a time: of the smallest parts of a sector, a small buffer has room for those of millions. */
const STEP = 32
/** Expected sector type of READ CD: any, or mode 1. */
const SECTOR_TYPE = { ANY: 0, MODE_1: 2 } as const
/** Main channel selection, and what is not had (C2 and sub-channels). */
const SELECT = { SYNC: 0x80, HEADER: 0x20, USER_DATA: 0x10, EDC_ECC: 0x08, C2: 0x06 } as const

/** What a CDB reads. */
export interface BlockRead {
  /** The first block, of 2,048 bytes of user data. */
  readonly lba: number
  /** How many. */
  readonly blocks: number
  /** Bytes that the initiator gets of each block; 0 where it wants none of it. */
  readonly blockLength: number
}

/** First frame of a CDB of READ CD MSF; both places have minute, second, frame. */
function frames(cdb: Uint8Array, at: number): number {
  return ((cdb[at] as number) * 60 + (cdb[at + 1] as number)) * 75 + (cdb[at + 2] as number) - PREGAP
}

/** Bytes of a block by the main channel selection of READ CD. */
function selectedLength(selection: number): number {
  return (
    (selection & SELECT.SYNC ? CD_SECTOR.SYNC : 0) +
    (selection & SELECT.HEADER ? CD_SECTOR.HEADER : 0) +
    (selection & SELECT.USER_DATA ? CD_SECTOR.USER_DATA : 0) +
    (selection & SELECT.EDC_ECC ? CD_SECTOR.EDC_ECC : 0)
  )
}

/** What `cdb` reads; undefined for a command that reads no blocks. Nothing is checked. */
export function blockReadOf(cdb: Uint8Array): BlockRead | undefined {
  switch (cdb[0]) {
    case OPCODE.READ_10:
      return { lba: be32(cdb, 2), blocks: be16(cdb, 7), blockLength: DVD_BLOCK }
    case OPCODE.READ_12:
      return { lba: be32(cdb, 2), blocks: be32(cdb, 6), blockLength: DVD_BLOCK }
    case OPCODE.READ_CD:
      return { lba: be32(cdb, 2), blocks: be24(cdb, 6), blockLength: selectedLength(cdb[9] as number) }
    case OPCODE.READ_CD_MSF: {
      const lba = frames(cdb, 3)
      return { lba, blocks: frames(cdb, 6) - lba, blockLength: selectedLength(cdb[9] as number) }
    }
    default:
      return undefined
  }
}

/** Make `part` a CDB that reads `blocks` (below 2^24) from `lba` on as `whole`, a CDB of {@link blockReadOf}, does: who has little room reads in parts. */
export function partOfBlockRead(whole: Uint8Array, part: Uint8Array, lba: number, blocks: number): void {
  part.fill(0)
  putBe32(part, 2, lba)
  if (whole[0] === OPCODE.READ_10 || whole[0] === OPCODE.READ_12) {
    part[0] = OPCODE.READ_12
    putBe32(part, 6, blocks)
    return
  }
  part[0] = OPCODE.READ_CD
  part[1] = whole[1] as number
  part[6] = blocks >> 16
  part[7] = (blocks >> 8) & 0xff
  part[8] = blocks & 0xff
  part[9] = whole[9] as number
  part[10] = whole[10] as number
}

/** What is wrong with the fields of READ CD. */
function readCdSense(cdb: Uint8Array): Sense | undefined {
  const type = ((cdb[1] as number) >> 2) & 7
  const selection = cdb[9] as number
  if (type !== SECTOR_TYPE.ANY && type !== SECTOR_TYPE.MODE_1) return SENSE.ILLEGAL_MODE_FOR_THIS_TRACK
  // No sub-headers, which mode 1 does not have, no C2 pointers, no sub-channels.
  if ((selection & SELECT.C2) !== 0 || ((cdb[10] as number) & 0x07) !== 0) return SENSE.INVALID_FIELD_IN_CDB
  return undefined
}

/** Serve any of the commands. */
export function readBlocks(unit: DvdUnit, command: ScsiCommand): Promise<void> | undefined {
  const disk = unit.medium
  const asked = blockReadOf(command.cdb)
  if (disk === undefined || asked === undefined) return command.fail(SENSE.MEDIUM_NOT_PRESENT)
  const { lba, blocks, blockLength } = asked
  const cooked = command.cdb[0] === OPCODE.READ_10 || command.cdb[0] === OPCODE.READ_12
  const sense = cooked ? undefined : readCdSense(command.cdb)
  if (sense !== undefined) return command.fail(sense)
  if (blocks < 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (lba < 0 || lba > unit.blocks || lba + blocks > unit.blocks)
    return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  const bytes = blocks * blockLength
  if (bytes > command.length) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (bytes === 0) return command.good(0)
  const sector = lba * (DVD_BLOCK / disk.sectorSize)
  if (blockLength === DVD_BLOCK) return command.awaitRead(disk.read(sector, command.window(bytes)), bytes)
  return readSectors(unit, disk, command, asked)
}

/** Read blocks of which the initiator wants other parts than the user data. */
async function readSectors(unit: DvdUnit, disk: Disk, command: ScsiCommand, asked: BlockRead): Promise<void> {
  const { lba, blocks, blockLength } = asked
  const { base } = unit
  const epoch = base.epoch
  const select = command.cdb[9] as number
  const buffer = new Uint8Array(Math.min(blocks, STEP) * DVD_BLOCK)
  try {
    for (let done = 0, steps = 1; done < blocks; done += STEP, steps++) {
      if (steps % STEPS_A_TURN === 0) await nextTurn()
      const data = buffer.subarray(0, Math.min(STEP, blocks - done) * DVD_BLOCK)
      await disk.read((lba + done) * (DVD_BLOCK / disk.sectorSize), [data])
      if (base.epoch !== epoch) return command.finish(SCSI_STATUS.TASK_ABORTED)
      command.fill(rawSectors(data, lba + done, select, blockLength), done * blockLength)
    }
    command.good(blocks * blockLength)
  } catch (error) {
    command.failDisk(error, false)
  }
}

/** The selected parts of the blocks whose user data is `data`. */
function rawSectors(data: Uint8Array, lba: number, select: number, blockLength: number): Uint8Array {
  const blocks = data.length / DVD_BLOCK
  const result = new Uint8Array(blocks * blockLength)
  const sector = new Uint8Array(CD_SECTOR.LENGTH)
  const parts: readonly (readonly [wanted: number, length: number])[] = [
    [select & SELECT.SYNC, CD_SECTOR.SYNC],
    [select & SELECT.HEADER, CD_SECTOR.HEADER],
    [select & SELECT.USER_DATA, CD_SECTOR.USER_DATA],
    [select & SELECT.EDC_ECC, CD_SECTOR.EDC_ECC],
  ]
  let at = 0
  for (let block = 0; block < blocks; block++) {
    sector.set(data.subarray(block * DVD_BLOCK, (block + 1) * DVD_BLOCK), CD_SECTOR.SYNC + CD_SECTOR.HEADER)
    finishCdSector(sector, lba + block)
    let from = 0
    for (const [wanted, length] of parts) {
      if (wanted !== 0) {
        result.set(sector.subarray(from, from + length), at)
        at += length
      }
      from += length
    }
  }
  return result
}
