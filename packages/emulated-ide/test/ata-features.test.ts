// What a disk has besides reading and writing: facts of ATA/ATAPI-7 and, for DATA SET MANAGEMENT, of ATA8-ACS-2.

import { MemoryDisk } from '@partita/disk-images'
import { DISK_ERROR, PartitaError } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { COUNT, DEVICE, ERROR, HIGH, type Host, LOW, MID, pattern, SECTORS, STATUS, started, wordOf } from './host.ts'

const identify = (host: Host): Uint8Array => {
  host.command(0xec)
  host.ports.read(STATUS)
  return host.readBlock(256)
}
const sectorsOf = (data: Uint8Array): number => wordOf(data, 60) + wordOf(data, 61) * 0x1_0000
const lbaOf = ({ ports }: Host): number =>
  ports.read(LOW) | (ports.read(MID) << 8) | (ports.read(HIGH) << 16) | ((ports.read(DEVICE) & 0xf) << 24)
const outcome = ({ ports }: Host): number[] => [ports.read(STATUS), ports.read(ERROR)]
/** A disk that counts flushes. */
function counting(): { readonly disk: MemoryDisk; readonly flushes: () => number } {
  let flushes = 0
  const disk = new MemoryDisk(SECTORS)
  disk.flush = async () => void flushes++
  return { disk, flushes: () => flushes }
}

describe('forced unit access', () => {
  it('has what it writes on the medium when it ends', async () => {
    const { disk, flushes } = counting()
    const host = await started({ disk0: disk })
    host.machine.memory.bytes.set(pattern(1), 0x8000)
    host.prepareDma(0x1000, [[0x8000, 512]], false)
    host.startDma(false)
    host.commandExt(0x3d, 1000, 1)
    await host.settle()
    expect([...outcome(host), flushes()]).toEqual([0x50, 0, 1])
    host.command(0xc6, 0, 2)
    host.commandExt(0xce, 2000, 2)
    host.writeBlock(Uint8Array.from([...pattern(2), ...pattern(3)]))
    await host.settle()
    expect([...outcome(host), flushes()]).toEqual([0x50, 0, 2])
    const back = new Uint8Array(1024)
    await disk.read(2000, [back])
    expect(back).toEqual(Uint8Array.from([...pattern(2), ...pattern(3)]))
    expect(wordOf(identify(host), 84) & 0xc040).toBe(0x4040)
  })
})

describe('power modes', () => {
  it('are told, and left for the medium', async () => {
    const { disk, flushes } = counting()
    const host = await started({ disk0: disk })
    const mode = (): number => {
      host.command(0xe5)
      return host.ports.read(COUNT)
    }
    expect(mode()).toBe(0xff)
    for (const [code, expected] of [
      [0xe1, 0x80],
      [0xe0, 0x00],
      [0xe3, 0x80],
      [0xe2, 0x00],
    ] as const) {
      host.command(code)
      await host.settle()
      expect(outcome(host)).toEqual([0x50, 0])
      expect(mode()).toBe(expected)
    }
    expect(flushes()).toBe(2) // before each standby
    host.command(0x40, 0, 1)
    await host.settle()
    expect(mode()).toBe(0xff)
    host.command(0xe6)
    await host.settle()
    host.ports.read(STATUS)
    host.command(0xec)
    expect(host.ports.read(STATUS)).toBe(0x50) // asleep
    host.softwareReset()
    expect(mode()).toBe(0xff)
  })
})

describe('the host protected area', () => {
  it('hides the end of the disk until the power goes', async () => {
    const host = await started()
    host.command(0xf8)
    expect(lbaOf(host)).toBe(SECTORS - 1)
    host.command(0xf9, 99_999)
    expect(outcome(host)).toEqual([0x50, 0])
    const data = identify(host)
    expect([sectorsOf(data), wordOf(data, 100) + wordOf(data, 101) * 0x1_0000]).toEqual([100_000, 100_000])
    host.command(0x20, 100_000, 1)
    expect(outcome(host)).toEqual([0x51, 0x10])
    host.command(0x20, 99_999, 1)
    await host.settle()
    expect(host.ports.read(STATUS)).toBe(0x58)
    host.softwareReset()
    expect(sectorsOf(identify(host))).toBe(100_000)
    host.command(0xf8)
    expect(lbaOf(host)).toBe(SECTORS - 1)
    host.instance.reset?.()
    expect(sectorsOf(identify(host))).toBe(SECTORS)
  })

  it('is set right behind a look at the native size alone, within it, and not for ever', async () => {
    const host = await started()
    host.command(0xf9, 1000)
    expect(outcome(host)).toEqual([0x51, 0x04])
    host.command(0x27)
    host.command(0xf9, 1000) // the other kind of address
    expect(outcome(host)).toEqual([0x51, 0x04])
    host.command(0xf8)
    host.command(0xf9, 1000, 1)
    expect(outcome(host)).toEqual([0x51, 0x04])
    host.command(0xf8)
    host.command(0xf9, SECTORS)
    expect(outcome(host)).toEqual([0x51, 0x10])
    host.commandExt(0x27, 0, 0)
    host.commandExt(0x37, 4999, 0)
    expect(outcome(host)).toEqual([0x50, 0])
    expect(sectorsOf(identify(host))).toBe(5000)
  })
})

