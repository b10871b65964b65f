// The plug-in packages that come with the root partition, and the devices that a VM has when its configuration names none. Data alone: these
// packages come in by the same door as a stranger's.

/** Packages whose plug-ins are listed and found by name without being asked for. */
export const BUILT_IN_PACKAGES: readonly string[] = [
  '@partita/processor-x86',
  '@partita/emulated-chipset',
  '@partita/emulated-serial',
  '@partita/emulated-ide',
  '@partita/emulated-ps2',
  '@partita/emulated-fw-cfg',
  '@partita/vmbus',
  '@partita/synthetic-storage',
  '@partita/synthetic-network',
  '@partita/virtual-switch',
]

/** The processor of a VM whose configuration names none. */
export const DEFAULT_PROCESSOR = '@partita/processor-x86'

/** A device in {@link DEFAULT_DEVICES}. */
export interface DefaultDevice {
  /** The plug-in's name, as in {@link PluginConfiguration.plugin}. */
  readonly plugin: string
  /** As {@link PluginConfiguration.options}. */
  readonly options?: unknown
}

/** The fixed part of a PC: the devices of a VM on plain hardware (`hypervisor: 'none'`) whose configuration names none. */
export const PLAIN_DEVICES: readonly DefaultDevice[] = [
  { plugin: '@partita/emulated-chipset/pic' },
  { plugin: '@partita/emulated-chipset/io-apic' },
  { plugin: '@partita/emulated-chipset/interrupt-lines' },
  { plugin: '@partita/emulated-chipset/pit' },
  { plugin: '@partita/emulated-chipset/rtc' },
  { plugin: '@partita/emulated-chipset/power-management' },
  { plugin: '@partita/emulated-chipset/pci' },
  { plugin: '@partita/emulated-chipset/reset' },
  { plugin: '@partita/emulated-chipset/debug-exit' },
  { plugin: '@partita/emulated-serial' },
]

/** The devices of a VM whose configuration names none: the fixed part of a PC, the VMBus, and a SCSI controller on it. */
export const DEFAULT_DEVICES: readonly DefaultDevice[] = [
  ...PLAIN_DEVICES,
  { plugin: '@partita/vmbus' },
  { plugin: '@partita/synthetic-storage/vsp' },
]

/**
 * The devices of a machine of generation 1, as Hyper-V calls it: those of {@link DEFAULT_DEVICES}, and what an operating system without drivers for synthetic devices needs: an IDE controller,
 * keyboard and mouse. {@link DEFAULT_DEVICES} is generation 2, where there is nothing of that.
 */
export const GENERATION_1_DEVICES: readonly DefaultDevice[] = [
  ...DEFAULT_DEVICES.map((device) =>
    device.plugin === '@partita/emulated-chipset/reset'
      ? { plugin: device.plugin, options: { keyboardController: false } }
      : device,
  ),
  { plugin: '@partita/emulated-ps2' },
  { plugin: '@partita/emulated-ide' },
]

/** What only the Hyper-V interface leads to. */
function isPlain({ plugin }: DefaultDevice): boolean {
  return (
    !DEFAULT_DEVICES.some((device) => device.plugin === plugin) ||
    PLAIN_DEVICES.some((device) => device.plugin === plugin)
  )
}

/** A machine of generation 1 without what only the Hyper-V interface leads to. */
export const PLAIN_GENERATION_1_DEVICES: readonly DefaultDevice[] = GENERATION_1_DEVICES.filter(isPlain)

/** A machine of generation 1 that firmware in a ROM sets up: with the host bridge that SeaBIOS knows, in its power-on state, and what it reads its configuration from. */
export const BIOS_DEVICES: readonly DefaultDevice[] = [
  ...GENERATION_1_DEVICES.map((device) =>
    device.plugin === '@partita/emulated-chipset/pci'
      ? { plugin: device.plugin, options: { hostBridge: '440FX', firmware: true } }
      : device,
  ),
  { plugin: '@partita/emulated-fw-cfg' },
]

/** {@link BIOS_DEVICES} without what only the Hyper-V interface leads to. */
export const PLAIN_BIOS_DEVICES: readonly DefaultDevice[] = BIOS_DEVICES.filter(isPlain)
