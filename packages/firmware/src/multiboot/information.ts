// The boot information that a multiboot loader hands over: version 1's structure (Multiboot 0.6.96, section 3.3) and version 2's tags
// (Multiboot2 2.0, section 3.6). Made for a given guest physical address, because it points into itself.

import { alignUp, cString, viewOf } from '../bytes.ts'
import { type E820Entry, LEGACY_HOLE_START } from '../memory-map.ts'
import type { PhysicalRange } from '../physical-memory.ts'

/** A module in memory. */
export interface PlacedModule extends PhysicalRange {
  readonly commandLine: string
}

/** What the information tells. */
export interface MultibootInformation {
  readonly commandLine: string
  readonly loaderName: string
  readonly memoryMap: readonly E820Entry[]
  /** End of the RAM that begins at 1 MiB. */
  readonly lowRamEnd: number
  readonly modules: readonly PlacedModule[]
  /** Version 2: the bytes of the RSDP. */
  readonly rsdp: Uint8Array | undefined
}

const FLAG = { MEMORY: 1 << 0, COMMAND_LINE: 1 << 2, MODULES: 1 << 3, MEMORY_MAP: 1 << 6, LOADER_NAME: 1 << 9 } as const
const STRUCTURE_SIZE = 120
const MIB = 0x10_0000

/** Version 1, for address `base`. */
export function buildInformation1(information: MultibootInformation, base: number): Uint8Array {
  const parts: { readonly offset: number; readonly bytes: Uint8Array }[] = []
  let size = STRUCTURE_SIZE
  const append = (bytes: Uint8Array): number => {
    const offset = alignUp(size, 8)
    parts.push({ offset, bytes })
    size = offset + bytes.length
    return base + offset
  }
  const structure = new Uint8Array(STRUCTURE_SIZE)
  const view = viewOf(structure)
  view.setUint32(0, FLAG.MEMORY | FLAG.COMMAND_LINE | FLAG.MODULES | FLAG.MEMORY_MAP | FLAG.LOADER_NAME, true)
  view.setUint32(4, LEGACY_HOLE_START / 1024, true)
  view.setUint32(8, (information.lowRamEnd - MIB) / 1024, true)
  view.setUint32(16, append(cString(information.commandLine)), true)
  const modules = new Uint8Array(information.modules.length * 16)
  const modulesView = viewOf(modules)
  information.modules.forEach(({ start, end, commandLine }, index) => {
    modulesView.setUint32(index * 16, start, true)
    modulesView.setUint32(index * 16 + 4, end, true)
    modulesView.setUint32(index * 16 + 8, append(cString(commandLine)), true)
  })
  view.setUint32(20, information.modules.length, true)
  view.setUint32(24, append(modules), true)
  const map = new Uint8Array(information.memoryMap.length * 24)
  const mapView = viewOf(map)
  information.memoryMap.forEach((entry, index) => {
    // The size does not count itself.
    mapView.setUint32(index * 24, 20, true)
    writeRange(mapView, index * 24 + 4, entry)
  })
  view.setUint32(44, map.length, true)
  view.setUint32(48, append(map), true)
  view.setUint32(64, append(cString(information.loaderName)), true)
  const bytes = new Uint8Array(size)
  bytes.set(structure)
  for (const part of parts) bytes.set(part.bytes, part.offset)
  return bytes
}

const TAG = {
  END: 0,
  COMMAND_LINE: 1,
  LOADER_NAME: 2,
  MODULE: 3,
  MEMORY: 4,
  MEMORY_MAP: 6,
  RSDP1: 14,
  RSDP2: 15,
} as const
/** Bytes of the part of the RSDP that ACPI 1.0 knows. */
const RSDP1_LENGTH = 20

/** Version 2. Nothing in it is an address of its own. */
export function buildInformation2(information: MultibootInformation): Uint8Array {
  const tags: Uint8Array[] = []
  const tag = (type: number, payload: Uint8Array): void => {
    const bytes = new Uint8Array(alignUp(8 + payload.length, 8))
    const view = viewOf(bytes)
    view.setUint32(0, type, true)
    view.setUint32(4, 8 + payload.length, true)
    bytes.set(payload, 8)
    tags.push(bytes)
  }
  tag(TAG.COMMAND_LINE, cString(information.commandLine))
  tag(TAG.LOADER_NAME, cString(information.loaderName))
  for (const { start, end, commandLine } of information.modules) {
    const text = cString(commandLine)
    const payload = new Uint8Array(8 + text.length)
    viewOf(payload).setUint32(0, start, true)
    viewOf(payload).setUint32(4, end, true)
    payload.set(text, 8)
    tag(TAG.MODULE, payload)
  }
  const memory = new Uint8Array(8)
  viewOf(memory).setUint32(0, LEGACY_HOLE_START / 1024, true)
  viewOf(memory).setUint32(4, (information.lowRamEnd - MIB) / 1024, true)
  tag(TAG.MEMORY, memory)
  const map = new Uint8Array(8 + information.memoryMap.length * 24)
  const mapView = viewOf(map)
  // Entry size 24, entry version 0.
  mapView.setUint32(0, 24, true)
  information.memoryMap.forEach((entry, index) => {
    writeRange(mapView, 8 + index * 24, entry)
  })
  tag(TAG.MEMORY_MAP, map)
  if (information.rsdp !== undefined) {
    tag(TAG.RSDP1, information.rsdp.subarray(0, RSDP1_LENGTH))
    tag(TAG.RSDP2, information.rsdp)
  }
  tag(TAG.END, new Uint8Array(0))
  const size = tags.reduce((sum, { length }) => sum + length, 8)
  const bytes = new Uint8Array(size)
  viewOf(bytes).setUint32(0, size, true)
  let offset = 8
  for (const bytesOfTag of tags) {
    bytes.set(bytesOfTag, offset)
    offset += bytesOfTag.length
  }
  return bytes
}

/** base_addr, length, type. */
function writeRange(view: DataView, offset: number, { base, length, type }: E820Entry): void {
  view.setBigUint64(offset, BigInt(base), true)
  view.setBigUint64(offset + 8, BigInt(length), true)
  view.setUint32(offset + 16, type, true)
}
