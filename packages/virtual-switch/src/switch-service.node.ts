// What the plug-ins that bring a switch have in common: the switch, a capture of the machine's ports, the service.

import {
  type Clock,
  clockToken,
  type Network,
  networkToken,
  type PluginContext,
  type PluginInstance,
  type ServiceToken,
} from '@partita/interface'
import * as v from 'valibot'
import { Capture } from './capture.ts'
import { openCaptureFile } from './capture-file.node.ts'
import { SwitchError } from './switch-error.ts'
import { VirtualSwitch } from './virtual-switch.ts'

/** Options of every plug-in that brings a switch. */
export interface SwitchServiceOptions {
  /** Bytes of the largest packet. Default: 1,500. */
  readonly mtu: number
  /** A file for a capture, pcapng, of what the machine's adapters send and get. */
  readonly capture?: string | undefined
}

/** Entries of their schemas. */
export const switchOptionEntries: v.ObjectEntries = {
  mtu: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1280), v.maxValue(65_521)), 1500),
  capture: v.optional(v.pipe(v.string(), v.nonEmpty())),
}

/** Plugs in what leads out of the machine; `owning` disposes of it. */
type Uplink = (network: VirtualSwitch, owning: AsyncDisposableStack, clock: Clock) => void | Promise<void>

/** Makes their instances. */
export interface SwitchService {
  readonly provides: readonly [ServiceToken<Network>]
  create<T extends SwitchServiceOptions>(context: PluginContext<T>, uplink: Uplink): Promise<PluginInstance>
}

/** Makes a switch, its capture, and its way out. */
export const switchService: SwitchService = {
  provides: [networkToken],
  async create(context, uplink) {
    const clock = context.get(clockToken)
    const { mtu, capture: path } = context.options
    await using owning = new AsyncDisposableStack()
    const network = new VirtualSwitch({ clock, mtu })
    let capture: Capture | undefined
    if (path !== undefined) {
      const file = owning.use(
        openCaptureFile(path, (error) => context.logger.log('error', error.message, { code: error.code })),
      )
      capture = owning.use(new Capture(file.write, clock))
    }
    await uplink(network, owning, clock)
    const owned = owning.move()
    return {
      services: {
        [networkToken.name]: {
          connect: (...[adapter, connection]: Parameters<VirtualSwitch['connect']>) => {
            if (connection?.network !== undefined) {
              throw new SwitchError('ERR_NETWORK_UNKNOWN', `there is no network named ${connection.network}`, {
                hint: 'This backend has one network, without a name.',
                data: { network: connection.network },
              })
            }
            const port = network.connect(adapter, connection)
            capture?.add(port)
            return port
          },
        },
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  },
}
