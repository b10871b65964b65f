// Whatever an initiator sends: a command completes with a status, never throws, and never reaches outside of the disk or of its buffer.

import { MemoryDisk } from '@partita/disk-images'
import type { Disk } from '@partita/interface'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BlockUnit, DIRECTION, DvdUnit, SCSI_STATUS, ScsiCommand, ScsiTarget } from '../src/index.ts'

const SECTORS = 512
const OPCODES = [
  0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x42, 0x43, 0x46, 0x4a,
  0x51, 0x52, 0x55, 0x5a, 0x5e, 0x5f, 0x88, 0x8a, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa8, 0xaa, 0xad, 0xbb, 0xbd,
]
const STATUSES: ReadonlySet<number> = new Set(Object.values(SCSI_STATUS))

/** A disk that fails the test when it is asked for what it does not have. */
function guarded(disk: Disk): { disk: Disk; problems: string[] } {
  const problems: string[] = []
  const check = (what: string, sector: number, count: number): void => {
    if (
      !Number.isSafeInteger(sector) ||
      !Number.isSafeInteger(count) ||
      sector < 0 ||
      sector + count > disk.sectorCount
    )
      problems.push(`${what} ${sector} + ${count}`)
  }
  const sectors = (segments: readonly Uint8Array[]): number =>
    segments.reduce((sum, segment) => sum + segment.length, 0) / disk.sectorSize
  return {
    problems,
    disk: {
      sectorSize: disk.sectorSize,
      physicalSectorSize: 4096,
      sectorCount: disk.sectorCount,
      readOnly: disk.readOnly,
      read: (sector, segments) => {
        check('read', sector, sectors(segments))
        return disk.read(sector, segments)
      },
      write: (sector, segments) => {
        check('write', sector, sectors(segments))
        return disk.write(sector, segments)
      },
      flush: () => disk.flush(),
      discard: async (sector, count) => {
        check('discard', sector, count)
        await disk.discard?.(sector, count)
      },
      zero: async (sector, count) => {
        check('zero', sector, count)
        await disk.zero?.(sector, count)
      },
      [Symbol.asyncDispose]: () => disk[Symbol.asyncDispose](),
    },
  }
}

/** Bytes that are often small: what a field of a CDB sensibly holds. */
const byte = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(0, 1, 2, 3, 8, 16, 24, 64, 255) },
  fc.integer({ min: 0, max: 255 }),
)
const cdb = fc
  .tuple(
    fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...OPCODES) }, fc.integer({ min: 0, max: 255 })),
    fc.array(byte, { maxLength: 15 }),
  )
  .map(([opcode, rest]) => [opcode, ...rest])
const command = fc.record({
  cdb,
  lun: fc.constantFrom(0, 0, 0, 1, 1, 2, 63, 64, 255),
  initiator: fc.integer({ min: 0, max: 3 }),
  direction: fc.constantFrom(DIRECTION.IN, DIRECTION.OUT, DIRECTION.ANY, DIRECTION.ANY),
  segments: fc.array(fc.constantFrom(0, 1, 7, 24, 255, 512, 2048, 4096), { maxLength: 4 }),
  fill: byte,
})

it('random commands', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 1, maxLength: 40 }), async (commands) => {
      const { disk, problems } = guarded(new MemoryDisk(SECTORS))
      const dvd = guarded(new MemoryDisk(SECTORS, { readOnly: true }))
      const target = new ScsiTarget()
      target.attach(0, new BlockUnit(disk, { serial: 'a' }))
      target.attach(1, new DvdUnit({ serial: 'b' }, dvd.disk))
      await Promise.all(
        commands.map(async (input) => {
          const command = new ScsiCommand()
          command.cdb.set(input.cdb)
          command.initiator = input.initiator
          command.direction = input.direction
          // Each segment lies between guards, which nobody may touch.
          const memory = input.segments.map((length) => new Uint8Array(length + 16).fill(0xa5))
          command.segments = memory.map((bytes) => bytes.subarray(8, bytes.length - 8).fill(input.fill))
          command.length = input.segments.reduce<number>((sum, length) => sum + length, 0)
          await target.execute(input.lun, command)
          expect(STATUSES.has(command.status)).toBe(true)
          expect(command.transferred).toBeLessThanOrEqual(command.length)
          if (command.status === SCSI_STATUS.CHECK_CONDITION) expect(command.senseLength).toBe(18)
          for (const bytes of memory) {
            expect(bytes.subarray(0, 8).every((value) => value === 0xa5)).toBe(true)
            expect(bytes.subarray(-8).every((value) => value === 0xa5)).toBe(true)
          }
        }),
      )
      expect([...problems, ...dvd.problems]).toEqual([])
      for (const lun of [0, 1]) expect(target.unit(lun)?.base.inFlight).toBe(0)
      target.restore(structuredClone(target.save()))
    }),
    { numRuns: 300 },
  )
})
