// The commands of a direct-access block device (SBC-3, 5; SPC-4, 6) as a table.

import { BLOCK_COMMAND_USAGE } from './block-command-usage.ts'
import type { BlockUnit } from './block-unit.ts'
import { be16, be24, be32, be64, putBe32, putBe64 } from './bytes.ts'
import { DIRECTION, SCSI_STATUS, type ScsiCommand } from './command.ts'
import { MAXIMUM_UNMAP_BLOCKS, MAXIMUM_UNMAP_DESCRIPTORS, MAXIMUM_WRITE_SAME_BLOCKS } from './limits.ts'
import { modeSelect } from './mode.ts'
import { ACCESS } from './reservations.ts'
import { SENSE } from './sense.ts'
import { SHARED_COMMANDS } from './shared-commands.ts'
import { reportSupportedCommands } from './supported-commands.ts'
import { nextTurn, STEPS_A_TURN } from './turn.ts'
import { type CommandTable, commandTable } from './unit.ts'

/** Bytes that commands of many steps handle at a time. */
const STEP = 64 * 1024
const FUA = 0x08
/** RDPROTECT, WRPROTECT, VRPROTECT: protection information is not offered. */
const PROTECT = 0xe0

type Running = Promise<void> | undefined

function inRange(unit: BlockUnit, lba: number, blocks: number): boolean {
  return lba + blocks <= unit.disk.sectorCount && lba <= unit.disk.sectorCount
}

function read(unit: BlockUnit, command: ScsiCommand, lba: number, blocks: number): Running {
  if (!inRange(unit, lba, blocks)) return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  const bytes = blocks * unit.disk.sectorSize
  if (bytes > command.length) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (bytes === 0) return command.good(0)
  return command.awaitRead(unit.disk.read(lba, command.window(bytes)), bytes)
}

function write(unit: BlockUnit, command: ScsiCommand, lba: number, blocks: number, fua: boolean): Running {
  if (!inRange(unit, lba, blocks)) return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  const bytes = blocks * unit.disk.sectorSize
  if (bytes > command.length) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (bytes === 0) return command.good(0)
  const writing = unit.disk.write(lba, command.window(bytes))
  if (!fua && unit.writeCache) return command.awaitWrite(writing, bytes)
  return command.awaitWrite(writing === undefined ? unit.disk.flush() : writing.then(() => unit.disk.flush()), bytes)
}

