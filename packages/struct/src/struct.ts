// A definition becomes a class: accessors on the prototype, offsets and size on the constructor.

import type { Field, Location, Padding } from './field.ts'
import { StructError } from './struct-error.ts'

/** What every struct view has besides its fields. */
export interface StructView extends Location {
  /** The memory that the struct lies in. Change it by {@link StructView.attach} alone. */
  readonly view: DataView
  /** Bytes from the start of `view` to the struct. */
  readonly offset: number
  /** Look at another place of the same memory from now on. */
  moveTo(offset: number): this
  /** Look at other memory from now on. */
  attach(view: DataView, offset?: number): this
}

/** The names of the fields of a struct view. */
export type FieldName<T> = Exclude<keyof T, keyof StructView> & string

/** A definition: the fields of `T` in the order of the memory. Keys that `T` does not have are {@link Padding}. */
export type Definition<T> = { readonly [K in FieldName<T>]: Field<T[K]> } & {
  readonly [reserved: `_${string}`]: Padding
}

/** A struct: the class of its views. */
export interface StructType<T> {
  /** A view at `offset` bytes of `view`. */
  new (view: DataView, offset?: number): T
  /** Bytes of one struct. */
  readonly size: number
  /** Where each field begins. */
  readonly offsets: { readonly [K in FieldName<T>]: number }
  /** How many bytes each field takes. */
  readonly sizes: { readonly [K in FieldName<T>]: number }
  /** The names, in the order of the memory. */
  readonly fieldNames: readonly FieldName<T>[]
  /** A view of new, zeroed memory. With `size` larger than the struct, the rest follows it. */
  allocate(size?: number): T
  /** The fields' values as plain data, for traces and tests. */
  toObject(instance: T): { [K in FieldName<T>]: unknown }
}

/**
 * Define a struct. Fields follow each other without gaps; name reserved bytes with a leading underscore and give them `pad(n)`.
 *
 * @example
 * ```ts
 * interface Rescind extends StructView {
 *   messageType: number
 *   relid: number
 * }
 * const Rescind: StructType<Rescind> = struct<Rescind>({ messageType: u32, _padding: pad(4), relid: u32 })
 * ```
 * @throws StructError `ERR_STRUCT_DEFINITION` when a field has the name of a member of every view
 */
export function struct<T extends StructView>(definition: Definition<T>): StructType<T> {
  class View implements StructView {
    static readonly size: number
    static readonly offsets: Readonly<Record<string, number>>
    static readonly sizes: Readonly<Record<string, number>>
    static readonly fieldNames: readonly string[]

    view: DataView
    offset: number

    constructor(view: DataView, offset = 0) {
      this.view = view
      this.offset = offset
    }

    moveTo(offset: number): this {
      this.offset = offset
      return this
    }

    attach(view: DataView, offset = 0): this {
      this.view = view
      this.offset = offset
      return this
    }

    static allocate(bytes: number = View.size): View {
      return new View(new DataView(new ArrayBuffer(bytes)))
    }

    static toObject(instance: View): Record<string, unknown> {
      const fields = instance as unknown as Record<string, unknown>
      return Object.fromEntries(View.fieldNames.map((name) => [name, plain(fields[name])]))
    }
  }

  const offsets: Record<string, number> = {}
  const sizes: Record<string, number> = {}
  let at = 0
  for (const [name, field] of Object.entries(definition) as [string, Field<unknown> | Padding][]) {
    if (!('padding' in field)) {
      if (name in View.prototype || name === 'view' || name === 'offset')
        throw new StructError('ERR_STRUCT_DEFINITION', `A field cannot be called '${name}'`, { name })
      offsets[name] = at
      sizes[name] = field.size
      Object.defineProperty(View.prototype, name, { ...field.accessors(at, Symbol(name)), enumerable: true })
    }
    at += field.size
  }
  Object.assign(View, { size: at, offsets, sizes, fieldNames: Object.keys(offsets) })
  return View as unknown as StructType<T>
}

/** Another struct as a field. The inner view is made once per outer view, and moves with it. Assigning copies the bytes. */
export function nested<T extends StructView>(type: StructType<T>): Field<T> {
  const write = (location: Location, at: number, value: T): void => {
    const source = new Uint8Array(value.view.buffer, value.view.byteOffset + value.offset, type.size)
    new Uint8Array(location.view.buffer, location.view.byteOffset + location.offset + at, type.size).set(source)
  }
  return {
    size: type.size,
    read: (location, at) => new type(location.view, location.offset + at),
    write,
    accessors: (at, slot) => ({
      get(this: Location & { [key: symbol]: T | undefined }) {
        const inner = (this[slot] ??= new type(this.view))
        return inner.attach(this.view, this.offset + at)
      },
      set(value: T) {
        write(this, at, value)
      },
    }),
  }
}

/** A copy without views: arrays of numbers, nested objects. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value)
  if (typeof value !== 'object' || value === null) return value
  if ('get' in value && 'length' in value) {
    const elements = value as { length: number; get(index: number): unknown }
    return Array.from({ length: elements.length }, (_, index) => plain(elements.get(index)))
  }
  const type = value.constructor as unknown as StructType<unknown>
  return type.toObject(value)
}
