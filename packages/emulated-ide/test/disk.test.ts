// The IDE controller as a driver sees it: facts of ATA/ATAPI-7 and of the bus-master programming interface.
import { MemoryDisk } from '@partita/disk-images'
import { DISK_ERROR, type Disk, disksToken, PartitaError } from '@partita/interface'
import { FakeMachine } from '@partita/testkit'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import ide from '../src/index.ts'
import {
  BM,
  CONTROL,
  COUNT,
  DATA,
  DEVICE,
  ERROR,
  HIGH,
  LOW,
  MID,
  pattern,
  SECTORS,
  STATUS,
  started,
  wordOf,
} from './host.ts'

describe('identification', () => {
  it('has the PIIX4 function with both channels decoded', async () => {
    const { machine } = await started()
    expect(machine.pci.read(7, 1, 0)).toBe(0x7111_8086)
    expect(machine.pci.read(7, 1, 8) >>> 8).toBe(0x010180)
    expect(machine.pci.read(7, 1, 0x20)).toBe(0xffa1)
    expect(machine.pci.read(7, 1, 0x40)).toBe(0x8000_8000)
    expect(machine.ports.claims.map((claim) => claim.base)).toEqual([0x170, 0x1f0, 0x376, 0x3f6, 0xffa0])
  })

  it('identifies itself, with a checksum', async () => {
    const { command, readBlock, ports, lines } = await started()
    command(0xec)
    expect(lines.level(14)).toBe(true)
    expect(ports.read(STATUS)).toBe(0x58)
    expect(lines.level(14)).toBe(false)
    const data = readBlock(256)
    expect(ports.read(STATUS)).toBe(0x50)
    expect(wordOf(data, 60) | (wordOf(data, 61) << 16)).toBe(SECTORS)
    expect(wordOf(data, 100) | (wordOf(data, 101) << 16)).toBe(SECTORS)
    expect(wordOf(data, 49) & 0x0300).toBe(0x0300)
    expect(wordOf(data, 83) & 0xc000).toBe(0x4000)
    expect(wordOf(data, 93) & 0xe000).toBe(0x6000)
    const model = Array.from({ length: 20 }, (_, i) =>
      String.fromCharCode(wordOf(data, 27 + i) >> 8, wordOf(data, 27 + i) & 0xff),
    ).join('')
    expect(model.trim()).toBe('Partita Virtual Disk')
    expect(data.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0)
    expect(data[510]).toBe(0xa5)
  })

  it('has the signature of a disk after a software reset and a diagnostic', async () => {
    const { ports, command } = await started()
    const softwareReset = (): void => {
      ports.write(CONTROL, 0x04)
      // Busy, and deaf, as long as the bit is set.
      command(0xec)
      expect(ports.read(STATUS)).toBe(0x80)
      ports.write(CONTROL, 0x00)
    }
    for (const act of [softwareReset, () => command(0x90)]) {
      act()
      expect([ERROR, COUNT, LOW, MID, HIGH].map((port) => ports.read(port))).toEqual([1, 1, 1, 0, 0])
      expect(ports.read(STATUS)).toBe(0x50)
    }
  })

  it('shows no second drive, and nothing at all on an empty channel', async () => {
    const { ports } = await started()
    ports.write(DEVICE, 0xf0)
    expect(ports.read(STATUS)).toBe(0x00)
    expect(ports.read(0x177)).toBe(0xff)
    expect(ports.read(0x376)).toBe(0xff)
    ports.write(0x172, 0x55)
    expect(ports.read(0x172)).toBe(0xff)
  })

  it('shows a drive 1 that is alone, and floating lines in the place of drive 0', async () => {
    const { ports, command, lines } = await started({ b: new MemoryDisk(2000) }, [null, 'b'])
    ports.write(DEVICE, 0xa0)
    expect([ports.read(STATUS), ports.read(CONTROL), ports.read(COUNT)]).toEqual([0x7f, 0x7f, 0x7f])
    command(0xec)
    expect([lines.level(14), ports.read(STATUS)]).toEqual([false, 0x7f])
    command(0xe5, 0, 0, 0xf0)
    expect([lines.level(14), ports.read(STATUS), ports.read(COUNT)]).toEqual([true, 0x50, 0xff])
  })

  it('has two drives on a cable, each with its own registers', async () => {
    const { ports, command, readBlock } = await started({ a: new MemoryDisk(1000), b: new MemoryDisk(2000) })
    command(0xec, 0, 0, 0xf0)
    expect(wordOf(readBlock(256), 60)).toBe(2000)
    command(0xec, 0, 0, 0xe0)
    expect(wordOf(readBlock(256), 60)).toBe(1000)
    command(0xe5, 0, 0, 0xf0) // CHECK POWER MODE changes drive 1's count
    expect(ports.read(COUNT)).toBe(0xff)
    ports.write(DEVICE, 0xe0)
    expect(ports.read(COUNT)).toBe(0)
  })
})

