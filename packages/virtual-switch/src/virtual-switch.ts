// The virtual switch: adapters of guests, and of the host, at ports between which frames are forwarded by address (IEEE 802.1Q). What makes a switch private, internal or external, as Hyper-V calls
// it, is what hangs on it: guests alone, the host too, or a way out. The README has a table of what to hang on it for each.

import type { Clock, Network, NetworkAdapter, NetworkConnection } from '@partita/interface'
import { ForwardingTable } from './forwarding-table.ts'
import type { PortCounters } from './port-counters.ts'
import { parsePortSettings } from './port-settings.ts'
import { type SwitchFabric, SwitchPort } from './switch-port.ts'

/** How a switch is made. */
export interface VirtualSwitchOptions {
  /** Time for ages of addresses, and limits of rates. */
  readonly clock: Clock
  /** Bytes of the largest packet. Default: 1,500; at least 1,280, at most 65,521. */
  readonly mtu?: number
  /** What ports say of their speed, bits per second. Default: 10 Gbit/s. */
  readonly linkSpeed?: number
}

/** What is known of a port. */
export interface PortReport {
  /** The adapter's {@link NetworkAdapter.name}. */
  readonly name: string
  /** The adapter's address, as text: `02:15:5d:00:00:01`. */
  readonly macAddress: string
  /** The cable is plugged in. */
  readonly linkUp: boolean
  /** What has passed since the adapter was connected. */
  readonly counters: Readonly<PortCounters>
}

/**
 * A learning switch.
 *
 * @example
 * ```ts
 * const privateSwitch = new VirtualSwitch({ clock })
 * const first = privateSwitch.connect(adapterOfTheFirstGuest)
 * const second = privateSwitch.connect(adapterOfTheSecondGuest, { port: { vlan: 7 } })
 * ```
 */
export class VirtualSwitch implements Network {
  readonly #ports: Set<SwitchPort> = new Set()
  readonly #table: ForwardingTable<SwitchPort> = new ForwardingTable()
  readonly #fabric: SwitchFabric
  readonly #clock: Clock
  #mtu: number

  constructor({ clock, mtu = 1500, linkSpeed = 10e9 }: VirtualSwitchOptions) {
    this.#clock = clock
    this.#mtu = mtu
    const self = this
    this.#fabric = {
      clock,
      linkSpeed,
      ports: this.#ports,
      get mtu() {
        return self.#mtu
      },
      learn: (vlan, address, port) => this.#table.learn(vlan, address, port, clock.now()),
      find: (vlan, address) => this.#table.find(vlan, address, clock.now()),
      remove: (port) => {
        this.#ports.delete(port)
        this.#table.forget(port)
      },
    }
  }

  /** The clock that the switch keeps time by. */
  get clock(): Clock {
    return this.#clock
  }

  /** Bytes of the largest packet. */
  get mtu(): number {
    return this.#mtu
  }

  set mtu(mtu: number) {
    if (mtu === this.#mtu) return
    this.#mtu = mtu
    for (const port of this.#ports) port.adapter.portChanged()
  }

  /**
   * Plug an adapter in. `connection.port`: its {@link PortSettings}, those that differ from the defaults.
   * @throws SwitchError `ERR_NETWORK_PORT`
   */
  connect(adapter: NetworkAdapter, connection: NetworkConnection = {}): SwitchPort {
    const port = new SwitchPort(this.#fabric, adapter, parsePortSettings(connection.port))
    this.#ports.add(port)
    return port
  }

  /** All ports, in the order in which they were made. */
  get ports(): readonly SwitchPort[] {
    return [...this.#ports]
  }

  /** Addresses in the forwarding table. */
  get addresses(): number {
    return this.#table.size
  }

  /** Names, addresses and counters of all ports, for people. */
  report(): PortReport[] {
    return this.ports.map((port) => ({
      name: port.adapter.name,
      macAddress: port.adapter.macAddress,
      linkUp: port.linkUp,
      counters: { ...port.counters },
    }))
  }
}
