/**
 * A network of plugs that give every frame back to its sender, as a plug-in of kind `network-backend` (the default export): for tests and measurements of adapters and
 * drivers.
 *
 * @example
 * ```ts
 * import loopback from '@partita/synthetic-network/loopback'
 *
 * const devices = [{ plugin: loopback.name }, { plugin: '@partita/synthetic-network/vsp' }]
 * ```
 * @packageDocumentation
 */

import {
  definePlugin,
  FRAME_FLAG,
  type Network,
  type NetworkAdapter,
  type NetworkPort,
  networkToken,
  type Plugin,
} from '@partita/interface'
import * as v from 'valibot'

/** Options of `@partita/synthetic-network/loopback`. */
export interface LoopbackOptions {
  /** Bytes of the largest packet. Default: 65521. */
  readonly mtu: number
  /** Bits per second that are told. Default: 10e9. */
  readonly linkSpeed: number
}

/** Made of the adapter itself: what it has no room for, it is asked to keep. */
class LoopbackPort implements NetworkPort {
  readonly accepts: number =
    FRAME_FLAG.CHECKSUM_PARTIAL |
    FRAME_FLAG.CHECKSUM_VALID |
    FRAME_FLAG.VLAN |
    FRAME_FLAG.GSO_TCP4 |
    FRAME_FLAG.GSO_TCP6
  readonly linkUp = true
  readonly mtu: number
  readonly linkSpeed: number
  readonly send: NetworkPort['send']
  readonly sendEnd: NetworkPort['sendEnd']
  readonly resume: NetworkPort['resume']

  constructor(adapter: NetworkAdapter, { mtu, linkSpeed }: LoopbackOptions) {
    this.mtu = mtu
    this.linkSpeed = linkSpeed
    this.send = (frame) => adapter.receive(frame)
    this.sendEnd = () => adapter.receiveEnd()
    this.resume = () => adapter.writable()
  }

  adapterChanged(): void {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

const options: v.GenericSchema<unknown, LoopbackOptions> = v.strictObject({
  mtu: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1280), v.maxValue(65_535)), 65_521),
  linkSpeed: v.optional(v.pipe(v.number(), v.minValue(1)), 10e9),
})

/** The plug-in: a network that gives frames back. */
const plugin: Plugin<LoopbackOptions> = definePlugin<LoopbackOptions>({
  name: '@partita/synthetic-network/loopback',
  kind: 'network-backend',
  contract: 1,
  description: 'A network of plugs that give every frame back to its sender',
  options,
  needs: [],
  provides: [networkToken],
  create: (context) => ({
    services: {
      [networkToken.name]: {
        connect: (adapter) => new LoopbackPort(adapter, context.options),
      } satisfies Network,
    },
    async [Symbol.asyncDispose]() {},
  }),
})

export default plugin
