/**
 * A switch that machines of several processes of one host share, as a plug-in of kind `network-backend`: the default export. They meet at a Unix socket: the first one listens there, the others connect;
 * when it goes, another takes its place. Frames go as QEMU's stream sockets have them, so a QEMU may be one of them (`-netdev stream,addr.type=unix`).
 *
 * @example
 * ```ts
 * import shared from '@partita/virtual-switch/shared'
 *
 * const network = { plugin: shared.name, options: { path: 'lan.sock' } }
 * ```
 * @packageDocumentation
 */

import { clockToken, definePlugin, type Plugin, type PluginInstance } from '@partita/interface'
import * as v from 'valibot'
import { openShared, type SharedPath, sharedOptionEntries } from './shared-uplink.node.ts'
import { oneSwitch, type SwitchServiceOptions, switchOptionEntries, switchServices } from './switch-service.node.ts'

export { SharedSwitch } from './shared-switch.node.ts'

/** Options of `@partita/virtual-switch/shared`. */
export interface SharedOptions extends SharedPath, SwitchServiceOptions {}

const options = v.strictObject({
  ...sharedOptionEntries,
  ...switchOptionEntries,
}) as unknown as v.GenericSchema<unknown, SharedOptions>

/** The plug-in. */
const plugin: Plugin<SharedOptions> = definePlugin<SharedOptions>({
  name: '@partita/virtual-switch/shared',
  kind: 'network-backend',
  contract: 1,
  description: 'A switch that machines of several processes share',
  options,
  needs: [clockToken],
  provides: switchServices,
  create: (context): Promise<PluginInstance> =>
    oneSwitch(context, (network, owning) => openShared(context, network, owning)),
})

export default plugin
