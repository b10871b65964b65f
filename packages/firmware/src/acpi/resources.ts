// Resource descriptors for _CRS (ACPI 6.5, section 6.4), and the buffer that holds a list of them.

import { type Aml, buffer, concat, littleEndian } from './aml.ts'
import type { AddressRange } from './configuration.ts'

/** A `ResourceTemplate`: descriptors and the end tag. A check sum of 0 tells that there is none. */
export function resourceTemplate(...descriptors: readonly Uint8Array[]): Aml {
  return buffer(concat(...descriptors, [0x79, 0]))
}

/** I/O port descriptor (6.4.2.5): `length` ports from `base`, 16-bit decoding. */
export function ports(base: number, length: number): Uint8Array {
  return concat([0x47, 1], littleEndian(base, 2), littleEndian(base, 2), [1, length])
}

/** IRQ descriptor without flags (6.4.2.1): an ISA interrupt, edge-triggered, active high, exclusive. */
export function isaInterrupt(line: number): Uint8Array {
  return concat([0x22], littleEndian(1 << line, 2))
}

/** Offset of the first interrupt in {@link pciInterrupts}. */
export const PCI_INTERRUPT_OFFSET = 5

/** Extended interrupt descriptor (6.4.3.6): PCI's way, level-triggered, active low, shared, of which the device consumes one. */
export function pciInterrupts(...interrupts: readonly number[]): Uint8Array {
  const CONSUMER_LEVEL_LOW_SHARED = 0x0d
  return concat(
    [0x89],
    littleEndian(2 + 4 * interrupts.length, 2),
    [CONSUMER_LEVEL_LOW_SHARED, interrupts.length],
    ...interrupts.map((interrupt) => littleEndian(interrupt, 4)),
  )
}

/** 32-bit fixed memory range (6.4.3.4). */
export function fixedMemory(range: AddressRange, writable: boolean): Uint8Array {
  return concat(
    [0x86],
    littleEndian(9, 2),
    [writable ? 1 : 0],
    littleEndian(range.base, 4),
    littleEndian(range.length, 4),
  )
}

const RESOURCE_TYPE = { MEMORY: 0, IO: 1, BUS: 2 } as const
/** A producer's window with fixed ends, positively decoded. */
const PRODUCER_FIXED = 0x0c
/** Memory windows: readable and writable, not cacheable. */
const READ_WRITE = 1
/** I/O windows: all ports, not just the ISA ones. */
const ENTIRE_RANGE = 3

/** Bus numbers behind a host bridge (6.4.3.5.3, word address space). */
export function busNumbers(first: number, last: number): Uint8Array {
  return addressSpace(0x88, 2, RESOURCE_TYPE.BUS, 0, { base: first, length: last - first + 1 })
}

/** I/O ports that a bridge passes on (word address space). */
export function portWindow(range: AddressRange): Uint8Array {
  return addressSpace(0x88, 2, RESOURCE_TYPE.IO, ENTIRE_RANGE, range)
}

/** Memory under 4 GiB that a bridge passes on (double-word address space). */
export function memoryWindow32(range: AddressRange): Uint8Array {
  return addressSpace(0x87, 4, RESOURCE_TYPE.MEMORY, READ_WRITE, range)
}

/** Memory anywhere that a bridge passes on (quad-word address space). */
export function memoryWindow64(range: AddressRange): Uint8Array {
  return addressSpace(0x8a, 8, RESOURCE_TYPE.MEMORY, READ_WRITE, range)
}

function addressSpace(tag: number, width: number, type: number, flags: number, range: AddressRange): Uint8Array {
  const fields = [0, range.base, range.base + range.length - 1, 0, range.length]
  return concat(
    [tag],
    littleEndian(3 + 5 * width, 2),
    [type, PRODUCER_FIXED, flags],
    ...fields.map((field) => littleEndian(field, width)),
  )
}
