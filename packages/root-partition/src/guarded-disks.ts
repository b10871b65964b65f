// Disks between the plug-in that provides them and those that use them. What is no error of the disk contract is a fault of the provider: who waits for it gets an I/O error,
// and so do those that ask afterwards, or wait for an operation that never settles now.

import { DISK_ERROR, type Disk, PartitaError } from '@partita/interface'
import { isObject } from './guarded-devices.ts'
import type { PluginGuard, Waiting } from './plugin-guard.ts'
import { isAnswer, messageOf } from './thrown.ts'

/** The disks that a plug-in provides; what it adds later is there, too. */
export function guardedDisks(
  disks: ReadonlyMap<string, Disk>,
  provider: PluginGuard,
  user: PluginGuard | undefined,
): ReadonlyMap<string, Disk> {
  return new GuardedDisks(disks, provider, user)
}

class GuardedDisks implements ReadonlyMap<string, Disk> {
  readonly #disks: ReadonlyMap<string, Disk>
  readonly #provider: PluginGuard
  readonly #user: PluginGuard | undefined
  /** One for each disk: who compares disks sees that two are the same. */
  readonly #guarded: WeakMap<Disk, GuardedDisk> = new WeakMap()

  constructor(disks: ReadonlyMap<string, Disk>, provider: PluginGuard, user: PluginGuard | undefined) {
    this.#disks = disks
    this.#provider = provider
    this.#user = user
  }

  get size(): number {
    return this.#names().length
  }

  has(name: string): boolean {
    return this.#provider.serve('when a disk was looked for', false, () => this.#disks.has(name)) === true
  }

  get(name: string): Disk | undefined {
    const where = 'when a disk was looked for'
    const disk = this.#provider.serve<Disk | undefined>(where, undefined, () => this.#disks.get(name))
    if (!isObject(disk)) return undefined
    let guarded = this.#guarded.get(disk)
    if (guarded === undefined) {
      guarded = new GuardedDisk(disk, name, this.#provider, this.#user)
      this.#guarded.set(disk, guarded)
    }
    return guarded
  }

  *keys(): MapIterator<string> {
    yield* this.#names()
  }

  *values(): MapIterator<Disk> {
    for (const [, disk] of this.entries()) yield disk
  }

  *entries(): MapIterator<[string, Disk]> {
    for (const name of this.#names()) {
      const disk = this.get(name)
      if (disk !== undefined) yield [name, disk]
    }
  }

  [Symbol.iterator](): MapIterator<[string, Disk]> {
    return this.entries()
  }

  forEach(callback: (disk: Disk, name: string, disks: ReadonlyMap<string, Disk>) => void): void {
    for (const [name, disk] of this.entries()) callback(disk, name, this)
  }

  #names(): readonly string[] {
    return this.#provider.serve('when its disks were listed', [], () => [...this.#disks.keys()])
  }
}

type Segments = readonly Uint8Array[]

// Getters of a provider may throw, too. No closures: a disk is read all the time.
const readOf = (disk: Disk) => disk.read
const writeOf = (disk: Disk) => disk.write
const flushOf = (disk: Disk) => disk.flush
const endOf = (disk: Disk) => disk[Symbol.asyncDispose]

function areNumbers(sector: number, count: number): boolean {
  return typeof sector === 'number' && typeof count === 'number'
}

function areSegments(sector: number, segments: Segments): boolean {
  if (typeof sector !== 'number' || !Array.isArray(segments)) return false
  for (const segment of segments) if (!(segment instanceof Uint8Array)) return false
  return true
}

type Shape = Pick<Disk, 'sectorSize' | 'physicalSectorSize' | 'sectorCount' | 'readOnly' | 'discard' | 'zero'>

/** Of a disk that cannot be looked at. */
const NO_SHAPE: Shape = { sectorSize: 512, physicalSectorSize: 512, sectorCount: 0, readOnly: true }

/** What of a disk does not change. @throws TypeError for what is no disk */
function shapeOf({ sectorSize, physicalSectorSize, sectorCount, readOnly, discard, zero }: Disk): Shape {
  const areSizes = isSize(sectorSize) && Number.isInteger(physicalSectorSize / sectorSize) && physicalSectorSize > 0
  if (!areSizes || !Number.isSafeInteger(sectorCount) || sectorCount < 0) throw new TypeError('it has no sectors')
  return { sectorSize, physicalSectorSize, sectorCount, readOnly, ...(discard && { discard }), ...(zero && { zero }) }
}

/** Sectors are 512 bytes, or a power of two above. */
function isSize(value: number): boolean {
  return Number.isInteger(value) && value >= 512 && Number.isInteger(Math.log2(value))
}

class GuardedDisk implements Disk {
  readonly sectorSize: number
  readonly physicalSectorSize: number
  readonly sectorCount: number
  readonly readOnly: boolean
  readonly discard?: (sector: number, count: number) => Promise<void>
  readonly zero?: (sector: number, count: number) => Promise<void>
  readonly #disk: Disk
  readonly #name: string
  readonly #provider: PluginGuard
  readonly #user: PluginGuard | undefined
  readonly #pending: Set<Operation> = new Set()
  /** With the provider ends what is under way. */
  readonly #ending: Disposable = {
    [Symbol.dispose]: () => {
      for (const operation of this.#pending) operation.reject(this.#gone())
      this.#pending.clear()
    },
  }
  #isClosed = false

