// Words of 32 bits that two sides read and write at the same time: each access is sequentially consistent (Atomics). A kind of its own,
// so that it shows in the source which fields are so.

import { StructError } from './struct-error.ts'

/** What every atomic view has besides its fields. */
export interface AtomicView {
  /** The struct's words, for other operations of `Atomics`. */
  readonly words: Int32Array
}

/** The names of the words. */
export type WordName<T> = Exclude<keyof T, keyof AtomicView> & string

/** The class of atomic views. */
export interface AtomicStructType<T> {
  /**
   * A view of `buffer` at `byteOffset`, a multiple of 4.
   * @throws RangeError when it is not, or the struct does not fit
   */
  new (buffer: ArrayBufferLike, byteOffset?: number): T
  /** Bytes from the first word to behind the last. */
  readonly size: number
  /** Where each word begins, in bytes. */
  readonly offsets: { readonly [K in WordName<T>]: number }
}

/**
 * Define a struct of atomic words, by the byte offset of each. Reading a word gives an unsigned number. Words are in the host's byte order,
 * as `Atomics` has it: the host is little-endian, as is every host that runs JavaScript today.
 *
 * @example
 * ```ts
 * interface Control extends AtomicView {
 *   in: number
 *   out: number
 * }
 * const Control: AtomicStructType<Control> = atomicStruct<Control>({ in: 0, out: 4 })
 * ```
 * @throws StructError `ERR_STRUCT_DEFINITION` when an offset is not a multiple of 4
 */
export function atomicStruct<T extends AtomicView>(
  offsets: { readonly [K in WordName<T>]: number },
): AtomicStructType<T> {
  const list = Object.entries<number>(offsets)
  const size = 4 + Math.max(-4, ...list.map(([, offset]) => offset))

  class View implements AtomicView {
    static readonly size: number = size
    static readonly offsets: Readonly<Record<string, number>> = offsets
    readonly words: Int32Array

    constructor(buffer: ArrayBufferLike, byteOffset = 0) {
      this.words = new Int32Array(buffer, byteOffset, size / 4)
    }
  }

  for (const [name, offset] of list) {
    if (!(Number.isSafeInteger(offset) && offset >= 0 && offset % 4 === 0) || name === 'words')
      throw new StructError('ERR_STRUCT_DEFINITION', `'${name}' cannot be a word at ${offset}`, { name, offset })
    const index = offset / 4
    Object.defineProperty(View.prototype, name, {
      enumerable: true,
      get(this: View): number {
        return Atomics.load(this.words, index) >>> 0
      },
      set(this: View, value: number) {
        Atomics.store(this.words, index, value)
      },
    })
  }
  return View as unknown as AtomicStructType<T>
}
