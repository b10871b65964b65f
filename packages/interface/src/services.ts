// The tokens of the services that the root partition and the built-in plug-ins offer.

import type { Clock } from './clock.ts'
import type {
  A20Gate,
  AddressLine20,
  CharacterBackend,
  InterruptLines,
  InterruptMessages,
  Mmio,
  PciBus,
  PortIo,
  PowerControl,
  ShadowRam,
} from './device.ts'
import type { Disk } from './disk.ts'
import type { FirmwareConfiguration } from './firmware-configuration.ts'
import type { GuestMemory } from './guest-memory.ts'
import { type ServiceToken, serviceToken } from './plugin.ts'
import type { Processor } from './processor.ts'

/** The partition's RAM. */
export const guestMemoryToken: ServiceToken<GuestMemory> = serviceToken('partita/guest-memory')
/** Reference time and timers. */
export const clockToken: ServiceToken<Clock> = serviceToken('partita/clock')
/** I/O ports. */
export const portIoToken: ServiceToken<PortIo> = serviceToken('partita/port-io')
/** Memory-mapped registers. */
export const mmioToken: ServiceToken<Mmio> = serviceToken('partita/mmio')
/** Power-off, reset and debug exit. */
export const powerControlToken: ServiceToken<PowerControl> = serviceToken('partita/power-control')
/** Messages to the local APICs and the INTR pin. */
export const interruptMessagesToken: ServiceToken<InterruptMessages> = serviceToken('partita/interrupt-messages')
/** ISA and PCI interrupt wires; provided by the chipset. */
export const interruptLinesToken: ServiceToken<InterruptLines> = serviceToken('partita/interrupt-lines')
/** PCI bus 0; provided by the chipset. */
export const pciBusToken: ServiceToken<PciBus> = serviceToken('partita/pci-bus')
/** Named character back ends (`console`, `com2`, …), provided by whoever embeds the VM. */
export const characterBackendsToken: ServiceToken<ReadonlyMap<string, CharacterBackend>> =
  serviceToken('partita/character-backends')
/** The gate of address line 20; provided by the chipset. */
export const a20GateToken: ServiceToken<A20Gate> = serviceToken('partita/a20-gate')
/** The pin of the processors that masks address line 20. */
export const addressLine20Token: ServiceToken<AddressLine20> = serviceToken('partita/address-line-20')
/** Where RAM answers in the first megabyte. */
export const shadowRamToken: ServiceToken<ShadowRam> = serviceToken('partita/shadow-ram')
/** What firmware in a ROM reads its configuration from. */
export const firmwareConfigurationToken: ServiceToken<FirmwareConfiguration> = serviceToken(
  'partita/firmware-configuration',
)
/** The logical processor. */
export const processorToken: ServiceToken<Processor> = serviceToken('partita/processor')
/** Named disks (`disk0`, …), provided by whoever embeds the VM, who also disposes of them. */
export const disksToken: ServiceToken<ReadonlyMap<string, Disk>> = serviceToken('partita/disks')
