// How PCI interrupts reach the interrupt controllers (ACPI 6.5, section 6.2.13): _PRT names I/O APIC pins for a guest that uses the I/O APIC, and else the PIIX's four interrupt links (PNP0C0F), which a
// guest sets by PIRQRC[A:D] (82371AB data sheet).

import {
  type Aml,
  and,
  argument,
  byteFields,
  concat,
  configurationRegion,
  device,
  doubleWordField,
  eisaId,
  ifElse,
  integer,
  method,
  name,
  nameString,
  or,
  packageOf,
  returns,
  store,
} from './aml.ts'
import type { AcpiInterruptRouter, AcpiPciHost } from './configuration.ts'
import { PCI_INTERRUPT_OFFSET, pciInterrupts, resourceTemplate } from './resources.ts'

const PCI_DEVICES = 32
const PCI_PINS = 4
/** The GSI of PIRQA. */
const FIRST_PCI_GSI = 16
const LINKS = ['LNKA', 'LNKB', 'LNKC', 'LNKD'] as const
const REGISTERS = ['PRQA', 'PRQB', 'PRQC', 'PRQD'] as const
/** Bit 7 of PIRQRC: routed to no ISA interrupt. */
const ROUTE_OFF = 0x80
/** _STA: present and working; decoding its resources. */
const STATUS = { OFF: 0x09, ON: 0x0b } as const

/** _PRT's package: for all functions of each device and each pin, the source and its index or GSI. */
export function interruptRoutes(source: (slot: number, pin: number) => readonly Aml[]): Aml {
  const routes: Aml[] = []
  for (let slot = 0; slot < PCI_DEVICES; slot++)
    for (let pin = 0; pin < PCI_PINS; pin++)
      routes.push(packageOf(integer(slot * 0x1_0000 + 0xffff), integer(pin), ...source(slot, pin)))
  return packageOf(...routes)
}

/** The same through the links. */
export function linkedRoutes(pci: AcpiPciHost): Aml {
  return interruptRoutes((slot, pin) => {
    const link = LINKS[(pci.interrupt(slot, pin) - FIRST_PCI_GSI) & 3] as string
    return [nameString(`\\_SB.PCI0.${link}`), integer(0)]
  })
}

/** The ISA bridge with its routing registers, and the links. */
export function interruptLinks(router: AcpiInterruptRouter): Aml[] {
  return [
    device(
      'ISA',
      name('_ADR', integer(router.device * 0x1_0000)),
      configurationRegion('PIRQ', router.offset, REGISTERS.length),
      byteFields('PIRQ', ...REGISTERS),
    ),
    ...LINKS.map((link, index) => interruptLink(link, index, router)),
  ]
}

function interruptLink(link: string, index: number, { interrupts }: AcpiInterruptRouter): Aml {
  const route = nameString(`\\_SB.PCI0.ISA.${REGISTERS[index] as string}`)
  return device(
    link,
    name('_HID', eisaId('PNP0C0F')),
    name('_UID', integer(index + 1)),
    method(
      '_STA',
      0,
      false,
      ifElse(and(route, integer(ROUTE_OFF)), [returns(integer(STATUS.OFF))], [returns(integer(STATUS.ON))]),
    ),
    name('_PRS', resourceTemplate(pciInterrupts(...interrupts))),
    method('_DIS', 0, false, or(route, integer(ROUTE_OFF), route)),
    name('BUF', resourceTemplate(pciInterrupts(0))),
    method(
      '_CRS',
      0,
      true,
      concat(
        doubleWordField(nameString('BUF'), PCI_INTERRUPT_OFFSET, 'IRQV'),
        // One that is off has none.
        ifElse(
          and(route, integer(ROUTE_OFF)),
          [store(integer(0), nameString('IRQV'))],
          [and(route, integer(0x0f), nameString('IRQV'))],
        ),
        returns(nameString('BUF')),
      ),
    ),
    method(
      '_SRS',
      1,
      true,
      concat(doubleWordField(argument(0), PCI_INTERRUPT_OFFSET, 'IRQW'), store(nameString('IRQW'), route)),
    ),
  )
}
