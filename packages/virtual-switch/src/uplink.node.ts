// What the plug-ins have in common that are a port of a switch: to which switch they go, and as what.

import { clockToken, type Network, type NetworkConnection, networkToken, type ServiceToken } from '@partita/interface'
import * as v from 'valibot'

/** Options of every plug-in that is a port. */
export interface UplinkOptions {
  /** Name of the network, where there are several. Default: the first one. */
  readonly network?: string | undefined
  /** Settings of the port, those that differ from its own: `vlan`, `sendLimit`, … */
  readonly port?: Readonly<Record<string, unknown>> | undefined
}

/** Entries of their schemas. */
export const uplinkOptionEntries: v.ObjectEntries = {
  network: v.optional(v.pipe(v.string(), v.nonEmpty())),
  port: v.optional(v.record(v.string(), v.unknown())),
}

/** What they need. */
export const uplinkNeeds: readonly [ServiceToken<Network>, typeof clockToken] = [networkToken, clockToken]

/** How a way out is connected: it speaks for many addresses, and is no adapter of the machine. */
export function uplinkConnection(
  { network, port }: UplinkOptions = {},
  own: Readonly<Record<string, unknown>> = {},
): NetworkConnection {
  return { network, port: { spoofing: true, capture: false, ...own, ...port } }
}
