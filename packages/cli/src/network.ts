// `--network`: the adapter of the machine, and the network that it is connected to.

import type { PluginConfiguration } from '@partita/root-partition'
import { CliError } from './cli-error.ts'
import type { HypervisorOption, NetworkOption } from './option-values.ts'

const ADAPTERS = '@partita/synthetic-network/vsp'
const LOOPBACK = '@partita/synthetic-network/loopback'

/**
 * The plug-ins for a network.
 * @throws CliError `ERR_USAGE` where the machine has no VMBus
 */
export function networkDevices(option: NetworkOption, hypervisor: HypervisorOption): PluginConfiguration[] {
  if (option.type === 'none') return []
  if (hypervisor === 'none') {
    throw new CliError('ERR_USAGE', 'there is no network without the Hyper-V interface', {
      hint: 'Leave out --hypervisor none; the adapter is a synthetic one.',
    })
  }
  return [{ plugin: LOOPBACK }, { plugin: ADAPTERS }]
}
