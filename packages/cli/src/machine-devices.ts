// The devices of the machine: those of its generation, those that options set up in their place, and those that options add.

import {
  BIOS_DEVICES,
  DEFAULT_DEVICES,
  GENERATION_1_DEVICES,
  PLAIN_BIOS_DEVICES,
  PLAIN_DEVICES,
  PLAIN_GENERATION_1_DEVICES,
  type PluginConfiguration,
} from '@partita/root-partition'
import type { FirmwareOption, HypervisorOption, MachineOption } from './option-values.ts'

/** What the devices follow from. */
export interface MachineChoice {
  readonly hypervisor: HypervisorOption
  /** Absent: generation 1 with firmware, and else 2. */
  readonly machine?: MachineOption | undefined
  readonly firmware?: FirmwareOption | undefined
}

/** The generation of the machine. */
function generationOf({ machine, firmware }: MachineChoice): MachineOption {
  return machine ?? (firmware === undefined ? 'gen2' : 'gen1')
}

function usualDevices(choice: MachineChoice): readonly PluginConfiguration[] {
  const plain = choice.hypervisor === 'none'
  if (choice.firmware !== undefined) return plain ? PLAIN_BIOS_DEVICES : BIOS_DEVICES
  if (generationOf(choice) === 'gen1') return plain ? PLAIN_GENERATION_1_DEVICES : GENERATION_1_DEVICES
  return plain ? PLAIN_DEVICES : DEFAULT_DEVICES
}

/** The machine's own devices, `set` taking the place of those of the same name or standing behind them. */
export function devicesWith(choice: MachineChoice, set: readonly PluginConfiguration[]): PluginConfiguration[] {
  const own = new Map(set.map((device) => [device.plugin, device]))
  const usual = usualDevices(choice)
  const added = [...own.values()].filter(({ plugin }) => !usual.some((device) => device.plugin === plugin))
  return [...usual.map((device) => own.get(device.plugin) ?? device), ...added]
}
