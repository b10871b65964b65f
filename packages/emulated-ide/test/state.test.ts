// Saving and restoring in the middle of each kind of transfer.
import { MemoryDisk } from '@partita/disk-images'
import type { SavedState } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { BM, CONTROL, COUNT, DEVICE, ERROR, HIGH, type Host, MID, pattern, STATUS, started } from './host.ts'

/** A machine that is saved and goes on in another one, at each place that says so. */
class Traveller {
  host: Host
  readonly #start: () => Promise<Host>
  readonly #travels: boolean

  constructor(host: Host, start: () => Promise<Host>, travels: boolean) {
    this.host = host
    this.#start = start
    this.#travels = travels
  }

  async move(): Promise<void> {
    await this.host.settle()
    if (!this.#travels) return
    const state = structuredClone(this.host.instance.save?.())
    const next = await this.#start()
    next.machine.memory.bytes.set(this.host.machine.memory.bytes)
    next.instance.restore?.(state as SavedState)
    expect(next.lines.level(14)).toBe(this.host.lines.level(14))
    expect(next.ports.read(CONTROL)).toBe(this.host.ports.read(CONTROL))
    // What the bus master goes on with is under way again.
    await next.settle()
    expect(next.instance.save?.()).toEqual(state)
    this.host = next
  }

  /** Read or write words, and move in between. */
  async data(bytes: number, out?: Uint8Array): Promise<number[]> {
    const read: number[] = []
    const step = bytes < 4096 ? 300 : 9998
    for (let at = 0; at < bytes; at += step) {
      const part = Math.min(step, bytes - at)
      if (out === undefined) read.push(...this.host.readBlock(part / 2))
      else this.host.writeBlock(out.subarray(at, at + part))
      await this.move()
    }
    return read
  }
}

const CD: Uint8Array = Uint8Array.from({ length: 60 * 2048 }, (_, i) => (i * 11 + (i >> 8)) & 0xff)
const DMA_TABLE: readonly (readonly [number, number])[] = [
  [0x8000, 700],
  [0x9000, 324],
]
const status = ({ host }: Traveller): number[] => [host.ports.read(STATUS), host.ports.read(ERROR)]
const memory = ({ host }: Traveller): number[] => [...host.machine.memory.bytes.subarray(0x8000, 0xa000)]

/** What happens on the way; the results are the same with and without moves. */
const JOURNEYS: Readonly<Record<string, (traveller: Traveller) => Promise<unknown>>> = {
  'PIO in': async (t) => {
    t.host.command(0x20, 5, 3)
    await t.move()
    return [await t.data(3 * 512), status(t)]
  },
  'PIO in blocks': async (t) => {
    t.host.command(0xc6, 0, 2)
    t.host.command(0xc4, 5, 5)
    await t.move()
    return [await t.data(5 * 512), status(t)]
  },
  'PIO out': async (t) => {
    t.host.command(0x30, 8, 2)
    await t.move()
    await t.data(1024, Uint8Array.from([...pattern(50), ...pattern(51)]))
    t.host.command(0x20, 8, 2)
    await t.move()
    return [await t.data(1024), status(t)]
  },
  IDENTIFY: async (t) => {
    t.host.command(0xec)
    await t.move()
    return [await t.data(512), status(t)]
  },
  'DMA in, command first': async (t) => {
    t.host.prepareDma(0x1000, DMA_TABLE, true)
    t.host.command(0xc8, 9, 2)
    await t.move()
    t.host.startDma(true)
    await t.move()
    return [memory(t), status(t), t.host.ports.read(BM + 2)]
  },
  'DMA in, bus master first, in two tables': async (t) => {
    t.host.prepareDma(0x1000, DMA_TABLE, true)
    t.host.startDma(true)
    await t.move()
    t.host.command(0xc8, 9, 4)
    await t.move()
    t.host.prepareDma(0x1000, [[0x9400, 1024]], true)
    await t.move()
    t.host.startDma(true)
    await t.move()
    return [memory(t), status(t), t.host.ports.read(BM + 2)]
  },
  'DMA out': async (t) => {
    t.host.machine.memory.bytes.set(pattern(77), 0x8000)
    t.host.prepareDma(0x1000, DMA_TABLE, false)
    t.host.commandExt(0x3d, 20, 2)
    await t.move()
    t.host.startDma(false)
    await t.move()
    t.host.command(0x20, 20, 2)
    await t.move()
    return [await t.data(1024), status(t)]
  },
  'WRITE BUFFER, and READ BUFFER': async (t) => {
    t.host.command(0xe8)
    await t.move()
    await t.data(512, pattern(91))
    t.host.command(0xe4)
    await t.move()
    return [await t.data(512), status(t)]
  },
  'TRIM, its ranges in two tables': async (t) => {
    t.host.command(0x30, 511, 2)
    await t.move()
    await t.data(1024, Uint8Array.from([...pattern(60), ...pattern(61)]))
    // The 256 sectors from 256 on, in the last of 64 ranges.
    t.host.machine.memory.bytes.set([0, 1, 0, 0, 0, 0, 0, 1], 0xa000 + 304)
    t.host.prepareDma(0x1000, [[0x8000, 200]], false)
    t.host.startDma(false)
    t.host.ports.write(ERROR, 1)
    t.host.commandExt(0x06, 0, 1)
    await t.move()
    expect([t.host.ports.read(CONTROL), t.host.ports.read(BM + 2) & 7]).toEqual([0x58, 0])
    t.host.prepareDma(0x1000, [[0xa000, 312]], false)
    await t.move()
    t.host.startDma(false)
    await t.move()
    const ended = [...status(t), t.host.ports.read(BM + 2)]
    t.host.command(0x20, 511, 2)
    await t.move()
    const sectors = await t.data(1024)
    expect(sectors).toEqual([...new Uint8Array(512), ...pattern(61)])
    return [ended, sectors]
  },
  'SMART: a page, after a setting': async (t) => {
    t.host.ports.write(ERROR, 0xd2)
    t.host.command(0xb0, 0xc2_4f_00, 0xf1)
    await t.move()
    t.host.ports.write(ERROR, 0xd0)
    t.host.command(0xb0, 0xc2_4f_00)
    await t.move()
    return [await t.data(512), status(t)]
  },
  'SET MAX ADDRESS, right behind READ NATIVE MAX ADDRESS': async (t) => {
    t.host.command(0xf8)
    await t.move()
    t.host.command(0xf9, 499)
    await t.move()
    const set = status(t)
    t.host.command(0x20, 500, 1)
    await t.move()
    t.host.command(0xec)
    return [set, status(t), await t.data(512)]
  },
  'a packet, and its data by PIO': async (t) => {
    t.host.ports.write(DEVICE, 0xb0)
    t.host.ports.write(ERROR, 0)
    t.host.ports.write(MID, 0x00)
    t.host.ports.write(HIGH, 0x10)
    t.host.ports.write(STATUS, 0xa0)
    await t.move()
    t.host.writeBlock(Uint8Array.of(0x28, 0, 0, 0))
    await t.move()
    t.host.writeBlock(Uint8Array.of(0, 3, 0, 0, 40, 0, 0, 0))
    await t.move()
    return [await t.data(40 * 2048), status(t), t.host.ports.read(COUNT)]
  },
  'a packet with DMA': async (t) => {
    t.host.prepareDma(0x1000, [[0x8000, 4096]], true)
    t.host.sendPacket('28 00 00 00 00 07 00 00 03', 0, true, 0xb0)
    await t.move()
    t.host.startDma(true)
    await t.move()
    t.host.prepareDma(0x1000, [[0x9000, 2048]], true)
    t.host.startDma(true)
    await t.move()
    return [memory(t), status(t), t.host.ports.read(BM + 2)]
  },
  'a packet that takes data, and the sense of its failure': async (t) => {
    t.host.sendPacket('55 10 00 00 00 00 00 00 14', 6, false, 0xb0)
    await t.move()
    await t.data(20, new Uint8Array(20).fill(0x33))
    const failed = status(t)
    t.host.sendPacket('03 00 00 00 12', 0xfffe, false, 0xb0)
    await t.move()
    return [failed, await t.data(18), status(t)]
  },
}

describe('a transfer goes on in another machine', () => {
  for (const [name, journey] of Object.entries(JOURNEYS)) {
    it(name, async () => {
      const results: unknown[] = []
      for (const travels of [false, true]) {
        const disk = new MemoryDisk(1000)
        for (let sector = 0; sector < 40; sector++) await disk.write(sector, [pattern(sector)])
        const cd = new MemoryDisk(CD.length / 512, { readOnly: true, contents: CD })
        const start = (): Promise<Host> => started({ disk, cd }, ['disk', { disk: 'cd', dvd: true }])
        const host = await start()
        // The power-on of the drive is told.
        host.sendPacket('00', 0xfffe, false, 0xb0)
        await host.settle()
        results.push(await journey(new Traveller(host, start, travels)))
      }
      expect(results[1]).toEqual(results[0])
      expect(JSON.stringify(results[0]).length).toBeGreaterThan(50)
    })
  }
})

describe('coming to rest', () => {
  it('waits for a transfer by DMA whose bus master was started before its packet', async () => {
    const disk = new MemoryDisk(CD.length / 512, { readOnly: true, contents: CD })
    const host = await started({ cd: disk }, [{ disk: 'cd', dvd: true }])
    await host.packet('00')
    const gate = Promise.withResolvers<void>()
    const read = disk.read.bind(disk)
    disk.read = async (sector, segments) => {
      await gate.promise
      await read(sector, segments)
    }
    host.prepareDma(0x1000, [[0x8000, 4096]], true)
    host.startDma(true)
    host.sendPacket('28 00 00 00 00 07 00 00 02', 0, true)
    // What a packet begins at once is over soon; its data is not.
    for (let turn = 0; turn < 100; turn++) await Promise.resolve()
    expect(host.ports.read(CONTROL)).toBe(0x80)
    expect(() => host.instance.save?.()).toThrowError(expect.objectContaining({ code: 'ERR_IDE_BUSY' }))
    let rested = false
    const rest = host.settle().then(() => {
      rested = true
    })
    for (let turn = 0; turn < 100; turn++) await Promise.resolve()
    expect(rested).toBe(false)
    gate.resolve()
    await rest
    expect([host.ports.read(STATUS), host.ports.read(BM + 2) & 7]).toEqual([0x50, 4])
    expect(host.machine.memory.bytes.slice(0x8000, 0x9000)).toEqual(CD.slice(7 * 2048, 9 * 2048))
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

  interface ChangeableState {
    version: number
    data: {
      channels: { busMaster: Record<string, unknown>; drives: (Record<string, unknown> | null)[] }[]
    }
  }

  it.each<[string, (host: Host) => void, Record<string, unknown>]>([
    ['READ DMA that is over', (host) => host.command(0xc8, 9, 1), { remaining: 0 }],
    ['READ DMA with data in the buffer', (host) => host.command(0xc8, 9, 1), { buffer: new Uint8Array(512) }],
    ['READ DMA that writes', (host) => host.command(0xc8, 9, 1), { transfer: 4 }],
    ['WRITE DMA that is over', (host) => host.command(0xca, 9, 1), { remaining: 0 }],
    ['WRITE DMA that reads', (host) => host.command(0xca, 9, 1), { transfer: 3 }],
    ['DMA of a command that has none', (host) => host.command(0xca, 9, 1), { code: 0xe7 }],
    ['DMA without a transfer', (host) => host.command(0xc8, 9, 1), { transfer: 0 }],
    ['a transfer that asks for nothing', (host) => host.command(0xc8, 9, 1), { status: 0x50 }],
    ['WRITE SECTORS of more than is left', (host) => host.command(0x30, 9, 2), { remaining: 1 }],
    ['WRITE SECTORS of a command that reads', (host) => host.command(0x30, 9, 2), { code: 0x20 }],
    ['IDENTIFY with sectors behind it', (host) => host.command(0xec), { remaining: 1 }],
    ['a block that ends inside of a word', (host) => host.command(0xec), { blockEnd: 511 }],
    ['blocks of three sectors', () => {}, { settings: { multiple: 3 } }],
    ['a power mode that there is not', () => {}, { power: 0x41 }],
  ])('refuses %s, whose bus master is active', async (_name, begin, change) => {
    const host = await started({ disk0: new MemoryDisk(1000) })
    begin(host)
    await host.settle()
    const state = structuredClone(host.instance.save!()) as unknown as ChangeableState
    const [channel] = state.data.channels
    Object.assign(channel!.busMaster, { command: 0x09, status: 0x61 })
    const unchanged = await started({ disk0: new MemoryDisk(1000) })
    unchanged.instance.restore!(structuredClone(state) as never)
    await unchanged.settle()
    const drive = channel!.drives[0]!
    for (const [key, value] of Object.entries(change))
      drive[key] =
        typeof drive[key] === 'object' && key === 'settings' ? { ...drive[key], ...(value as object) } : value
    expect(() => host.instance.restore!(state as never)).toThrowError(
      expect.objectContaining({ code: 'ERR_STATE_INVALID' }),
    )
  })

  it.each<[string, (host: Host) => void, (host: Host) => void]>([
    [
      'WRITE SECTORS',
      (host) => {
        host.command(0x30, 256, 2)
        host.writeBlock(pattern(70))
        host.writeBlock(pattern(71).subarray(0, 100))
      },
      (host) => host.writeBlock(pattern(71).subarray(100)),
    ],
    ['WRITE DMA', (host) => host.command(0xca, 256, 2), (host) => host.startDma(false)],
    [
      'TRIM',
      (host) => {
        // The 256 sectors from 256 on.
        host.machine.memory.bytes.set([0, 1, 0, 0, 0, 0, 0, 1], 0x8000)
        host.ports.write(ERROR, 1)
        host.commandExt(0x06, 0, 1)
      },
      (host) => host.startDma(false),
    ],
  ])('goes on with %s on a disk that takes no writes any more: they are refused', async (_name, begin, goOn) => {
    for (const readOnly of [false, true]) {
      const disk = new MemoryDisk(1000)
      await disk.write(256, [pattern(30), pattern(31)])
      const one = await started({ disk })
      one.prepareDma(0x1000, [[0x8000, 1024]], false)
      begin(one)
      await one.settle()
      expect(one.ports.read(CONTROL)).toBe(0x58)
      const two = await started({ disk }, [{ disk: 'disk', readOnly }])
      two.machine.memory.bytes.set(one.machine.memory.bytes)
      two.instance.restore!(structuredClone(one.instance.save!()))
      goOn(two)
      await two.settle()
      expect(two.lines.level(14)).toBe(true)
      expect([two.ports.read(STATUS), two.ports.read(ERROR)]).toEqual(readOnly ? [0x51, 0x04] : [0x50, 0x00])
      const sectors = new Uint8Array(1024)
      await disk.read(256, [sectors])
      const before = Uint8Array.from([...pattern(30), ...pattern(31)])
      if (readOnly) expect(sectors).toEqual(before)
      else expect(sectors).not.toEqual(before)
    }
  })

  it('takes what WRITE BUFFER has on a disk that takes no writes any more', async () => {
    const disk = new MemoryDisk(1000)
    const one = await started({ disk })
    one.command(0xe8)
    const two = await started({ disk }, [{ disk: 'disk', readOnly: true }])
    two.instance.restore!(structuredClone(one.instance.save!()))
    two.writeBlock(pattern(5))
    expect(two.ports.read(STATUS)).toBe(0x50)
    two.command(0xe4)
    expect(two.readBlock(256)).toEqual(pattern(5))
  })

  it('keeps counting where counters are as large as they can be', async () => {
    const host = await started({ disk0: new MemoryDisk(1000) })
    const state = structuredClone(host.instance.save!()) as unknown as ChangeableState
    const smart = state.data.channels[0]!.drives[0]!['smart'] as Record<string, unknown>
    const most = Number.MAX_SAFE_INTEGER
    Object.assign(smart, { counters: [most, most, most, most], errorCount: most, testCount: most })
    host.instance.restore!(state as never)
    host.command(0x20, 0, 1)
    await host.settle()
    host.readBlock(256)
    host.ports.write(ERROR, 0xd4)
    host.command(0xb0, 0xc2_4f_01)
    await host.settle()
    host.instance.restore!(structuredClone(host.instance.save!()))
    expect(host.ports.read(STATUS)).toBe(0x50)
  })
})
