// Sectors that cannot be read or written: facts of ATA/ATAPI-7 volume 1 (the first one's address is in the registers, and in the log of errors), of ATA/ATAPI-6, 8.34 (READ MULTIPLE), and of
// MMC-6 (what is before the bad block is transferred, and sense data names it).

import { MemoryDisk } from '@partita/disk-images'
import { DISK_ERROR, PartitaError, type SavedState } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import {
  BadDisk,
  BM,
  CONTROL,
  DEVICE,
  ERROR,
  HIGH,
  type Host,
  LOW,
  MID,
  pattern,
  SECTORS,
  STATUS,
  started,
} from './host.ts'

/** 2,048 sectors are halved eleven times. */
const MOST_OPERATIONS = 13

/** The 28-bit address in the registers. */
const lbaOf = ({ ports }: Host): number =>
  ports.read(LOW) | (ports.read(MID) << 8) | (ports.read(HIGH) << 16) | ((ports.read(DEVICE) & 0xf) << 24)
const registersOf = ({ ports }: Host): number[] => [LOW, MID, HIGH, DEVICE].map((port) => ports.read(port))
const outcome = ({ ports }: Host): number[] => [ports.read(STATUS), ports.read(ERROR)]
const concat = (...sectors: readonly Uint8Array[]): Uint8Array => Uint8Array.from(sectors.flatMap((part) => [...part]))
const patterns = (first: number, count: number): Uint8Array =>
  concat(...Array.from({ length: count }, (_, i) => pattern(first + i)))

/** Fill sectors with {@link pattern}, whatever is bad. */
async function fill(disk: BadDisk, first: number, count: number): Promise<void> {
  for (let sector = first; sector < first + count; sector++)
    await MemoryDisk.prototype.write.call(disk, sector, [pattern(sector)])
}

async function withBad(bad: readonly number[], sectors = SECTORS): Promise<{ host: Host; disk: BadDisk }> {
  const disk = new BadDisk(sectors)
  for (const sector of bad) disk.bad.add(sector)
  return { host: await started({ disk0: disk }), disk }
}

async function smart(host: Host, feature: number, low = 0, count = 0): Promise<number[]> {
  host.ports.write(ERROR, feature)
  host.command(0xb0, 0xc2_4f_00 | low, count)
  await host.settle()
  return outcome(host)
}
async function page(host: Host, feature: number, low = 0): Promise<Uint8Array> {
  expect(await smart(host, feature, low, 1)).toEqual([0x58, 0])
  return host.readBlock(256)
}
/** Value, threshold and raw value of the attribute `id`. */
async function attribute(
  host: Host,
  id: number,
): Promise<{ value: number; worst: number; threshold: number; raw: number }> {
  const data = await page(host, 0xd0)
  const thresholds = await page(host, 0xd1)
  let at = 2
  while (data[at] !== id) at += 12
  const raw = (data[at + 5] as number) | ((data[at + 6] as number) << 8)
  return { value: data[at + 3] as number, worst: data[at + 4] as number, threshold: thresholds[at + 1] as number, raw }
}
/** The latest entry of the summary error log, and how many there were. */
async function latestError(host: Host): Promise<{ entry: Uint8Array; count: number }> {
  const log = await page(host, 0xd5, 1)
  const at = 2 + 90 * ((log[1] as number) - 1)
  return { entry: log.slice(at, at + 90), count: (log[452] as number) | ((log[453] as number) << 8) }
}
const loggedLba = (entry: Uint8Array): number =>
  (entry[63] as number) |
  ((entry[64] as number) << 8) |
  ((entry[65] as number) << 16) |
  (((entry[66] as number) & 0xf) << 24)

