// The NAT as a port of a switch: what the plug-in that brings a switch for it and the one that goes to another's have in common.

import {
  clockToken,
  type Network,
  type PluginContext,
  type PluginInstance,
  type ServiceToken,
  serviceToken,
} from '@partita/interface'
import { NatGateway, type NatReport } from './nat/nat-gateway.ts'
import type { NatOptions } from './nat/nat-options.ts'
import { NodeNatHost } from './nat/node-host.node.ts'
import { type UplinkOptions, uplinkConnection } from './uplink.node.ts'

/** The NAT of a VM, for counters. */
export interface NatControl {
  /** How much there is of what is bounded. */
  report(): NatReport
}

/** The service by which the NAT is looked at. */
export const natControlToken: ServiceToken<NatControl> = serviceToken('partita/nat-control')

/** What its plug-in is, beside what it owns. */
export type OpenedNat = Pick<PluginInstance, 'services' | 'reset'>

/** Connect a NAT; `owning` disposes of it. */
export async function openNat(
  context: PluginContext<NatOptions & UplinkOptions>,
  network: Network,
  owning: AsyncDisposableStack,
): Promise<OpenedNat> {
  const { options, logger } = context
  const host = owning.use(new NodeNatHost())
  const gateway = owning.use(new NatGateway({ clock: context.get(clockToken), host, options, logger }))
  await gateway.start(network.connect(gateway, uplinkConnection(options)))
  return {
    services: { [natControlToken.name]: gateway satisfies NatControl },
    reset: () => gateway.reset(),
  }
}
