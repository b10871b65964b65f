// Self-tests of a disk (ATA/ATAPI-7 volume 1, section 6.54.5): reads at places all over it.

import type { Disk } from '@partita/interface'
import { SECTOR_SIZE } from './ata.ts'
import { accessSectors } from './sector-access.ts'

/** Subcommands of EXECUTE OFF-LINE IMMEDIATE: a self-test in the background, and one with bit 7 in which the host waits. */
export const SELF_TEST = { OFFLINE: 0x00, SHORT: 0x01, EXTENDED: 0x02, ABORT: 0x7f, CAPTIVE: 0x80 } as const

const PLACES: Readonly<Record<number, number>> = { [SELF_TEST.SHORT]: 2, [SELF_TEST.EXTENDED]: 64 }

/** What becomes of EXECUTE OFF-LINE IMMEDIATE with `number`: nothing is to be done, there is no such test, or a test with so many places. */
export function selfTestPlaces(number: number): 'nothing' | 'unknown' | number {
  const kind = number & ~SELF_TEST.CAPTIVE
  const captive = (number & SELF_TEST.CAPTIVE) !== 0
  if (!captive && (kind === SELF_TEST.ABORT || kind === SELF_TEST.OFFLINE)) return 'nothing'
  return PLACES[kind] ?? 'unknown'
}

/** Read at `places` places; resolves with the first sector that cannot be read, or undefined. Ends early, with undefined, when it is `aborted`. */
export async function runSelfTest(
  disk: Disk,
  places: number,
  buffer: Uint8Array,
  aborted: () => boolean,
): Promise<number | undefined> {
  const length = Math.min(buffer.length / SECTOR_SIZE, disk.sectorCount)
  const part = buffer.subarray(0, length * SECTOR_SIZE)
  for (let place = 0; place < places; place++) {
    const sector = Math.floor(((disk.sectorCount - length) * place) / (places - 1))
    const { sectors, failure } = await accessSectors(disk, 'read', sector, [part], aborted)
    if (aborted()) return undefined
    if (failure !== undefined) return sector + sectors
  }
  return undefined
}