describe('PIO', () => {
  it('writes and reads sectors, with an interrupt a block', async () => {
    const { command, writeBlock, readBlock, settle, ports, lines } = await started()
    command(0x30, 0x12345, 3)
    expect(lines.level(14)).toBe(false) // none before the first block of a write
    for (let i = 0; i < 3; i++) {
      expect(ports.read(STATUS)).toBe(0x58)
      writeBlock(pattern(i))
      await settle()
      expect(lines.level(14)).toBe(true)
    }
    expect(ports.read(STATUS)).toBe(0x50)
    command(0x20, 0x12345, 3)
    expect(ports.read(CONTROL) & 0x80).toBe(0x80)
    await settle()
    for (let i = 0; i < 3; i++) {
      expect(lines.level(14)).toBe(true)
      expect(ports.read(STATUS)).toBe(0x58)
      expect(readBlock(256)).toEqual(pattern(i))
    }
    expect(lines.level(14)).toBe(false) // none after the last block of a read
    expect(ports.read(STATUS)).toBe(0x50)
  })

  it('transfers double words as two words', async () => {
    const disk = new MemoryDisk(10)
    await disk.write(1, [pattern(5)])
    const { command, settle, ports } = await started({ disk0: disk })
    command(0x20, 1, 1)
    await settle()
    const p = pattern(5)
    expect(ports.read(DATA, 4)).toBe(((p[0]! | (p[1]! << 8) | (p[2]! << 16)) + p[3]! * 2 ** 24) >>> 0)
    expect(ports.read(DATA, 2)).toBe(p[4]! | (p[5]! << 8))
  })

  it('reads and writes in blocks of SET MULTIPLE MODE, and not when it is off', async () => {
    const { command, ports, settle, readBlock, writeBlock, lines } = await started()
    command(0xec)
    expect(wordOf(readBlock(256), 59)).toBe(0x0110)
    command(0xc6, 0, 3) // no power of two
    expect(ports.read(STATUS)).toBe(0x51)
    command(0xc6, 0, 0)
    expect(ports.read(STATUS)).toBe(0x50)
    command(0xc4, 0, 4)
    expect(ports.read(STATUS)).toBe(0x51)
    expect(ports.read(ERROR)).toBe(0x04)
    command(0xc6, 0, 8)
    command(0xc5, 100, 20)
    const all = Uint8Array.from({ length: 20 * 512 }, (_, i) => (i * 13) & 0xff)
    let blocks = 0
    for (let at = 0; at < all.length; ) {
      expect(ports.read(STATUS) & 0x08).toBe(0x08)
      const count = Math.min(8 * 512, all.length - at)
      writeBlock(all.subarray(at, at + count))
      at += count
      blocks++
      await settle()
      expect(lines.level(14)).toBe(true)
    }
    expect(blocks).toBe(3)
    expect(ports.read(STATUS)).toBe(0x50)
    command(0xc4, 100, 20)
    await settle()
    const parts = [8, 8, 4].map((sectors) => {
      expect(ports.read(STATUS)).toBe(0x58)
      return readBlock(sectors * 256)
    })
    expect(Uint8Array.from(parts.flatMap((part) => [...part]))).toEqual(all)
  })

  it('takes 0 for 256 sectors, across its buffer', async () => {
    const disk = new MemoryDisk(1000)
    for (let sector = 0; sector < 300; sector++) await disk.write(sector, [pattern(sector)])
    const { command, ports, settle, readBlock } = await started({ disk0: disk })
    command(0x20, 10, 0)
    for (let i = 0; i < 256; i++) {
      await settle()
      expect(ports.read(STATUS)).toBe(0x58)
      expect(readBlock(256)).toEqual(pattern(10 + i))
    }
    expect(ports.read(STATUS)).toBe(0x50)
  })

  it('addresses by cylinder, head and sector', async () => {
    const disk = new MemoryDisk(SECTORS)
    const { command, ports, settle, writeBlock } = await started({ disk0: disk })
    command(0x91, 0, 32, 0xa0 | 7) // 8 heads, 32 sectors
    expect(ports.read(STATUS)).toBe(0x50)
    ports.write(DEVICE, 0xa0 | 5)
    ports.write(COUNT, 1)
    ports.write(LOW, 9)
    ports.write(MID, 3)
    ports.write(HIGH, 1)
    ports.write(STATUS, 0x30)
    writeBlock(pattern(1))
    await settle()
    const back = new Uint8Array(512)
    await disk.read((0x103 * 8 + 5) * 32 + 8, [back])
    expect(back).toEqual(pattern(1))
    ports.write(LOW, 0) // sectors count from 1
    ports.write(STATUS, 0x20)
    expect(ports.read(STATUS)).toBe(0x51)
    expect(ports.read(ERROR)).toBe(0x10)
  })

  it('keeps quiet with nIEN and speaks when it is taken away', async () => {
    const { command, ports, lines } = await started()
    ports.write(CONTROL, 0x02)
    command(0xec)
    expect(lines.level(14)).toBe(false)
    ports.write(CONTROL, 0x00)
    expect(lines.level(14)).toBe(true)
  })
})