describe('a sector that cannot be read', () => {
  it('ends a DMA read, and what is before it is in memory', async () => {
    for (const offset of [0, 1, 7, 255, 1023, 1024, 1500, 2047]) {
      const first = 0x12_345
      const { host, disk } = await withBad([first + offset, first + offset + 3])
      const before = Math.min(offset, 40)
      await fill(disk, first + offset - before, before)
      const { memory } = host.machine
      memory.bytes.fill(0x11, 0x10_0000, 0x20_0000)
      host.prepareDma(
        0x1000,
        Array.from({ length: 16 }, (_, i) => [0x10_0000 + i * 0x1_0000, 0] as const),
        true,
      )
      disk.operations = 0
      host.commandExt(0x25, first, 2048)
      host.startDma(true)
      await host.settle()
      expect(host.lines.level(14)).toBe(true)
      expect(outcome(host)).toEqual([0x51, 0x40])
      // The bus master had an interrupt, and had not come to the end of its table.
      expect(host.ports.read(BM + 2) & 7).toBe(5)
      expect(host.ports.read(LOW) | (host.ports.read(MID) << 8) | (host.ports.read(HIGH) << 16)).toBe(first + offset)
      const end = 0x10_0000 + offset * 512
      expect(memory.bytes.slice(end - before * 512, end)).toEqual(patterns(first + offset - before, before))
      expect(disk.operations).toBeLessThanOrEqual(MOST_OPERATIONS)
    }
  })

  it('is named with 48 bits, and in the error log', async () => {
    const lba = 2 ** 33 + 0x1_0000_0055
    const { host } = await withBad([lba + 5], 2 ** 34)
    host.prepareDma(0x1000, [[0x8000, 4096]], true)
    host.commandExt(0x25, lba, 8)
    host.startDma(true)
    await host.settle()
    expect(outcome(host)).toEqual([0x51, 0x40])
    const low = [LOW, MID, HIGH].map((port) => host.ports.read(port))
    host.ports.write(CONTROL, 0x80)
    const high = [LOW, MID, HIGH].map((port) => host.ports.read(port))
    expect([...low, ...high]).toEqual([0x5a, 0, 0, 0, 3, 0])
    host.ports.write(CONTROL, 0)
    const { entry, count } = await latestError(host)
    expect([count, ...entry.subarray(61, 68)]).toEqual([1, 0x40, 8, 0x5a, 0, 0, 0xe0, 0x51])
  })

  it('comes behind the good blocks of READ SECTOR(S), without one of its own', async () => {
    const { host, disk } = await withBad([1000 + 140])
    await fill(disk, 1000, 200)
    host.command(0x20, 1000, 200)
    for (let i = 0; i < 140; i++) {
      await host.settle()
      expect([host.lines.level(14), host.ports.read(STATUS)]).toEqual([true, 0x58])
      expect(host.readBlock(256)).toEqual(pattern(1000 + i))
    }
    await host.settle()
    expect(host.lines.level(14)).toBe(true)
    expect([...outcome(host), lbaOf(host)]).toEqual([0x51, 0x40, 1140])
    expect((await attribute(host, 242)).raw).toBe(140)
    expect((await attribute(host, 1)).raw).toBe(1)
    expect(loggedLba((await latestError(host)).entry)).toBe(1140)
  })

  it('is told at the beginning of its block by READ MULTIPLE, whose data the host takes all the same', async () => {
    for (const command of [0xc4, 0x29]) {
      const { host, disk } = await withBad([1000 + 21])
      await fill(disk, 1000, 40)
      host.command(0xc6, 0, 8)
      if (command === 0xc4) host.command(command, 1000, 40)
      else host.commandExt(command, 1000, 40)
      await host.settle()
      for (let block = 0; block < 2; block++) {
        expect(host.ports.read(STATUS)).toBe(0x58)
        expect(host.readBlock(8 * 256)).toEqual(patterns(1000 + block * 8, 8))
      }
      await host.settle()
      expect(host.lines.level(14)).toBe(true)
      expect([...outcome(host), lbaOf(host)]).toEqual([0x59, 0x40, 1021])
      expect(host.readBlock(8 * 256)).toEqual(concat(patterns(1016, 5), new Uint8Array(3 * 512)))
      // No interrupt after the last block, and no more blocks.
      expect([host.lines.level(14), ...outcome(host), lbaOf(host)]).toEqual([false, 0x51, 0x40, 1021])
      host.command(0xe5)
      expect(outcome(host)).toEqual([0x50, 0])
    }
  })

  it('is found by READ VERIFY', async () => {
    const { host } = await withBad([5000, 5100])
    host.command(0x40, 4900, 0)
    await host.settle()
    expect([...outcome(host), lbaOf(host)]).toEqual([0x51, 0x40, 5000])
    host.command(0x40, 4900, 100)
    await host.settle()
    expect(outcome(host)).toEqual([0x50, 0])
  })

  it('has a cylinder, head and sector where the command had', async () => {
    // 16 heads and 63 sectors: cylinder 3, head 5, sector 9.
    const { host } = await withBad([(3 * 16 + 5) * 63 + 8])
    const { ports } = host
    ports.write(DEVICE, 0xa0 | 5)
    for (const [port, value] of [
      [0x1f2, 20],
      [LOW, 1],
      [MID, 3],
      [HIGH, 0],
      [STATUS, 0x40],
    ] as const)
      ports.write(port, value)
    await host.settle()
    expect([...outcome(host), ...registersOf(host)]).toEqual([0x51, 0x40, 9, 3, 0, 0xa5])
  })

  it('is read after all when it was the host’s bad moment', async () => {
    const { host, disk } = await withBad([])
    await fill(disk, 100, 16)
    disk.once = 16
    host.prepareDma(0x1000, [[0x8000, 8192]], true)
    host.command(0xc8, 100, 16)
    host.startDma(true)
    await host.settle()
    expect([...outcome(host), host.ports.read(BM + 2) & 7]).toEqual([0x50, 0, 4])
    expect(host.machine.memory.bytes.slice(0x8000, 0xa000)).toEqual(patterns(100, 16))
    expect((await attribute(host, 1)).raw).toBe(0)
  })

  it('is looked for with few operations on a disk that cannot be read at all, and with one where it is gone', async () => {
    const { host, disk } = await withBad(Array.from({ length: 3000 }, (_, i) => i))
    for (const [code, most, result] of [
      [DISK_ERROR.IO, 13, [0x51, 0x40]],
      [DISK_ERROR.CLOSED, 1, [0x71, 0x04]],
    ] as const) {
      disk.code = code
      disk.operations = 0
      host.prepareDma(0x1000, [[0x10_0000, 0]], true)
      host.commandExt(0x25, 10, 2048)
      host.startDma(true)
      await host.settle()
      expect(outcome(host)).toEqual(result)
      expect(disk.operations).toBeLessThanOrEqual(most)
    }
  })

  it('is the LBA of the first failure of a self-test', async () => {
    const sectors = 4096
    for (const [number, bad, found] of [
      [0x81, 4095 - 30, 4095 - 30],
      [0x82, 4095 - 30, 4095 - 30],
      [0x82, 2001, 2001],
      [0x02, 77, 77],
    ] as const) {
      const { host } = await withBad([bad, bad + 2], sectors)
      const captive = (number & 0x80) !== 0
      expect(await smart(host, 0xd4, number)).toEqual(captive ? [0x51, 4] : [0x50, 0])
      if (captive) expect([host.ports.read(MID), host.ports.read(HIGH)]).toEqual([0xf4, 0x2c])
      const log = await page(host, 0xd5, 6)
      expect([log[508], log[2], log[3]]).toEqual([1, number, 0x70])
      expect(new DataView(log.buffer).getUint32(2 + 5, true)).toBe(found)
    }
  })
})