  constructor(disk: Disk, name: string, provider: PluginGuard, user: PluginGuard | undefined) {
    this.#disk = disk
    this.#name = name
    this.#provider = provider
    this.#user = user
    const shape = provider.serve<Shape, Disk>('when a disk was looked at', NO_SHAPE, shapeOf, undefined, disk)
    this.sectorSize = shape.sectorSize
    this.physicalSectorSize = shape.physicalSectorSize
    this.sectorCount = shape.sectorCount
    this.readOnly = shape.readOnly
    const { discard, zero } = shape
    if (discard !== undefined)
      this.discard = (sector, count) => this.#ask('a discard', () => discard, areNumbers, sector, count)
    if (zero !== undefined)
      this.zero = (sector, count) => this.#ask('a request to fill with zeros', () => zero, areNumbers, sector, count)
    provider.own(this.#ending)
  }

  read(sector: number, segments: Segments): Promise<void> | undefined {
    return this.#call('a read', readOf, areSegments, sector, segments)
  }

  write(sector: number, segments: Segments): Promise<void> | undefined {
    return this.#call('a write', writeOf, areSegments, sector, segments)
  }

  flush(): Promise<void> {
    return this.#ask('a flush', flushOf)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#provider.failed) return
    try {
      await this.#ask('the end', endOf)
    } catch (error) {
      // A disk whose provider is gone is closed.
      if (!this.#provider.failed) throw error
    } finally {
      this.#isClosed = true
      this.#forget()
    }
  }

  /** Of a disk that is closed, and of which nothing is under way, nothing is left to end. */
  #forget(): void {
    if (this.#isClosed && this.#pending.size === 0) this.#provider.disown(this.#ending)
  }

  /** An operation that is never done at once. */
  #ask<A = undefined, B = undefined>(
    what: string,
    methodOf: (disk: Disk) => (a: A, b: B) => PromiseLike<void>,
    areRight?: (a: A, b: B) => boolean,
    a?: A,
    b?: B,
  ): Promise<void> {
    return this.#call(what, methodOf, areRight, a, b) ?? Promise.resolve()
  }

  /** `areRight`: what a disk is not to be asked for is the fault of whoever asks. */
  #call<A = undefined, B = undefined>(
    what: string,
    methodOf: (disk: Disk) => (a: A, b: B) => PromiseLike<void> | undefined,
    areRight?: (a: A, b: B) => boolean,
    a?: A,
    b?: B,
  ): Promise<void> | undefined {
    const provider = this.#provider
    if (provider.failed) return Promise.reject(this.#gone())
    if (areRight?.(a as A, b as B) === false)
      return Promise.reject(new TypeError(`what ${what} of the disk ${this.#name} was given is no place, or no memory`))
    const disk = this.#disk
    let result: PromiseLike<void> | undefined
    try {
      result = provider.scope.call(methodOf(disk), disk, a as A, b as B, undefined)
    } catch (error) {
      return Promise.reject(this.errorOf(what, error))
    }
    // It is done.
    if (result === undefined) return undefined
    const operation = new Operation(result, this, what)
    this.#pending.add(operation)
    if (this.#isClosed) provider.own(this.#ending)
    this.#user?.waitsFor(provider, operation)
    return operation.promise
  }

  /** An operation is over. */
  settled(operation: Operation): void {
    this.#pending.delete(operation)
    this.#forget()
    this.#user?.hasAnswer(operation)
  }

  /** What whoever waits for an operation in vain gets. */
  unanswered(what: string): unknown {
    const { id } = this.#provider
    const message = `${id}, which provides the disk ${this.#name}, does not answer ${what}`
    return this.#provider.fault(new PartitaError(DISK_ERROR.IO, message, { data: { id } }))
  }

  /** What the caller gets for what was thrown. */
  errorOf(what: string, error: unknown): unknown {
    if (isAnswer(error)) return error
    this.#provider.threw(`in ${what} of the disk ${this.#name}`, error)
    return this.#gone(error)
  }

  #gone(cause?: unknown): PartitaError {
    const { id, failed } = this.#provider
    const why = cause === undefined ? 'was taken away' : `failed: ${messageOf(cause)}`
    const error = new PartitaError(DISK_ERROR.IO, `${id}, which provides the disk ${this.#name}, ${why}`, {
      data: { id },
      ...(cause !== undefined && { cause }),
    })
    return failed ? this.#provider.fault(error) : error
  }
}

/** What is under way. It ends with the promise of the disk, or when the disk's provider is gone. */
class Operation implements Waiting {
  readonly promise: Promise<void>
  readonly reject: (error: unknown) => void
  readonly #disk: GuardedDisk
  readonly #what: string

  constructor(result: PromiseLike<void>, disk: GuardedDisk, what: string) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.promise = promise
    this.reject = reject
    this.#disk = disk
    this.#what = what
    Promise.resolve(result).then(
      () => {
        disk.settled(this)
        resolve()
      },
      (error: unknown) => {
        disk.settled(this)
        reject(disk.errorOf(what, error))
      },
    )
  }

  end(): void {
    this.reject(this.#disk.unanswered(this.#what))
  }
}
