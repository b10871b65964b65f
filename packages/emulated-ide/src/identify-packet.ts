// The answer to IDENTIFY PACKET DEVICE (ATA/ATAPI-7 volume 1, section 6.18, table 31).

import type { DriveNames } from './drive.ts'
import { cableWord, IdentifyWords } from './identify-words.ts'

/** What the answer depends on. */
export interface PacketIdentity {
  readonly names: DriveNames
  readonly second: boolean
  readonly dma: boolean
  readonly dmaMode: number
}

/** NOP, DEVICE RESET, PACKET, power management. */
const FEATURE_SETS = 0x4218

/** Write the 512 bytes to `target`. */
export function identifyPacket(identity: PacketIdentity, target: Uint8Array): void {
  const data = new IdentifyWords()
  const { words } = data
  words[0] = 0x85c0 // ATAPI, CD-ROM, removable, DRQ within 50 µs of PACKET, packets of 12 bytes
  data.text(10, 10, identity.names.serial)
  data.text(23, 4, identity.names.firmware)
  data.text(27, 20, identity.names.model)
  words[49] = 0x0e00 | (identity.dma ? 0x0100 : 0)
  data.modes(identity.dma, identity.dmaMode)
  words[80] = 0x00f0 // ATA/ATAPI-4 to -7
  words[82] = FEATURE_SETS
  words[83] = 0x4000
  words[84] = 0x4000
  words[85] = FEATURE_SETS
  words[87] = 0x4000
  words[93] = cableWord(identity.second)
  data.store(target)
}
