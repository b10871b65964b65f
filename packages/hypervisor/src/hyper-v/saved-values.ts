// Checks of saved state: each returns the value as what it must be.

import type { SavedValue } from '@partita/interface'
import { HypervisorError } from '../error.ts'

/** @throws HypervisorError `ERR_STATE_INVALID` */
export function stateInvalid(field: string): never {
  throw new HypervisorError('ERR_STATE_INVALID', `The saved state is not one of this partition: ${field}`, {
    data: { field },
  })
}

/** @throws HypervisorError `ERR_STATE_INVALID` */
export function stateObject(value: SavedValue | undefined, field: string): { readonly [key: string]: SavedValue } {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array)
    stateInvalid(field)
  return value as { readonly [key: string]: SavedValue }
}

/** @throws HypervisorError `ERR_STATE_INVALID` */
export function stateArray(value: SavedValue | undefined, field: string, length?: number): readonly SavedValue[] {
  if (!Array.isArray(value) || (length !== undefined && value.length !== length)) stateInvalid(field)
  return value
}

/** @throws HypervisorError `ERR_STATE_INVALID` */
export function stateBytes(value: SavedValue | undefined, field: string, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) stateInvalid(field)
  return value
}

/** @throws HypervisorError `ERR_STATE_INVALID` */
export function stateU64(value: SavedValue | undefined, field: string): bigint {
  if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) stateInvalid(field)
  return value
}

/** @throws HypervisorError `ERR_STATE_INVALID` */
export function stateNumber(value: SavedValue | undefined, field: string, minimum: number, maximum: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < minimum || value > maximum) stateInvalid(field)
  return value
}

/** @throws HypervisorError `ERR_STATE_INVALID` */
export function stateBoolean(value: SavedValue | undefined, field: string): boolean {
  if (typeof value !== 'boolean') stateInvalid(field)
  return value
}
