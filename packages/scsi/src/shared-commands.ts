// Commands that disks and DVD drives serve alike (SPC-4, 6).

import type { ScsiCommand } from './command.ts'
import { FIXED_SENSE_LENGTH, SENSE, type Sense, writeFixedSense } from './sense.ts'
import type { UnitBase } from './unit.ts'

interface Unit {
  readonly base: UnitBase
  mediumSense(): Sense | undefined
}

/** TEST UNIT READY: the table has checked that there is a medium. */
export function testUnitReady(_unit: Unit, command: ScsiCommand): undefined {
  return command.good(0)
}

/** REQUEST SENSE (SPC-4, 6.37): a unit attention if one waits, or else whether there is a medium. */
export function requestSense(unit: Unit, command: ScsiCommand): undefined {
  if (((command.cdb[1] as number) & 0x01) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB) // descriptor format
  const sense = unit.base.attentions.take(command.initiator) ?? unit.mediumSense() ?? SENSE.NO_ADDITIONAL_SENSE
  const data = new Uint8Array(FIXED_SENSE_LENGTH)
  writeFixedSense(data, sense)
  return command.answer(data, command.cdb[4] as number)
}

/** PREVENT ALLOW MEDIUM REMOVAL where the medium cannot be removed anyway. */
export function preventAllow(_unit: Unit, command: ScsiCommand): undefined {
  return command.good(0)
}