describe('interrupts', () => {
  it('makes an edge for each command, though the one before was not acknowledged', async () => {
    const { command, lines } = await started()
    command(0xe5)
    command(0xe5)
    expect(lines.edges(14)).toBe(2)
  })
})

describe('other commands', () => {
  it('aborts what it does not know', async () => {
    const { command, ports, lines } = await started()
    for (const code of [0x00, 0x08, 0xa0, 0xa1, 0xb0, 0xff]) {
      command(code)
      expect(lines.level(14)).toBe(true)
      expect(ports.read(STATUS)).toBe(0x51)
      expect(ports.read(ERROR)).toBe(0x04)
    }
  })

  it('refuses sectors that are not there', async () => {
    const { command, commandExt, ports } = await started()
    command(0x20, SECTORS - 1, 2)
    expect([ports.read(STATUS), ports.read(ERROR)]).toEqual([0x51, 0x10])
    commandExt(0x25, 2 ** 40, 1)
    expect([ports.read(STATUS), ports.read(ERROR)]).toEqual([0x51, 0x10])
  })

  it('tells its last sector', async () => {
    const { command, commandExt, ports } = await started()
    command(0xf8)
    expect(
      ports.read(LOW) | (ports.read(MID) << 8) | (ports.read(HIGH) << 16) | ((ports.read(DEVICE) & 0xf) << 24),
    ).toBe(SECTORS - 1)
    commandExt(0x27, 0, 0)
    expect(ports.read(LOW) | (ports.read(MID) << 8) | (ports.read(HIGH) << 16)).toBe(SECTORS - 1)
    ports.write(CONTROL, 0x80)
    expect(ports.read(LOW)).toBe(0)
  })

  it('shows the modes that were set in its identification', async () => {
    const { command, ports, readBlock } = await started()
    ports.write(ERROR, 0x03)
    command(0xef, 0, 0x45) // Ultra DMA 5
    expect(ports.read(STATUS)).toBe(0x50)
    command(0xef, 0, 0x46)
    expect(ports.read(STATUS)).toBe(0x51)
    ports.write(ERROR, 0x82) // write cache off
    command(0xef)
    await Promise.resolve()
    command(0xc6, 0, 16)
    command(0xec)
    const data = readBlock(256)
    expect(wordOf(data, 88)).toBe(0x203f)
    expect(wordOf(data, 59)).toBe(0x0110)
  })

  it('flushes on request, and after each write with the write cache off', async () => {
    let flushes = 0
    const disk = new MemoryDisk(100)
    disk.flush = async () => void flushes++
    const { command, ports, settle, writeBlock, lines } = await started({ disk0: disk })
    command(0xe7)
    expect(ports.read(CONTROL)).toBe(0x80)
    await settle()
    expect([flushes, lines.level(14), ports.read(STATUS)]).toEqual([1, true, 0x50])
    command(0x30, 0, 1)
    writeBlock(pattern(0))
    await settle()
    expect(flushes).toBe(1)
    ports.write(ERROR, 0x82)
    command(0xef)
    await settle()
    command(0x30, 0, 1)
    writeBlock(pattern(0))
    await settle()
    expect(flushes).toBe(3)
  })

  it('verifies by reading', async () => {
    const { command, ports, settle } = await started()
    command(0x40, 5, 200)
    await settle()
    expect(ports.read(STATUS)).toBe(0x50)
  })
})

