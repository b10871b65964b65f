// What a saved IDE controller must look like. A state comes from a file: positions are checked against the buffers that they are used with.

import type { SavedState } from '@partita/interface'
import * as v from 'valibot'
import type { AddressingState } from './addressing.ts'
import { MAXIMUM_MULTIPLE, MAXIMUM_TRIM_SECTORS, POWER, SECTOR_SIZE, STATUS } from './ata.ts'
import { COMMANDS } from './ata-commands.ts'
import type { BusMasterState } from './bus-master.ts'
import type { DiskSettingsState } from './disk-settings.ts'
import { BUFFER_SIZE, type DriveState, TRANSFER } from './drive.ts'
import { IdeError } from './ide-error.ts'
import { COUNTERS, SMART_LENGTHS, type SmartState } from './smart.ts'

/** A saved disk. */
export interface AtaDiskState extends DriveState, AddressingState {
  readonly kind: 'disk'
  readonly code: number
  readonly previousCode: number
  readonly settings: DiskSettingsState
  readonly lba: number
  readonly remaining: number
  readonly ownBuffer: Uint8Array
  readonly smart: SmartState
}

/** A saved CD or DVD drive. */
export interface PacketDriveState extends DriveState {
  readonly kind: 'packet'
  readonly dmaMode: number
  readonly phase: number
  readonly packet: Uint8Array
  readonly byDma: boolean
  readonly limit: number
  readonly lba: number
  readonly blocks: number
  readonly sense: Uint8Array
  readonly unit: SavedState
}

/** A saved channel. */
export interface ChannelState {
  readonly selected: number
  readonly deviceControl: number
  readonly busMaster: BusMasterState
  readonly drives: readonly (AtaDiskState | PacketDriveState | null)[]
}

/** A saved controller. */
export interface ControllerState {
  /** Configuration space; empty without a PCI function. */
  readonly config: readonly number[]
  readonly channels: readonly ChannelState[]
}

function integer(minimum: number, maximum: number): v.GenericSchema<number> {
  return v.pipe(v.number(), v.safeInteger(), v.minValue(minimum), v.maxValue(maximum))
}

/** A byte array of one of the lengths from `minimum` to `maximum`. */
function bytes(minimum: number, maximum: number): v.GenericSchema<Uint8Array> {
  return v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length >= minimum && value.length <= maximum,
    minimum === maximum ? `expected ${minimum} bytes` : `expected ${minimum} to ${maximum} bytes`,
  )
}

const byte = integer(0, 0xff)
const place = integer(0, Number.MAX_SAFE_INTEGER - 0x1_0000)

const driveEntries = {
  status: byte,
  error: byte,
  interrupt: v.boolean(),
  registers: bytes(17, 17),
  power: v.picklist(Object.values(POWER)),
  transfer: integer(0, 4),
  position: integer(0, BUFFER_SIZE + 1),
  blockEnd: integer(0, BUFFER_SIZE),
  blockBytes: integer(1, BUFFER_SIZE),
  buffer: bytes(0, BUFFER_SIZE),
} as const

/** Not busy; where data is asked for, a transfer is under way, and stands inside of its buffer. */
function isAtRest(state: DriveState): boolean {
  if ((state.status & STATUS.BSY) !== 0) return false
  const { transfer, position, blockEnd, blockBytes, buffer } = state
  if (((state.status & STATUS.DRQ) !== 0) !== (transfer !== TRANSFER.NONE)) return false
  if (transfer === TRANSFER.NONE) return true
  if (transfer === TRANSFER.PIO_IN || transfer === TRANSFER.PIO_OUT) {
    // Blocks begin with whole words: the last one alone may end inside of one.
    const whole = (end: number): boolean => end % 2 === 0 || end >= buffer.length
    return (
      position % 2 === 0 && position < blockEnd && blockEnd <= buffer.length && whole(blockEnd) && whole(blockBytes)
    )
  }
  return position <= buffer.length
}
const AT_REST = 'the drive is busy, or its transfer does not fit its buffer'

/** A transfer is one that the command of a disk makes, and it is not over: something is still to be moved. */
function fitsCommand({ transfer, code, buffer, remaining }: AtaDiskState): boolean {
  const { action, access } = COMMANDS.get(code) ?? {}
  switch (transfer) {
    case TRANSFER.NONE:
      return true
    case TRANSFER.PIO_IN:
      return remaining === 0 || access === 'read'
    case TRANSFER.PIO_OUT:
      if (action === 'write-buffer') return buffer.length === SECTOR_SIZE
      return access === 'write' && action !== 'write-dma' && buffer.length <= remaining * SECTOR_SIZE
    case TRANSFER.DMA_IN:
      return action === 'read-dma' && remaining > 0 && buffer.length === 0
    default:
      if (action === 'trim') return buffer.length > 0 && buffer.length <= MAXIMUM_TRIM_SECTORS * SECTOR_SIZE
      return action === 'write-dma' && remaining > 0 && buffer.length === 0
  }
}