describe('a sector that cannot be written', () => {
  it('ends a write, and what is before it is on the disk', async () => {
    for (const dma of [true, false]) {
      const { host, disk } = await withBad([700 + 37])
      host.machine.memory.bytes.set(patterns(0, 64), 0x8000)
      if (dma) {
        host.prepareDma(0x1000, [[0x8000, 64 * 512]], false)
        host.command(0xca, 700, 64)
        host.startDma(false)
      } else {
        host.command(0x30, 700, 64)
        host.writeBlock(patterns(0, 64))
      }
      await host.settle()
      expect([...outcome(host), lbaOf(host)]).toEqual([0x71, 0x04, 737])
      // All of the data is with the drive, and so the table is used up.
      if (dma) expect(host.ports.read(BM + 2) & 7).toBe(4)
      const back = new Uint8Array(64 * 512)
      disk.bad.clear()
      await disk.read(700, [back])
      expect(back).toEqual(concat(patterns(0, 37), new Uint8Array(27 * 512)))
      expect((await attribute(host, 241)).raw).toBe(37)
      expect((await attribute(host, 200)).raw).toBe(1)
      expect(loggedLba((await latestError(host)).entry)).toBe(737)
    }
  })

  it('is the first without room on a full host', async () => {
    const { host, disk } = await withBad([20, 21, 22, 23])
    disk.code = DISK_ERROR.FULL
    host.command(0xc5, 10, 16)
    host.writeBlock(patterns(0, 16))
    await host.settle()
    expect([...outcome(host), lbaOf(host)]).toEqual([0x71, 0x04, 20])
  })
})

