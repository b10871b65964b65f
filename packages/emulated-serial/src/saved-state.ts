// What a saved state of the port has to be.

import * as v from 'valibot'
import { BACKLOG_SIZE } from './backlog.ts'
import { FIFO_SIZE } from './fifo.ts'

const byte = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xff))
const bytes = (most: number): v.GenericSchema<Uint8Array> =>
  v.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length <= most, `expected at most ${most} bytes`)

/** Registers, what is in flight in both directions, and what waits for whom. */
export interface SerialState {
  readonly divisor: number
  readonly ier: number
  readonly fcr: number
  readonly lcr: number
  readonly mcr: number
  /** Error bits. */
  readonly lsr: number
  readonly msr: number
  readonly scr: number
  readonly receiver: Uint8Array
  /** What the back end was too busy for. */
  readonly transmitter: Uint8Array
  readonly thrEmptyPending: boolean
  readonly timeOutPending: boolean
  /** The guest has dropped RTS. */
  readonly inputStopped: boolean
  /** Reference time, in nanoseconds. */
  readonly nextInput: number
}

export const stateSchema: v.GenericSchema<unknown, SerialState> = v.strictObject({
  divisor: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff)),
  ier: byte,
  fcr: byte,
  lcr: byte,
  mcr: byte,
  lsr: byte,
  msr: byte,
  scr: byte,
  receiver: bytes(FIFO_SIZE),
  transmitter: bytes(BACKLOG_SIZE),
  thrEmptyPending: v.boolean(),
  timeOutPending: v.boolean(),
  inputStopped: v.optional(v.boolean(), false),
  nextInput: v.pipe(v.number(), v.finite(), v.minValue(0)),
})
