/**
 * A TAP interface of a Linux host as a plug-in of kind `network-backend`: the default export. The machine's adapters are at one switch with it.
 *
 * It needs Node 26, whose `node:ffi` asks the kernel for the interface, and an interface that the user may have: `ip tuntap add dev tap0 mode tap user $USER`.
 *
 * @example
 * ```ts
 * import tap from '@partita/virtual-switch/tap'
 *
 * const network = { plugin: tap.name, options: { name: 'tap0' } }
 * ```
 * @packageDocumentation
 */

import { clockToken, definePlugin, type Plugin, type PluginInstance } from '@partita/interface'
import * as v from 'valibot'
import { oneSwitch, type SwitchServiceOptions, switchOptionEntries, switchServices } from './switch-service.node.ts'
import { openTap, type TapName, tapOptionEntries } from './tap-uplink.node.ts'

export { TapAdapter } from './tap-adapter.node.ts'

/** Options of `@partita/virtual-switch/tap`. */
export interface TapOptions extends TapName, SwitchServiceOptions {}

const options = v.strictObject({
  ...tapOptionEntries,
  ...switchOptionEntries,
}) as unknown as v.GenericSchema<unknown, TapOptions>

/** The plug-in. */
const plugin: Plugin<TapOptions> = definePlugin<TapOptions>({
  name: '@partita/virtual-switch/tap',
  kind: 'network-backend',
  contract: 1,
  description: 'A switch with a TAP interface of the host',
  options,
  needs: [clockToken],
  provides: switchServices,
  create: (context): Promise<PluginInstance> =>
    oneSwitch(context, (network, owning) => openTap(context, network, owning)),
})

export default plugin
