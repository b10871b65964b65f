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

  it('reads and writes in blocks of SET MULTIPLE MODE, and not before it', async () => {
    const { command, ports, settle, readBlock, writeBlock, lines } = await started()
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

describe('DMA', () => {
  it('scatters a read over guest memory and tells the processor', async () => {
    const disk = new MemoryDisk(SECTORS)
    const all = Uint8Array.from({ length: 16 * 512 }, (_, i) => (i * 7 + (i >> 8)) & 0xff)
    await disk.write(500, [all])
    const { machine, command, prepareDma, startDma, settle, ports, lines } = await started({ disk0: disk })
    prepareDma(
      0x1000,
      [
        [0x8000, 4096],
        [0x20002, 1000],
        [0x30000, 3096],
      ],
      true,
    )
    command(0xc8, 500, 16)
    expect(lines.level(14)).toBe(false)
    startDma(true)
    await settle()
    expect(lines.level(14)).toBe(true)
    expect(ports.read(BM + 2)).toBe(0x04) // interrupt, not active, no error
    expect(ports.read(STATUS)).toBe(0x50)
    const got = [
      ...machine.memory.bytes.subarray(0x8000, 0x9000),
      ...machine.memory.bytes.subarray(0x20002, 0x20002 + 1000),
      ...machine.memory.bytes.subarray(0x30000, 0x30000 + 3096),
    ]
    expect(Uint8Array.from(got)).toEqual(all)
    expect(machine.memory.announced).toBe(all.length)
  })

  it('works with the bus master started before the command too, and gathers a write', async () => {
    const disk = new MemoryDisk(SECTORS)
    const { machine, commandExt, prepareDma, startDma, settle, ports } = await started({ disk0: disk })
    machine.memory.bytes.set(pattern(3), 0x5000)
    machine.memory.bytes.set(pattern(4), 0x7000)
    prepareDma(
      0x1000,
      [
        [0x5000, 512],
        [0x7000, 512],
      ],
      false,
    )
    startDma(false)
    commandExt(0x35, 150_000, 2)
    await settle()
    expect(ports.read(BM + 2) & 0x07).toBe(0x04)
    const back = new Uint8Array(1024)
    await disk.read(150_000, [back])
    expect(back).toEqual(Uint8Array.from([...pattern(3), ...pattern(4)]))
  })

  it('stays active when the table is longer than the transfer', async () => {
    const { command, prepareDma, startDma, settle, ports } = await started()
    prepareDma(0x1000, [[0x8000, 4096]], true)
    command(0xc8, 0, 1)
    startDma(true)
    await settle()
    expect(ports.read(BM + 2) & 0x07).toBe(0x05)
  })

  it('waits, without an error or interrupt, when the table is too short, and goes on with the next one', async () => {
    const disk = new MemoryDisk(SECTORS)
    await disk.write(0, [pattern(0), pattern(1), pattern(2)])
    const { machine, command, prepareDma, startDma, settle, ports, lines } = await started({ disk0: disk })
    // One sector, and a part of the next, of which nothing comes.
    prepareDma(
      0x1000,
      [
        [0x8000, 512],
        [0x9000, 100],
      ],
      true,
    )
    machine.memory.bytes.fill(0xee, 0x9000, 0x9400)
    command(0xc8, 0, 3)
    startDma(true)
    await settle()
    expect(lines.level(14)).toBe(false)
    expect(ports.read(BM + 2) & 0x07).toBe(0x00)
    expect(ports.read(CONTROL)).toBe(0x58) // DRQ
    expect(machine.memory.bytes.slice(0x8000, 0x8200)).toEqual(pattern(0))
    expect(machine.memory.bytes[0x9000]).toBe(0xee)
    prepareDma(0x1000, [[0xa000, 1024]], true)
    startDma(true)
    await settle()
    expect(ports.read(BM + 2) & 0x07).toBe(0x04)
    expect(ports.read(STATUS)).toBe(0x50)
    expect(machine.memory.bytes.slice(0xa000, 0xa400)).toEqual(Uint8Array.from([...pattern(1), ...pattern(2)]))
  })

  it.each<[string, number, readonly (readonly [number, number])[], boolean, boolean]>([
    ['a region that is not RAM', 0x1000, [[0xf000_0000, 1024]], true, true],
    ['a table that is not RAM', 0xf000_0000, [[0x8000, 1024]], true, true],
    ['a region that crosses 64 KiB', 0x1000, [[0x1_fe00, 1024]], true, false],
    ['the wrong direction', 0x1000, [[0x8000, 1024]], false, false],
    [
      'a table that crosses 64 KiB',
      0x1_fff8,
      [
        [0x8000, 512],
        [0x9000, 512],
      ],
      true,
      false,
    ],
  ])('stops with the error bit for %s, and a software reset helps', async (_, table, regions, toMemory, abort) => {
    const { machine, command, prepareDma, startDma, settle, ports, lines } = await started()
    machine.memory.bytes.fill(0xee, 0x8000, 0xa000)
    prepareDma(table, regions, toMemory)
    command(0xc8, 0, 2)
    startDma(toMemory)
    await settle()
    expect(lines.level(14)).toBe(false)
    expect(ports.read(BM + 2) & 0x07).toBe(0x02)
    expect(ports.read(CONTROL)).toBe(0x58)
    expect(machine.memory.bytes.subarray(0x8000, 0xa000).every((byte) => byte === 0xee)).toBe(true)
    // PCISTS: received master abort; a one clears it.
    expect(((machine.pci.read(7, 1, 4) >>> 29) & 1) === 1).toBe(abort)
    machine.pci.write(7, 1, 4, 0x2000_0000, 0xffff_0000)
    expect(machine.pci.read(7, 1, 4) >>> 29).toBe(0)
    ports.write(BM + 2, 0x06)
    expect(ports.read(BM + 2) & 0x07).toBe(0)
    ports.write(CONTROL, 0x04)
    ports.write(CONTROL, 0x00)
    expect(ports.read(STATUS)).toBe(0x50)
  })

  it('takes a count of 0 for 64 KiB', async () => {
    const disk = new MemoryDisk(SECTORS)
    const { machine, command, prepareDma, startDma, settle, ports } = await started({ disk0: disk })
    machine.memory.bytes.fill(0x5a, 0x40000, 0x50000)
    prepareDma(0x1000, [[0x40000, 0]], false)
    command(0xca, 64, 128)
    startDma(false)
    await settle()
    expect(ports.read(BM + 2) & 0x07).toBe(0x04)
    const back = new Uint8Array(512)
    await disk.read(64 + 127, [back])
    expect(back.every((byte) => byte === 0x5a)).toBe(true)
  })

  it("has registers that clear by ones and keep the driver's bits", async () => {
    const { ports } = await started()
    ports.write(BM + 2, 0x20)
    expect(ports.read(BM + 2)).toBe(0x20)
    ports.write(BM + 4, 0xffff_ffff, 4)
    expect(ports.read(BM + 4, 4)).toBe(0xffff_fffc)
    ports.write(BM + 8 + 4, 0x1000, 4)
    expect(ports.read(BM + 4, 4)).toBe(0xffff_fffc)
  })

  it('moves its ports when the guest moves BAR 4, and answers nowhere with I/O off', async () => {
    const { machine, ports } = await started()
    machine.pci.write(7, 1, 0x20, 0xffff_ffff)
    expect(machine.pci.read(7, 1, 0x20)).toBe(0xffff_fff1) // 16 ports
    expect(machine.ports.claims.map((claim) => claim.base)).toEqual([0x170, 0x1f0, 0x376, 0x3f6])
    machine.pci.write(7, 1, 0x20, 0xc041)
    ports.write(0xc044, 0x1234_5678, 4)
    expect(ports.read(0xc044, 4)).toBe(0x1234_5678)
    expect(ports.read(BM + 4, 4)).toBe(0xffff_ffff)
    machine.pci.write(7, 1, 4, 0, 0xffff)
    expect(machine.ports.claims).toEqual([])
    machine.pci.write(7, 1, 4, 1, 0xffff)
    expect(machine.ports.claims.length).toBe(5)
  })

  it('answers nowhere when the guest puts it on top of another device', async () => {
    const { machine } = await started()
    machine.ports.claim(0xc000, 8, { read: () => 0, write: () => {} })
    machine.pci.write(7, 1, 0x20, 0xc001)
    expect(machine.ports.claims).toEqual([{ base: 0xc000, length: 8 }])
    machine.pci.write(7, 1, 0x20, 0xffa1)
    expect(machine.ports.claims.length).toBe(6)
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

describe('state', () => {
  it('goes on in the middle of PIO transfers, in and out', async () => {
    for (const out of [false, true]) {
      const disk = new MemoryDisk(1000)
      const one = await started({ disk0: disk })
      one.command(out ? 0x30 : 0x20, 5, 2)
      await one.settle()
      if (out) one.writeBlock(pattern(1).subarray(0, 100))
      else one.readBlock(50)
      const state = structuredClone(one.instance.save!())
      const two = await started({ disk0: disk })
      two.instance.restore!(state)
      expect(two.instance.save!()).toEqual(state)
      expect(two.lines.level(14)).toBe(one.lines.level(14))
      if (out) {
        two.writeBlock(pattern(1).subarray(100))
        two.writeBlock(pattern(2))
        await two.settle()
        const back = new Uint8Array(1024)
        await disk.read(5, [back])
        expect(back).toEqual(Uint8Array.from([...pattern(1), ...pattern(2)]))
      } else {
        two.readBlock(206)
        expect(two.ports.read(STATUS)).toBe(0x58)
        two.readBlock(256)
      }
      expect(two.ports.read(STATUS)).toBe(0x50)
    }
  })

  it('goes on with a DMA command that waits for its bus master', async () => {
    const disk = new MemoryDisk(1000)
    await disk.write(9, [pattern(9)])
    const one = await started({ disk0: disk })
    one.prepareDma(0x1000, [[0x8000, 512]], true)
    one.command(0xc8, 9, 1)
    const state = structuredClone(one.instance.save!())
    const two = await started({ disk0: disk })
    two.instance.restore!(state)
    two.machine.memory.bytes.set(one.machine.memory.bytes)
    two.startDma(true)
    await two.settle()
    expect(two.machine.memory.bytes.slice(0x8000, 0x8200)).toEqual(pattern(9))
  })

  it('is restored after a command for a sector that there is none of', async () => {
    const one = await started()
    one.command(0x20, 0, 1, 0xa0) // by cylinder, head and sector, which are numbered from 1
    await one.settle()
    expect(one.ports.read(ERROR)).toBe(0x10)
    const two = await started()
    two.instance.restore!(structuredClone(one.instance.save!()))
    expect(two.ports.read(ERROR)).toBe(0x10)
  })

  it('refuses to be saved while it is busy, and states with impossible positions or other drives', async () => {
    const { instance, command, settle } = await started()
    command(0x20, 0, 1)
    expect(() => instance.save!()).toThrowError(expect.objectContaining({ code: 'ERR_IDE_BUSY' }))
    await settle()
    const state = structuredClone(instance.save!()) as {
      version: number
      data: { channels: { drives: (Record<string, unknown> | null)[] }[] }
    }
    const broken = (change: (drive: Record<string, unknown>) => void): unknown => {
      const copy = structuredClone(state)
      change(copy.data.channels[0]!.drives[0]!)
      return copy
    }
    const restore = (wrong: unknown) => () => instance.restore!(wrong as never)
    const invalid = expect.objectContaining({ code: 'ERR_STATE_INVALID' })
    expect(restore(broken((drive) => (drive['position'] = 512)))).toThrowError(invalid)
    expect(restore(broken((drive) => (drive['blockEnd'] = 1024)))).toThrowError(invalid)
    expect(restore(broken((drive) => (drive['status'] = 0x80)))).toThrowError(invalid)
    expect(restore({ version: 9, data: state.data })).toThrowError(invalid)
    const { instance: empty } = await started({})
    expect(() => empty.restore!(state as never)).toThrowError(invalid)
    instance.restore!(state as never)
  })

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
