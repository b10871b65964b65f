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
import { SharedSwitch } from './shared-switch.node.ts'
import { type SwitchServiceOptions, switchOptionEntries, switchService } from './switch-service.node.ts'

export { SharedSwitch } from './shared-switch.node.ts'

/** Options of `@partita/virtual-switch/shared`. */
export interface SharedOptions extends SwitchServiceOptions {
  /** The Unix socket. */
  readonly path: string
}

const options = v.strictObject({
  path: v.pipe(v.string(), v.nonEmpty(), v.maxBytes(107, 'a socket path has at most 107 bytes')),
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
  provides: switchService.provides,
  create: (context): Promise<PluginInstance> =>
    switchService.create(context, async (network, owning) => {
      const shared = owning.use(
        new SharedSwitch(network, context.options.path, (message) => context.logger.log('warn', message)),
      )
      await shared.start()
    }),
})

export default plugin
