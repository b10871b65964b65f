// How much memory a NAT holds in one direction: what waits for guests, or what waits for the host. All connections and sockets of a VM share it.

/** What a piece of data costs beside its bytes: its object, and its place in lists of the system's and ours. */
export const PIECE_COST = 512

/** A limit, and what is held of it. Bytes. */
export class MemoryBudget {
  readonly limit: number
  #held = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** Bytes that are held. */
  get held(): number {
    return this.#held
  }

  /** Bytes that may still be held. */
  get room(): number {
    return Math.max(0, this.limit - this.#held)
  }

  /** So much more is held, or less. */
  change(bytes: number): void {
    this.#held += bytes
  }
}
