// The service by which the switches of a machine are looked at.

import { type ServiceToken, serviceToken } from '@partita/interface'
import type { PortReport } from './virtual-switch.ts'

/** What is known of one switch. */
export interface SwitchReport {
  /** Its name, as adapters ask for it: `default` where the plug-in has only one. */
  readonly network: string
  /** Bytes of the largest packet. */
  readonly mtu: number
  /** Addresses in its forwarding table. */
  readonly addresses: number
  /** The ways out and the machine's adapters, in the order in which they were connected. */
  readonly ports: readonly PortReport[]
}

/** The switches of a VM, for counters. */
export interface SwitchControl {
  /** All of them, in the order of the options: a copy of the counters as they are now. */
  report(): SwitchReport[]
}

/**
 * The service by which switches are looked at: provided by every plug-in of this package that brings one.
 *
 * @example
 * ```ts
 * const [network] = vm.find(switchControlToken)?.report() ?? []
 * for (const { name, counters } of network?.ports ?? []) console.log(name, counters.framesIn, counters.droppedNoRoom)
 * ```
 */
export const switchControlToken: ServiceToken<SwitchControl> = serviceToken('partita/switch-control')
