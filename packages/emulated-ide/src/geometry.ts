// Cylinders, heads and sectors: translations between them and block addresses (ATA/ATAPI-7 volume 1, annex B).

/** Cylinders, heads and sectors of a track. */
export interface Geometry {
  readonly cylinders: number
  readonly heads: number
  readonly sectors: number
}

const MAXIMUM_CYLINDERS = 16_383

/** The geometry that a disk says it has: 16 heads, 63 sectors, and what fits. */
export function defaultGeometry(sectorCount: number): Geometry {
  return geometry(sectorCount, 16, 63)
}

/** A geometry with `heads` and `sectors` for a disk of `sectorCount` sectors. */
export function geometry(sectorCount: number, heads: number, sectors: number): Geometry {
  const limit = Math.min(sectorCount, 0xffff * heads * sectors)
  return { cylinders: Math.min(Math.floor(limit / (heads * sectors)), MAXIMUM_CYLINDERS), heads, sectors }
}
