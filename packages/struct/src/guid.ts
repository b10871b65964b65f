// GUIDs as COM and VMBus store them: a u32 and two u16 in little-endian order, then eight bytes in the order they are written.

import { StructError } from './struct-error.ts'

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
/** The byte in memory that the n-th pair of digits stands for. */
const ORDER: readonly number[] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
const PATTERN: RegExp = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Bytes of a GUID. */
export const GUID_SIZE = 16

/** Whether `text` is a GUID in the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`. */
export function isGuid(text: string): boolean {
  return PATTERN.test(text)
}

/** The GUID at `offset`, in lower case. */
export function readGuid(view: DataView, offset: number): string {
  let text = ''
  for (let index = 0; index < GUID_SIZE; index++) {
    if (index === 4 || index === 6 || index === 8 || index === 10) text += '-'
    text += HEX[view.getUint8(offset + (ORDER[index] as number))]
  }
  return text
}

/**
 * Store a GUID.
 * @throws StructError `ERR_STRUCT_VALUE` when `text` is none
 */
export function writeGuid(view: DataView, offset: number, text: string): void {
  if (!isGuid(text)) throw new StructError('ERR_STRUCT_VALUE', `'${text}' is not a GUID`, { value: text })
  const digits = text.replaceAll('-', '')
  for (let index = 0; index < GUID_SIZE; index++)
    view.setUint8(offset + (ORDER[index] as number), Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16))
}
