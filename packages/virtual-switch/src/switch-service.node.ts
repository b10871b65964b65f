// What the plug-ins that bring switches have in common: the switches, captures of the machine's ports, the services.

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
import { type SwitchControl, switchControlToken } from './switch-control.ts'
import { SwitchError } from './switch-error.ts'
import { VirtualSwitch } from './virtual-switch.ts'

/** The name of the only switch of a plug-in. */
export const DEFAULT_NETWORK = 'default'

/** Options of every plug-in that brings one switch. */
export interface SwitchServiceOptions {
  /** Bytes of the largest packet. Default: 1,500. */
  readonly mtu: number
  /** A file for a capture, pcapng, of what the machine's adapters send and get. */
  readonly capture?: string | undefined
}

/** Options of one of several switches. */
export interface NamedSwitchOptions extends Partial<SwitchServiceOptions> {
  /** What adapters and ports call it. */
  readonly name: string
}

/** Entries of their schemas. */
export const switchOptionEntries: v.ObjectEntries = {
  mtu: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1280), v.maxValue(65_521)), 1500),
  capture: v.optional(v.pipe(v.string(), v.nonEmpty())),
}

/** Plugs in what leads out of the machine; `owning` disposes of it. */
type PlugIn = (network: Network, owning: AsyncDisposableStack, clock: Clock) => void | Promise<void>

/** What they provide. */
export const switchServices: readonly [ServiceToken<Network>, ServiceToken<SwitchControl>] = [
  networkToken,
  switchControlToken,
]

/** A switch with a way out. */
export function oneSwitch(context: PluginContext<SwitchServiceOptions>, plugIn: PlugIn): Promise<PluginInstance> {
  const { mtu, capture } = context.options
  return createSwitches(context, [{ name: DEFAULT_NETWORK, mtu, capture }], {}, plugIn)
}

/** Switches by name, the first of them for whoever names none; what `common` has is for all that do not say otherwise, one capture among it. */
export async function createSwitches(
  context: PluginContext<unknown>,
  switches: readonly NamedSwitchOptions[],
  common: Partial<SwitchServiceOptions>,
  plugIn?: PlugIn,
): Promise<PluginInstance> {
  const clock = context.get(clockToken)
  await using owning = new AsyncDisposableStack()
  const captures = new Map<string, Capture>()
  const captureTo = (path: string | undefined): Capture | undefined => {
    if (path === undefined || captures.has(path)) return captures.get(path ?? '')
    const file = owning.use(
      openCaptureFile(path, (error) => context.logger.log('error', error.message, { code: error.code })),
    )
    const capture = owning.use(new Capture(file.write, clock))
    captures.set(path, capture)
    return capture
  }
  const networks = new Map(
    switches.map(({ name, mtu = common.mtu ?? 1500, capture = common.capture }) => [
      name,
      { network: new VirtualSwitch({ clock, mtu }), capture: captureTo(capture) },
    ]),
  )
  const [first] = networks.keys()
  const service: Network = {
    connect: (adapter, connection) => {
      const name = connection.network ?? first ?? ''
      const found = networks.get(name)
      if (found === undefined) {
        throw new SwitchError('ERR_NETWORK_UNKNOWN', `there is no network named ${name}`, {
          hint: `There is ${[...networks.keys()].join(', ')}.`,
          data: { network: name, networks: [...networks.keys()] },
        })
      }
      const port = found.network.connect(adapter, connection)
      if (port.settings.capture) found.capture?.add(port)
      return port
    },
  }
  const control: SwitchControl = {
    report: () =>
      Array.from(networks, ([name, { network }]) => ({
        network: name,
        mtu: network.mtu,
        addresses: network.addresses,
        ports: network.report(),
      })),
  }
  await plugIn?.(service, owning, clock)
  const owned = owning.move()
  return {
    services: { [networkToken.name]: service, [switchControlToken.name]: control },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
