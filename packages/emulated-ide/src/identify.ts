// The answer to IDENTIFY DEVICE (ATA/ATAPI-7, section 6.17, table 27).

import { MAXIMUM_MULTIPLE, SECTOR_SIZE } from './ata.ts'

/** Cylinders, heads and sectors of a track. */
export interface Geometry {
  readonly cylinders: number
  readonly heads: number
  readonly sectors: number
}

const MAXIMUM_CYLINDERS = 16_383
const LARGEST_LBA28 = 0x0fff_ffff

/** The geometry that a disk says it has: 16 heads, 63 sectors, and what fits (annex B). */
export function defaultGeometry(sectorCount: number): Geometry {
  return geometry(sectorCount, 16, 63)
}

/** A geometry with `heads` and `sectors` for a disk of `sectorCount` sectors. */
export function geometry(sectorCount: number, heads: number, sectors: number): Geometry {
  const limit = Math.min(sectorCount, 0xffff * heads * sectors)
  return { cylinders: Math.min(Math.floor(limit / (heads * sectors)), MAXIMUM_CYLINDERS), heads, sectors }
}

/** What the answer depends on. */
export interface Identity {
  readonly sectorCount: number
  readonly physicalSectorSize: number
  readonly model: string
  readonly serial: string
  readonly firmware: string
  /** Device 1 of its channel. */
  readonly second: boolean
  readonly current: Geometry
  /** Sectors of a block of READ and WRITE MULTIPLE, 0 while it is off. */
  readonly multiple: number
  readonly writeCache: boolean
  /** Selected transfer mode as SET FEATURES takes it: 0x20 | multiword mode, 0x40 | Ultra DMA mode; 0 for none. */
  readonly dmaMode: number
}

/** Write the 512 bytes to `target`. */
export function identify(identity: Identity, target: Uint8Array): void {
  const words = new Uint16Array(256)
  const basic = defaultGeometry(identity.sectorCount)
  const dword = (index: number, value: number): void => {
    words[index] = value & 0xffff
    words[index + 1] = Math.floor(value / 0x1_0000) & 0xffff
  }
  /** ASCII, padded with blanks, the first character of a pair in the high byte. */
  const text = (index: number, count: number, value: string): void => {
    for (let i = 0; i < count; i++) {
      const [high, low] = [value.charCodeAt(2 * i) || 0x20, value.charCodeAt(2 * i + 1) || 0x20]
      words[index + i] = ((high & 0x7f) << 8) | (low & 0x7f)
    }
  }
  words[0] = 0x0040 // ATA, not removable
  words[1] = basic.cylinders
  words[3] = basic.heads
  words[6] = basic.sectors
  text(10, 10, identity.serial)
  text(23, 4, identity.firmware)
  text(27, 20, identity.model)
  words[47] = 0x8000 | MAXIMUM_MULTIPLE
  words[49] = 0x0f00 // IORDY, may be disabled; LBA; DMA
  words[50] = 0x4000
  words[51] = 0x0200
  words[53] = 0x0007 // words 54–58, 64–70 and 88 are valid
  words[54] = identity.current.cylinders
  words[55] = identity.current.heads
  words[56] = identity.current.sectors
  dword(57, identity.current.cylinders * identity.current.heads * identity.current.sectors)
  words[59] = identity.multiple > 0 ? 0x0100 | identity.multiple : 0
  dword(60, Math.min(identity.sectorCount, LARGEST_LBA28))
  words[63] = 0x0007 | ((identity.dmaMode & 0xf8) === 0x20 ? 0x0100 << (identity.dmaMode & 7) : 0)
  words[64] = 0x0003 // PIO modes 3 and 4
  for (let index = 65; index <= 68; index++) words[index] = 120 // ns of a cycle
  words[80] = 0x00f0 // ATA/ATAPI-4 to -7
  words[82] = 0x4068 // NOP, look-ahead, write cache, power management
  words[83] = 0x7400 // FLUSH CACHE EXT, FLUSH CACHE, 48-bit addresses
  words[84] = 0x4000
  words[85] = 0x4048 | (identity.writeCache ? 0x0020 : 0)
  words[86] = 0x3400
  words[87] = 0x4000
  words[88] = 0x003f | ((identity.dmaMode & 0xf8) === 0x40 ? 0x0100 << (identity.dmaMode & 7) : 0)
  words[93] = identity.second ? 0x6b01 : 0x600b // 80-conductor cable, diagnostics passed
  dword(100, identity.sectorCount % 0x1_0000_0000)
  dword(102, Math.floor(identity.sectorCount / 0x1_0000_0000))
  const ratio = Math.log2(identity.physicalSectorSize / SECTOR_SIZE)
  if (ratio > 0) words[106] = 0x6000 | ratio // logical sectors of a physical one
  for (let index = 0; index < 255; index++) {
    target[2 * index] = (words[index] ?? 0) & 0xff
    target[2 * index + 1] = (words[index] ?? 0) >> 8
  }
  // Word 255: signature, and the checksum that makes the sum of all bytes zero.
  target[510] = 0xa5
  let sum = 0
  for (let index = 0; index < 511; index++) sum += target[index] ?? 0
  target[511] = -sum & 0xff
}
