// Saving and restoring what units share.

import type { SavedState, SavedValue } from '@partita/interface'
import * as v from 'valibot'
import type { SavedReservations } from './reservations.ts'
import { ScsiError } from './scsi-error.ts'
import { SENSE, type Sense } from './sense.ts'
import type { UnitBase } from './unit.ts'

const u32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff))
/** A reservation key; a store may give a small one back as a number. */
const key = v.pipe(
  v.union([v.bigint(), u32]),
  v.transform((value) => BigInt(value)),
  v.minValue(0n),
  v.maxValue(2n ** 64n - 1n),
)

/** What units have in common in their saved states. */
export interface BaseData {
  attentions: [number, number[]][]
  reservations: SavedReservations
}

/** The entries of that part in the schema of a unit's state. */
export const baseStateSchema: {
  readonly attentions: v.GenericSchema<unknown, BaseData['attentions']>
  readonly reservations: v.GenericSchema<unknown, SavedReservations>
} = {
  attentions: v.array(v.tuple([u32, v.pipe(v.array(u32), v.maxLength(16))])),
  reservations: v.object({
    generation: u32,
    type: u32,
    holder: v.nullable(u32),
    registrations: v.pipe(v.array(v.tuple([u32, key])), v.maxLength(64)),
  }),
}

const KNOWN: ReadonlyMap<number, Sense> = new Map(
  Object.values(SENSE).map((sense) => [(sense.key << 16) | (sense.asc << 8) | sense.ascq, sense]),
)

/** The shared part of a unit's state. */
export function saveBase(base: UnitBase): { readonly [key: string]: SavedValue } {
  return { attentions: base.attentions.save(), reservations: base.reservations.save() }
}

/**
 * Check a unit's state against its schema, and take over the shared part of it.
 * @throws ScsiError `ERR_STATE_INVALID`
 */
export function restoreBase<Data extends BaseData>(
  base: UnitBase,
  state: SavedState,
  schema: v.GenericSchema<unknown, Data>,
): Data {
  const checked = v.safeParse(schema, state.data)
  if (state.version !== 1 || !checked.success) {
    throw new ScsiError('ERR_STATE_INVALID', 'this is no saved state of a logical unit', {
      data: { version: state.version, problem: checked.issues?.[0].message ?? '' },
    })
  }
  base.attentions.restore(checked.output.attentions, (code) => KNOWN.get(code))
  base.reservations.restore(checked.output.reservations)
  return checked.output
}