describe('DATA SET MANAGEMENT', () => {
  const range = (sector: number, count: number): number[] => [
    ...[0, 8, 16].map((shift) => (sector >> shift) & 0xff),
    0,
    0,
    0,
    count & 0xff,
    count >> 8,
  ]
  const trim = async (host: Host, data: readonly number[], sectors = 1): Promise<number[]> => {
    host.machine.memory.bytes.fill(0, 0x8000, 0x9000)
    host.machine.memory.bytes.set(data, 0x8000)
    host.prepareDma(0x1000, [[0x8000, sectors * 512]], false)
    host.ports.write(ERROR, 1)
    host.commandExt(0x06, 0, sectors)
    host.startDma(false)
    await host.settle()
    return outcome(host)
  }

  it('gives sectors back', async () => {
    const disk = new MemoryDisk(SECTORS, { contents: new Uint8Array(1024 * 1024).fill(7) })
    const host = await started({ disk0: disk })
    const data = identify(host)
    expect([wordOf(data, 105), wordOf(data, 169)]).toEqual([8, 1])
    const before = disk.allocated
    expect(await trim(host, [...range(0, 512), ...range(0, 0), ...range(1024, 256)])).toEqual([0x50, 0])
    expect(before - disk.allocated).toBe(768 * 512)
    expect(host.ports.read(0xffa2) & 7).toBe(4)
    expect(await trim(host, [...new Array(512).fill(0), ...range(512, 512)], 2)).toEqual([0x50, 0])
    expect(before - disk.allocated).toBe(1280 * 512)
  })

  it('is refused for sectors that there are none of, and where nothing can be given back', async () => {
    const host = await started()
    expect(await trim(host, range(SECTORS - 10, 11))).toEqual([0x51, 0x14])
    host.ports.write(ERROR, 1)
    host.commandExt(0x06, 0, 9)
    expect(outcome(host)).toEqual([0x51, 0x04])
    host.ports.write(ERROR, 0)
    host.commandExt(0x06, 0, 1)
    expect(outcome(host)).toEqual([0x51, 0x04])
    const protectedDisk = await started({ disk0: new MemoryDisk(100, { readOnly: true }) })
    expect(wordOf(identify(protectedDisk), 169)).toBe(0)
    protectedDisk.ports.write(ERROR, 1)
    protectedDisk.commandExt(0x06, 0, 1)
    expect(outcome(protectedDisk)).toEqual([0x51, 0x04])
  })

  it('tells of the host’s failures', async () => {
    const disk = new MemoryDisk(SECTORS)
    disk.discard = async () => {
      throw new PartitaError(DISK_ERROR.IO, 'no')
    }
    const host = await started({ disk0: disk })
    expect(await trim(host, range(8, 8))).toEqual([0x71, 0x04])
  })
})

