// `--network`: the adapter of the machine, and the network that it is connected to.

import type { PluginConfiguration } from '@partita/root-partition'
import { CliError } from './cli-error.ts'
import type { ForwardOption, HypervisorOption, NetworkOption } from './option-values.ts'

const ADAPTERS = '@partita/synthetic-network/vsp'
const LOOPBACK = '@partita/synthetic-network/loopback'
const SWITCH = '@partita/virtual-switch'

/** What the command line says of the network. */
export interface NetworkOptions {
  /** Absent: NAT, where the machine has a VMBus. */
  readonly network?: NetworkOption | undefined
  readonly forwards: readonly ForwardOption[]
  readonly capture?: string | undefined
  readonly mac?: string | undefined
}

/**
 * The plug-ins for a network.
 * @throws CliError `ERR_USAGE` where the machine has no VMBus, or the network nothing to forward or to capture
 */
export function networkDevices(options: NetworkOptions, hypervisor: HypervisorOption): PluginConfiguration[] {
  const { forwards, capture, mac } = options
  const network: NetworkOption =
    options.network ?? (hypervisor === 'none' ? { type: 'none' } : { type: 'nat', hostLoopback: false })
  if (forwards.length > 0 && network.type !== 'nat') {
    throw new CliError('ERR_USAGE', '--forward needs --network nat', {
      hint: 'On another network the guest has an address of its own.',
    })
  }
  if (capture !== undefined && (network.type === 'none' || network.type === 'loopback')) {
    throw new CliError('ERR_USAGE', `--capture: there is nothing to capture with --network ${network.type}`, {
      hint: 'Choose --network nat, tap:… or switch:….',
    })
  }
  if (network.type === 'none') return []
  if (hypervisor === 'none') {
    throw new CliError('ERR_USAGE', 'there is no network without the Hyper-V interface', {
      hint: 'Leave out --hypervisor none; the adapter is a synthetic one.',
    })
  }
  const adapter = { plugin: ADAPTERS, ...(mac !== undefined && { options: { adapters: [{ macAddress: mac }] } }) }
  return [backend(network, forwards, capture), adapter]
}

function backend(
  network: Exclude<NetworkOption, { type: 'none' }>,
  forwards: readonly ForwardOption[],
  capture: string | undefined,
): PluginConfiguration {
  const common = capture === undefined ? {} : { capture }
  switch (network.type) {
    case 'nat':
      return {
        plugin: `${SWITCH}/nat`,
        options: { ...common, hostLoopback: network.hostLoopback, forwards: [...forwards] },
      }
    case 'tap':
      return { plugin: `${SWITCH}/tap`, options: { ...common, name: network.name } }
    case 'switch':
      return { plugin: `${SWITCH}/shared`, options: { ...common, path: network.path } }
    default:
      return { plugin: LOOPBACK }
  }
}
