/**
 * Switches without a way out, as a plug-in of kind `network-backend`: the default export. What leads out of them are other plug-ins, each a port: the NAT, a TAP interface, machines of other
 * processes, or whatever connects an adapter to the service `networkToken`.
 *
 * @example
 * ```ts
 * import switches from '@partita/virtual-switch/switch'
 *
 * // Two networks. Adapters say to which they go: `adapters: [{ network: 'world' }, { network: 'lan' }]`.
 * const devices = [
 *   { plugin: switches.name, options: { networks: ['world', { name: 'lan', mtu: 9000 }] } },
 *   { plugin: '@partita/virtual-switch/nat-port', options: { network: 'world' } },
 *   { plugin: '@partita/virtual-switch/shared-port', options: { network: 'lan', path: 'lan.sock' } },
 * ]
 * ```
 * @packageDocumentation
 */

import { clockToken, definePlugin, type Plugin, type PluginInstance } from '@partita/interface'
import * as v from 'valibot'
import {
  createSwitches,
  DEFAULT_NETWORK,
  type NamedSwitchOptions,
  type SwitchServiceOptions,
  switchOptionEntries,
  switchServices,
} from './switch-service.node.ts'

export type { NamedSwitchOptions } from './switch-service.node.ts'

/** Options of `@partita/virtual-switch/switch`. `mtu` and `capture` are for all networks that have none of their own. */
export interface SwitchOptions extends SwitchServiceOptions {
  /** The switches; the first is the one of adapters that name none. Default: one, `default`. */
  readonly networks: readonly NamedSwitchOptions[]
}

const name = v.pipe(v.string(), v.nonEmpty(), v.maxLength(64))
const MAXIMUM_NETWORKS = 64

const options = v.strictObject({
  networks: v.optional(
    v.pipe(
      v.array(
        v.union([
          v.pipe(
            name,
            v.transform((text) => ({ name: text })),
          ),
          v.strictObject({
            name,
            mtu: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1280), v.maxValue(65_521))),
            capture: v.optional(v.pipe(v.string(), v.nonEmpty())),
          }),
        ]),
      ),
      v.minLength(1, 'there must be one'),
      v.maxLength(MAXIMUM_NETWORKS),
      v.check((all) => new Set(all.map((one) => one.name)).size === all.length, 'two networks have the same name'),
    ),
    [DEFAULT_NETWORK],
  ),
  ...switchOptionEntries,
}) as unknown as v.GenericSchema<unknown, SwitchOptions>

/** The plug-in. */
const plugin: Plugin<SwitchOptions> = definePlugin<SwitchOptions>({
  name: '@partita/virtual-switch/switch',
  kind: 'network-backend',
  contract: 1,
  description: 'Switches, whose ways out are plug-ins of their own',
  options,
  needs: [clockToken],
  provides: switchServices,
  create: (context): Promise<PluginInstance> => createSwitches(context, context.options.networks, context.options),
})

export default plugin