/** READ and WRITE (10), (12) and (16): protection bits refused, FUA in byte 1. */
function transfer(writing: boolean, lbaOf: (cdb: Uint8Array) => number, blocksOf: (cdb: Uint8Array) => number) {
  return (unit: BlockUnit, command: ScsiCommand): Running => {
    const { cdb } = command
    const flags = cdb[1] as number
    if ((flags & PROTECT) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
    const lba = lbaOf(cdb)
    const blocks = blocksOf(cdb)
    return writing ? write(unit, command, lba, blocks, (flags & FUA) !== 0) : read(unit, command, lba, blocks)
  }
}

const lba32 = (cdb: Uint8Array): number => be32(cdb, 2)
const lba64 = (cdb: Uint8Array): number => be64(cdb, 2)
const lba21 = (cdb: Uint8Array): number => be24(cdb, 1) & 0x1f_ffff
/** A length of 0 means 256 blocks (SBC-3, 5.7). */
const blocks6 = (cdb: Uint8Array): number => cdb[4] || 256
const blocks10 = (cdb: Uint8Array): number => be16(cdb, 7)
const blocks12 = (cdb: Uint8Array): number => be32(cdb, 6)
const blocks16 = (cdb: Uint8Array): number => be32(cdb, 10)

function synchronizeCache(lba: number, blocks: number, unit: BlockUnit, command: ScsiCommand): Running {
  if (!inRange(unit, lba, blocks)) return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  // With IMMED too the status waits for the medium: earlier than that it would say nothing.
  return command.awaitWrite(unit.disk.flush(), 0)
}

/** READ CAPACITY (10), SBC-3, 5.15. */
function readCapacity10(unit: BlockUnit, command: ScsiCommand): undefined {
  const data = new Uint8Array(8)
  putBe32(data, 0, Math.min(unit.disk.sectorCount - 1, 0xffff_ffff))
  putBe32(data, 4, unit.disk.sectorSize)
  return command.answer(data, data.length)
}

/** SERVICE ACTION IN (16). */
function serviceActionIn16(unit: BlockUnit, command: ScsiCommand): undefined {
  switch ((command.cdb[1] as number) & 0x1f) {
    case 0x10:
      return readCapacity16(unit, command)
    case 0x12:
      return getLbaStatus(unit, command)
    default:
      return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  }
}

/** GET LBA STATUS (SBC-3, 5.6). A disk does not tell which blocks it stores: all of them are mapped, or in a state that is not known, which is the same code. */
function getLbaStatus(unit: BlockUnit, command: ScsiCommand): undefined {
  if (!unit.unmaps) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (unit.base.reservations.conflicts(command.initiator, ACCESS.READ))
    return command.finish(SCSI_STATUS.RESERVATION_CONFLICT)
  const lba = be64(command.cdb, 2)
  const left = unit.disk.sectorCount - lba
  if (left <= 0) return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  const data = new Uint8Array(24)
  putBe32(data, 0, data.length - 4)
  putBe64(data, 8, lba)
  putBe32(data, 16, Math.min(left, 0xffff_ffff))
  return command.answer(data, be32(command.cdb, 10))
}

/** MAINTENANCE IN: REPORT SUPPORTED OPERATION CODES alone (SPC-4, 6.35). */
function maintenanceIn(unit: BlockUnit, command: ScsiCommand): undefined {
  if (((command.cdb[1] as number) & 0x1f) !== 0x0c) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  return reportSupportedCommands(
    unit.unmaps ? BLOCK_COMMAND_USAGE : BLOCK_COMMAND_USAGE.filter(({ provisioning }) => provisioning !== true),
    command,
  )
}

/** READ CAPACITY (16), SBC-3, 5.16. */
function readCapacity16(unit: BlockUnit, command: ScsiCommand): undefined {
  const { disk } = unit
  const data = new Uint8Array(32)
  putBe64(data, 0, disk.sectorCount - 1)
  putBe32(data, 8, disk.sectorSize)
  data[13] = Math.max(0, Math.log2(disk.physicalSectorSize / disk.sectorSize)) & 0x0f
  data[14] = unit.unmaps ? 0x80 : 0x00 // LBPME
  return command.answer(data, be32(command.cdb, 10))
}

/** UNMAP (SBC-3, 5.28). Every descriptor is checked before the first block goes. */
function unmap(unit: BlockUnit, command: ScsiCommand): Running {
  if (!unit.unmaps) return command.fail(SENSE.INVALID_COMMAND_OPERATION_CODE)
  if (((command.cdb[1] as number) & 0x01) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB) // ANCHOR
  const length = be16(command.cdb, 7)
  if (length === 0) return command.good(0)
  if (length < 8 || length > command.length) return command.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  const list = command.copyOut(length)
  // Only whole descriptors count; the list may end before what its header says (SBC-3, 5.28.2).
  const count = Math.floor(Math.min(be16(list, 2), length - 8) / 16)
  if (count > MAXIMUM_UNMAP_DESCRIPTORS) return command.fail(SENSE.INVALID_FIELD_IN_PARAMETER_LIST)
  let total = 0
  for (let i = 0; i < count; i++) {
    const lba = be64(list, 8 + 16 * i)
    const blocks = be32(list, 16 + 16 * i)
    if (!inRange(unit, lba, blocks)) return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
    total += blocks
  }
  if (total > MAXIMUM_UNMAP_BLOCKS) return command.fail(SENSE.INVALID_FIELD_IN_PARAMETER_LIST)
  return command.awaitWrite(discardAll(unit, list, count), length)
}

async function discardAll(unit: BlockUnit, list: Uint8Array, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const blocks = be32(list, 16 + 16 * i)
    if (blocks > 0) await unit.disk.discard?.(be64(list, 8 + 16 * i), blocks)
    if ((i + 1) % STEPS_A_TURN === 0) await nextTurn()
  }
  if (!unit.writeCache) await unit.disk.flush()
}

/** WRITE SAME (10) and (16), SBC-3, 5.45 and 5.46. */
function writeSame(unit: BlockUnit, command: ScsiCommand, lba: number, blocks: number, sixteen: boolean): Running {
  const flags = command.cdb[1] as number
  const unmaps = (flags & 0x08) !== 0
  const noData = sixteen && (flags & 0x01) !== 0 // NDOB
  // WRPROTECT, ANCHOR, and what is obsolete.
  if ((flags & (PROTECT | 0x16)) !== 0 || (!sixteen && (flags & 0x01) !== 0))
    return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (unmaps && !unit.unmaps) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (blocks === 0 || blocks > MAXIMUM_WRITE_SAME_BLOCKS) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (!inRange(unit, lba, blocks)) return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  const size = unit.disk.sectorSize
  const pattern = new Uint8Array(size)
  if (!noData && !command.read(0, pattern)) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  return command.awaitWrite(fill(unit, lba, blocks, pattern), noData ? 0 : size)
}

