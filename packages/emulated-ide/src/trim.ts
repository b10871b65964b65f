// The ranges of DATA SET MANAGEMENT with TRIM (ATA8-ACS-2, 7.10 and 4.18): eight bytes each, 48 bits of address and 16 of count.

/** A run of sectors. */
export interface SectorRange {
  readonly sector: number
  readonly count: number
}

/** The ranges in `data`; undefined when one of them is not within `sectorCount`. Empty ones fill up. */
export function trimRanges(data: Uint8Array, sectorCount: number): SectorRange[] | undefined {
  const ranges: SectorRange[] = []
  for (let at = 0; at + 8 <= data.length; at += 8) {
    let sector = 0
    for (let i = 5; i >= 0; i--) sector = sector * 0x100 + (data[at + i] as number)
    const count = (data[at + 6] as number) | ((data[at + 7] as number) << 8)
    if (count === 0) continue
    if (sector + count > sectorCount) return undefined
    ranges.push({ sector, count })
  }
  return ranges
}
