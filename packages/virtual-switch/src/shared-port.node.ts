/**
 * The meeting with machines of other processes as a port of a switch that another plug-in brings: the default export, of kind `network-backend`.
 *
 * @example
 * ```ts
 * import nat from '@partita/virtual-switch/nat'
 * import sharedPort from '@partita/virtual-switch/shared-port'
 *
 * // All who meet there are behind the NAT of this machine.
 * const devices = [{ plugin: nat.name }, { plugin: sharedPort.name, options: { path: 'lan.sock' } }]
 * ```
 * @packageDocumentation
 */

import { definePlugin, networkToken, type Plugin, type PluginInstance } from '@partita/interface'
import * as v from 'valibot'
import { openShared, type SharedPath, sharedOptionEntries } from './shared-uplink.node.ts'
import { type UplinkOptions, uplinkNeeds, uplinkOptionEntries } from './uplink.node.ts'

/** Options of `@partita/virtual-switch/shared-port`. */
export interface SharedPortOptions extends SharedPath, UplinkOptions {}

const options = v.strictObject({
  ...sharedOptionEntries,
  ...uplinkOptionEntries,
}) as unknown as v.GenericSchema<unknown, SharedPortOptions>

/** The plug-in. */
const plugin: Plugin<SharedPortOptions> = definePlugin<SharedPortOptions>({
  name: '@partita/virtual-switch/shared-port',
  kind: 'network-backend',
  contract: 1,
  description: 'A port to the switches of other processes, for a switch that is there',
  options,
  needs: uplinkNeeds,
  provides: [],
  create: async (context): Promise<PluginInstance> => {
    await using owning = new AsyncDisposableStack()
    await openShared(context, context.get(networkToken), owning)
    const owned = owning.move()
    return { [Symbol.asyncDispose]: () => owned.disposeAsync() }
  },
})

export default plugin
