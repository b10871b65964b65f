// The addresses of the host's interfaces, which come and go: looked up again when they are a second old.

import type { Clock } from '@partita/interface'
import { formatIpAddress, type IpAddress, parseIpAddress } from './ip-address.ts'
import type { NatHost } from './nat-host.ts'

const FRESH = 1e9

/** What the host is known by, beside its loopback. */
export class OwnAddresses {
  readonly #clock: Clock
  readonly #host: NatHost
  #known: ReadonlySet<string> = new Set()
  #until: number = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, host: NatHost) {
    this.#clock = clock
    this.#host = host
  }

  /** Whether an address is one of them. */
  has(address: IpAddress): boolean {
    const now = this.#clock.now()
    if (now >= this.#until) {
      this.#until = now + FRESH
      this.#known = new Set(
        this.#host.ownAddresses?.().flatMap((text) => {
          const own = parseIpAddress(text)
          return own === undefined ? [] : [formatIpAddress(own)]
        }),
      )
    }
    return this.#known.has(formatIpAddress(address))
  }
}