/** A disk whose operations fail with `code`, or wait until they are let go. */
function failing(code: string): Disk {
  const disk = new MemoryDisk(1000)
  const fail = async (): Promise<void> => {
    throw new PartitaError(code, 'as asked')
  }
  return Object.assign(disk, { read: fail, write: fail, flush: fail })
}

describe('failures of the host', () => {
  it('are uncorrectable data for reads, a device fault for writes and flushes', async () => {
    const { command, ports, settle, writeBlock, prepareDma, startDma } = await started({
      disk0: failing(DISK_ERROR.IO),
    })
    command(0x20, 77, 1)
    await settle()
    expect([ports.read(STATUS), ports.read(ERROR), ports.read(LOW)]).toEqual([0x51, 0x40, 77])
    prepareDma(0x1000, [[0x8000, 512]], true)
    command(0xc8, 78, 1)
    startDma(true)
    await settle()
    expect([ports.read(STATUS), ports.read(ERROR), ports.read(LOW)]).toEqual([0x51, 0x40, 78])
    command(0x30, 79, 1)
    writeBlock(pattern(0))
    await settle()
    expect([ports.read(STATUS), ports.read(ERROR), ports.read(LOW)]).toEqual([0x71, 0x04, 79])
    command(0xe7)
    await settle()
    expect([ports.read(STATUS), ports.read(ERROR)]).toEqual([0x71, 0x04])
  })

  it('are a device fault when there is no room', async () => {
    const { command, ports, settle, writeBlock } = await started({ disk0: failing(DISK_ERROR.FULL) })
    command(0x30, 1, 1)
    writeBlock(pattern(0))
    await settle()
    expect(ports.read(STATUS)).toBe(0x71)
  })

  it('aborts writes to a read-only disk', async () => {
    const { command, ports } = await started({ disk0: new MemoryDisk(1000, { readOnly: true }) })
    for (const code of [0x30, 0xca]) {
      command(code, 0, 1)
      expect([ports.read(STATUS), ports.read(ERROR)]).toEqual([0x51, 0x04])
    }
  })

  it('waits with a software reset for what is under way, and drops it', async () => {
    const disk = new MemoryDisk(1000)
    const gate = Promise.withResolvers<void>()
    disk.read = () => gate.promise
    const { command, ports, settle, lines } = await started({ disk0: disk })
    command(0x20, 0, 1)
    ports.write(CONTROL, 0x04)
    ports.write(CONTROL, 0x00)
    expect(ports.read(STATUS)).toBe(0x80)
    gate.resolve()
    await settle()
    expect(ports.read(STATUS)).toBe(0x50)
    expect(ports.read(COUNT)).toBe(1)
    expect(lines.level(14)).toBe(false)
  })
})

describe('configuration', () => {
  it('refuses a disk that is not there, and one with large sectors', async () => {
    const machine = new FakeMachine()
    machine.provide(disksToken, new Map([['big', new MemoryDisk(10, { sectorSize: 4096 })]]))
    await expect(machine.start(ide, { drives: ['none'] })).rejects.toMatchObject({ code: 'ERR_IDE_DISK_UNKNOWN' })
    await expect(machine.start(ide, { drives: ['big'] })).rejects.toMatchObject({ code: 'ERR_IDE_SECTOR_SIZE' })
    expect(machine.ports.claims).toEqual([])
  })
})

describe('any guest', () => {
  it('survives whatever a guest writes, and always becomes ready again', async () => {
    const access = fc.record({
      port: fc.constantFrom(DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS, CONTROL, BM, BM + 2, BM + 4),
      size: fc.constantFrom(1 as const, 2 as const, 4 as const),
      value: fc.integer({ min: 0, max: 0xffff_ffff }),
      read: fc.boolean(),
      wait: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(access, { maxLength: 60 }), async (accesses) => {
        const { ports, settle, command } = await started({ disk0: new MemoryDisk(64), disk1: new MemoryDisk(64) })
        for (const { port, size, value, read, wait } of accesses) {
          if (read) ports.read(port, size)
          else ports.write(port, value, size)
          if (wait) await settle()
        }
        await settle()
        ports.write(CONTROL, 0x04)
        ports.write(CONTROL, 0x00)
        await settle()
        command(0xec)
        expect(ports.read(STATUS)).toBe(0x58)
      }),
      { numRuns: 150 },
    )
  })
})
