// The kinds of fields. A field knows its size and how to make the accessors of a prototype; the offset is fixed when the struct is
// defined, so that an accessor is one DataView access.

import { GUID_SIZE, readGuid, writeGuid } from './guid.ts'
import { StructError } from './struct-error.ts'

/** The part of a struct view that accessors use. */
export interface Location {
  /** The memory that the struct lies in. */
  readonly view: DataView
  /** Bytes from the start of `view` to the struct. */
  readonly offset: number
}

/** How a field of type `T` is read and written. `at` is relative to the struct. */
export interface Field<T> {
  /** Bytes it takes. */
  readonly size: number
  /** The field's value at `location.offset + at`. */
  read(location: Location, at: number): T
  /** Write the field at `at` of the view that moves. */
  write(location: Location, at: number, value: T): void
  /** Accessors with `at` fixed. `slot` names a place for what is made once per view. */
  readonly accessors: (at: number, slot: symbol) => PropertyDescriptor & ThisType<Location>
}

function field<T>(
  size: number,
  read: (location: Location, at: number) => T,
  write: (location: Location, at: number, value: T) => void,
  accessors: (at: number) => PropertyDescriptor & ThisType<Location>,
): Field<T> {
  return { size, read, write, accessors }
}

/** An unsigned byte. */
export const u8: Field<number> = field(
  1,
  (l, at) => l.view.getUint8(l.offset + at),
  (l, at, value: number) => l.view.setUint8(l.offset + at, value),
  (at) => ({
    get() {
      return this.view.getUint8(this.offset + at)
    },
    set(value: number) {
      this.view.setUint8(this.offset + at, value)
    },
  }),
)

/** An unsigned 16-bit number. */
export const u16: Field<number> = field(
  2,
  (l, at) => l.view.getUint16(l.offset + at, true),
  (l, at, value: number) => l.view.setUint16(l.offset + at, value, true),
  (at) => ({
    get() {
      return this.view.getUint16(this.offset + at, true)
    },
    set(value: number) {
      this.view.setUint16(this.offset + at, value, true)
    },
  }),
)

/** An unsigned 32-bit number. */
export const u32: Field<number> = field(
  4,
  (l, at) => l.view.getUint32(l.offset + at, true),
  (l, at, value: number) => l.view.setUint32(l.offset + at, value, true),
  (at) => ({
    get() {
      return this.view.getUint32(this.offset + at, true)
    },
    set(value: number) {
      this.view.setUint32(this.offset + at, value, true)
    },
  }),
)

/** A signed 32-bit number. */
export const i32: Field<number> = field(
  4,
  (l, at) => l.view.getInt32(l.offset + at, true),
  (l, at, value: number) => l.view.setInt32(l.offset + at, value, true),
  (at) => ({
    get() {
      return this.view.getInt32(this.offset + at, true)
    },
    set(value: number) {
      this.view.setInt32(this.offset + at, value, true)
    },
  }),
)

/** An unsigned 64-bit number as a `bigint`. Reading allocates. */
export const u64: Field<bigint> = field(
  8,
  (l, at) => l.view.getBigUint64(l.offset + at, true),
  (l, at, value: bigint) => l.view.setBigUint64(l.offset + at, value, true),
  (at) => ({
    get() {
      return this.view.getBigUint64(this.offset + at, true)
    },
    set(value: bigint) {
      this.view.setBigUint64(this.offset + at, value, true)
    },
  }),
)

const TWO_32 = 0x1_0000_0000

function readU53(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * TWO_32 + view.getUint32(offset, true)
}

function writeU53(view: DataView, offset: number, value: number): void {
  if (!(Number.isSafeInteger(value) && value >= 0))
    throw new StructError('ERR_STRUCT_VALUE', `${value} is not an integer from 0 to 2^53 - 1`, { value })
  view.setUint32(offset, value % TWO_32, true)
  view.setUint32(offset + 4, Math.floor(value / TWO_32), true)
}

/**
 * A 64-bit field whose sensible values are below 2^53 (an address, a length), as a number. A larger one reads rounded and stays at or
 * above 2^53, so `Number.isSafeInteger` tells. Storing one throws {@link StructError} `ERR_STRUCT_VALUE`.
 */
