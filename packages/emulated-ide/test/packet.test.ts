// The CD drive of the controller as a driver sees it: facts of the packet protocol (ATA/ATAPI-7) and, of what is particular to it here, of MMC.

import { MemoryDisk } from '@partita/disk-images'
import { DISK_ERROR, type Disk, PartitaError } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { BM, CONTROL, COUNT, DEVICE, ERROR, HIGH, type Host, MID, STATUS, started, textOf, wordOf } from './host.ts'

const CONTENTS: Uint8Array = Uint8Array.from({ length: 100 * 2048 }, (_, i) => (i * 7 + (i >> 8) + (i >> 16)) & 0xff)
const TUR = '00'
const SENSE = '03 00 00 00 12'
const INQUIRY = '12 00 00 00 24'
const EVENT = '4a 01 00 00 10 00 00 00 08'

const iso = (): MemoryDisk => new MemoryDisk(400, { readOnly: true, contents: CONTENTS })

/** A machine whose primary master is a CD drive that has told of its power-on. */
async function withCd(disk: Disk | null = iso(), options: Readonly<Record<string, unknown>> = {}): Promise<Host> {
  const drives = [{ disk: disk === null ? null : 'iso', dvd: true }]
  const host = await started(disk === null ? {} : { iso: disk }, drives, options)
  await host.packet(TUR)
  return host
}

const senseOf = async (host: Host): Promise<number[]> => {
  const { data } = await host.packet(SENSE)
  return [(data[2] as number) & 0xf, data[12] as number, data[13] as number]
}

describe('a packet device', () => {
  it('has its own signature after resets and where commands of disks are tried', async () => {
    const host = await withCd()
    const acts: [() => void, number][] = [
      [() => host.softwareReset(), 0x00],
      [() => host.command(0x90), 0x00],
      [() => host.command(0x08), 0x00],
      [() => host.command(0xec), 0x51],
      [() => host.command(0x20, 1, 1), 0x51],
    ]
    for (const [act, status] of acts) {
      act()
      expect(host.signature.slice(1)).toEqual([1, 1, 0x14, 0xeb])
      expect(host.ports.read(ERROR)).toBe(status === 0 ? 1 : 4)
      expect(host.ports.read(STATUS)).toBe(status)
    }
  })

  it('identifies itself as a CD drive with packets of 12 bytes', async () => {
    const { command, ports, readBlock, lines } = await withCd()
    command(0xa1)
    expect(lines.level(14)).toBe(true)
    expect(ports.read(STATUS)).toBe(0x58)
    const data = readBlock(256)
    expect(ports.read(STATUS)).toBe(0x50)
    expect(lines.level(14)).toBe(false)
    expect(wordOf(data, 0)).toBe(0x85c0)
    expect(textOf(data, 27, 20)).toBe('Partita Virtual DVD-ROM')
    expect(wordOf(data, 49) & 0x0300).toBe(0x0300)
    expect(wordOf(data, 82) & 0x0210).toBe(0x0210) // DEVICE RESET, PACKET
    expect(wordOf(data, 88)).toBe(0x003f)
    expect(data.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0)
  })

  it('answers for a second drive that is not there with zeros', async () => {
    const { ports } = await withCd()
    ports.write(DEVICE, 0xb0)
    expect([ERROR, COUNT, MID, HIGH, STATUS].map((port) => ports.read(port))).toEqual([0, 0, 0, 0, 0])
  })

  it('takes the packet at once, and says at each step what it waits for', async () => {
    const { ports, lines, sendPacket, settle, readBlock } = await withCd()
    ports.write(DEVICE, 0xa0)
    ports.write(ERROR, 0)
    ports.write(MID, 0xfe)
    ports.write(HIGH, 0xff)
    ports.write(STATUS, 0xa0)
    expect([ports.read(STATUS), ports.read(COUNT), lines.level(14)]).toEqual([0x58, 1, false])
    ports.write(CONTROL, 4)
    ports.write(CONTROL, 0)
    sendPacket('25')
    expect(ports.read(CONTROL) & 0x80).toBe(0x80)
    await settle()
    // The reset is told first.
    expect([lines.level(14), ports.read(STATUS), ports.read(COUNT), ports.read(ERROR)]).toEqual([true, 0x51, 3, 0x60])
    sendPacket('25')
    await settle()
    expect([lines.level(14), ports.read(STATUS), ports.read(COUNT)]).toEqual([true, 0x58, 2])
    expect([ports.read(MID), ports.read(HIGH)]).toEqual([8, 0])
    expect([...readBlock(4)]).toEqual([0, 0, 0, 99, 0, 0, 8, 0])
    expect([lines.level(14), ports.read(STATUS), ports.read(COUNT)]).toEqual([true, 0x50, 3])
  })

  it('has commands without data, settings and power modes', async () => {
    const { command, ports } = await withCd()
    const after = (code: number, count = 0, features = 0): number[] => {
      ports.write(ERROR, features)
      command(code, 0, count, 0xa0)
      return [ports.read(STATUS), ports.read(ERROR)]
    }
    expect(after(0xef, 0x44, 0x03)).toEqual([0x50, 0])
    expect(after(0xef, 0x47, 0x03)).toEqual([0x51, 4])
    expect(after(0xef, 0, 0x02)).toEqual([0x51, 4])
    expect(after(0x00)).toEqual([0x51, 4])
    expect(after(0xc8)).toEqual([0x51, 4])
    for (const [code, mode] of [
      [0xe0, 0x00],
      [0xe1, 0x80],
      [0xe2, 0x00],
      [0xe3, 0x80],
    ] as const) {
      expect(after(code)).toEqual([0x50, 0])
      expect(after(0xe5)).toEqual([0x50, 0])
      expect(ports.read(COUNT)).toBe(mode)
    }
    expect(after(0xe6)).toEqual([0x50, 0])
    ports.write(STATUS, 0xa1) // it sleeps until it is reset
    expect(ports.read(STATUS)).toBe(0x50)
    ports.write(STATUS, 0x08)
    ports.write(STATUS, 0xa1)
    expect(ports.read(STATUS)).toBe(0x58)
  })
})

