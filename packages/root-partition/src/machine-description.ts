// What the ACPI tables say of a VM, from the plug-ins that it has: a guest must not look for hardware that is not there.

import { type AcpiConfiguration, type AcpiVmbus, windowAboveRam } from '@partita/firmware'
import type { PlannedPlugin } from './plugin-plan.ts'

/** The plug-ins whose presence the tables report. */
const CHIPSET = {
  PIC: '@partita/emulated-chipset/pic',
  PIT: '@partita/emulated-chipset/pit',
  RTC: '@partita/emulated-chipset/rtc',
  IO_APIC: '@partita/emulated-chipset/io-apic',
  POWER: '@partita/emulated-chipset/power-management',
  PCI: '@partita/emulated-chipset/pci',
} as const
const SERIAL = '@partita/emulated-serial'
const PS2 = '@partita/emulated-ps2'
const VMBUS = '@partita/vmbus'

/** Between the window of PCI and the I/O APIC. */
const VMBUS_WINDOW_32 = { base: 0xf800_0000, length: 0x600_0000 }

/** Describe a VM. `false` (no tables) for one without power management: the tables cannot leave it out. */
export function describeMachine(
  { virtualProcessors, memory }: { readonly virtualProcessors: number; readonly memory: number },
  planned: readonly PlannedPlugin[],
): AcpiConfiguration | false {
  const names = new Set(planned.map(({ plugin }) => plugin.name))
  if (!names.has(CHIPSET.POWER)) return false
  const serialPorts = planned.filter(({ plugin }) => plugin.name === SERIAL).map(({ options }) => serialPort(options))
  return {
    processors: Array.from({ length: virtualProcessors }, (_, apicId) => ({ apicId })),
    pic: names.has(CHIPSET.PIC),
    pit: names.has(CHIPSET.PIT),
    rtc: names.has(CHIPSET.RTC),
    keyboardController: names.has(PS2),
    ...(!names.has(CHIPSET.IO_APIC) && { ioApics: [] }),
    ...(!names.has(CHIPSET.PCI) && { pci: false }),
    serialPorts: serialPorts.filter((port) => port !== undefined),
    ...(names.has(VMBUS) && { vmbus: vmbusWindows(memory) }),
  }
}

/** Where the devices on the VMBus may have memory. */
function vmbusWindows(memory: number): AcpiVmbus {
  const pci = windowAboveRam(memory)
  return { window32: VMBUS_WINDOW_32, window64: { base: pci.base + pci.length, length: pci.length } }
}

/** From the options of the serial port's plug-in, after its schema. */
function serialPort(options: unknown): { port: number; interrupt: number } | undefined {
  const { base, irq } = (options ?? {}) as { base?: unknown; irq?: unknown }
  return typeof base === 'number' && typeof irq === 'number' ? { port: base, interrupt: irq } : undefined
}
