// Which sectors of a disk a host may address, and how it names them: block addresses, cylinders, heads and sectors, and the host protected area (ATA/ATAPI-7 volume 1, sections 4.10, 6.37 and
// 6.49, annex B).

import { DEVICE, LARGEST_LBA28 } from './ata.ts'
import { defaultGeometry, type Geometry, geometry } from './geometry.ts'
import type { TaskFile } from './task-file.ts'

/** Saved {@link Addressing}. */
export interface AddressingState {
  readonly addressable: number
  readonly heads: number
  readonly sectors: number
}

/** Addresses on a disk of `native` sectors. */
export class Addressing {
  readonly #native: number
  /** Sectors that the host may address: fewer than there are with SET MAX ADDRESS. */
  #addressable: number
  #geometry: Geometry

  constructor(native: number) {
    this.#native = native
    this.#addressable = native
    this.#geometry = defaultGeometry(native)
  }

  get addressable(): number {
    return this.#addressable
  }

  get geometry(): Geometry {
    return this.#geometry
  }

  /** The sector that `file` names; undefined when it and the `count - 1` behind it are not all on the disk. */
  find(file: TaskFile, ext: boolean, count: number): number | undefined {
    const lba = file.sector(ext, this.#geometry)
    return lba >= 0 && lba + count <= this.#addressable ? lba : undefined
  }

  /** Put `lba` into `file` as commands with that kind of address expect it. */
  store(file: TaskFile, lba: number, ext: boolean): undefined {
    file.storeSector(lba, ext, this.#geometry)
  }

  /** READ NATIVE MAX ADDRESS: one that 28 bits cannot carry is all ones (section 6.37). */
  storeMaximum(file: TaskFile, ext: boolean): undefined {
    const { device } = file
    const lba = this.#native - 1
    file.device |= DEVICE.LBA
    this.store(file, ext ? lba : Math.min(lba, LARGEST_LBA28), ext)
    file.device = ext ? device : (device & ~DEVICE.HEAD) | (file.device & DEVICE.HEAD)
  }

  /** SET MAX ADDRESS: the sector that `file` names is the last one from now on. False when there is none. */
  setMaximum(file: TaskFile, ext: boolean): boolean {
    const lba = file.sector(ext, this.#geometry)
    if (lba < 0 || lba >= this.#native) return false
    this.#addressable = lba + 1
    this.setGeometry(this.#geometry.heads, this.#geometry.sectors)
    return true
  }

  /** INITIALIZE DEVICE PARAMETERS. */
  setGeometry(heads: number, sectors: number): undefined {
    this.#geometry = geometry(this.#addressable, heads, sectors)
  }

  /** Power-on. */
  reset(): undefined {
    this.#addressable = this.#native
    this.#geometry = defaultGeometry(this.#native)
  }

  save(): AddressingState & { readonly [key: string]: number } {
    return { addressable: this.#addressable, heads: this.#geometry.heads, sectors: this.#geometry.sectors }
  }

  restore(state: AddressingState): undefined {
    this.#addressable = Math.min(state.addressable, this.#native)
    this.setGeometry(state.heads, state.sectors)
  }
}