describe('SMART', () => {
  const smart = async (host: Host, feature: number, count = 0, low = 0): Promise<number[]> => {
    host.ports.write(ERROR, feature)
    host.command(0xb0, 0xc2_4f_00 | low, count)
    await host.settle()
    return outcome(host)
  }
  const page = async (host: Host, feature: number, low = 0): Promise<Uint8Array> => {
    expect(await smart(host, feature, 1, low)).toEqual([0x58, 0])
    const data = host.readBlock(256)
    if (low !== 0 || feature !== 0xd5) expect(data.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0)
    return data
  }

  it('is on at power-on, is switched off and on, and needs its key', async () => {
    const host = await started()
    expect(wordOf(identify(host), 85) & 1).toBe(1)
    expect(await smart(host, 0xda)).toEqual([0x50, 0])
    expect([host.ports.read(MID), host.ports.read(HIGH)]).toEqual([0x4f, 0xc2])
    expect(await smart(host, 0xd9)).toEqual([0x50, 0])
    expect(wordOf(identify(host), 85) & 1).toBe(0)
    expect(await smart(host, 0xda)).toEqual([0x51, 4])
    expect(await smart(host, 0xd8)).toEqual([0x50, 0])
    host.ports.write(ERROR, 0xda)
    host.command(0xb0, 0)
    expect(outcome(host)).toEqual([0x51, 4])
    expect(await smart(host, 0xd2, 0xf1)).toEqual([0x50, 0])
    expect(await smart(host, 0xd3)).toEqual([0x50, 0])
    expect(await smart(host, 0xdf)).toEqual([0x51, 4])
  })

  it('counts what moves, and what fails', async () => {
    const disk = new MemoryDisk(SECTORS)
    const host = await started({ disk0: disk })
    host.command(0x30, 0, 3)
    for (let i = 0; i < 3; i++) host.writeBlock(pattern(i))
    await host.settle()
    host.command(0x40, 0, 100)
    await host.settle()
    disk.read = async () => {
      throw new PartitaError(DISK_ERROR.IO, 'no')
    }
    host.command(0x20, 0x12345, 1)
    await host.settle()
    const data = await page(host, 0xd0)
    const raw = new Map<number, number>()
    for (let at = 2; data[at] !== 0; at += 12)
      raw.set(data[at] as number, (data[at + 5] as number) | ((data[at + 6] as number) << 8))
    expect(Object.fromEntries(raw)).toEqual({ 1: 1, 5: 0, 200: 0, 241: 3, 242: 100 })
    const thresholds = await page(host, 0xd1)
    expect([...raw.keys()]).toEqual(Array.from({ length: raw.size }, (_, i) => thresholds[2 + 12 * i]))
    // No attribute is below its threshold: RETURN STATUS says that all is well.
    for (let i = 0; i < raw.size; i++) expect(data[5 + 12 * i]).toBeGreaterThan(thresholds[3 + 12 * i] as number)
  })

  it('has a log of errors', async () => {
    const disk = new MemoryDisk(SECTORS)
    const host = await started({ disk0: disk })
    const directory = await page(host, 0xd5, 0)
    expect([wordOf(directory, 0), wordOf(directory, 1), wordOf(directory, 6), wordOf(directory, 7)]).toEqual([
      1, 1, 1, 0,
    ])
    let log = await page(host, 0xd5, 1)
    expect([log[0], log[1], log[452]]).toEqual([1, 0, 0])
    disk.read = async () => {
      throw new PartitaError(DISK_ERROR.IO, 'no')
    }
    for (let i = 0; i < 6; i++) {
      host.command(0x20, 0x12345 + i, 1)
      await host.settle()
    }
    log = await page(host, 0xd5, 1)
    // The sixth is in the place of the first.
    expect([log[1], log[452]]).toEqual([1, 6])
    const entry = log.subarray(2, 92)
    expect([...entry.subarray(50, 56)]).toEqual([1, 0x4a, 0x23, 0x01, 0xe0, 0x20])
    expect([entry[61], ...entry.subarray(63, 66), entry[67]]).toEqual([0x40, 0x4a, 0x23, 0x01, 0x51])
    expect(await smart(host, 0xd5, 1, 2)).toEqual([0x51, 4])
    expect(await smart(host, 0xd5, 2, 1)).toEqual([0x51, 4])
  })

  it('tests itself, and logs how that went', async () => {
    const disk = new MemoryDisk(SECTORS)
    const host = await started({ disk0: disk })
    for (const number of [0x01, 0x02, 0x81, 0x82, 0x00, 0x7f])
      expect(await smart(host, 0xd4, 0, number)).toEqual([0x50, 0])
    expect(await smart(host, 0xd4, 0, 0x33)).toEqual([0x51, 4])
    let log = await page(host, 0xd5, 6)
    expect([log[508], log[2], log[3], log[2 + 24], log[2 + 72], log[2 + 96]]).toEqual([4, 1, 0, 2, 0x82, 0])
    const read = disk.read.bind(disk)
    disk.read = async (sector, segments) => {
      if (sector > SECTORS / 2) throw new PartitaError(DISK_ERROR.IO, 'no')
      return read(sector, segments)
    }
    expect(await smart(host, 0xd4, 0, 0x02)).toEqual([0x50, 0])
    expect(await smart(host, 0xd4, 0, 0x82)).toEqual([0x51, 4])
    expect([host.ports.read(MID), host.ports.read(HIGH)]).toEqual([0xf4, 0x2c])
    log = await page(host, 0xd5, 6)
    expect([log[508], log[2 + 4 * 24], log[3 + 4 * 24]]).toEqual([6, 2, 0x70])
    const lba = new DataView(log.buffer).getUint32(2 + 4 * 24 + 5, true)
    expect(lba).toBeGreaterThan(SECTORS / 2)
    expect((await page(host, 0xd0))[363]).toBe(0x70)
  })
})

