// What a saved IDE controller must look like. A state comes from a file: positions are checked against the buffers that they are used with.

import type { SavedState } from '@partita/interface'
import * as v from 'valibot'
import { MAXIMUM_MULTIPLE, SECTOR_SIZE, STATUS } from './ata.ts'
import { type DriveState, TRANSFER } from './ata-drive.ts'
import type { BusMasterState } from './bus-master.ts'
import { IdeError } from './ide-error.ts'

const BUFFER = 128 * SECTOR_SIZE

function integer(minimum: number, maximum: number): v.GenericSchema<number> {
  return v.pipe(v.number(), v.safeInteger(), v.minValue(minimum), v.maxValue(maximum))
}

const byte = integer(0, 0xff)

const drive: v.GenericSchema<unknown, DriveState> = v.pipe(
  v.strictObject({
    status: byte,
    error: byte,
    interrupt: v.boolean(),
    registers: v.custom<Uint8Array>(
      (value) => value instanceof Uint8Array && value.length === 17,
      'expected 17 registers',
    ),
    heads: integer(1, 16),
    sectors: integer(1, 255),
    multiple: integer(0, MAXIMUM_MULTIPLE),
    writeCache: v.boolean(),
    dmaMode: byte,
    transfer: integer(0, 4),
    lba: integer(0, Number.MAX_SAFE_INTEGER - 0x1_0000),
    remaining: integer(0, 0x1_0000),
    blockSectors: integer(1, MAXIMUM_MULTIPLE),
    position: integer(0, BUFFER),
    blockEnd: integer(0, BUFFER),
    buffer: v.custom<Uint8Array>(
      (value) => value instanceof Uint8Array && value.length <= BUFFER && value.length % SECTOR_SIZE === 0,
      `expected whole sectors, at most ${BUFFER} bytes`,
    ),
  }),
  v.check((state) => (state.status & STATUS.BSY) === 0, 'a saved drive is not busy'),
  v.check((state) => {
    const pio = state.transfer === TRANSFER.PIO_IN || state.transfer === TRANSFER.PIO_OUT
    if (!pio || (state.status & STATUS.DRQ) === 0) return true
    const { position, blockEnd, buffer } = state
    return position % 2 === 0 && blockEnd % SECTOR_SIZE === 0 && position < blockEnd && blockEnd <= buffer.length
  }, 'the transfer does not fit its buffer'),
)

const busMaster: v.GenericSchema<unknown, BusMasterState> = v.strictObject({
  command: byte,
  status: byte,
  table: integer(0, 0xffff_ffff),
  entry: integer(0, 8192),
  offset: integer(0, 0x1_0000),
  ended: v.boolean(),
})

/** A saved channel. */
interface ChannelState {
  readonly selected: number
  readonly deviceControl: number
  readonly busMaster: BusMasterState
  readonly drives: readonly (DriveState | null)[]
}

/** A saved controller. */
export interface ControllerState {
  readonly config: readonly number[]
  readonly channels: readonly ChannelState[]
}

const channel: v.GenericSchema<unknown, ChannelState> = v.strictObject({
  selected: integer(0, 1),
  deviceControl: byte,
  busMaster,
  drives: v.pipe(v.array(v.nullable(drive)), v.length(2)),
})

const controller: v.GenericSchema<unknown, ControllerState> = v.strictObject({
  config: v.pipe(v.array(integer(0, 0xffff_ffff)), v.length(64)),
  channels: v.pipe(v.array(channel), v.length(2)),
})

/**
 * Check a saved controller. `present` says which drives this one has, by channel.
 * @throws IdeError `ERR_STATE_INVALID`
 */
export function parseControllerState(state: SavedState, present: readonly (readonly boolean[])[]): ControllerState {
  const result = v.safeParse(controller, state.data)
  if (state.version !== 1 || !result.success) {
    throw new IdeError('ERR_STATE_INVALID', 'this is no saved state of an IDE controller', {
      data: { version: state.version, problem: result.issues?.[0].message ?? '' },
    })
  }
  result.output.channels.forEach((saved, index) => {
    saved.drives.forEach((saved, position) => {
      if ((saved !== null) === present[index]?.[position]) return
      throw new IdeError('ERR_STATE_INVALID', 'the saved IDE controller had other drives', {
        hint: 'Restore with the disks that the machine was saved with.',
        data: { channel: index, position },
      })
    })
  })
  return result.output
}