async function fill(unit: BlockUnit, lba: number, blocks: number, pattern: Uint8Array): Promise<void> {
  const { disk } = unit
  if (disk.zero !== undefined && pattern.every((byte) => byte === 0)) await disk.zero(lba, blocks)
  else {
    const buffer = new Uint8Array(Math.max(pattern.length, Math.min(STEP, blocks * pattern.length)))
    for (let at = 0; at < buffer.length; at += pattern.length) buffer.set(pattern, at)
    const step = buffer.length / pattern.length
    for (let done = 0, steps = 1; done < blocks; done += step, steps++) {
      const count = Math.min(step, blocks - done)
      if (steps % STEPS_A_TURN === 0) await nextTurn()
      await disk.write(lba + done, [count === step ? buffer : buffer.subarray(0, count * pattern.length)])
    }
  }
  if (!unit.writeCache) await disk.flush()
}

/** VERIFY (10) and (16), SBC-3, 5.29 and 5.31. */
function verify(unit: BlockUnit, command: ScsiCommand, lba: number, blocks: number): Running {
  const flags = command.cdb[1] as number
  const byteCheck = (flags >> 1) & 0x03
  if ((flags & PROTECT) !== 0 || byteCheck === 2) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (!inRange(unit, lba, blocks)) return command.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  const size = unit.disk.sectorSize
  const bytes = byteCheck === 0 ? 0 : byteCheck === 1 ? blocks * size : Math.min(blocks, 1) * size
  if (bytes > command.length) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if (blocks === 0) return command.good(0)
  return verifyBlocks(unit, command, lba, blocks, byteCheck, bytes)
}

async function verifyBlocks(
  unit: BlockUnit,
  command: ScsiCommand,
  lba: number,
  blocks: number,
  byteCheck: number,
  bytes: number,
): Promise<void> {
  const { disk, base } = unit
  const epoch = base.epoch
  const size = disk.sectorSize
  const step = Math.max(1, Math.floor(STEP / size))
  const stored = new Uint8Array(Math.min(step, blocks) * size)
  const given = new Uint8Array(byteCheck === 0 ? 0 : stored.length)
  try {
    for (let done = 0, steps = 1; done < blocks; done += step, steps++) {
      const length = Math.min(step, blocks - done) * size
      // A CDB can name the whole disk.
      if (steps % STEPS_A_TURN === 0) await nextTurn()
      await disk.read(lba + done, [length === stored.length ? stored : stored.subarray(0, length)])
      if (base.epoch !== epoch) return command.finish(SCSI_STATUS.TASK_ABORTED)
      if (byteCheck === 0) continue
      if (byteCheck === 1) command.read(done * size, given.subarray(0, length))
      else for (let at = 0; at < length; at += size) command.read(0, given.subarray(at, at + size))
      for (let i = 0; i < length; i++)
        if (stored[i] !== given[i]) return command.fail(SENSE.MISCOMPARE_DURING_VERIFY, done * size + i)
    }
    command.good(bytes)
  } catch (error) {
    command.failDisk(error, false)
  }
}

