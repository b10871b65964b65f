// The compliance suite that every disk runs: what a controller may expect of the Disk contract of `@partita/interface`.

import { DISK_ERROR, type Disk, PartitaError } from '@partita/interface'
import { turn } from '../turns.ts'
import {
  type ComplianceCheck,
  type ComplianceOptions,
  expectEqual,
  expectThat,
  fail,
  messageOf,
  plainCheck,
  randomCheck,
} from './check.ts'
import type { SeededRandom } from './seeded-random.ts'

/** A disk under test. */
export interface DiskSubject extends ComplianceOptions {
  /** For the names of tests: `raw image`. */
  readonly name: string
  /** A fresh disk that can be written, of at least 64 sectors. The suite disposes of it. */
  readonly create: () => Disk | Promise<Disk>
  /** A disk that cannot be written. Default: none is tested. */
  readonly createReadOnly?: () => Disk | Promise<Disk>
  /** Open again what stands behind a disk that `create` made and that was disposed of. Default: it is gone with the disk. */
  readonly reopen?: () => Disk | Promise<Disk>
  /** Break what stands behind a disk that `create` made, and mend it again. Default: that cannot be tested. */
  readonly fault?: {
    /** What operations fail with meanwhile. */
    readonly code: string
    /** From now on operations fail. */
    readonly break: () => void | Promise<void>
    /** They no longer do, and the disk is as usable as before. */
    readonly mend: () => void | Promise<void>
    /** Which operations fail. Default: reads and writes. */
    readonly operations?: readonly ('read' | 'write' | 'flush')[]
  }
  /** Runs of each random check. Default: 20. */
  readonly runs?: number
}

/** Sectors of a disk that the suite works on, at most. */
const SPAN = 512
/** What surrounds segments, to see that nothing is stored there. */
const GUARD = 0xa7
/** Turns of the event loop after which a disk has to have let go of what it was given. */
const LATER = 5
/** Turns of the event loop that operations of a disk that closes may take; a slow host is waited for longer than this takes. */
const PATIENCE = 200_000

/** A part of memory as a guest has it: shared, and not aligned; cut into pieces. */
class Segments {
  readonly whole: Uint8Array
  readonly pieces: Uint8Array[] = []
  readonly #memory: Uint8Array

  constructor(random: SeededRandom, length: number, fill?: (at: number) => number) {
    const shared = random.chance(1, 2)
    const before = 1 + random.below(70)
    const size = before + length + 70
    this.#memory = new Uint8Array(shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size)).fill(GUARD)
    this.whole = this.#memory.subarray(before, before + length)
    for (let at = 0; at < length; at++) this.whole[at] = fill === undefined ? 0 : fill(at)
    for (let at = 0; at < length; ) {
      if (random.chance(1, 6)) this.pieces.push(this.whole.subarray(at, at))
      const part = random.chance(1, 3) ? length - at : 1 + random.below(Math.min(length - at, 2000))
      this.pieces.push(this.whole.subarray(at, at + part))
      at += part
    }
  }