describe('data of packets', () => {
  it('comes in blocks of the byte count, with an interrupt each and one at the end', async () => {
    const host = await withCd()
    const whole = await host.packet(INQUIRY)
    expect([whole.blocks, whole.interrupts, whole.status]).toEqual([[36], 2, 0x50])
    expect(String.fromCharCode(...whole.data.subarray(8, 32))).toBe('Msft    Virtual CD/ROM  ')
    const parts = await host.packet(INQUIRY, { limit: 15 })
    expect(parts.blocks).toEqual([14, 14, 8])
    expect(parts.interrupts).toBe(4)
    expect(parts.data).toEqual(whole.data)
    // An odd number of bytes: the last word is half full.
    expect((await host.packet('12 00 00 00 05', { limit: 5 })).data).toEqual(whole.data.slice(0, 5))
    expect((await host.packet('12 00 00 00 05', { limit: 4 })).blocks).toEqual([4, 1])
    // FFFFh means FFFEh; no room is an error, unless there is no data.
    expect((await host.packet('28 00 00 00 00 00 00 00 40', { limit: 0xffff })).blocks).toEqual([65_534, 2, 65_534, 2])
    expect(await host.packet(INQUIRY, { limit: 0 })).toMatchObject({ status: 0x51, error: 0x54 })
    expect(await host.packet(INQUIRY, { limit: 1 })).toMatchObject({ status: 0x51, error: 0x54 })
    expect(await host.packet(TUR, { limit: 0 })).toMatchObject({ status: 0x50, error: 0 })
  })

  it('keeps the next block whole when an access goes over the end of one', async () => {
    const { sendPacket, settle, ports } = await withCd()
    sendPacket(INQUIRY, 6)
    await settle()
    expect(ports.read(MID)).toBe(6)
    expect([ports.read(0x1f0, 4), ports.read(0x1f0, 4)]).toEqual([0x0206_8005, 0x005b]) // 5 80 06 02 5b 00
    // ("Msft" begins at byte 8.)
    expect([ports.read(0x1f0, 4), ports.read(0x1f0, 4)]).toEqual([0x734d_0200, 0x7466])
  })

  it('is read in any length, with PIO', async () => {
    const host = await withCd()
    for (const cdb of [
      '28 00 00 00 00 05 00 00 3c',
      'a8 00 00 00 00 05 00 00 00 3c',
      'be 00 00 00 00 05 00 00 3c 10',
    ]) {
      const { data, status } = await host.packet(cdb, { limit: 0x8000 })
      expect(status).toBe(0x50)
      expect(data).toEqual(CONTENTS.slice(5 * 2048, 65 * 2048))
    }
    const raw = await host.packet('be 00 00 00 00 01 00 00 32 f8')
    expect(raw.data.length).toBe(50 * 2352)
    expect(raw.data.slice(49 * 2352 + 16, 49 * 2352 + 2064)).toEqual(CONTENTS.slice(50 * 2048, 51 * 2048))
    expect((await host.packet('28 00 00 00 00 63 00 00 02')).status).toBe(0x51)
    expect(await senseOf(host)).toEqual([5, 0x21, 0])
    expect((await host.packet('28')).status).toBe(0x50)
  })

  it('goes to guest memory by DMA, at any length and in any pieces', async () => {
    const host = await withCd()
    const { machine, prepareDma, startDma, sendPacket, settle, ports, lines } = host
    prepareDma(
      0x1000,
      [
        [0x10000, 3000],
        [0x20000, 5192],
        [0x30000, 49_152],
        [0x40000, 0],
      ],
      true,
    )
    sendPacket('28 00 00 00 00 02 00 00 3c', 0, true)
    await settle()
    expect([ports.read(CONTROL), ports.read(COUNT)]).toEqual([0x58, 2])
    startDma(true)
    await settle()
    expect(lines.level(14)).toBe(true)
    expect(ports.read(BM + 2) & 7).toBe(4)
    expect([ports.read(STATUS), ports.read(COUNT)]).toEqual([0x50, 3])
    const at = (gpa: number, length: number): Uint8Array => machine.memory.bytes.slice(gpa, gpa + length)
    const got = [at(0x10000, 3000), at(0x20000, 5192), at(0x30000, 49_152), at(0x40000, 65_536)]
    expect(Uint8Array.from(got.flatMap((part) => [...part]))).toEqual(CONTENTS.slice(2 * 2048, 62 * 2048))
    // What is small comes from the buffer; the bus master is started first here.
    prepareDma(
      0x1000,
      [
        [0x8000, 10],
        [0x9000, 100],
      ],
      true,
    )
    startDma(true)
    sendPacket(INQUIRY, 0, true)
    await settle()
    expect(ports.read(BM + 2) & 7).toBe(5) // the table is longer
    expect(ports.read(STATUS)).toBe(0x50)
    expect(String.fromCharCode(...at(0x8000, 10).subarray(8), ...at(0x9000, 6))).toBe('Msft    ')
  })

  it('waits when the table is too short, and goes on with the next one', async () => {
    const { machine, prepareDma, startDma, sendPacket, settle, ports, lines } = await withCd()
    for (const [cdb, first, second] of [
      ['28 00 00 00 00 02 00 00 03', 5000, 2048],
      [INQUIRY, 20, 16],
    ] as const) {
      prepareDma(0x1000, [[0x8000, first]], true)
      sendPacket(cdb, 0, true)
      startDma(true)
      await settle()
      expect([lines.level(14), ports.read(BM + 2) & 7, ports.read(CONTROL)]).toEqual([false, 0, 0x58])
      prepareDma(0x1000, [[0xa000, second]], true)
      startDma(true)
      await settle()
      expect([lines.level(14), ports.read(BM + 2) & 7, ports.read(STATUS)]).toEqual([true, 4, 0x50])
    }
    expect(machine.memory.bytes.slice(0xa010, 0xa010 + 16)).toEqual(CONTENTS.slice(4 * 2048 + 16, 4 * 2048 + 32))
  })

  it('goes to the drive by PIO and DMA', async () => {
    const host = await withCd()
    const page = (await host.packet('5a 00 01 00 00 00 00 00 ff')).data.slice()
    page[0] = 0
    page[1] = 0
    const select = `55 10 00 00 00 00 00 00 ${page.length.toString(16)}`
    const pio = await host.packet(select, { out: page, limit: 8 })
    expect([pio.status, pio.blocks]).toEqual([0x50, [8, 8, 4]])
    page[11] = 0x55
    expect(await host.packet(select, { out: page })).toMatchObject({ status: 0x51, error: 0x54 })
    expect(await senseOf(host)).toEqual([5, 0x26, 0])
    const { machine, prepareDma, startDma, sendPacket, settle, ports } = host
    machine.memory.bytes.set(page, 0x8000)
    prepareDma(0x1000, [[0x8000, page.length]], false)
    sendPacket(select, 0, true)
    startDma(false)
    await settle()
    expect(ports.read(STATUS)).toBe(0x51)
    expect(await senseOf(host)).toEqual([5, 0x26, 0])
  })

  it('is refused by DMA where there is none', async () => {
    const { sendPacket, command, readBlock, ports } = await withCd(iso(), { pci: false })
    command(0xa1, 0, 0, 0xa0)
    const data = readBlock(256)
    expect([wordOf(data, 49) & 0x0100, wordOf(data, 63), wordOf(data, 88)]).toEqual([0, 0, 0])
    sendPacket(INQUIRY, 0xfffe, true)
    expect([ports.read(STATUS), ports.read(ERROR)]).toEqual([0x51, 4])
  })
})

