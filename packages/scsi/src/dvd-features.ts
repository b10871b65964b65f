// GET CONFIGURATION (MMC-6, 6.5): the profiles and features of a drive (MMC-6, 5.2 and 5.3).

import { be16, putBe16, putBe32 } from './bytes.ts'
import type { ScsiCommand } from './command.ts'
import type { DvdUnit } from './dvd-unit.ts'
import { PROFILE } from './media.ts'
import { SENSE } from './sense.ts'

/** A feature descriptor: number, version, always current, the profile that it is current with, and what follows its header. */
interface Feature {
  readonly code: number
  readonly version: number
  readonly persistent: boolean
  /** Any profile but none where it says `'medium'`. */
  readonly currentWith?: number | 'medium'
  readonly data: readonly number[]
}

const PROFILE_LIST = 0x0000
const CD_READ = 0x001e

const FEATURES: readonly Feature[] = [
  // Core: SCSI family; INQ2 and DBE clear.
  { code: 0x0001, version: 2, persistent: true, data: [0, 0, 0, 1, 0, 0, 0, 0] },
  // Morphing: synchronous events alone.
  { code: 0x0002, version: 1, persistent: true, data: [0, 0, 0, 0] },
  // Removable medium: a tray, that ejects, and can be locked.
  { code: 0x0003, version: 0, persistent: true, data: [0x29, 0, 0, 0] },
  // Random readable: blocks of 2,048 bytes, one at a time.
  { code: 0x0010, version: 0, persistent: false, currentWith: 'medium', data: [0, 0, 0x08, 0, 0, 1, 0, 0] },
  // CD read: no C2 pointers, no CD text.
  { code: CD_READ, version: 2, persistent: false, currentWith: PROFILE.CD_ROM, data: [0, 0, 0, 0] },
  // DVD read.
  { code: 0x001f, version: 0, persistent: false, currentWith: PROFILE.DVD_ROM, data: [0, 0, 0, 0] },
  // Power management; time-outs.
  { code: 0x0100, version: 0, persistent: true, data: [] },
  { code: 0x0105, version: 1, persistent: true, data: [0, 0, 0, 0] },
]

/** The descriptor of the profiles that there are; the one of the medium is current. */
function profileList(unit: DvdUnit): Feature {
  const profiles = unit.readsCds ? [PROFILE.DVD_ROM, PROFILE.CD_ROM] : [PROFILE.DVD_ROM]
  const data = profiles.flatMap((profile) => [profile >> 8, profile & 0xff, profile === unit.profile ? 0x01 : 0, 0])
  return { code: PROFILE_LIST, version: 0, persistent: true, data }
}

/** Serve GET CONFIGURATION. */
export function getConfiguration(unit: DvdUnit, command: ScsiCommand): undefined {
  const requested = (command.cdb[1] as number) & 0x03
  const start = be16(command.cdb, 2)
  if (requested === 3) return command.fail(SENSE.INVALID_FIELD_IN_CDB)
  const { profile } = unit
  const bytes: number[] = []
  for (const feature of [profileList(unit), ...FEATURES]) {
    if (feature.code === CD_READ && !unit.readsCds) continue
    const { currentWith } = feature
    const current =
      currentWith === undefined || (currentWith === 'medium' ? profile !== PROFILE.NONE : currentWith === profile)
    if (feature.code < start || (requested === 1 && !current)) continue
    if (requested === 2 && feature.code !== start) continue
    bytes.push(feature.code >> 8, feature.code & 0xff)
    bytes.push((feature.version << 2) | (feature.persistent ? 0x02 : 0) | (current ? 0x01 : 0), feature.data.length)
    bytes.push(...feature.data)
  }
  const data = new Uint8Array(8 + bytes.length)
  putBe32(data, 0, data.length - 4)
  putBe16(data, 6, profile)
  data.set(bytes, 8)
  return command.answer(data, be16(command.cdb, 7))
}
