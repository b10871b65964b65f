// Bus-master DMA as a driver sees it: facts of the bus-master programming interface, revision 1.0.
import { MemoryDisk } from '@partita/disk-images'
import type { SavedState } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { BM, CONTROL, type Host, pattern, SECTORS, STATUS, started } from './host.ts'

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

  it('waits while the function is no bus master, also in another machine', async () => {
    const disk = new MemoryDisk(SECTORS)
    await disk.write(7, [pattern(7)])
    const host = await started({ disk0: disk })
    const { machine, command, prepareDma, startDma, settle, ports, lines } = host
    machine.pci.write(7, 1, 4, 0x0001, 0xffff)
    prepareDma(0x1000, [[0x8000, 512]], true)
    command(0xc8, 7, 1)
    startDma(true)
    await settle()
    expect([lines.level(14), ports.read(BM + 2) & 7, ports.read(CONTROL)]).toEqual([false, 1, 0x58])
    const other = await started({ disk0: disk })
    other.machine.memory.bytes.set(machine.memory.bytes)
    other.instance.restore?.(structuredClone(host.instance.save?.()) as SavedState)
    await other.settle()
    expect([other.ports.read(BM + 2) & 7, other.ports.read(CONTROL)]).toEqual([1, 0x58])
    for (const each of [host, other]) {
      each.machine.pci.write(7, 1, 4, 0x0005, 0xffff)
      await each.settle()
      expect([each.lines.level(14), each.ports.read(BM + 2) & 7, each.ports.read(STATUS)]).toEqual([true, 4, 0x50])
      expect(each.machine.memory.bytes.slice(0x8000, 0x8200)).toEqual(pattern(7))
    }
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

  it('answers nowhere when the guest puts it on top of another device, and the channels go on', async () => {
    const { machine, ports } = await started()
    const bases = (): number[] => machine.ports.claims.map(({ base }) => base)
    const CHANNELS = [0x170, 0x1f0, 0x376, 0x3f6]
    const other = machine.ports.claim(0xc008, 8, { read: () => 0x55, write: () => {} })
    machine.pci.write(7, 1, 0x20, 0xc001)
    expect(bases()).toEqual([...CHANNELS, 0xc008])
    expect([ports.read(STATUS), ports.read(0xc000), ports.read(0xc008)]).toEqual([0x50, 0xff, 0x55])
    machine.pci.write(7, 1, 0x20, 0xffa1)
    expect(bases()).toEqual([...CHANNELS, 0xc008, 0xffa0])
    // There as soon as the guest writes to a register when nothing is in the way any more.
    machine.pci.write(7, 1, 0x20, 0xc001)
    other[Symbol.dispose]()
    expect(bases()).toEqual(CHANNELS)
    machine.pci.write(7, 1, 4, 0x0005, 0xffff)
    expect(bases()).toEqual([...CHANNELS, 0xc000])
  })

  it('does not hide the channels, wherever the guest puts it', async () => {
    const { machine, ports, command } = await started()
    const bases = (): number[] => machine.ports.claims.map(({ base }) => base)
    for (const base of [0x1f0, 0x170, 0x3f0, 0x370]) {
      machine.pci.write(7, 1, 0x20, base)
      expect(bases()).toEqual([0x170, 0x1f0, 0x376, 0x3f6])
      command(0xe5)
      expect([ports.read(STATUS), ports.read(0x1f2)]).toEqual([0x50, 0xff])
    }
    // With the primary channel's decoding off the place is free, until it is on again.
    machine.pci.write(7, 1, 0x20, 0x1f0)
    machine.pci.write(7, 1, 0x40, 0x0000, 0xffff)
    expect(bases()).toEqual([0x170, 0x1f0, 0x376])
    ports.write(0x1f4, 0x1234_5678, 4)
    expect(ports.read(0x1f4, 4)).toBe(0x1234_5678)
    machine.pci.write(7, 1, 0x40, 0x8000, 0xffff)
    expect(bases()).toEqual([0x170, 0x1f0, 0x376, 0x3f6])
    expect(ports.read(STATUS)).toBe(0x50)
    // 64 KiB of ports are all that there are.
    machine.pci.write(7, 1, 0x20, 0x1_c001)
    expect(bases()).toEqual([0x170, 0x1f0, 0x376, 0x3f6])
  })
})

describe('a host that polls, and gives the next command as soon as one has ended', () => {
  /** Promises get on, disks that wait do not. */
  async function turns(): Promise<void> {
    for (let turn = 0; turn < 100; turn++) await Promise.resolve()
  }

  /** INQUIRY by DMA has ended, and a read by PIO waits for its disk. */
  async function readBehindInquiry(): Promise<{ host: Host; open: () => void }> {
    const cd = new MemoryDisk(400, { readOnly: true })
    const gate = Promise.withResolvers<void>()
    const read = cd.read.bind(cd)
    cd.read = async (sector, segments) => {
      await gate.promise
      await read(sector, segments)
    }
    const host = await started({ cd }, [{ disk: 'cd', dvd: true }])
    await host.packet('00')
    host.prepareDma(0x1000, [[0x8000, 36]], true)
    host.sendPacket('12 00 00 00 24', 0, true)
    await turns()
    host.startDma(true)
    expect(host.ports.read(STATUS)).toBe(0x50)
    host.sendPacket('28 00 00 00 00 07 00 00 02')
    return { host, open: () => gate.resolve() }
  }

  it('sees that one busy until it is done', async () => {
    const { host, open } = await readBehindInquiry()
    await turns()
    expect(host.ports.read(CONTROL)).toBe(0x80)
    open()
    await host.settle()
    expect(host.ports.read(CONTROL)).toBe(0x58)
    expect(host.readBlock(2048).length).toBe(4096)
    expect(host.ports.read(STATUS)).toBe(0x50)
  })

  it('and a reset over when that one has come back', async () => {
    const { host, open } = await readBehindInquiry()
    host.softwareReset()
    await turns()
    expect(host.ports.read(CONTROL)).toBe(0x80)
    open()
    await host.settle()
    expect([host.ports.read(CONTROL), ...host.signature]).toEqual([0x00, 1, 1, 1, 0x14, 0xeb])
  })
})
