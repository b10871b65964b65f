// The forwarding table: behind which port an address is (IEEE 802.1Q, clause 8.8, the filtering database). Addresses are learned from frames and forgotten after a while; a guest that makes addresses
// up cannot make it larger than its bound.

/** Nanoseconds after which an address that was not seen again is forgotten: the standard's 300 seconds. */
export const AGEING_TIME = 300e9
/** Addresses in the table. */
export const TABLE_SIZE = 4096

interface Entry<Port> {
  port: Port
  /** When its last frame came, nanoseconds. */
  seen: number
}

/** Addresses by VLAN. */
export class ForwardingTable<Port> {
  readonly #entries: Map<number, Map<number, Entry<Port>>> = new Map()
  #size = 0

  /** How many addresses are known. */
  get size(): number {
    return this.#size
  }

  /** A frame from `address` came from `port`. */
  learn(vlan: number, address: number, port: Port, now: number): void {
    let addresses = this.#entries.get(vlan)
    if (addresses === undefined) {
      addresses = new Map()
      this.#entries.set(vlan, addresses)
    }
    const entry = addresses.get(address)
    if (entry !== undefined) {
      entry.port = port
      entry.seen = now
      return
    }
    if (this.#size === TABLE_SIZE) this.#makeRoom(now)
    addresses.set(address, { port, seen: now })
    this.#size++
  }

  /** The port of an address, if it is known. */
  find(vlan: number, address: number, now: number): Port | undefined {
    const addresses = this.#entries.get(vlan)
    const entry = addresses?.get(address)
    if (entry === undefined) return undefined
    if (now - entry.seen <= AGEING_TIME) return entry.port
    addresses?.delete(address)
    this.#size--
    return undefined
  }

  /** Forget what is behind a port. */
  forget(port: Port): void {
    for (const addresses of this.#entries.values()) {
      for (const [address, entry] of addresses) {
        if (entry.port !== port) continue
        addresses.delete(address)
        this.#size--
      }
    }
  }

  /** Forget what is too old, or else the first that was learned in the largest VLAN. */
  #makeRoom(now: number): void {
    let largest: Map<number, Entry<Port>> | undefined
    for (const addresses of this.#entries.values()) {
      for (const [address, entry] of addresses) {
        if (now - entry.seen <= AGEING_TIME) continue
        addresses.delete(address)
        this.#size--
      }
      if (largest === undefined || addresses.size > largest.size) largest = addresses
    }
    if (this.#size < TABLE_SIZE) return
    for (const address of largest?.keys() ?? []) {
      largest?.delete(address)
      this.#size--
      return
    }
  }
}
