// Saved state: plain data, a type of its own apart from run-time state, with a version a device can refuse.

/** What may stand in a saved state: anything deterministic CBOR and a structured clone can carry. */
export type SavedValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly SavedValue[]
  | { readonly [key: string]: SavedValue }

/** The state of one unit. */
export interface SavedState {
  /** The unit's own count of its formats; it refuses one that it does not know. */
  readonly version: number
  /** What the unit needs to go on, by its own names. */
  readonly data: { readonly [key: string]: SavedValue }
}

/** Something whose state can be carried over to another process. Units are stopped while they are saved and restored. */
export interface Saveable {
  /** The state now: plain data that shares nothing with the unit. */
  save(): SavedState
  /**
   * Take over `state`.
   * @throws PartitaError with code `ERR_STATE_INVALID` when the state's version or shape is not one that this unit can restore
   */
  restore(state: SavedState): void
}