describe('errors of packets', () => {
  it('are in the error register, and the sense is there until the next command', async () => {
    const host = await withCd()
    expect(await host.packet('ff')).toMatchObject({ status: 0x51, error: 0x54, interrupts: 1 })
    expect(await senseOf(host)).toEqual([5, 0x20, 0])
    expect(await senseOf(host)).toEqual([0, 0, 0])
    await host.packet('ff')
    await host.packet(TUR)
    expect(await senseOf(host)).toEqual([0, 0, 0])
  })

  it('of commands that only disks have are explained, too', async () => {
    const host = await withCd()
    host.command(0xec)
    expect([host.ports.read(STATUS), host.ports.read(ERROR)]).toEqual([0x51, 4])
    expect(await senseOf(host)).toEqual([5, 0x20, 0])
    expect(await senseOf(host)).toEqual([0, 0, 0])
  })

  it('of the host are the medium’s', async () => {
    const disk = iso()
    const host = await withCd(disk)
    disk.read = async () => {
      throw new PartitaError(DISK_ERROR.IO, 'no')
    }
    expect(await host.packet('28 00 00 00 00 00 00 00 01')).toMatchObject({ status: 0x51, error: 0x30 })
    expect(await senseOf(host)).toEqual([3, 0x11, 0])
    host.prepareDma(0x1000, [[0x8000, 2048]], true)
    host.sendPacket('28 00 00 00 00 00 00 00 01', 0, true)
    host.startDma(true)
    await host.settle()
    // The drive has ended, the table has not.
    expect([host.lines.level(14), host.ports.read(BM + 2) & 7, host.ports.read(STATUS)]).toEqual([true, 5, 0x51])
  })

  it('power-on is told once', async () => {
    const host = await started({ iso: iso() }, [{ disk: 'iso', dvd: true }])
    expect(await host.packet(TUR)).toMatchObject({ status: 0x51, error: 0x60 })
    expect(await senseOf(host)).toEqual([6, 0x29, 1])
    expect(await host.packet(TUR)).toMatchObject({ status: 0x50 })
  })
})

