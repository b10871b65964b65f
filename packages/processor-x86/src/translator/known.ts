// What the emitter of a region knows where control stands: it holds until other ways lead there.

import type { LazyFlags } from '../instruction/emitter.ts'
import type { Distance } from '../wasm/expression.ts'
import type { Local } from '../wasm/function-emitter.ts'
import type { FlagSource } from './flag-source.ts'
import type { Segment, Way } from './register-traffic.ts'

/** What is known where control stands. */
export interface Known {
  /** The flags are those in the state still: nothing is pending then. */
  readonly unchanged: boolean
  readonly pending: Partial<LazyFlags>
  readonly source: FlagSource | undefined
  /** Instructions completed since the budget was last changed. */
  readonly count: number
  readonly units: ReadonlySet<string>
  readonly way: Way
  /** What the general registers are measured from; undefined while nobody has asked. */
  readonly distances: readonly (Distance | undefined)[]
  /** Pages that were found in a TLB, the last one first. Nothing that a region does takes a page away. */
  readonly pages: readonly KnownPage[]
}
export const NO_DISTANCES: readonly undefined[] = new Array<undefined>(16).fill(undefined)
export const NO_PAGES: readonly KnownPage[] = []
const NO_UNITS: ReadonlySet<string> = new Set()
/** Nothing is known at the beginning of a segment. */
export function nothing(segment: Segment): Known {
  return {
    unchanged: false,
    pending: {},
    source: undefined,
    count: 0,
    units: NO_UNITS,
    way: segment.start(),
    distances: NO_DISTANCES,
    pages: NO_PAGES,
  }
}

/** The page of an access, for others that are near. */
export interface KnownPage {
  /** The access's address. */
  readonly distance: Distance
  /** Whether it may be written. */
  readonly write: boolean
  /** i32: the address in memory less a page, so that what is added is not negative. */
  readonly host: Local
  /** i32: the place in the page; NOWHERE when the page was not found. */
  readonly place: Local
}
