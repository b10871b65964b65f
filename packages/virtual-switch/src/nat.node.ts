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

import {
  clockToken,
  definePlugin,
  type Plugin,
  type PluginInstance,
  type ServiceToken,
  serviceToken,
} from '@partita/interface'
import * as v from 'valibot'
import { NatGateway, type NatReport } from './nat/nat-gateway.ts'
import { type NatOptions, natOptionsSchema } from './nat/nat-options.ts'
import { NodeNatHost } from './nat/node-host.node.ts'
import { type SwitchServiceOptions, switchOptionEntries, switchService } from './switch-service.node.ts'

export type { NatReport } from './nat/nat-gateway.ts'
export { type NatOptions, natOptionsSchema, type PortForward } from './nat/nat-options.ts'
export { NodeNatHost } from './nat/node-host.node.ts'

/** Options of `@partita/virtual-switch/nat`: those of the NAT, and of its switch. */
export interface NatPluginOptions extends NatOptions, SwitchServiceOptions {}

/** The NAT of a VM, for counters. */
export interface NatControl {
  /** How much there is of what is bounded. */
  report(): NatReport
}

/** The service by which the NAT is looked at. */
export const natControlToken: ServiceToken<NatControl> = serviceToken('partita/nat-control')

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
  provides: [...switchService.provides, natControlToken],
  create: async (context): Promise<PluginInstance> => {
    let nat: NatGateway | undefined
    const instance = await switchService.create(context, async (network, owning, clock) => {
      const host = owning.use(new NodeNatHost())
      const gateway = owning.use(new NatGateway({ clock, host, options: context.options, logger: context.logger }))
      await gateway.start(network.connect(gateway, { port: { spoofing: true } }))
      nat = gateway
    })
    return {
      ...instance,
      services: { ...instance.services, [natControlToken.name]: nat satisfies NatControl | undefined },
      reset: () => nat?.reset(),
    }
  },
})

export default plugin
