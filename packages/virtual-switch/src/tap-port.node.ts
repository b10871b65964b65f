/**
 * A TAP interface as a port of a switch that another plug-in brings: the default export, of kind `network-backend`.
 *
 * @example
 * ```ts
 * import switches from '@partita/virtual-switch/switch'
 * import tapPort from '@partita/virtual-switch/tap-port'
 *
 * const devices = [{ plugin: switches.name }, { plugin: tapPort.name, options: { name: 'tap0' } }]
 * ```
 * @packageDocumentation
 */

import { definePlugin, networkToken, type Plugin, type PluginInstance } from '@partita/interface'
import * as v from 'valibot'
import { openTap, type TapName, tapOptionEntries } from './tap-uplink.node.ts'
import { type UplinkOptions, uplinkNeeds, uplinkOptionEntries } from './uplink.node.ts'

/** Options of `@partita/virtual-switch/tap-port`. */
export interface TapPortOptions extends TapName, UplinkOptions {}

const options = v.strictObject({
  ...tapOptionEntries,
  ...uplinkOptionEntries,
}) as unknown as v.GenericSchema<unknown, TapPortOptions>

/** The plug-in. */
const plugin: Plugin<TapPortOptions> = definePlugin<TapPortOptions>({
  name: '@partita/virtual-switch/tap-port',
  kind: 'network-backend',
  contract: 1,
  description: 'A port with a TAP interface of the host, for a switch that is there',
  options,
  needs: uplinkNeeds,
  provides: [],
  create: async (context): Promise<PluginInstance> => {
    await using owning = new AsyncDisposableStack()
    openTap(context, context.get(networkToken), owning)
    const owned = owning.move()
    return { [Symbol.asyncDispose]: () => owned.disposeAsync() }
  },
})

export default plugin