describe('READ LOG EXT', () => {
  it('has a directory without logs', async () => {
    const host = await started()
    host.commandExt(0x2f, 0, 1)
    expect(host.ports.read(STATUS)).toBe(0x58)
    const data = host.readBlock(256)
    expect([wordOf(data, 0), data.subarray(2).every((byte) => byte === 0)]).toEqual([1, true])
    for (const [lba, count] of [
      [3, 1],
      [0x100, 1],
      [0, 2],
    ] as const) {
      host.commandExt(0x2f, lba, count)
      expect(outcome(host)).toEqual([0x51, 4])
    }
    expect(wordOf(identify(host), 84) & 0x20).toBe(0)
  })
})

describe('settings', () => {
  it('stay over a software reset, unless they are to go', async () => {
    const host = await started()
    const feature = async (code: number): Promise<number[]> => {
      host.ports.write(ERROR, code)
      host.command(0xef)
      await host.settle()
      return outcome(host)
    }
    const caches = (): number => wordOf(identify(host), 85) & 0x60
    expect(caches()).toBe(0x60)
    expect(await feature(0x82)).toEqual([0x50, 0])
    expect(await feature(0x55)).toEqual([0x50, 0])
    host.softwareReset()
    expect(caches()).toBe(0)
    expect(await feature(0xcc)).toEqual([0x50, 0])
    host.softwareReset()
    expect(caches()).toBe(0x60)
    expect(await feature(0x66)).toEqual([0x50, 0])
    expect(await feature(0x82)).toEqual([0x50, 0])
    host.softwareReset()
    expect(caches()).toBe(0x40)
    expect(await feature(0x05)).toEqual([0x51, 4])
  })

  it('and the buffer are the drive’s own', async () => {
    const host = await started()
    host.command(0xe8)
    expect(host.ports.read(STATUS)).toBe(0x58)
    host.writeBlock(pattern(9))
    expect(outcome(host)).toEqual([0x50, 0])
    host.command(0x20, 5, 1)
    await host.settle()
    host.readBlock(256)
    host.command(0xe4)
    expect(host.readBlock(256)).toEqual(pattern(9))
  })
})

describe('on legacy ports alone', () => {
  it('there is no PCI function, and drives have no DMA', async () => {
    const host = await started(undefined, undefined, { pci: false })
    expect(host.machine.pci.slots).toEqual([])
    expect(host.machine.ports.claims.map(({ base }) => base)).toEqual([0x170, 0x1f0, 0x376, 0x3f6])
    const data = identify(host)
    expect([wordOf(data, 49) & 0x0100, wordOf(data, 63), wordOf(data, 88), wordOf(data, 169)]).toEqual([0, 0, 0, 0])
    for (const code of [0xc8, 0xca, 0x25, 0x35, 0x3d]) {
      host.command(code, 0, 1)
      expect(outcome(host)).toEqual([0x51, 4])
    }
    host.ports.write(ERROR, 0x03)
    host.command(0xef, 0, 0x44)
    expect(outcome(host)).toEqual([0x51, 4])
    host.command(0x30, 7, 1)
    host.writeBlock(pattern(7))
    await host.settle()
    host.command(0x20, 7, 1)
    await host.settle()
    expect(host.readBlock(256)).toEqual(pattern(7))
  })

  it('a controller for a bus that there is not is refused', async () => {
    const { FakeMachine } = await import('@partita/testkit')
    const { pciBusToken } = await import('@partita/interface')
    const { default: ide } = await import('../src/index.ts')
    const machine = new FakeMachine()
    machine.provide(pciBusToken, undefined)
    await expect(machine.start(ide, {})).rejects.toMatchObject({ code: 'ERR_IDE_NO_PCI' })
  })
})
