// A hash table by the addresses and ports of both ends. Looking up allocates nothing; hashes begin with a random number, so that a guest cannot choose flows that collide.

import type { IpAddress } from './ip-address.ts'

/** Both addresses, then both ports. */
export const FLOW_KEY_LENGTH = 36

/** What the table holds. */
export interface Flow {
  /** Made by {@link flowKey}. */
  readonly key: Uint8Array
  /** The next flow with the same hash. The table's own. */
  next?: this | undefined
}

/** The key of a flow. */
export function flowKey(
  guest: IpAddress,
  guestPort: number,
  remote: IpAddress,
  remotePort: number,
  key: Uint8Array = new Uint8Array(FLOW_KEY_LENGTH),
): Uint8Array {
  key.set(guest, 0)
  key.set(remote, 16)
  key[32] = guestPort >> 8
  key[33] = guestPort
  key[34] = remotePort >> 8
  key[35] = remotePort
  return key
}

function sameKey(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < FLOW_KEY_LENGTH; i++) if (a[i] !== b[i]) return false
  return true
}

/** Flows by key. */
export class FlowTable<T extends Flow> {
  readonly #heads: Map<number, T> = new Map()
  readonly #seed: number = (Math.random() * 0x1_0000_0000) | 0
  #size = 0

  get size(): number {
    return this.#size
  }

  #hash(key: Uint8Array): number {
    let hash = this.#seed
    for (let i = 0; i < FLOW_KEY_LENGTH; i += 4) {
      const word = ((key[i] ?? 0) << 24) | ((key[i + 1] ?? 0) << 16) | ((key[i + 2] ?? 0) << 8) | (key[i + 3] ?? 0)
      hash = Math.imul(hash ^ word, 0x85eb_ca6b)
      hash ^= hash >>> 13
    }
    return Math.imul(hash, 0xc2b2_ae35)
  }

  find(key: Uint8Array): T | undefined {
    let flow = this.#heads.get(this.#hash(key))
    while (flow !== undefined && !sameKey(flow.key, key)) flow = flow.next
    return flow
  }

  /** Its key must not be in the table. */
  add(flow: T): void {
    const hash = this.#hash(flow.key)
    flow.next = this.#heads.get(hash)
    this.#heads.set(hash, flow)
    this.#size++
  }

  remove(flow: T): void {
    const hash = this.#hash(flow.key)
    let before: T | undefined
    for (let at = this.#heads.get(hash); at !== undefined; before = at, at = at.next) {
      if (at !== flow) continue
      if (before !== undefined) before.next = flow.next
      else if (flow.next !== undefined) this.#heads.set(hash, flow.next)
      else this.#heads.delete(hash)
      flow.next = undefined
      this.#size--
      return
    }
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const head of this.#heads.values()) {
      for (let flow: T | undefined = head; flow !== undefined; flow = flow.next) yield flow
    }
  }
}
