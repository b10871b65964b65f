/**
 * A SCSI target on the `Disk` contract: disks (SBC-3) and DVD drives (MMC-6), usable without VMBus.
 *
 * @example
 * ```ts
 * import { BlockUnit, DIRECTION, ScsiCommand, ScsiTarget } from '@partita/scsi'
 *
 * const target = new ScsiTarget()
 * target.attach(0, new BlockUnit(disk, { serial: 'disk0' }))
 * const command = new ScsiCommand()
 * command.cdb.set([0x12, 0, 0, 0, 96, 0]) // INQUIRY
 * command.segments = [new Uint8Array(96)]
 * command.length = 96
 * await target.execute(0, command)
 * ```
 * @packageDocumentation
 */

export { UnitAttentions } from './attentions.ts'
export { BlockUnit, type BlockUnitOptions } from './block-unit.ts'
export { be16, be32, be64, putBe16, putBe32, putBe64 } from './bytes.ts'
export { DIRECTION, type Direction, SCSI_STATUS, ScsiCommand, type ScsiStatus, senseOfDiskError } from './command.ts'
export { type BlockRead, blockReadOf, partOfBlockRead } from './dvd-reads.ts'
export { DvdUnit, type DvdUnitOptions, MEDIA_EVENT, type MediaEvent } from './dvd-unit.ts'
export type { InquiryFacts } from './inquiry.ts'
export { PROFILE, type Profile } from './media.ts'
export type { ModeFacts, ModePage } from './mode.ts'
export { ACCESS, type Access, RESERVATION_TYPE, Reservations, type SavedReservations } from './reservations.ts'
export { ScsiError } from './scsi-error.ts'
export { FIXED_SENSE_LENGTH, SENSE, SENSE_KEY, type Sense, writeFixedSense } from './sense.ts'
export { ScsiTarget, type ScsiTargetOptions } from './target.ts'
export { type CommandEntry, type CommandTable, type LogicalUnit, UnitBase, type UnitIdentity } from './unit.ts'
