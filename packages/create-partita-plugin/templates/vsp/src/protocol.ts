// What guest and device say to each other: structs and numbers, and no behaviour. Both sides use this file, and nothing else of each other.
//
// The guest sends a request that asks for a completion; the completion carries the response.

import { type StructType, type StructView, struct, u32 } from '@partita/struct'

/** The kind of device: a guest finds its driver by this. */
export const INTERFACE_ID = '6f1c5a3e-0d2b-4c4e-9b60-1f7f5e2a0001'
/** The one device of that kind. */
export const INSTANCE_ID = '6f1c5a3e-0d2b-4c4e-9b60-1f7f5e2a0002'

/** What a request asks for. */
export const OPERATION = {
  /** Give the total. */
  READ: 0,
  /** Add `value` to the total, modulo 2³², and give it. */
  ADD: 1,
} as const

/** How it went. */
export const STATUS = { SUCCESS: 0, INVALID: 1 } as const

/** From the guest. */
export interface Request extends StructView {
  /** {@link OPERATION}. */
  operation: number
  value: number
}
export const Request: StructType<Request> = struct<Request>({ operation: u32, value: u32 })

/** From the device. */
export interface Response extends StructView {
  /** {@link STATUS}. */
  status: number
  total: number
}
export const Response: StructType<Response> = struct<Response>({ status: u32, total: u32 })
