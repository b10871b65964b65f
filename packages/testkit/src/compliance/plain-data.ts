// Saved states from outside: how large they are, whether they are plain data, and what could be wrong with one.

import { PartitaError, type PluginInstance, type SavedState, type SavedValue } from '@partita/interface'
import { expectEqual, fail } from './check.ts'

/** Bytes that a saved value takes, about. @throws ComplianceError when it is not plain data */
export function measure(value: SavedValue, path = 'data'): number {
  switch (typeof value) {
    case 'boolean':
      return 1
    case 'bigint':
      return 8
    case 'string':
      return value.length
    case 'number':
      return Number.isFinite(value) ? 8 : fail(`${path} is ${value}`)
    case 'object': {
      if (value === null) return 1
      if (value instanceof Uint8Array) return value.length
      if (Array.isArray(value))
        return value.reduce((sum: number, item: SavedValue, i) => sum + measure(item, `${path}[${i}]`), 0)
      if (Object.getPrototypeOf(value) !== Object.prototype) fail(`${path} is no plain object`)
      return Object.entries(value).reduce((sum, [key, item]) => sum + measure(item, `${path}.${key}`), 0)
    }
    default:
      return fail(`${path} is a ${typeof value}`)
  }
}

/** Copies of `value` with one leaf or key changed each. */
export function* mutations(value: SavedValue): Generator<SavedValue> {
  if (typeof value === 'number')
    yield* [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 52, value + 1, 'x', null]
  else if (typeof value === 'boolean') yield* [!value, 2]
  else if (value === null) yield* [0, {}]
  else if (value instanceof Uint8Array) yield* [value.map((byte) => ~byte), new Uint8Array(value.length + 1), 'x']
  else if (Array.isArray(value)) {
    yield value.slice(1)
    yield [...value, 0]
    for (let i = 0; i < Math.min(value.length, 4); i++)
      for (const item of mutations(value[i])) yield value.with(i, item)
  } else if (typeof value === 'object') {
    yield { ...value, surprise: 1 }
    for (const [key, item] of Object.entries(value)) {
      const { [key]: _gone, ...rest } = value as Record<string, SavedValue>
      yield rest
      for (const changed of mutations(item)) yield { ...rest, [key]: changed }
    }
  }
}

/** The state of an instance, as it would come from a file. @throws ComplianceError when it is no plain data with a version, or the next one is another */
export function saveOf(instance: PluginInstance): SavedState {
  const first = instance.save?.() ?? fail('there is no save()')
  const state = structuredClone(first)
  if (!Number.isInteger(state.version)) fail(`the version of the state is ${state.version}`)
  measure(state.data)
  expectEqual(structuredClone(instance.save?.()), state, 'the state, saved a second time')
  return state
}

/** Restore, and say whether the state was taken. @throws ComplianceError when it is refused with anything else than `ERR_STATE_INVALID`, or half taken */
export function restoreOrRefuse(instance: PluginInstance, state: SavedState): boolean {
  const before = structuredClone(instance.save?.())
  try {
    if (instance.restore === undefined) fail('there is no restore()')
    instance.restore(state)
  } catch (error) {
    if (!(error instanceof PartitaError && error.code === 'ERR_STATE_INVALID')) throw error
    expectEqual(structuredClone(instance.save?.()), before, 'the state after a refused restore')
    return false
  }
  return true
}
