// Options of the plug-in.

import * as v from 'valibot'

/** A drive in the options. */
export interface DriveOptions {
  /** Name of a disk of the service `disksToken`: the disk, or the medium in a CD or DVD drive, which may be empty with null. */
  readonly disk: string | null
  /** A CD and DVD drive. Default: false, a disk. */
  readonly dvd?: boolean | undefined
  /** Refuse writes. Default: as the disk has it. */
  readonly readOnly?: boolean | undefined
  /** Serial number, at most 20 characters. Default: the name of the disk. */
  readonly serial?: string | undefined
}

/** Options of `@partita/emulated-ide`. */
export interface IdeOptions {
  /** Primary master, primary slave, secondary master, secondary slave: names of disks, or drives; null for none. Default: none. */
  readonly drives: readonly (DriveOptions | null)[]
  /** A PCI function with bus master; without it the legacy ports alone, and PIO. Default: true. */
  readonly pci: boolean
  /** PCI device number. Default: 7, the PIIX4. */
  readonly device: number
  /** PCI function. Default: 1. */
  readonly fn: number
  /** First of the 16 bus-master ports at power-on. Default: 0xFFA0. */
  readonly busMasterBase: number
}

const name = v.pipe(v.string(), v.nonEmpty())

const drive: v.GenericSchema<unknown, DriveOptions> = v.union([
  v.pipe(
    name,
    v.transform((disk) => ({ disk })),
  ),
  v.pipe(
    v.strictObject({
      disk: v.nullable(name),
      dvd: v.optional(v.boolean()),
      readOnly: v.optional(v.boolean()),
      serial: v.optional(v.pipe(v.string(), v.nonEmpty(), v.maxLength(20))),
    }),
    v.check(({ disk, dvd }) => disk !== null || dvd === true, 'only a CD drive can be empty'),
  ),
])

/** The schema of {@link IdeOptions}. */
export const ideOptions: v.GenericSchema<unknown, IdeOptions> = v.strictObject({
  drives: v.optional(v.pipe(v.array(v.nullable(drive)), v.maxLength(4, 'there is room for four drives')), []),
  pci: v.optional(v.boolean(), true),
  device: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(31)), 7),
  fn: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(7)), 1),
  busMasterBase: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(0x1000), v.maxValue(0xfff0), v.multipleOf(16)),
    0xffa0,
  ),
})