const settings: v.GenericSchema<unknown, DiskSettingsState> = v.strictObject({
  multiple: v.pipe(
    integer(0, MAXIMUM_MULTIPLE),
    v.check((count) => (count & (count - 1)) === 0, 'expected a power of two'),
  ),
  writeCache: v.boolean(),
  lookAhead: v.boolean(),
  reverts: v.boolean(),
  dmaMode: byte,
})

const smart: v.GenericSchema<unknown, SmartState> = v.strictObject({
  enabled: v.boolean(),
  counters: v.pipe(v.array(integer(0, Number.MAX_SAFE_INTEGER)), v.length(COUNTERS)),
  errorCount: integer(0, Number.MAX_SAFE_INTEGER),
  testCount: integer(0, Number.MAX_SAFE_INTEGER),
  errors: bytes(SMART_LENGTHS.errors, SMART_LENGTHS.errors),
  tests: bytes(SMART_LENGTHS.tests, SMART_LENGTHS.tests),
  commands: bytes(SMART_LENGTHS.commands, SMART_LENGTHS.commands),
})

const disk: v.GenericSchema<unknown, AtaDiskState> = v.pipe(
  v.strictObject({
    kind: v.literal('disk'),
    ...driveEntries,
    code: byte,
    previousCode: byte,
    heads: integer(1, 16),
    sectors: integer(1, 255),
    settings,
    addressable: place,
    lba: place,
    remaining: integer(0, 0x1_0000),
    ownBuffer: bytes(SECTOR_SIZE, SECTOR_SIZE),
    smart,
  }),
  v.check((state) => isAtRest(state), AT_REST),
  v.check(
    ({ buffer, blockBytes }) => buffer.length % SECTOR_SIZE === 0 && blockBytes % SECTOR_SIZE === 0,
    'a disk moves whole sectors',
  ),
  v.check((state) => fitsCommand(state), 'the transfer is none of its command, or is over'),
)

const packet: v.GenericSchema<unknown, PacketDriveState> = v.pipe(
  v.strictObject({
    kind: v.literal('packet'),
    ...driveEntries,
    dmaMode: byte,
    phase: integer(0, 3),
    packet: bytes(12, 12),
    byDma: v.boolean(),
    limit: integer(0, 0xffff),
    lba: place,
    blocks: integer(0, 0xffff_ffff),
    sense: bytes(0, 18),
    unit: v.strictObject({ version: v.number(), data: v.record(v.string(), v.any()) }),
  }),
  v.check((state) => isAtRest(state), AT_REST),
)

const busMaster: v.GenericSchema<unknown, BusMasterState> = v.strictObject({
  command: byte,
  status: byte,
  table: integer(0, 0xffff_ffff),
  entry: integer(0, 8192),
  offset: integer(0, 0x1_0000),
  ended: v.boolean(),
})

const channel: v.GenericSchema<unknown, ChannelState> = v.strictObject({
  selected: integer(0, 1),
  deviceControl: byte,
  busMaster,
  drives: v.pipe(v.array(v.nullable(v.variant('kind', [disk, packet] as never))), v.length(2)),
}) as v.GenericSchema<unknown, ChannelState>

const controller: v.GenericSchema<unknown, ControllerState> = v.strictObject({
  config: v.pipe(v.array(integer(0, 0xffff_ffff)), v.maxLength(64)),
  channels: v.pipe(v.array(channel), v.length(2)),
})

/**
 * Check a saved controller. `kinds` says which drives this one has, by channel; `pci` whether it is a PCI function.
 * @throws IdeError `ERR_STATE_INVALID`
 */
export function parseControllerState(
  state: SavedState,
  kinds: readonly (readonly ('disk' | 'packet' | null)[])[],
  pci: boolean,
): ControllerState {
  const result = v.safeParse(controller, state.data)
  if (state.version !== 3 || !result.success || result.output.config.length !== (pci ? 64 : 0)) {
    throw new IdeError('ERR_STATE_INVALID', 'this is no saved state of this IDE controller', {
      data: { version: state.version, problem: result.issues?.[0].message ?? '' },
    })
  }
  result.output.channels.forEach((saved, index) => {
    saved.drives.forEach((drive, position) => {
      if ((drive?.kind ?? null) === kinds[index]?.[position]) return
      throw new IdeError('ERR_STATE_INVALID', 'the saved IDE controller had other drives', {
        hint: 'Restore with the disks that the machine was saved with.',
        data: { channel: index, position },
      })
    })
  })
  return result.output
}
