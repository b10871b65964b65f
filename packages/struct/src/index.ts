/**
 * Little-endian structs over memory that others share.
 *
 * @example
 * ```ts
 * import { type StructType, type StructView, struct, u32, u64 } from '@partita/struct'
 *
 * interface Descriptor extends StructView {
 *   length: number
 *   transactionId: bigint
 * }
 * const Descriptor: StructType<Descriptor> = struct<Descriptor>({ length: u32, transactionId: u64 })
 * const descriptor = new Descriptor(new DataView(buffer), 16)
 * ```
 * @packageDocumentation
 */
export { type AtomicStructType, type AtomicView, atomicStruct, type WordName } from './atomic-struct.ts'
export {
  array,
  bytes,
  type Field,
  guid,
  i32,
  type Location,
  type Padding,
  pad,
  type StructArray,
  u8,
  u16,
  u32,
  u53,
  u64,
} from './field.ts'
export { GUID_SIZE, isGuid, readGuid, writeGuid } from './guid.ts'
export { type Definition, type FieldName, nested, type StructType, type StructView, struct } from './struct.ts'
export { StructError } from './struct-error.ts'
