// The one error class of this package.

import { PartitaError, type SavedState } from '@partita/interface'
import * as v from 'valibot'

/** Thrown by the PS/2 devices: `ERR_STATE_INVALID`, and `ERR_KEYBOARD_CHARACTER` for a character that no key of the layout types. */
export class Ps2Error extends PartitaError {}

/** The version of this package's saved states. */
export const STATE_VERSION = 1

/**
 * Check a saved state before any of it is taken over.
 * @throws Ps2Error `ERR_STATE_INVALID`
 */
export function checkState<T>(state: SavedState, schema: v.GenericSchema<unknown, T>): T {
  if (state.version !== STATE_VERSION) {
    throw new Ps2Error(
      'ERR_STATE_INVALID',
      `PS/2: a saved state of version ${state.version}, this device knows version ${STATE_VERSION}`,
      { data: { version: state.version } },
    )
  }
  const result = v.safeParse(schema, state.data)
  if (!result.success) {
    const issue = result.issues[0]
    throw new Ps2Error('ERR_STATE_INVALID', `PS/2: ${issue.message}`, { data: { path: v.getDotPath(issue) ?? '' } })
  }
  return result.output
}

/** Schema of an unsigned integer of at most `maximum`. */
export function upTo(maximum: number): v.GenericSchema<number> {
  return v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(maximum))
}

/** Schema of a byte string of at most `length` bytes. */
export function bytesUpTo(length: number): v.GenericSchema<Uint8Array> {
  return v.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= length,
    `expected at most ${length} bytes`,
  )
}
