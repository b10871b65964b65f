// Commands that disks and DVD drives serve alike (SPC-4, 6).

import { DIRECTION, type ScsiCommand } from './command.ts'
import { type InquiryFacts, inquiry } from './inquiry.ts'
import { type ModeFacts, modeSense } from './mode.ts'
import { ACCESS } from './reservations.ts'
import { FIXED_SENSE_LENGTH, SENSE, type Sense, writeFixedSense } from './sense.ts'
import type { CommandEntry, UnitBase } from './unit.ts'

interface Unit {
  readonly base: UnitBase
  mediumSense(): Sense | undefined
  inquiryFacts(): InquiryFacts
  modeFacts(): ModeFacts
}

/** TEST UNIT READY: the table has checked that there is a medium. */
function testUnitReady(_unit: Unit, command: ScsiCommand): undefined {
  return command.good(0)
}

/** REQUEST SENSE (SPC-4, 6.37): a unit attention if one waits, or else whether there is a medium. */
function requestSense(unit: Unit, command: ScsiCommand): undefined {
  if (((command.cdb[1] as number) & 0x01) !== 0) return command.fail(SENSE.INVALID_FIELD_IN_CDB) // descriptor format
  const sense = unit.base.attentions.take(command.initiator) ?? unit.mediumSense() ?? SENSE.NO_ADDITIONAL_SENSE
  const data = new Uint8Array(FIXED_SENSE_LENGTH)
  writeFixedSense(data, sense)
  return command.answer(data, command.cdb[4] as number)
}

const { ANY, READ } = ACCESS

/** Rows of both tables. */
export const SHARED_COMMANDS: readonly CommandEntry<Unit>[] = [
  {
    name: 'TEST UNIT READY',
    opcode: 0x00,
    access: ANY,
    direction: DIRECTION.ANY,
    needsMedium: true,
    run: testUnitReady,
  },
  {
    name: 'REQUEST SENSE',
    opcode: 0x03,
    access: ANY,
    direction: DIRECTION.IN,
    ignoresAttention: true,
    run: requestSense,
  },
  {
    name: 'INQUIRY',
    opcode: 0x12,
    access: ANY,
    direction: DIRECTION.IN,
    ignoresAttention: true,
    run: (unit, command) => inquiry(unit.inquiryFacts(), command),
  },
  {
    name: 'MODE SENSE (6)',
    opcode: 0x1a,
    access: READ,
    direction: DIRECTION.IN,
    run: (unit, command) => modeSense(unit.modeFacts(), command, false),
  },
  {
    name: 'MODE SENSE (10)',
    opcode: 0x5a,
    access: READ,
    direction: DIRECTION.IN,
    run: (unit, command) => modeSense(unit.modeFacts(), command, true),
  },
]
