// A saved state that somebody has written by hand: a field or a few of it are others.

import type { SavedState } from '@partita/interface'
import type { FuzzInput } from '@partita/testkit/fuzz'
import type { ControllerState } from '../../src/state.ts'

const NUMBERS: readonly number[] = [
  0,
  1,
  2,
  3,
  4,
  8,
  0x50,
  0x58,
  0x59,
  0x80,
  0xff,
  0x200,
  0x1_0000,
  0xffff_ffff,
  -1,
  0.5,
  Number.NaN,
  Number.MAX_SAFE_INTEGER,
]
const STRANGERS: readonly unknown[] = [null, undefined, 'x', [], {}, true, new Uint8Array(3)]
/** Deeper than states are. */
const DEPTH = 12

/** Change one to four fields of `state`, at any depth; those of a channel's bus master and drives before all. */
export function alterState(state: SavedState, input: FuzzInput): void {
  const { channels } = state.data as unknown as ControllerState
  const channel = input.pick(channels)
  const drive = input.pick(channel.drives)
  for (let changes = 1 + input.below(4); changes > 0; changes--)
    alterField(input.pick([channel.busMaster, drive, drive, drive, channel, state]) ?? state, input)
}

function alterField(from: object, input: FuzzInput): void {
  let place = from as Record<string, unknown>
  for (let depth = 0; depth < DEPTH; depth++) {
    const keys = Object.keys(place)
    if (keys.length === 0) return
    const key = input.pick(keys)
    const value = place[key]
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) {
      place[key] = input.below(24) === 0 ? input.pick(STRANGERS) : alterValue(value, input)
      return
    }
    place = value as Record<string, unknown>
  }
}

function alterValue(value: unknown, input: FuzzInput): unknown {
  if (typeof value === 'boolean') return !value
  if (typeof value === 'number') {
    const others = [0, value ^ (1 << input.below(8)), value + 1, value - 1, input.pick(NUMBERS)]
    return input.pick(others)
  }
  if (!(value instanceof Uint8Array)) return input.pick(NUMBERS)
  const bytes = value.slice()
  if (input.below(2) === 0) return bytes.subarray(0, input.below(bytes.length + 1))
  if (bytes.length > 0) bytes[input.below(bytes.length)] = input.u8()
  return bytes
}
