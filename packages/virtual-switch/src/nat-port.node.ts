/**
 * User-mode NAT as a port of a switch that another plug-in brings: the default export, of kind `network-backend`.
 *
 * @example
 * ```ts
 * import natPort from '@partita/virtual-switch/nat-port'
 * import switches from '@partita/virtual-switch/switch'
 *
 * const devices = [{ plugin: switches.name }, { plugin: natPort.name, options: { forwards: [{ hostPort: 2222, guestPort: 22 }] } }]
 * ```
 * @packageDocumentation
 */

import { definePlugin, networkToken, type Plugin, type PluginInstance } from '@partita/interface'
import * as v from 'valibot'
import { type NatOptions, natOptionsSchema } from './nat/nat-options.ts'
import { natControlToken, openNat } from './nat-uplink.node.ts'
import { type UplinkOptions, uplinkNeeds, uplinkOptionEntries } from './uplink.node.ts'

/** Options of `@partita/virtual-switch/nat-port`: those of the NAT, and of its port. */
export interface NatPortOptions extends NatOptions, UplinkOptions {}

const options = v.strictObject({
  ...natOptionsSchema.entries,
  ...uplinkOptionEntries,
}) as unknown as v.GenericSchema<unknown, NatPortOptions>

/** The plug-in. */
const plugin: Plugin<NatPortOptions> = definePlugin<NatPortOptions>({
  name: '@partita/virtual-switch/nat-port',
  kind: 'network-backend',
  contract: 1,
  description: 'A port with user-mode NAT, for a switch that is there',
  options,
  needs: uplinkNeeds,
  provides: [natControlToken],
  create: async (context): Promise<PluginInstance> => {
    await using owning = new AsyncDisposableStack()
    const own = await openNat(context, context.get(networkToken), owning)
    const owned = owning.move()
    return { ...own, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  },
})

export default plugin
