// Small helpers over little-endian bytes that come from outside: reads that know the end, writes to tables in the making.

/** A view on `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Give the memory of `bytes` back, which nobody may use again: tens of megabytes would otherwise wait for the garbage collector, which does not hurry as long as there are few
 * objects. Bytes that are part of something larger stay.
 */
export function release(bytes: Uint8Array): void {
  const { buffer } = bytes
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength) buffer.transfer(0)
}

/** Round up to a multiple of `alignment`, a power of two (or any positive number). */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}

/** Round down to a multiple of `alignment`. */
export function alignDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment
}

/** A 64-bit field as a number, or infinity when it is not below 2^53, so that each comparison with a limit fails. */
export function readU64(view: DataView, offset: number): number {
  const value = view.getBigUint64(offset, true)
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Number.POSITIVE_INFINITY
}

/** Bytes of a string of one-byte characters with a NUL at the end; characters outside Latin-1 are written as UTF-8. */
export function cString(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text)
  const result = new Uint8Array(bytes.length + 1)
  result.set(bytes)
  return result
}
