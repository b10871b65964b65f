// The saved state of a local APIC and the check of one that comes back.

import type { SavedState, SavedValue } from '@partita/interface'
import { ProcessorError } from '../processor-error.ts'
import { FIRST_VECTOR, LVT_COUNT } from './registers.ts'

const VERSION = 1

/** Everything that a local APIC remembers. A type of its own, apart from what it works with. */
export interface LocalApicState {
  readonly apicId: number
  readonly apicBase: bigint
  readonly tpr: number
  readonly ldr: number
  readonly dfr: number
  readonly svr: number
  readonly esr: number
  /** Errors since the last write to ESR. */
  readonly errors: number
  readonly icrLow: number
  readonly icrHigh: number
  readonly lvt: readonly number[]
  readonly isr: readonly number[]
  readonly tmr: readonly number[]
  readonly irr: readonly number[]
  readonly divideConfiguration: number
  readonly initialCount: number
  readonly tscDeadline: bigint
  /** Reference time, null when the timer does not run. */
  readonly timerEnd: number | null
  /** Levels of LINT0 (bit 0) and LINT1 (bit 1). */
  readonly pins: number
  readonly extIntPending: boolean
  readonly nmiPending: boolean
  readonly initPending: boolean
  /** -1 none. */
  readonly startupVector: number
}

export function packState(state: LocalApicState): SavedState {
  return { version: VERSION, data: { ...state } }
}

const NUMBERS = [
  'apicId',
  'tpr',
  'ldr',
  'dfr',
  'svr',
  'esr',
  'errors',
  'icrLow',
  'icrHigh',
  'divideConfiguration',
  'initialCount',
  'pins',
] as const
const FLAGS = ['extIntPending', 'nmiPending', 'initPending'] as const
const VECTOR_SETS = ['isr', 'tmr', 'irr'] as const

function unsigned32(value: SavedValue | undefined): value is number {
  return typeof value === 'number' && value >>> 0 === value
}
function unsigned64(value: SavedValue | undefined): value is bigint {
  return typeof value === 'bigint' && BigInt.asUintN(64, value) === value
}
function dwords(value: SavedValue | undefined, length: number): value is readonly number[] {
  return Array.isArray(value) && value.length === length && value.every(unsigned32)
}

/** @throws ProcessorError `ERR_STATE_INVALID` */
export function unpackState(state: SavedState): LocalApicState {
  const { data } = state
  const { lvt, timerEnd, startupVector } = data
  let wrong: string | undefined
  if (state.version !== VERSION) wrong = 'version'
  wrong ??= NUMBERS.find((name) => !unsigned32(data[name]))
  wrong ??= FLAGS.find((name) => typeof data[name] !== 'boolean')
  wrong ??= VECTOR_SETS.find((name) => {
    const words = data[name]
    return !dwords(words, 8) || words[0] % 2 ** FIRST_VECTOR !== 0
  })
  if (!dwords(lvt, LVT_COUNT)) wrong ??= 'lvt'
  if (!unsigned64(data['apicBase'])) wrong ??= 'apicBase'
  if (!unsigned64(data['tscDeadline'])) wrong ??= 'tscDeadline'
  if (timerEnd !== null && !(typeof timerEnd === 'number' && Number.isFinite(timerEnd))) wrong ??= 'timerEnd'
  if (!(startupVector === -1 || (unsigned32(startupVector) && startupVector <= 0xff))) wrong ??= 'startupVector'
  if (wrong !== undefined) invalidState(wrong)
  return data as unknown as LocalApicState
}

/** @throws ProcessorError `ERR_STATE_INVALID` */
export function invalidState(field: string): never {
  throw new ProcessorError('ERR_STATE_INVALID', `The saved state is not one of this local APIC: ${field}`, {
    data: { field },
  })
}
