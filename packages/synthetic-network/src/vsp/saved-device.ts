// The saved state of an adapter, a type of its own, and the check of one that comes from somewhere.

import type { SavedState } from '@partita/interface'
import * as v from 'valibot'
import { MAXIMUM_MULTICAST } from './adapter-state.ts'
import type { ControlState } from './control-queue.ts'
import type { BuffersState } from './guest-buffers.ts'
import type { Negotiation } from './negotiation.ts'
import { sectionSizeOf } from './receive-buffer.ts'
import type { ScalingState } from './receive-scaling.ts'
import type { NetworkStatistics } from './statistics.ts'

/** What is saved of an adapter. */
export interface SavedDevice extends BuffersState {
  readonly negotiation: Negotiation
  readonly adapter: {
    readonly initialized: boolean
    readonly currentAddress: number
    readonly filter: number
    readonly multicast: readonly number[]
    readonly rxOffload: number
    readonly coalesceIp4: boolean
    readonly coalesceIp6: boolean
    readonly lookahead: number
    readonly ndisMajor: number
    readonly ndisMinor: number
    readonly scaling: ScalingState
  }
  readonly statistics: NetworkStatistics
  readonly control: ControlState
  readonly sendTable: boolean
  readonly channels: readonly { readonly index: number; readonly completions: readonly number[] }[]
}

const u32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff))
const address = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff_ffff))
const counter = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
/** No frame needs larger ones, and none is smaller than an answer. */
const sectionSize = v.pipe(v.number(), v.integer(), v.minValue(sectionSizeOf(0)), v.maxValue(0x2_0000))
const bytes = v.instance(Uint8Array)
const traffic = v.object({
  directedFrames: counter,
  directedBytes: counter,
  multicastFrames: counter,
  multicastBytes: counter,
  broadcastFrames: counter,
  broadcastBytes: counter,
})

const schema: v.GenericSchema<unknown, SavedDevice> = v.object({
  negotiation: v.object({ version: u32, largestFrame: u32, capabilities: u32, subChannels: u32 }),
  receiveBuffer: v.nullable(
    v.object({
      gpadlId: u32,
      id: u32,
      sectionSize,
      inFlight: v.array(v.object({ channel: u32, sections: v.array(u32) })),
    }),
  ),
  sendBuffer: v.nullable(v.object({ gpadlId: u32, id: u32 })),
  adapter: v.object({
    initialized: v.boolean(),
    currentAddress: address,
    filter: u32,
    multicast: v.pipe(v.array(address), v.maxLength(MAXIMUM_MULTICAST)),
    rxOffload: u32,
    coalesceIp4: v.boolean(),
    coalesceIp6: v.boolean(),
    lookahead: u32,
    ndisMajor: u32,
    ndisMinor: u32,
    scaling: v.object({ enabled: v.boolean(), hashTypes: u32, key: bytes, table: v.array(u32) }),
  }),
  statistics: v.object({
    transmitted: traffic,
    received: traffic,
    transmitErrors: counter,
    transmitDiscards: counter,
    receiveErrors: counter,
    receiveFiltered: counter,
    receiveNoBuffer: counter,
    largeSends: counter,
    coalesced: counter,
  }),
  control: v.object({
    requests: v.array(bytes),
    answer: bytes,
    announceLink: v.boolean(),
    announceSpeed: v.boolean(),
  }),
  sendTable: v.boolean(),
  channels: v.array(v.object({ index: u32, completions: v.array(u32) })),
})

/** The state, when it is one of this version. */
export function parseState(state: SavedState): SavedDevice | undefined {
  if (state.version !== 1) return undefined
  const parsed = v.safeParse(schema, state.data)
  return parsed.success ? parsed.output : undefined
}