export const u53: Field<number> = field(
  8,
  (l, at) => readU53(l.view, l.offset + at),
  (l, at, value: number) => writeU53(l.view, l.offset + at, value),
  (at) => ({
    get() {
      return readU53(this.view, this.offset + at)
    },
    set(value: number) {
      writeU53(this.view, this.offset + at, value)
    },
  }),
)

/** A GUID as text in lower case. For control paths: it allocates. Storing what is no GUID throws {@link StructError} `ERR_STRUCT_VALUE`. */
export const guid: Field<string> = field(
  GUID_SIZE,
  (l, at) => readGuid(l.view, l.offset + at),
  (l, at, value: string) => writeGuid(l.view, l.offset + at, value),
  (at) => ({
    get() {
      return readGuid(this.view, this.offset + at)
    },
    set(value: string) {
      writeGuid(this.view, this.offset + at, value)
    },
  }),
)

function readBytes(location: Location, at: number, size: number): Uint8Array {
  return new Uint8Array(location.view.buffer, location.view.byteOffset + location.offset + at, size)
}

function writeBytes(location: Location, at: number, size: number, value: Uint8Array): void {
  if (value.length > size)
    throw new StructError('ERR_STRUCT_VALUE', `${value.length} bytes do not fit in ${size}`, {
      length: value.length,
      size,
    })
  const target = readBytes(location, at, size)
  target.set(value)
  target.fill(0, value.length)
}

/** `size` bytes. Reading gives a window on the memory (a small allocation); writing copies at most `size` bytes and clears the rest. */
export function bytes(size: number): Field<Uint8Array> {
  checkCount(size)
  return field(
    size,
    (l, at) => readBytes(l, at, size),
    (l, at, value: Uint8Array) => writeBytes(l, at, size, value),
    (at) => ({
      get() {
        return readBytes(this, at, size)
      },
      set(value: Uint8Array) {
        writeBytes(this, at, size, value)
      },
    }),
  )
}

/** Elements of one kind, one after the other. Made once per view; it moves with it. */
export interface StructArray<T> {
  /** How many elements there are, as the definition says. */
  readonly length: number
  /** @throws RangeError when there is no such element */
  get(index: number): T
  /** @throws RangeError when there is no such element */
  set(index: number, value: T): void
}

class FieldArray<T> implements StructArray<T> {
  readonly length: number
  readonly #location: Location
  readonly #at: number
  readonly #element: Field<T>

  constructor(location: Location, at: number, element: Field<T>, length: number) {
    this.#location = location
    this.#at = at
    this.#element = element
    this.length = length
  }

  get(index: number): T {
    return this.#element.read(this.#location, this.#place(index))
  }

  set(index: number, value: T): void {
    this.#element.write(this.#location, this.#place(index), value)
  }

  #place(index: number): number {
    if (!(index >= 0 && index < this.length)) throw new RangeError(`there is no element ${index} of ${this.length}`)
    return this.#at + index * this.#element.size
  }
}

/** `length` elements of one kind. Assigning one array to another copies its elements. */
export function array<T>(element: Field<T>, length: number): Field<StructArray<T>> {
  checkCount(length)
  const write = (location: Location, at: number, value: StructArray<T>): void => {
    if (value.length !== length)
      throw new StructError('ERR_STRUCT_VALUE', `${value.length} elements for ${length}`, { length: value.length })
    for (let index = 0; index < length; index++) element.write(location, at + index * element.size, value.get(index))
  }
  return {
    size: element.size * length,
    read: (location, at) => new FieldArray(location, at, element, length),
    write,
    accessors: (at, slot) => ({
      get(this: Location & { [key: symbol]: FieldArray<T> | undefined }) {
        return (this[slot] ??= new FieldArray(this, at, element, length))
      },
      set(value: StructArray<T>) {
        write(this, at, value)
      },
    }),
  }
}

/** Reserved bytes: they take part in the layout and have no accessor. */
export interface Padding {
  /** Bytes of it. */
  readonly size: number
  readonly padding: true
}

/** `size` reserved bytes. */
export function pad(size: number): Padding {
  checkCount(size)
  return { size, padding: true }
}

function checkCount(count: number): void {
  if (!(Number.isSafeInteger(count) && count >= 0))
    throw new StructError('ERR_STRUCT_DEFINITION', `${count} is not a size`, { count })
}
