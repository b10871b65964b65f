// `--network`: the adapters of the machine, and the networks that they are connected to.

import type { PluginConfiguration } from '@partita/root-partition'
import { CliError } from './cli-error.ts'
import type { ForwardOption, HypervisorOption, NetworkOption, NetworkWay } from './option-values.ts'

const ADAPTERS = '@partita/synthetic-network/vsp'
const LOOPBACK = '@partita/synthetic-network/loopback'
const SWITCH = '@partita/virtual-switch'
/** As many as the plug-in of the adapters has. */
const MAXIMUM_ADAPTERS = 8

/** What the command line says of the network. */
export interface NetworkOptions {
  /** One for each adapter. None: NAT, where the machine has a VMBus. What stands before `none` does not count. */
  readonly networks: readonly NetworkOption[]
  readonly forwards: readonly ForwardOption[]
  readonly capture?: string | undefined
  /** Address of the first adapter. */
  readonly mac?: string | undefined
}

/** A network that is a switch. */
type SwitchNetwork = Exclude<NetworkOption, { type: 'none' | 'loopback' }>

/**
 * The plug-ins for the networks.
 * @throws CliError `ERR_USAGE` where the machine has no VMBus, a network nothing to forward or to capture, or networks do not go together
 */
export function networkDevices(options: NetworkOptions, hypervisor: HypervisorOption): PluginConfiguration[] {
  const { forwards, capture } = options
  const networks = networksOf(options, hypervisor)
  const nats = networks.flatMap(waysOf).filter(({ type }) => type === 'nat').length
  if (forwards.length > 0 && nats === 0) {
    throw new CliError('ERR_USAGE', '--forward needs --network nat', {
      hint: 'On another network the guest has an address of its own.',
    })
  }
  const switches = networks.filter((network): network is SwitchNetwork => network.type !== 'loopback')
  if (capture !== undefined && switches.length === 0) {
    throw new CliError(
      'ERR_USAGE',
      `--capture: there is nothing to capture with --network ${networks.length === 0 ? 'none' : 'loopback'}`,
      {
        hint: 'Choose --network nat, tap:… or switch:….',
      },
    )
  }
  if (networks.length === 0) return []
  if (hypervisor === 'none') {
    throw new CliError('ERR_USAGE', 'there is no network without the Hyper-V interface', {
      hint: 'Leave out --hypervisor none; the adapter is a synthetic one.',
    })
  }
  if (networks.length > MAXIMUM_ADAPTERS) {
    throw new CliError('ERR_USAGE', `--network is given ${networks.length} times`, {
      hint: `A machine has ${MAXIMUM_ADAPTERS} adapters at most.`,
    })
  }
  if (nats > 1) {
    throw new CliError('ERR_USAGE', '--network: nat is given twice', { hint: 'A machine has one NAT.' })
  }
  if (switches.length < networks.length && networks.length > 1) {
    throw new CliError('ERR_USAGE', '--network loopback goes with no other network', {
      hint: 'Every adapter is connected to the loop-back network, or none.',
    })
  }
  return [...backends(switches, forwards, capture), adapters(networks, options.mac)]
}

/** The networks that count. */
function networksOf(
  { networks }: NetworkOptions,
  hypervisor: HypervisorOption,
): Exclude<NetworkOption, { type: 'none' }>[] {
  if (networks.length === 0) return hypervisor === 'none' ? [] : [{ type: 'nat', hostLoopback: false }]
  const last = networks.findLastIndex(({ type }) => type === 'none')
  return networks.slice(last + 1).filter((network) => network.type !== 'none')
}

function waysOf(network: NetworkOption): readonly NetworkWay[] {
  if (network.type === 'several') return network.ways
  return network.type === 'none' || network.type === 'loopback' ? [] : [network]
}

function nameOf(position: number): string {
  return `network${position}`
}

function adapters(networks: readonly NetworkOption[], first: string | undefined): PluginConfiguration {
  const [{ mac: given } = { mac: undefined }] = networks
  if (first !== undefined && given !== undefined) {
    throw new CliError('ERR_USAGE', 'the first adapter has two addresses', {
      hint: 'Leave out --mac, or ,mac= at the first --network.',
    })
  }
  const options = networks.map(({ mac }, position) => {
    const macAddress = mac ?? (position === 0 ? first : undefined)
    return {
      ...(macAddress !== undefined && { macAddress }),
      ...(networks.length > 1 && { network: nameOf(position) }),
    }
  })
  const plain = options.length === 1 && Object.keys(options[0] ?? {}).length === 0
  return { plugin: ADAPTERS, ...(!plain && { options: { adapters: options } }) }
}

/** One network with one way out has a plug-in that is just that. Otherwise there are switches, and ports at them. */
function backends(
  networks: readonly SwitchNetwork[],
  forwards: readonly ForwardOption[],
  capture: string | undefined,
): PluginConfiguration[] {
  const common = capture === undefined ? {} : { capture }
  const [first, ...others] = networks
  if (first === undefined) return [{ plugin: LOOPBACK }]
  if (others.length === 0 && first.type !== 'several') {
    const { plugin, options } = wayOut(first, forwards)
    return [{ plugin, options: { ...common, ...options } }]
  }
  const ports = networks.flatMap((network, position) =>
    waysOf(network).map((way): PluginConfiguration => {
      const { plugin, options } = wayOut(way, forwards)
      return { plugin: `${plugin}-port`, options: { ...options, network: nameOf(position) } }
    }),
  )
  return [
    { plugin: `${SWITCH}/switch`, options: { ...common, networks: networks.map((_, position) => nameOf(position)) } },
    ...ports,
  ]
}

/** A plug-in that is the way out, with a switch of its own; with `-port` at its name, without. */
function wayOut(
  way: NetworkWay,
  forwards: readonly ForwardOption[],
): { readonly plugin: string; readonly options: Readonly<Record<string, unknown>> } {
  switch (way.type) {
    case 'nat':
      return { plugin: `${SWITCH}/nat`, options: { hostLoopback: way.hostLoopback, forwards: [...forwards] } }
    case 'tap':
      return { plugin: `${SWITCH}/tap`, options: { name: way.name } }
    default:
      return { plugin: `${SWITCH}/shared`, options: { path: way.path } }
  }
}