describe('media', () => {
  it('come and go while the machine runs, and are told', async () => {
    const host = await withCd(null)
    const { control } = host
    expect(await host.packet(TUR)).toMatchObject({ status: 0x51, error: 0x20 })
    expect(await senseOf(host)).toEqual([2, 0x3a, 0])
    const medium = iso()
    expect(await control.insert(0, medium)).toBeUndefined()
    expect((await host.packet(EVENT)).data.slice(4, 6)).toEqual(Uint8Array.of(2, 2))
    expect(await host.packet(TUR)).toMatchObject({ status: 0x51, error: 0x60 })
    expect(await senseOf(host)).toEqual([6, 0x28, 0])
    expect((await host.packet('25')).data[3]).toBe(99)
    // Another one in its place.
    const other = new MemoryDisk(40)
    expect(await control.insert(0, other)).toBe(medium)
    await host.packet(TUR)
    expect((await host.packet('25')).data[3]).toBe(9)
    expect(await control.remove(0)).toBe(other)
    expect((await host.packet(EVENT)).data.slice(4, 6)).toEqual(Uint8Array.of(3, 0))
    expect(await host.packet('28 00 00 00 00 00 00 00 01')).toMatchObject({ status: 0x51, error: 0x20 })
    await expect(control.insert(1, medium)).rejects.toMatchObject({ code: 'ERR_IDE_DRIVE' })
    await expect(control.insert(0, new MemoryDisk(1, { sectorSize: 4096 }))).rejects.toMatchObject({
      code: 'ERR_STORAGE_DISK',
    })
  })

  it('are let go by the guest when somebody presses the button', async () => {
    const medium = iso()
    const host = await withCd(medium)
    await host.packet('1e 00 00 00 01')
    expect(host.control.media(0)).toEqual({ trayOpen: false, locked: true, medium })
    expect(host.control.media(1)).toBeUndefined()
    host.control.requestEject(0)
    expect((await host.packet(EVENT)).data[4]).toBe(1)
    expect(await host.packet('1b 00 00 00 02')).toMatchObject({ status: 0x51, error: 0x54 })
    await host.packet('1e')
    expect(await host.packet('1b 00 00 00 02')).toMatchObject({ status: 0x50 })
    expect(host.control.media(0)).toEqual({ trayOpen: true, locked: false, medium: undefined })
    await host.control.insert(0, medium)
    expect(host.control.media(0)?.trayOpen).toBe(false)
  })

  it('go away in the middle of a large read, which then fails', async () => {
    const host = await withCd()
    const { sendPacket, settle, readBlock, control, ports } = host
    sendPacket('28 00 00 00 00 00 00 00 40', 0x8000)
    await settle()
    readBlock(0x4000)
    await control.remove(0)
    readBlock(0x4000)
    await settle()
    expect([ports.read(STATUS), ports.read(ERROR)]).toEqual([0x51, 0x20])
  })
})