describe('what is no sector’s failure', () => {
  it('leaves the address registers alone, and counts for no attribute', async () => {
    const { host, disk } = await withBad([])
    disk.flush = async () => {
      throw new PartitaError(DISK_ERROR.IO, 'no')
    }
    // A transfer before, so that there is another address to be had.
    host.command(0x40, 3000, 5)
    await host.settle()
    let failures = 0
    for (const [command, features] of [
      [0xe7, 0],
      [0xea, 0],
      [0xe0, 0],
      [0xe2, 0],
      [0xe6, 0],
      [0xef, 0x82],
    ] as const) {
      host.ports.write(ERROR, features)
      host.command(command, 0x0a0b0c, 0x0d)
      await host.settle()
      expect([...outcome(host), ...registersOf(host)]).toEqual([0x71, 0x04, 0x0c, 0x0b, 0x0a, 0xe0])
      const { entry, count } = await latestError(host)
      expect([count, entry[55], entry[61], entry[67], loggedLba(entry)]).toEqual([
        ++failures,
        command,
        4,
        0x71,
        0x0a0b0c,
      ])
      // Neither asleep nor on standby.
      host.command(0xe5)
      expect([host.ports.read(STATUS), host.ports.read(0x1f2)]).toEqual([0x50, 0xff])
    }
    expect((await attribute(host, 1)).raw).toBe(0)
    expect((await attribute(host, 200)).raw).toBe(0)
    // Forced unit access: the sectors are written, and it is not known which of them did not get to the medium.
    host.prepareDma(0x1000, [[0x8000, 1024]], false)
    host.commandExt(0x3d, 0x1234, 2)
    host.startDma(false)
    await host.settle()
    expect([...outcome(host), lbaOf(host), host.ports.read(BM + 2) & 7]).toEqual([0x71, 0x04, 0x1234, 4])
    expect((await attribute(host, 200)).raw).toBe(1)
  })

  it('is not in the log of errors when it was refused', async () => {
    const { host } = await withBad([10])
    host.command(0xff) // no such command
    host.command(0x20, SECTORS, 1) // no such sector
    host.command(0xc6, 0, 3) // no such count
    expect((await page(host, 0xd5, 1))[452]).toBe(0)
    host.command(0x70, 77)
    host.command(0xe5)
    host.command(0x40, 10, 1)
    await host.settle()
    const { entry, count } = await latestError(host)
    expect(count).toBe(1)
    // The five latest commands, the one that failed the last.
    expect([0, 1, 2, 3, 4].map((index) => entry[12 * index + 7])).toEqual([0xc6, 0xb0, 0x70, 0xe5, 0x40])
    expect([...entry.subarray(2 * 12 + 1, 2 * 12 + 8)]).toEqual([0xd5, 0, 77, 0, 0, 0xe0, 0x70])
    expect([...entry.subarray(4 * 12 + 1, 4 * 12 + 8)]).toEqual([0xd5, 1, 10, 0, 0, 0xe0, 0x40])
  })
})

describe('SMART health', () => {
  const status = async (host: Host): Promise<number[]> => {
    expect(await smart(host, 0xda)).toEqual([0x50, 0])
    return [host.ports.read(MID), host.ports.read(HIGH)]
  }
  const GOOD = [0x4f, 0xc2]
  const EXCEEDED = [0xf4, 0x2c]

  it.each([
    ['reads', 0x20, 1],
    ['writes', 0x30, 200],
  ] as const)('fails when too many %s do, and stays so in another machine', async (_, command, id) => {
    const { host, disk } = await withBad([5])
    const fail = async (): Promise<void> => {
      host.command(command, 5, 1)
      if (command === 0x30) host.writeBlock(pattern(5))
      await host.settle()
      expect(host.ports.read(STATUS) & 1).toBe(1)
    }
    expect(await status(host)).toEqual(GOOD)
    const { value, threshold } = await attribute(host, id)
    expect([value, threshold]).toEqual([100, 50])
    for (let errors = 1; errors < 50; errors++) await fail()
    expect(await attribute(host, id)).toEqual({ value: 51, worst: 51, threshold, raw: 49 })
    expect(await status(host)).toEqual(GOOD)
    await fail()
    expect(await attribute(host, id)).toEqual({ value: 50, worst: 50, threshold, raw: 50 })
    expect(await status(host)).toEqual(EXCEEDED)
    for (let errors = 50; errors < 120; errors++) await fail()
    expect(await attribute(host, id)).toEqual({ value: 1, worst: 1, threshold, raw: 120 })
    const other = await started({ disk0: disk })
    expect(await status(other)).toEqual(GOOD)
    other.instance.restore?.(structuredClone(host.instance.save?.()) as SavedState)
    expect(await status(other)).toEqual(EXCEEDED)
    host.softwareReset()
    expect(await status(host)).toEqual(EXCEEDED)
    // Pre-failure attributes are those with bit 0 of the flags.
    const data = await page(host, 0xd0)
    const preFailure = [0, 1, 2, 3, 4].filter((index) => ((data[2 + 12 * index + 1] as number) & 1) !== 0)
    expect(preFailure.map((index) => data[2 + 12 * index])).toEqual([1, 5, 200])
  })
})