  /** @throws ComplianceError when something was stored around the segments */
  check(): void {
    const start = this.whole.byteOffset
    const end = start + this.whole.length
    for (let at = 0; at < this.#memory.length; at++)
      if ((at < start || at >= end) && this.#memory[at] !== GUARD) fail('a byte was stored outside of the segments')
  }
}

/** Run what has to fail with a code, as a rejection and not as an exception. */
async function refused(code: string, what: string, operation: () => Promise<unknown> | undefined): Promise<void> {
  let running: Promise<unknown> | undefined
  try {
    running = operation()
  } catch (error) {
    fail(`${what} throws instead of returning a promise that rejects: ${messageOf(error)}`, error)
  }
  if (running === undefined) return
  const error = await running.then(
    () => fail(`${what} succeeds`),
    (reason: unknown) => reason,
  )
  if (!(error instanceof PartitaError)) throw error
  expectEqual(error.code, code, `the code of ${what}`)
}

async function readAll(disk: Disk, sectors: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(sectors * disk.sectorSize)
  await disk.read(0, [bytes])
  return bytes
}

/** @throws ComplianceError with the first place where the two differ */
function expectBytes(actual: Uint8Array, expected: Uint8Array, sectorSize: number, what: string): void {
  const at = expected.findIndex((byte, index) => actual[index] !== byte)
  if (at >= 0)
    fail(
      `${what}: byte ${at % sectorSize} of sector ${Math.floor(at / sectorSize)} is ${actual[at]} instead of ${expected[at]}`,
    )
}

function contentChecks(subject: DiskSubject, runs: number): ComplianceCheck[] {
  return [
    randomCheck(
      'has what was written, however transfers are cut, and nothing else changed',
      subject,
      runs,
      async (random) => {
        await using disk = await subject.create()
        const sectors = Math.min(SPAN, disk.sectorCount)
        const model = await readAll(disk, sectors)
        for (let operation = 0; operation < 30; operation++) {
          const sector = random.below(sectors)
          const count = random.below(Math.min(20, sectors - sector) + 1)
          const length = count * disk.sectorSize
          const value = random.below(256)
          if (random.chance(1, 2)) {
            const data = new Segments(random, length, (at) => (value + at * 7 + (at >> 8)) & 0xff)
            await disk.write(sector, data.pieces)
            model.set(data.whole, sector * disk.sectorSize)
            data.check()
          } else {
            const data = new Segments(random, length, () => value)
            await disk.read(sector, data.pieces)
            expectBytes(
              data.whole,
              model.subarray(sector * disk.sectorSize, sector * disk.sectorSize + length),
              disk.sectorSize,
              `a read from sector ${sector}`,
            )
            data.check()
          }
        }
        expectBytes(await readAll(disk, sectors), model, disk.sectorSize, 'the whole disk')
      },
    ),
    randomCheck('serves requests at the same time that do not overlap', subject, runs, async (random) => {
      await using disk = await subject.create()
      const count = 4
      const places = random.shuffle(
        Array.from({ length: Math.min(64, Math.floor(disk.sectorCount / count)) }, (_, place) => place),
      )
      const pattern = (place: number): Uint8Array =>
        new Uint8Array(count * disk.sectorSize).map((_, at) => (place * 31 + at) & 0xff)
      await Promise.all(places.map((place) => disk.write(place * count, [pattern(place)])))
      const flushed = disk.flush()
      await Promise.all(
        places.map(async (place) => {
          const bytes = new Uint8Array(count * disk.sectorSize)
          await disk.read(place * count, [bytes])
          expectBytes(bytes, pattern(place), disk.sectorSize, `place ${place}`)
        }),
      )
      await flushed
    }),
    randomCheck('lets go of segments when its promise settles', subject, runs / 2, async (random) => {
      await using disk = await subject.create()
      const length = 8 * disk.sectorSize
      const data = new Segments(random, length, (at) => at & 0xff)
      await disk.write(0, data.pieces)
      data.whole.fill(0x11)
      await turn()
      const back = new Segments(random, length)
      await disk.read(0, back.pieces)
      expectThat(back.whole[1] === 1, 'a write stores what came after its promise settled')
      back.whole.fill(0x22)
      for (let later = 0; later < LATER; later++) await turn()
      expectThat(
        back.whole.every((byte) => byte === 0x22),
        'a read stores after its promise settled',
      )
    }),
    randomCheck('discards and zeros what it is told to, and no more', subject, runs, async (random) => {
      await using disk = await subject.create()
      const sectors = Math.min(SPAN, disk.sectorCount)
      const model = new Uint8Array(sectors * disk.sectorSize).map((_, at) => 1 + ((at + (at >> 9)) % 255))
      await disk.write(0, [model.slice()])
      for (let operation = 0; operation < 8; operation++) {
        const first = random.below(sectors)
        const count = random.below(sectors - first + 1)
        const range = model.subarray(first * disk.sectorSize, (first + count) * disk.sectorSize)
        const found = new Uint8Array(range.length)
        if (random.chance(1, 2)) {
          if (disk.zero === undefined) continue
          await disk.zero(first, count)
          range.fill(0)
        } else {
          if (disk.discard === undefined) continue
          await disk.discard(first, count)
          await disk.read(first, [found])
          // Each sector is as before, or zeros.
          for (let at = 0; at < range.length; at += disk.sectorSize) {
            const sector = found.subarray(at, at + disk.sectorSize)
            if (sector.every((byte) => byte === 0)) range.fill(0, at, at + disk.sectorSize)
          }
        }
      }
      expectBytes(await readAll(disk, sectors), model, disk.sectorSize, 'after discards and zeros')
    }),
  ]
}

function refusalChecks(subject: DiskSubject): ComplianceCheck[] {
  const { createReadOnly, fault } = subject
  return [
    plainCheck('refuses what is outside of it, or no whole sectors, and leaves everything as it was', async () => {
      await using disk = await subject.create()
      const { sectorSize, sectorCount } = disk
      const sectors = Math.min(SPAN, sectorCount)
      const before = await readAll(disk, sectors)
      const one = new Uint8Array(sectorSize).fill(9)
      const two = new Uint8Array(2 * sectorSize).fill(9)
      const wrong: [number, Uint8Array][] = [
        [sectorCount, one],
        [sectorCount - 1, two],
        [-1, one],
        [0.5, one],
        [Number.NaN, one],
        [2 ** 53, one],
        [2 ** 32 * sectorCount, one],
        [0, new Uint8Array(sectorSize - 1)],
        [0, new Uint8Array(sectorSize + 1)],
        [0, new Uint8Array(1)],
      ]
      for (const [sector, bytes] of wrong) {
        const what = `of ${bytes.length} bytes at sector ${sector}`
        await refused(DISK_ERROR.RANGE, `a read ${what}`, () => disk.read(sector, [bytes]))
        await refused(DISK_ERROR.RANGE, `a write ${what}`, () => disk.write(sector, [bytes]))
      }
      for (const [sector, count] of [
        [sectorCount, 1],
        [0, sectorCount + 1],
        [-1, 1],
        [0, -1],
        [0, 0.5],
        [Number.NaN, 1],
      ] as const) {
        const what = `of ${count} sectors at ${sector}`
        await refused(DISK_ERROR.RANGE, `a discard ${what}`, () => disk.discard?.(sector, count))
        await refused(DISK_ERROR.RANGE, `zeros ${what}`, () => disk.zero?.(sector, count))
      }
      expectBytes(await readAll(disk, sectors), before, sectorSize, 'after what was refused')
      // The last sector and nothing at all are inside.
      await disk.write(sectorCount - 1, [one])
      await disk.read(sectorCount - 1, [one])
      await disk.write(sectorCount, [])
      await disk.read(0, [])
      await disk.read(0, [new Uint8Array(0)])
      await disk.write(0, [new Uint8Array(0), new Uint8Array(0)])
    }),
    ...(createReadOnly === undefined
      ? []
      : [
          plainCheck('refuses every change of a disk that is read-only, and reads it', async () => {
            await using disk = await createReadOnly()
            expectEqual(disk.readOnly, true, 'readOnly')
            const sectors = Math.min(SPAN, disk.sectorCount)
            const before = await readAll(disk, sectors)
            const data = new Uint8Array(disk.sectorSize).map((_, at) => ~(before[at] ?? 0))
            await refused(DISK_ERROR.READ_ONLY, 'a write', () => disk.write(0, [data]))
            await refused(DISK_ERROR.READ_ONLY, 'a discard', () => disk.discard?.(0, 1))
            await refused(DISK_ERROR.READ_ONLY, 'zeros', () => disk.zero?.(0, 1))
            await disk.flush()
            expectBytes(await readAll(disk, sectors), before, disk.sectorSize, 'after what was refused')
          }),
        ]),
    ...(fault === undefined
      ? []
      : [
          plainCheck('fails by a code when the host does, and works again afterwards', async () => {
            await using disk = await subject.create()
            const data = new Uint8Array(8 * disk.sectorSize).fill(0x31)
            const last = disk.sectorCount - 8
            await disk.write(last, [data])
            await disk.flush()
            await fault.break()
            const operations = fault.operations ?? ['read', 'write']
            if (operations.includes('read')) await refused(fault.code, 'a read', () => disk.read(last, [data.slice()]))
            if (operations.includes('write')) await refused(fault.code, 'a write', () => disk.write(last, [data]))
            if (operations.includes('flush')) await refused(fault.code, 'a flush', () => disk.flush())
            await fault.mend()
            await disk.write(last, [data])
            const back = new Uint8Array(data.length)
            await disk.read(last, [back])
            expectBytes(back, data, disk.sectorSize, 'after the host works again')
          }),
        ]),
  ]
}

function closeChecks(subject: DiskSubject, runs: number): ComplianceCheck[] {
  const { reopen } = subject
  return [
    randomCheck(
      'ends every operation when it is closed in the middle of them, and refuses those after',
      subject,
      runs,
      async (random) => {
        const disk = await subject.create()
        const data = new Uint8Array(4 * disk.sectorSize)
        const running = Array.from({ length: 20 }, async (_, n) => {
          const sector = random.below(disk.sectorCount - 4)
          if (n % 5 === 0) return disk.flush()
          return random.chance(1, 2) ? disk.read(sector, [data.slice()]) : disk.write(sector, [data])
        })
        for (const operation of running) operation.catch(() => undefined)
        for (let turns = random.below(3); turns > 0; turns--) await turn()
        const closing = disk[Symbol.asyncDispose]()
        let ended = 0
        const settled = Promise.allSettled(
          running.map((operation) =>
            operation.finally(() => {
              ended++
            }),
          ),
        )
        for (let turns = 0; turns < PATIENCE && ended < running.length; turns++) await turn()
        if (ended < running.length) fail(`${running.length - ended} operations never end`)
        const outcomes = await settled
        for (const outcome of outcomes)
          if (outcome.status === 'rejected') {
            const { reason } = outcome
            if (!(reason instanceof PartitaError && reason.code === DISK_ERROR.CLOSED))
              fail(`an operation that was under way fails with ${messageOf(reason)}`, reason)
          }
        await closing
        await disk[Symbol.asyncDispose]()
        await refused(DISK_ERROR.CLOSED, 'a read after the end', () => disk.read(0, [data]))
        await refused(DISK_ERROR.CLOSED, 'a write after the end', () => disk.write(0, [data]))
        await refused(DISK_ERROR.CLOSED, 'a flush after the end', () => disk.flush())
        await refused(DISK_ERROR.CLOSED, 'a discard after the end', () => disk.discard?.(0, 1))
        await refused(DISK_ERROR.CLOSED, 'zeros after the end', () => disk.zero?.(0, 1))
      },
    ),
    ...(reopen === undefined
      ? []
      : [
          randomCheck(
            'keeps what was written when it is closed and opened again',
            subject,
            runs / 4,
            async (random) => {
              const disk = await subject.create()
              const data = random.bytes(16 * disk.sectorSize)
              const sector = random.below(disk.sectorCount - 16)
              await disk.write(sector, [data])
              if (random.chance(1, 2)) await disk.flush()
              await disk[Symbol.asyncDispose]()
              await using again = await reopen()
              expectEqual([again.sectorSize, again.sectorCount], [disk.sectorSize, disk.sectorCount], 'its size')
              const back = new Uint8Array(data.length)
              await again.read(sector, [back])
              expectBytes(back, data, again.sectorSize, 'after it was opened again')
            },
          ),
        ]),
  ]
}

/**
 * The checks of a disk, for any test runner. `diskCompliance` of `@partita/testkit/vitest` makes tests of them.
 *
 * @example
 * ```ts
 * import { diskChecks } from '@partita/testkit'
 *
 * for (const check of diskChecks({ name: 'memory', create: () => new MemoryDisk(1024) })) test(check.name, check.run)
 * ```
 */
export function diskChecks(subject: DiskSubject): readonly ComplianceCheck[] {
  const runs = subject.runs ?? 20
  return [
    plainCheck('says what it is: sizes that are powers of two, and at least 64 sectors', async () => {
      await using disk = await subject.create()
      const { sectorSize, physicalSectorSize, sectorCount, readOnly } = disk
      const power = (value: number): boolean => Number.isInteger(Math.log2(value))
      expectThat(power(sectorSize) && sectorSize >= 512, `sectorSize is ${sectorSize}`)
      expectThat(
        power(physicalSectorSize) && physicalSectorSize >= sectorSize,
        `physicalSectorSize is ${physicalSectorSize}`,
      )
      expectThat(Number.isSafeInteger(sectorCount) && sectorCount >= 64, `sectorCount is ${sectorCount}`)
      expectEqual(readOnly, false, 'readOnly')
    }),
    ...contentChecks(subject, runs),
    ...refusalChecks(subject),
    ...closeChecks(subject, runs),
  ]
}
