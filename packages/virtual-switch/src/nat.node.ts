/**
 * User-mode NAT as a plug-in of kind `network-backend`: the default export. All adapters of the machine are at one switch, behind a gateway that gives them addresses and reaches the world through
 * sockets of the host, without any privilege.
 *
 * @example
 * ```ts
 * import nat from '@partita/virtual-switch/nat'
 *
 * const network = { plugin: nat.name, options: { forwards: [{ hostPort: 2222, guestPort: 22 }] } }
 * ```
 * @packageDocumentation
 */

import { clockToken, definePlugin, type Plugin, type PluginInstance } from '@partita/interface'
import * as v from 'valibot'
import { type NatOptions, natOptionsSchema } from './nat/nat-options.ts'
import { natControlToken, type OpenedNat, openNat } from './nat-uplink.node.ts'
import { oneSwitch, type SwitchServiceOptions, switchOptionEntries, switchServices } from './switch-service.node.ts'

export type { NatReport } from './nat/nat-gateway.ts'
export { type NatOptions, natOptionsSchema, type PortForward } from './nat/nat-options.ts'
export { NodeNatHost } from './nat/node-host.node.ts'
export { type NatControl, natControlToken } from './nat-uplink.node.ts'

/** Options of `@partita/virtual-switch/nat`: those of the NAT, and of its switch. */
export interface NatPluginOptions extends NatOptions, SwitchServiceOptions {}

const options = v.strictObject({
  ...natOptionsSchema.entries,
  ...switchOptionEntries,
}) as unknown as v.GenericSchema<unknown, NatPluginOptions>

/** The plug-in. */
const plugin: Plugin<NatPluginOptions> = definePlugin<NatPluginOptions>({
  name: '@partita/virtual-switch/nat',
  kind: 'network-backend',
  contract: 1,
  description: 'A switch behind user-mode NAT: DHCP, names, and the world through sockets of the host',
  options,
  needs: [clockToken],
  provides: [...switchServices, natControlToken],
  create: async (context): Promise<PluginInstance> => {
    let own: OpenedNat | undefined
    const instance = await oneSwitch(context, async (network, owning) => {
      own = await openNat(context, network, owning)
    })
    return { ...instance, ...own, services: { ...instance.services, ...own?.services } }
  },
})

export default plugin
