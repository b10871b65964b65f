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

import { clockToken, definePlugin, networkToken, type Plugin, type PluginInstance } from '@partita/interface'
import * as v from 'valibot'
import { Capture } from './capture.ts'
import { openCaptureFile } from './capture-file.node.ts'
import { NatGateway } from './nat/nat-gateway.ts'
import { type NatOptions, natOptionsSchema } from './nat/nat-options.ts'
import { NodeNatHost } from './nat/node-host.node.ts'
import { VirtualSwitch } from './virtual-switch.ts'

export { type NatOptions, natOptionsSchema, type PortForward } from './nat/nat-options.ts'
export { NodeNatHost } from './nat/node-host.node.ts'

/** Options of `@partita/virtual-switch/nat`: those of the NAT, and of its switch. */
export interface NatPluginOptions extends NatOptions {
  /** Bytes of the largest packet. Default: 1,500. */
  readonly mtu: number
  /** A file for a capture, pcapng, of what the machine's adapters send and get. */
  readonly capture?: string | undefined
}

const options = v.strictObject({
  ...natOptionsSchema.entries,
  mtu: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1280), v.maxValue(65_521)), 1500),
  capture: v.optional(v.pipe(v.string(), v.nonEmpty())),
}) as unknown as v.GenericSchema<unknown, NatPluginOptions>

/** The plug-in. */
const plugin: Plugin<NatPluginOptions> = definePlugin<NatPluginOptions>({
  name: '@partita/virtual-switch/nat',
  kind: 'network-backend',
  contract: 1,
  description: 'A switch behind user-mode NAT: DHCP, names, and the world through sockets of the host',
  options,
  needs: [clockToken],
  provides: [networkToken],
  create: async (context): Promise<PluginInstance> => {
    const clock = context.get(clockToken)
    const { mtu, capture: path } = context.options
    await using owning = new AsyncDisposableStack()
    const network = new VirtualSwitch({ clock, mtu })
    const gateway = owning.use(
      new NatGateway({ clock, host: new NodeNatHost(), options: context.options, logger: context.logger }),
    )
    let capture: Capture | undefined
    if (path !== undefined) {
      const file = owning.use(
        openCaptureFile(path, (error) => context.logger.log('error', error.message, { code: error.code })),
      )
      capture = owning.use(new Capture(file.write, clock))
    }
    await gateway.start(network.connect(gateway, { port: { spoofing: true } }))
    const owned = owning.move()
    return {
      services: {
        [networkToken.name]: {
          connect: (...[adapter, connection]: Parameters<VirtualSwitch['connect']>) => {
            const port = network.connect(adapter, connection)
            capture?.add(port)
            return port
          },
        },
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  },
})

export default plugin
