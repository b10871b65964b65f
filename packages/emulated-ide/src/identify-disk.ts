// The answer to IDENTIFY DEVICE (ATA/ATAPI-7 volume 1, section 6.17, table 27; words 105 and 169 from ATA8-ACS-2).

import { LARGEST_LBA28, MAXIMUM_MULTIPLE, MAXIMUM_TRIM_SECTORS, SECTOR_SIZE } from './ata.ts'
import type { DiskSettings } from './disk-settings.ts'
import type { DriveNames } from './drive.ts'
import { defaultGeometry, type Geometry } from './geometry.ts'
import { cableWord, IdentifyWords } from './identify-words.ts'

/** What the answer depends on. */
export interface DiskIdentity {
  readonly names: DriveNames
  /** Sectors that the host may address now. */
  readonly sectorCount: number
  readonly physicalSectorSize: number
  /** Device 1 of its channel. */
  readonly second: boolean
  readonly current: Geometry
  readonly settings: Pick<DiskSettings, 'multiple' | 'writeCache' | 'lookAhead' | 'dmaMode'>
  readonly smart: boolean
  /** Whether the drive moves data by DMA. */
  readonly dma: boolean
  /** Whether DATA SET MANAGEMENT gives sectors back. */
  readonly trims: boolean
}

/** Write the 512 bytes to `target`. */
export function identifyDisk(identity: DiskIdentity, target: Uint8Array): void {
  const data = new IdentifyWords()
  const { words } = data
  const { settings } = identity
  const basic = defaultGeometry(identity.sectorCount)
  words[0] = 0x0040 // ATA, not removable
  words[1] = basic.cylinders
  words[3] = basic.heads
  words[6] = basic.sectors
  data.text(10, 10, identity.names.serial)
  data.text(23, 4, identity.names.firmware)
  data.text(27, 20, identity.names.model)
  words[47] = 0x8000 | MAXIMUM_MULTIPLE
  words[49] = 0x0e00 | (identity.dma ? 0x0100 : 0) // IORDY, may be disabled; LBA; DMA
  words[50] = 0x4000
  words[51] = 0x0200
  data.modes(identity.dma, settings.dmaMode)
  words[54] = identity.current.cylinders
  words[55] = identity.current.heads
  words[56] = identity.current.sectors
  data.dword(57, identity.current.cylinders * identity.current.heads * identity.current.sectors)
  words[59] = settings.multiple > 0 ? 0x0100 | settings.multiple : 0
  data.dword(60, Math.min(identity.sectorCount, LARGEST_LBA28))
  words[80] = 0x01f0 // ATA/ATAPI-4 to ATA8-ACS
  words[82] = 0x7469 // NOP, READ and WRITE BUFFER, host protected area, look-ahead, write cache, power management, SMART
  words[83] = 0x7400 // FLUSH CACHE EXT, FLUSH CACHE, 48-bit addresses
  words[84] = 0x4043 // FUA EXT, SMART self-test and error log
  words[85] =
    0x7408 | (settings.lookAhead ? 0x0040 : 0) | (settings.writeCache ? 0x0020 : 0) | (identity.smart ? 0x0001 : 0)
  words[86] = 0x3400
  words[87] = 0x4043
  words[93] = cableWord(identity.second)
  data.dword(100, identity.sectorCount % 0x1_0000_0000)
  data.dword(102, Math.floor(identity.sectorCount / 0x1_0000_0000))
  const ratio = Math.log2(identity.physicalSectorSize / SECTOR_SIZE)
  if (ratio > 0) words[106] = 0x6000 | ratio // logical sectors of a physical one
  if (identity.trims) {
    words[105] = MAXIMUM_TRIM_SECTORS
    words[169] = 0x0001
  }
  words[217] = 0x0001 // nothing rotates
  data.store(target)
}
