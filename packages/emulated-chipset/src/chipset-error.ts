// The one error class of this package, and the check of saved states that throws it.

import { PartitaError, type SavedState, type SavedValue } from '@partita/interface'
import * as v from 'valibot'

/** Thrown by the emulated chipset: `ERR_STATE_INVALID`, `ERR_PCI_CONFLICT`, `ERR_INTERRUPT_LINE`, `ERR_CHIPSET_CONFLICT`. */
export class ChipsetError extends PartitaError {}

/**
 * Check a saved state before any of it is taken over.
 * @throws ChipsetError `ERR_STATE_INVALID`
 */
export function checkState<T>(
  unit: string,
  state: SavedState,
  version: number,
  schema: v.GenericSchema<unknown, T>,
): T {
  if (state.version !== version) {
    throw new ChipsetError(
      'ERR_STATE_INVALID',
      `${unit}: a saved state of version ${state.version}, this device knows version ${version}`,
      {
        data: { unit, version: state.version },
      },
    )
  }
  const result = v.safeParse(schema, state.data)
  if (!result.success) {
    const issue = result.issues[0]
    throw new ChipsetError('ERR_STATE_INVALID', `${unit}: ${issue.message}`, {
      data: { unit, path: v.getDotPath(issue) ?? '' },
    })
  }
  return result.output
}

/** Schema of an unsigned integer of `bits` bits. */
export function unsigned(bits: number): v.GenericSchema<number> {
  return v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** bits - 1))
}

/** Schema of a count that may be large, or negative. */
export const safeInteger: v.GenericSchema<number> = v.pipe(v.number(), v.safeInteger())

/** Schema of a byte string of exactly `length` bytes. */
export function bytes(length: number): v.GenericSchema<Uint8Array> {
  return v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length === length,
    `expected ${length} bytes`,
  )
}

/** Plain data of a saved state. */
export type StateData = { readonly [key: string]: SavedValue }
