// A small disk that does everything right, and can be told to do one thing wrong: what the suite for disks is tested with.

import { DISK_ERROR, type Disk, PartitaError } from '@partita/interface'
import type { DiskSubject } from '@partita/testkit'

/** What can be wrong with it. */
export type DiskBug =
  | 'has odd sectors'
  | 'writes one byte less'
  | 'loses what is cut'
  | 'mixes requests'
  | 'writes late'
  | 'reads late'
  | 'zeros one sector too many'
  | 'discards by garbage'
  | 'throws at once'
  | 'wraps around'
  | 'writes before it looks'
  | 'writes though it is read-only'
  | 'stays broken'
  | 'forgets what runs at its end'
  | 'works on at its end'
  | 'is empty when it is opened again'

class DiskError extends PartitaError {}

const SECTOR = 512
const COUNT = 256

/** What stands behind disks. */
interface Store {
  bytes: Uint8Array
  broken: boolean
}

class ExampleDisk implements Disk {
  readonly sectorSize: number
  readonly physicalSectorSize = 4096
  readonly sectorCount: number = COUNT
  readonly readOnly: boolean
  readonly #store: Store
  readonly #bug: DiskBug | undefined
  #closed = false
  #spoiled = false
  #lane: { readonly sector: number; readonly segments: readonly Uint8Array[] } | undefined

  constructor(store: Store, readOnly: boolean, bug: DiskBug | undefined) {
    this.#store = store
    this.readOnly = readOnly
    this.#bug = bug
    this.sectorSize = bug === 'has odd sectors' ? 520 : SECTOR
  }

  #range(sector: number, count: number): void {
    const right = Number.isSafeInteger(sector) && sector >= 0 && Number.isSafeInteger(count) && count >= 0
    if (right && sector + count <= COUNT) return
    if (this.#bug === 'wraps around' && right) return
    throw new DiskError(DISK_ERROR.RANGE, 'outside of the disk')
  }

  async #check(sector: number, count: number, change: boolean): Promise<void> {
    if (this.#closed && this.#bug !== 'works on at its end') throw new DiskError(DISK_ERROR.CLOSED, 'closed')
    this.#range(sector, count)
    if (change && this.readOnly && this.#bug !== 'writes though it is read-only')
      throw new DiskError(DISK_ERROR.READ_ONLY, 'read-only')
    await Promise.resolve()
    if (this.#store.broken) this.#spoiled = true
    if (this.#store.broken || (this.#bug === 'stays broken' && this.#spoiled))
      throw new DiskError(DISK_ERROR.IO, 'broken')
    if (this.#closed && this.#bug === 'forgets what runs at its end') await new Promise(() => {})
  }

  read(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    if (this.#bug === 'throws at once') this.#range(sector, 0)
    return this.#read(sector, segments)
  }

  async #read(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    const length = segments.reduce((sum, segment) => sum + segment.length, 0)
    await this.#check(sector, length / SECTOR, false)
    this.#copyOut(sector, segments)
    if (this.#bug === 'reads late') setImmediate(() => this.#copyOut(sector, segments))
  }

  #copyOut(sector: number, segments: readonly Uint8Array[]): void {
    let at = sector * SECTOR
    for (const segment of segments) {
      segment.set(this.#store.bytes.subarray(at, at + segment.length))
      at += segment.length
    }
  }

  async write(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    if (this.#bug === 'writes before it looks' && sector >= 0) this.#copyIn(sector, segments)
    this.#lane = { sector, segments }
    const length = segments.reduce((sum, segment) => sum + segment.length, 0)
    await this.#check(sector, length / SECTOR, true)
    const lane = this.#bug === 'mixes requests' ? this.#lane : { sector, segments }
    this.#copyIn(lane.sector, this.#bug === 'loses what is cut' ? lane.segments.slice(0, 2) : lane.segments)
    if (this.#bug === 'writes late') setImmediate(() => this.#copyIn(sector, segments))
  }

  #copyIn(sector: number, segments: readonly Uint8Array[]): void {
    let at = sector * SECTOR
    for (const segment of segments) {
      const length = this.#bug === 'writes one byte less' ? Math.max(0, segment.length - 1) : segment.length
      this.#store.bytes.set(
        segment.subarray(0, Math.min(length, Math.max(0, this.#store.bytes.length - at))),
        Math.min(at, this.#store.bytes.length),
      )
      at += segment.length
    }
  }

  flush(): Promise<void> {
    return this.#check(0, 0, false)
  }

  async discard(sector: number, count: number): Promise<void> {
    await this.#check(sector, count, true)
    const value = this.#bug === 'discards by garbage' ? 0xdd : 0
    this.#store.bytes.fill(value, sector * SECTOR, (sector + count) * SECTOR)
  }

  async zero(sector: number, count: number): Promise<void> {
    await this.#check(sector, count, true)
    const more = this.#bug === 'zeros one sector too many' ? 1 : 0
    this.#store.bytes.fill(0, sector * SECTOR, (sector + count + more) * SECTOR)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
  }
}

/** The example as a subject of the suite. */
export function exampleDiskSubject(bug?: DiskBug): DiskSubject {
  let store: Store = { bytes: new Uint8Array(SECTOR * COUNT), broken: false }
  return {
    name: 'example',
    create: () => {
      store = { bytes: new Uint8Array(SECTOR * COUNT), broken: false }
      return new ExampleDisk(store, false, bug)
    },
    createReadOnly: () => new ExampleDisk(store, true, bug),
    reopen: () => {
      if (bug === 'is empty when it is opened again') store.bytes.fill(0)
      return new ExampleDisk(store, false, bug)
    },
    fault: {
      code: DISK_ERROR.IO,
      break: () => {
        store.broken = true
      },
      mend: () => {
        store.broken = false
      },
    },
  }
}
