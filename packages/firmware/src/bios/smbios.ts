// SMBIOS structures (DMTF DSP0134 3.7, chapter 7) that tell a guest what the machine is: system, chassis, processors, memory. Firmware adds the one that describes itself (type 0) and the entry
// point of version 2.1.

import { concat, littleEndian } from '../acpi/aml.ts'
import { checksum } from '../acpi/tables.ts'
import { viewOf } from '../bytes.ts'

/** What SMBIOS tells of a machine. */
export interface SmbiosConfiguration {
  /** Bytes of RAM, from address 0 on. */
  readonly ramSize: number
  /** How many processors there are, each in a socket of its own. */
  readonly processors: number
  /** Who the machine says that it is made by, by which guests know it: `Microsoft Corporation` for one of Hyper-V. Default: `Partita`. */
  readonly manufacturer?: string | undefined
}

/** The tables, and the entry point without its address. */
export interface SmbiosTables {
  /** The structures, one after the other. */
  readonly tables: Uint8Array
  /** The entry point of 32 bits (`_SM_`); firmware fills in where the structures are. */
  readonly anchor: Uint8Array
}

const MANUFACTURER = 'Partita'
const PRODUCT = 'Virtual Machine'
const HANDLE = {
  SYSTEM: 0x100,
  CHASSIS: 0x300,
  PROCESSOR: 0x400,
  ARRAY: 0x1000,
  MODULE: 0x1100,
  MAPPED: 0x1300,
  BOOT: 0x2000,
  END: 0x7f00,
} as const
const UNKNOWN = 2
const NONE = 0xffff
const KIB = 1024
const MIB = 1024 * KIB
/** A memory device's size in MiB has 15 bits in version 2.1. */
const MAXIMUM_MODULE = 0x7fff
const ANCHOR_LENGTH = 31
const VERSION = [2, 8] as const

const word = (value: number): Uint8Array => littleEndian(value, 2)
const doubleWord = (value: number): Uint8Array => littleEndian(value, 4)

/** A structure: header, formatted area, strings (numbered from 1 on). */
function structure(
  type: number,
  handle: number,
  fields: readonly (Uint8Array | readonly number[])[],
  ...strings: readonly string[]
): Uint8Array {
  const area = concat(...fields)
  const texts = strings.map((text) => concat(new TextEncoder().encode(text), [0]))
  return concat([type, 4 + area.length], word(handle), area, ...texts, strings.length === 0 ? [0, 0] : [0])
}

function processor(index: number): Uint8Array {
  const CENTRAL = 3
  const OTHER_FAMILY = 1
  const POPULATED_ENABLED = 0x41
  const OTHER_SOCKET = 1
  return structure(
    4,
    HANDLE.PROCESSOR + index,
    [
      [1, CENTRAL, OTHER_FAMILY, 2],
      new Uint8Array(8), // identity: CPUID has it
      [0, 0],
      word(0),
      word(0),
      word(0),
      [POPULATED_ENABLED, OTHER_SOCKET],
      word(NONE),
      word(NONE),
      word(NONE),
      [0, 0, 0],
    ],
    `CPU ${index}`,
    MANUFACTURER,
  )
}

/** Make them. */
export function buildSmbios({ ramSize, processors, manufacturer = MANUFACTURER }: SmbiosConfiguration): SmbiosTables {
  const SYSTEM_MEMORY = 3
  const SYSTEM_BOARD = 3
  const MULTI_BIT_ECC = 6
  const DIMM = 9
  const RAM = 7
  const structures = [
    // UUID: not there. Woken by the power switch.
    structure(1, HANDLE.SYSTEM, [[1, 2, 0, 0], new Uint8Array(16), [6, 0, 0]], manufacturer, PRODUCT),
    // Type "other"; states safe; no security.
    structure(3, HANDLE.CHASSIS, [[1, 1, 0, 0, 0, 3, 3, 3, UNKNOWN], doubleWord(0), [0, 0, 0, 0]], manufacturer),
    ...Array.from({ length: processors }, (_, index) => processor(index)),
    structure(16, HANDLE.ARRAY, [
      [SYSTEM_BOARD, SYSTEM_MEMORY, MULTI_BIT_ECC],
      doubleWord(ramSize / KIB),
      word(NONE - 1),
      word(1),
    ]),
    structure(
      17,
      HANDLE.MODULE,
      [
        word(HANDLE.ARRAY),
        word(NONE - 1),
        word(NONE),
        word(NONE),
        word(Math.min(Math.ceil(ramSize / MIB), MAXIMUM_MODULE)),
        [DIMM, 0, 1, 0, RAM],
        word(UNKNOWN),
        word(0),
        [2, 0, 0, 0],
      ],
      'DIMM 0',
      MANUFACTURER,
    ),
    structure(19, HANDLE.MAPPED, [doubleWord(0), doubleWord(ramSize / KIB - 1), word(HANDLE.ARRAY), [1]]),
    structure(32, HANDLE.BOOT, [[0, 0, 0, 0, 0, 0, 0]]),
    structure(127, HANDLE.END, []),
  ]
  const tables = concat(...structures)
  const anchor = new Uint8Array(ANCHOR_LENGTH)
  const view = viewOf(anchor)
  anchor.set(new TextEncoder().encode('_SM_'))
  anchor[5] = ANCHOR_LENGTH
  anchor.set(VERSION, 6)
  view.setUint16(8, Math.max(...structures.map(({ length }) => length)), true)
  anchor.set(new TextEncoder().encode('_DMI_'), 16)
  view.setUint16(22, tables.length, true)
  view.setUint16(28, structures.length, true)
  anchor[30] = (VERSION[0] << 4) | VERSION[1]
  anchor[21] = checksum(anchor.subarray(16))
  anchor[4] = checksum(anchor)
  return { tables, anchor }
}