/** START STOP UNIT (SBC-3, 5.25). */
function startStop(unit: BlockUnit, command: ScsiCommand): Running {
  const byte4 = command.cdb[4] as number
  // Power conditions are not offered, and there is nothing to load or eject.
  if ((byte4 & 0xf0) !== 0 || (byte4 & 0x02) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  if ((byte4 & 0x01) !== 0) {
    unit.started = true
    return command.good(0)
  }
  unit.started = false
  return command.awaitWrite(unit.disk.flush(), 0)
}

/** PREVENT ALLOW MEDIUM REMOVAL: the medium cannot be removed anyway. */
function preventAllow(_unit: BlockUnit, command: ScsiCommand): undefined {
  return command.good(0)
}

const { ANY, READ, WRITE } = ACCESS
const { IN, OUT } = DIRECTION
const NONE = DIRECTION.ANY

/** What a disk can do: what every unit can, and the rest in the order of the operation codes. */
export const BLOCK_COMMANDS: CommandTable<BlockUnit> = commandTable<BlockUnit>([
  ...SHARED_COMMANDS,
  {
    name: 'READ (6)',
    opcode: 0x08,
    access: READ,
    direction: IN,
    needsMedium: true,
    run: (u, c) => read(u, c, lba21(c.cdb), blocks6(c.cdb)),
  },
  {
    name: 'WRITE (6)',
    opcode: 0x0a,
    access: WRITE,
    direction: OUT,
    needsMedium: true,
    writes: true,
    run: (u, c) => write(u, c, lba21(c.cdb), blocks6(c.cdb), false),
  },
  { name: 'MODE SELECT (6)', opcode: 0x15, access: WRITE, direction: OUT, run: (u, c) => selectMode(u, c, false) },
  { name: 'START STOP UNIT', opcode: 0x1b, access: WRITE, direction: NONE, run: startStop },
  { name: 'PREVENT ALLOW MEDIUM REMOVAL', opcode: 0x1e, access: ANY, direction: NONE, run: preventAllow },
  { name: 'READ CAPACITY (10)', opcode: 0x25, access: ANY, direction: IN, needsMedium: true, run: readCapacity10 },
  {
    name: 'READ (10)',
    opcode: 0x28,
    access: READ,
    direction: IN,
    needsMedium: true,
    run: transfer(false, lba32, blocks10),
  },
  {
    name: 'WRITE (10)',
    opcode: 0x2a,
    access: WRITE,
    direction: OUT,
    needsMedium: true,
    writes: true,
    run: transfer(true, lba32, blocks10),
  },
  {
    name: 'VERIFY (10)',
    opcode: 0x2f,
    access: READ,
    direction: OUT,
    needsMedium: true,
    run: (u, c) => verify(u, c, be32(c.cdb, 2), be16(c.cdb, 7)),
  },
  {
    name: 'SYNCHRONIZE CACHE (10)',
    opcode: 0x35,
    access: WRITE,
    direction: NONE,
    needsMedium: true,
    run: (u, c) => synchronizeCache(be32(c.cdb, 2), be16(c.cdb, 7), u, c),
  },
  {
    name: 'WRITE SAME (10)',
    opcode: 0x41,
    access: WRITE,
    direction: OUT,
    needsMedium: true,
    writes: true,
    run: (u, c) => writeSame(u, c, be32(c.cdb, 2), be16(c.cdb, 7), false),
  },
  { name: 'UNMAP', opcode: 0x42, access: WRITE, direction: OUT, needsMedium: true, writes: true, run: unmap },
  { name: 'MODE SELECT (10)', opcode: 0x55, access: WRITE, direction: OUT, run: (u, c) => selectMode(u, c, true) },
  {
    name: 'PERSISTENT RESERVE IN',
    opcode: 0x5e,
    access: ANY,
    direction: IN,
    run: (u, c) => u.base.reservations.reportIn(c),
  },
  {
    name: 'PERSISTENT RESERVE OUT',
    opcode: 0x5f,
    access: ANY,
    direction: OUT,
    run: (u, c) => u.base.reservations.reserveOut(c),
  },
  {
    name: 'READ (16)',
    opcode: 0x88,
    access: READ,
    direction: IN,
    needsMedium: true,
    run: transfer(false, lba64, blocks16),
  },
  {
    name: 'WRITE (16)',
    opcode: 0x8a,
    access: WRITE,
    direction: OUT,
    needsMedium: true,
    writes: true,
    run: transfer(true, lba64, blocks16),
  },
  {
    name: 'VERIFY (16)',
    opcode: 0x8f,
    access: READ,
    direction: OUT,
    needsMedium: true,
    run: (u, c) => verify(u, c, be64(c.cdb, 2), be32(c.cdb, 10)),
  },
  {
    name: 'SYNCHRONIZE CACHE (16)',
    opcode: 0x91,
    access: WRITE,
    direction: NONE,
    needsMedium: true,
    run: (u, c) => synchronizeCache(be64(c.cdb, 2), be32(c.cdb, 10), u, c),
  },
  {
    name: 'WRITE SAME (16)',
    opcode: 0x93,
    access: WRITE,
    direction: OUT,
    needsMedium: true,
    writes: true,
    run: (u, c) => writeSame(u, c, be64(c.cdb, 2), be32(c.cdb, 10), true),
  },
  {
    name: 'SERVICE ACTION IN (16)',
    opcode: 0x9e,
    access: ANY,
    direction: IN,
    needsMedium: true,
    run: serviceActionIn16,
  },
  { name: 'MAINTENANCE IN', opcode: 0xa3, access: ANY, direction: IN, run: maintenanceIn },
  {
    name: 'READ (12)',
    opcode: 0xa8,
    access: READ,
    direction: IN,
    needsMedium: true,
    run: transfer(false, lba32, blocks12),
  },
  {
    name: 'WRITE (12)',
    opcode: 0xaa,
    access: WRITE,
    direction: OUT,
    needsMedium: true,
    writes: true,
    run: transfer(true, lba32, blocks12),
  },
])

function selectMode(unit: BlockUnit, command: ScsiCommand, ten: boolean): Running {
  const before = unit.writeCache
  modeSelect(unit.modeFacts(), command, ten, (code, body) => unit.applyMode(code, body))
  // Others find out (SPC-4, 6.11); whoever did it knows.
  if (unit.writeCache !== before) unit.base.attentions.establishAll(SENSE.MODE_PARAMETERS_CHANGED, command.initiator)
  if (!before || unit.writeCache) return undefined
  // From now on an initiator has no reason to flush: what it wrote with the cache on, and is writing, goes to the medium first.
  return command.awaitWrite(
    unit.base.drain().then(() => unit.disk.flush()),
    command.transferred,
  )
}
