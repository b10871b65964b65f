// Commands that go on for long, although disks answer at once: a guest names millions of blocks with one CDB, and the host is to go on serving others and not to run out of memory.

import { MemoryDisk } from '@partita/disk-images'
import type { Disk } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { BlockUnit, DvdUnit, type LogicalUnit, SCSI_STATUS } from '../src/index.ts'
import { bytes, run } from './scsi-initiator.ts'

/** Runs a command at a unit that is told to end what is under way at the next turn of the host. */
async function runAborted(unit: LogicalUnit, cdb: string, room: number): Promise<number> {
  setImmediate(() => unit.base.abort())
  return (await run(unit, cdb, { room })).status
}

/** A disk without contents that counts how often it is called, and the bytes of the largest read. */
class EmptyDisk implements Disk {
  readonly sectorSize = 2048
  readonly physicalSectorSize = 2048
  readonly readOnly = false
  readonly sectorCount: number
  calls = 0
  largest = 0
  constructor(sectorCount: number) {
    this.sectorCount = sectorCount
  }
  async read(_sector: number, segments: readonly Uint8Array[]): Promise<void> {
    this.calls++
    this.largest = Math.max(
      this.largest,
      segments.reduce((sum, segment) => sum + segment.length, 0),
    )
  }
  async write(): Promise<void> {
    this.calls++
  }
  async discard(): Promise<void> {
    this.calls++
  }
  async flush(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

describe('the host goes on, and can end it', () => {
  it('during a VERIFY of a whole disk', async () => {
    const disk = new EmptyDisk(0x0100_0000)
    const unit = new BlockUnit(disk, { serial: 'v' })
    expect(await runAborted(unit, '8f 00 00 00 00 00 00 00 00 00 01 00 00 00 00 00', 0)).toBe(SCSI_STATUS.TASK_ABORTED)
    expect(disk.calls).toBeLessThan(100)
  })

  it('during a READ CD of headers alone, which a small buffer has room for', async () => {
    const disk = new EmptyDisk(0x0010_0000)
    const unit = new DvdUnit({ serial: 'r' }, disk)
    const status = await runAborted(unit, 'be 00 00 00 00 00 0f ff ff 20 00 00', 0x0040_0000)
    expect(status).toBe(SCSI_STATUS.TASK_ABORTED)
    expect(disk.largest).toBeLessThanOrEqual(64 * 1024)
  })

  it('during WRITE SAME and UNMAP', async () => {
    const disk = new EmptyDisk(0x0010_0000)
    const unit = new BlockUnit(disk, { serial: 'w' })
    let at = 0
    setImmediate(() => (at = disk.calls))
    const same = await run(unit, '93 00 00 00 00 00 00 00 00 00 00 02 00 00 00 00', {
      out: new Uint8Array(2048).fill(1),
    })
    expect(same.status).toBe(0)
    expect([at > 0, at < disk.calls]).toEqual([true, true])

    const list = new Uint8Array(8 + 16 * 256)
    list.set(bytes('10 06 10 00'))
    for (let i = 0; i < 256; i++) list[8 + 16 * i + 11] = 1
    const before = disk.calls
    setImmediate(() => (at = disk.calls))
    expect((await run(unit, '42 00 00 00 00 00 00 10 08 00', { out: list })).status).toBe(0)
    expect(disk.calls).toBe(before + 256)
    expect(at).toBeLessThan(disk.calls)
  })
})

describe('what READ CD makes of many blocks', () => {
  it('is what it makes of each', async () => {
    const contents = Uint8Array.from({ length: 70 * 2048 }, (_, i) => (i * 7 + (i >> 11)) & 0xff)
    const unit = new DvdUnit({ serial: 'c', readsCds: true }, new MemoryDisk(280, { readOnly: true, contents }))
    const all = await run(unit, 'be 00 00 00 00 00 00 00 46 a8 00 00', { room: 70 * 304, pieces: 1000 })
    expect([all.status, all.transferred]).toEqual([0, 70 * 304])
    for (let block = 0; block < 70; block++) {
      const one = await run(unit, `be 00 00 00 00 ${block.toString(16)} 00 00 01 a8 00 00`, { room: 304 })
      expect(one.data).toEqual(all.data.slice(block * 304, (block + 1) * 304))
    }
  })
})