describe('a failing transfer goes on in another machine', () => {
  it('between its good blocks, and in the middle of the bad one', async () => {
    const { host: first, disk } = await withBad([30])
    await fill(disk, 10, 40)
    let host = first
    const move = async (): Promise<void> => {
      await host.settle()
      const next = await started({ disk0: disk })
      const state = structuredClone(host.instance.save?.()) as SavedState
      next.instance.restore?.(state)
      expect(next.instance.save?.()).toEqual(state)
      expect(next.lines.level(14)).toBe(host.lines.level(14))
      host = next
    }
    host.command(0xc4, 10, 40)
    await move()
    expect(host.readBlock(100)).toEqual(patterns(10, 16).slice(0, 200))
    await move()
    expect(host.readBlock(16 * 256 - 100)).toEqual(patterns(10, 16).slice(200))
    await move()
    expect(host.ports.read(STATUS)).toBe(0x59)
    expect(host.readBlock(5 * 256)).toEqual(concat(patterns(26, 4), new Uint8Array(512)))
    await move()
    host.readBlock(11 * 256)
    expect([host.lines.level(14), ...outcome(host), lbaOf(host)]).toEqual([false, 0x51, 0x40, 30])
  })
})

describe('a block of a CD that cannot be read', () => {
  const BLOCKS = 100
  const contents = Uint8Array.from({ length: BLOCKS * 2048 }, (_, i) => (i * 5 + (i >> 9)) & 0xff)
  const block = (first: number, count: number): Uint8Array => contents.slice(first * 2048, (first + count) * 2048)

  async function drive(bad: number): Promise<Host> {
    const disk = new BadDisk(BLOCKS * 4)
    await disk.write(0, [contents])
    disk.bad.add(bad * 4 + 2)
    const host = await started({ iso: disk }, [{ disk: 'iso', dvd: true }])
    await host.packet('00')
    return host
  }
  /** Sense data of a read that failed at `bad`: VALID, MEDIUM ERROR, UNRECOVERED READ ERROR, and the block. */
  const senseAt = (bad: number): number[] => [0xf0, 0, 3, 0, 0, 0, bad, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0]

  it.each([
    ['READ (10)', '28 00 00 00 00 05 00 00 3c', 50],
    ['a short READ (10)', '28 00 00 00 00 05 00 00 08', 7],
    ['READ (12)', 'a8 00 00 00 00 05 00 00 00 3c', 64],
    ['READ CD', 'be 00 00 00 00 05 00 00 3c 10', 5],
  ])('ends %s by PIO behind the blocks before it', async (_, cdb, bad) => {
    const host = await drive(bad)
    const { data, status, error } = await host.packet(cdb)
    expect([status, error]).toEqual([0x51, 0x30])
    expect(data).toEqual(block(5, bad - 5))
    expect([...(await host.packet('03 00 00 00 12')).data]).toEqual(senseAt(bad))
  })

  it('ends a read by DMA behind the blocks before it', async () => {
    const host = await drive(60)
    const { memory } = host.machine
    memory.bytes.fill(0x77, 0x2_0000, 0x5_0000)
    host.prepareDma(
      0x1000,
      [
        [0x2_0000, 3000],
        [0x3_0000, 0],
        [0x4_0000, 0],
      ],
      true,
    )
    host.sendPacket('28 00 00 00 00 0a 00 00 40', 0, true)
    host.startDma(true)
    await host.settle()
    expect([host.lines.level(14), ...outcome(host), host.ports.read(BM + 2) & 7]).toEqual([true, 0x51, 0x30, 5])
    const good = block(10, 50)
    expect(memory.bytes.slice(0x2_0000, 0x2_0000 + 3000)).toEqual(good.slice(0, 3000))
    expect(memory.bytes.slice(0x3_0000, 0x4_0000)).toEqual(good.slice(3000, 3000 + 65_536))
    expect(memory.bytes.slice(0x4_0000, 0x4_0000 + good.length - 68_536)).toEqual(good.slice(68_536))
    expect([...(await host.packet('03 00 00 00 12')).data]).toEqual(senseAt(60))
  })
})
