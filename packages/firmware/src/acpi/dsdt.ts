// The DSDT's contents: the devices that a guest cannot find by looking, and the values for power-off (ACPI 6.5, chapters 5.6, 6 and 7).

import {
  type Aml,
  argument,
  concat,
  device,
  eisaId,
  ifElse,
  integer,
  method,
  name,
  nameString,
  packageOf,
  returns,
  scope,
  store,
  string,
} from './aml.ts'
import type { AcpiPciHost, AcpiVmbus, AddressRange, CompleteAcpiConfiguration } from './configuration.ts'
import { interruptLinks, interruptRoutes, linkedRoutes } from './pci-routing.ts'
import {
  busNumbers,
  fixedMemory,
  isaInterrupt,
  memoryWindow32,
  memoryWindow64,
  ports,
  portWindow,
  resourceTemplate,
} from './resources.ts'

/** AML of the definition block, without the table header. */
export function buildDsdtBody(configuration: CompleteAcpiConfiguration): Aml {
  const isa = isaDevices(configuration)
  const { pci, vmbus } = configuration
  return concat(
    // A guest says which interrupt controllers it uses (5.8.1): 0 the 8259A, 1 the I/O APIC.
    name('\\PICF', integer(0)),
    method('\\_PIC', 1, false, store(argument(0), nameString('\\PICF'))),
    scope(
      '\\_SB',
      ...configuration.processors.map((_, index) => processor(index)),
      motherboard(configuration),
      ...(pci ? [pciHost(pci, configuration.vga, isa)] : isa),
      ...(vmbus ? [vmbusModule(vmbus)] : []),
    ),
    // SLP_TYP for PM1a and PM1b. There is no _S4: a guest that can hibernate refuses to give memory back.
    name(
      '\\_S5',
      packageOf(
        integer(configuration.power.sleepTypeS5),
        integer(configuration.power.sleepTypeS5),
        integer(0),
        integer(0),
      ),
    ),
  )
}

function processor(index: number): Aml {
  const suffix = index.toString(16).toUpperCase().padStart(3, '0')
  return device(`C${suffix}`, name('_HID', string('ACPI0007')), name('_UID', integer(index)))
}

/** Ports and memory that belong to the board: PNP0C02, so that no driver takes them for free. */
function motherboard({ power, ioApics, localApicAddress }: CompleteAcpiConfiguration): Aml {
  return device(
    'MBRD',
    name('_HID', eisaId('PNP0C02')),
    name('_UID', integer(0)),
    name(
      '_CRS',
      resourceTemplate(
        ports(power.pm1aEvent, 4),
        ports(power.pm1aControl, 2),
        ports(power.pmTimer, 4),
        ...(power.gpe0 ? [ports(power.gpe0.base, power.gpe0.length)] : []),
        ...(power.smi ? [ports(power.smi.port, 1)] : []),
        ...ioApics.map(({ address }) => fixedMemory({ base: address, length: 0x1000 }, true)),
        fixedMemory({ base: localApicAddress, length: 0x1000 }, true),
      ),
    ),
  )
}

function isaDevices(configuration: CompleteAcpiConfiguration): Aml[] {
  const devices: Aml[] = configuration.serialPorts.map(({ port, interrupt }, index) =>
    device(
      `COM${index + 1}`,
      name('_HID', eisaId('PNP0501')),
      name('_UID', integer(index + 1)),
      name('_CRS', resourceTemplate(ports(port, 8), isaInterrupt(interrupt))),
    ),
  )
  const fixed = (path: string, id: string, ...resources: readonly Uint8Array[]): Aml =>
    device(path, name('_HID', eisaId(id)), name('_CRS', resourceTemplate(...resources)))
  if (configuration.pic) devices.push(fixed('PIC', 'PNP0000', ports(0x20, 2), ports(0xa0, 2), ports(0x4d0, 2)))
  if (configuration.pit) devices.push(fixed('TIMR', 'PNP0100', ports(0x40, 4), isaInterrupt(0)))
  if (configuration.rtc) devices.push(fixed('RTC', 'PNP0B00', ports(0x70, 2), isaInterrupt(8)))
  if (configuration.keyboardController) {
    devices.push(fixed('KBD', 'PNP0303', ports(0x60, 1), ports(0x64, 1), isaInterrupt(1)))
    devices.push(fixed('MOU', 'PNP0F13', isaInterrupt(12)))
  }
  return devices
}

const VGA_MEMORY: AddressRange = { base: 0xa_0000, length: 0x2_0000 }

function pciHost(pci: AcpiPciHost, vga: boolean, children: readonly Aml[]): Aml {
  const resources = [
    busNumbers(0, 255),
    ports(0xcf8, 8),
    portWindow({ base: 0, length: 0xcf8 }),
    portWindow({ base: 0xd00, length: 0xf300 }),
    ...(vga ? [memoryWindow32(VGA_MEMORY)] : []),
    memoryWindow32(pci.window32),
    ...(pci.window64 ? [memoryWindow64(pci.window64)] : []),
  ]
  const { router } = pci
  const direct = interruptRoutes((slot, pin) => [integer(0), integer(pci.interrupt(slot, pin))])
  const routing = router
    ? [
        method('_PRT', 0, false, ifElse(nameString('\\PICF'), [returns(direct)], [returns(linkedRoutes(pci))])),
        ...interruptLinks(router),
      ]
    : [name('_PRT', direct)]
  return device(
    'PCI0',
    name('_HID', eisaId('PNP0A03')),
    name('_UID', integer(0)),
    name('_BBN', integer(0)),
    name('_CRS', resourceTemplate(...resources)),
    ...routing,
    ...children,
  )
}

/** The VMBus node inside a module device, whose windows are where its devices may have memory. */
function vmbusModule(vmbus: AcpiVmbus): Aml {
  const windows = [
    ...(vmbus.window32 ? [memoryWindow32(vmbus.window32)] : []),
    ...(vmbus.window64 ? [memoryWindow64(vmbus.window64)] : []),
  ]
  const interrupts = vmbus.interrupt === undefined ? [] : [isaInterrupt(vmbus.interrupt)]
  return device(
    'VMOD',
    name('_HID', string('ACPI0004')),
    name('_UID', integer(0)),
    ...(windows.length > 0 ? [name('_CRS', resourceTemplate(...windows))] : []),
    device(
      'VMBS',
      name('_HID', string('VMBus')),
      name('_UID', integer(0)),
      method('_STA', 0, false, returns(integer(0xf))),
      ...(interrupts.length > 0 ? [name('_CRS', resourceTemplate(...interrupts))] : []),
    ),
  )
}
