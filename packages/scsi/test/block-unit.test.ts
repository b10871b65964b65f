// A disk's commands against what SPC-4 and SBC-3 say of them.

import { MemoryDisk } from '@partita/disk-images'
import { DISK_ERROR, type Disk, PartitaError } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { BlockUnit, SENSE } from '../src/index.ts'
import { ascii, be16, be32, be64, bytes, run } from './scsi-initiator.ts'

const SECTORS = 2048

function make(options: { readOnly?: boolean; contents?: Uint8Array } = {}): { disk: MemoryDisk; unit: BlockUnit } {
  const disk = new MemoryDisk(SECTORS, options)
  return { disk, unit: new BlockUnit(disk, { serial: 'serial-1' }) }
}

async function stored(disk: Disk, sector: number, count: number): Promise<Uint8Array> {
  const data = new Uint8Array(count * disk.sectorSize)
  await disk.read(sector, [data])
  return data
}

const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed + (i >> 8)) & 0xff)

describe('INQUIRY', () => {
  it('describes a direct-access device by SPC-4', async () => {
    const { unit } = make()
    const { status, data, transferred } = await run(unit, '12 00 00 00 60 00')
    expect(status).toBe(0)
    expect(transferred).toBe(96)
    expect([data[0], data[1], data[2], (data[3] ?? 0) & 0xf]).toEqual([0, 0, 6, 2])
    expect(data[4]).toBe(91)
    expect(ascii(data, 8, 8)).toBe('Msft    ')
    expect(ascii(data, 16, 16)).toBe('Virtual Disk    ')
    expect(ascii(data, 32, 4)).toBe('1.0 ')
    expect(be16(data, 60)).toBe(0x0460)
    expect(be16(data, 62)).toBe(0x04c0)
  })

  it('cuts its answer to the allocation length and to the buffer', async () => {
    const { unit } = make()
    expect((await run(unit, '12 00 00 00 24 00')).transferred).toBe(36)
    expect((await run(unit, '12 00 00 00 60 00', { room: 5 })).transferred).toBe(5)
    expect((await run(unit, '12 00 00 00 00 00')).transferred).toBe(0)
  })

  it('has the vital product data pages that it lists, and no others', async () => {
    const { unit } = make()
    const list = await run(unit, '12 01 00 00 ff 00')
    const pages = [...list.data.subarray(4, 4 + be16(list.data, 2))]
    expect(pages).toEqual([0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2])
    for (const page of pages) {
      const { status, data, transferred } = await run(unit, Uint8Array.of(0x12, 1, page, 0, 255, 0))
      expect([status, data[1], transferred]).toEqual([0, page, be16(data, 2) + 4])
    }
    expect((await run(unit, '12 01 81 00 ff 00')).sense).toBe('05/24/00')
    expect((await run(unit, '12 00 80 00 ff 00')).sense).toBe('05/24/00')
  })

  it('names itself: serial number, and designators that are the same each time', async () => {
    const { unit } = make()
    const serial = await run(unit, '12 01 80 00 ff 00')
    expect(ascii(serial.data, 4, be16(serial.data, 2))).toBe('serial-1')
    const { data } = await run(unit, '12 01 83 00 ff 00')
    const first = data[7] ?? 0
    expect([data[4], data[5]]).toEqual([0x02, 0x01]) // ASCII, T10 vendor ID
    expect(ascii(data, 8, first)).toBe('Msft    Virtual Disk    serial-1')
    const at = 8 + first
    expect([data[at], data[at + 1], data[at + 3]]).toEqual([0x01, 0x03, 8]) // binary, NAA
    expect((data[at + 4] ?? 0) >> 4).toBe(3) // locally assigned
    const again = await run(make().unit, '12 01 83 00 ff 00')
    expect(again.data).toEqual(data)
    const other = await run(new BlockUnit(new MemoryDisk(1), { serial: 'serial-2' }), '12 01 83 00 ff 00')
    expect(be64(other.data, at + 4)).not.toBe(be64(data, at + 4))
  })

  it('says how blocks are given back', async () => {
    const { data: limits } = await run(make().unit, '12 01 b0 00 ff 00')
    expect(be16(limits, 2)).toBe(0x3c)
    expect(be32(limits, 20)).toBeGreaterThan(0) // UNMAP LBA count
    expect(be32(limits, 24)).toBeGreaterThan(0) // descriptors
    expect(be64(limits, 36)).toBe(0x2_0000n) // WRITE SAME length
    const { data: provisioning } = await run(make().unit, '12 01 b2 00 ff 00')
    expect(provisioning[5]).toBe(0xe0)
    expect((await run(make().unit, '12 01 b1 00 ff 00')).data.slice(4, 6)).toEqual(bytes('00 01')) // non-rotating
    const readOnly = await run(make({ readOnly: true }).unit, '12 01 b2 00 ff 00')
    expect(readOnly.data[5]).toBe(0)
    expect(be32((await run(make({ readOnly: true }).unit, '12 01 b0 00 ff 00')).data, 20)).toBe(0)
  })
})

describe('capacity', () => {
  it('is the last block and the block length', async () => {
    const { unit } = make()
    const ten = await run(unit, '25 00 00 00 00 00 00 00 00 00')
    expect([ten.transferred, be32(ten.data, 0), be32(ten.data, 4)]).toEqual([8, SECTORS - 1, 512])
    const sixteen = await run(unit, '9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00')
    expect([sixteen.transferred, be64(sixteen.data, 0), be32(sixteen.data, 8)]).toEqual([32, 2047n, 512])
    expect(sixteen.data[14]).toBe(0x80) // LBPME
    expect((await run(unit, '9e 11 00 00 00 00 00 00 00 00 00 00 00 20 00 00')).sense).toBe('05/24/00')
  })

  it('that four bytes cannot carry is all ones', async () => {
    const unit = new BlockUnit(new MemoryDisk(2 ** 33), { serial: 's' })
    expect(be32((await run(unit, '25 00 00 00 00 00 00 00 00 00')).data, 0)).toBe(0xffff_ffff)
    const sixteen = await run(unit, '9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00')
    expect(be64(sixteen.data, 0)).toBe(2n ** 33n - 1n)
  })

  it('names the physical blocks by their exponent', async () => {
    const disk = { ...shape(new MemoryDisk(64)), physicalSectorSize: 4096 }
    const unit = new BlockUnit(disk, { serial: 's' })
    const { data } = await run(unit, '9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00')
    expect((data[13] ?? 0) & 0xf).toBe(3)
    expect(be32((await run(unit, '12 01 b0 00 ff 00')).data, 28)).toBe(8) // unmap granularity
  })
})

/** A disk's members as own properties, for overriding. */
function shape(disk: MemoryDisk): Disk {
  return {
    sectorSize: disk.sectorSize,
    physicalSectorSize: disk.physicalSectorSize,
    sectorCount: disk.sectorCount,
    readOnly: disk.readOnly,
    read: (sector, segments) => disk.read(sector, segments),
    write: (sector, segments) => disk.write(sector, segments),
    flush: () => disk.flush(),
    discard: (sector, count) => disk.discard(sector, count),
    zero: (sector, count) => disk.zero(sector, count),
    [Symbol.asyncDispose]: () => disk[Symbol.asyncDispose](),
  }
}

describe('READ and WRITE', () => {
  const forms: readonly (readonly [string, string, string])[] = [
    ['(6)', '08 00 00 05 03 00', '0a 00 00 05 03 00'],
    ['(10)', '28 00 00 00 00 05 00 00 03 00', '2a 00 00 00 00 05 00 00 03 00'],
    ['(12)', 'a8 00 00 00 00 05 00 00 00 03 00 00', 'aa 00 00 00 00 05 00 00 00 03 00 00'],
    ['(16)', '88 00 00 00 00 00 00 00 00 05 00 00 00 03 00 00', '8a 00 00 00 00 00 00 00 00 05 00 00 00 03 00 00'],
  ]
  for (const [name, read, write] of forms) {
    it(`${name} move the blocks that they name, through any segments`, async () => {
      const { disk, unit } = make()
      const data = pattern(3 * 512)
      const written = await run(unit, write, { out: data, pieces: 100 })
      expect([written.status, written.transferred]).toEqual([0, 1536])
      expect(await stored(disk, 5, 3)).toEqual(data)
      expect((await stored(disk, 4, 1)).every((byte) => byte === 0)).toBe(true)
      const back = await run(unit, read, { room: 1536, pieces: 77 })
      expect([back.status, back.transferred]).toEqual([0, 1536])
      expect(back.data).toEqual(data)
    })

    it(`${name} leave what lies behind the blocks in a larger buffer`, async () => {
      const { unit } = make()
      const back = await run(unit, read, { room: 2000, pieces: 700 })
      expect([back.status, back.transferred]).toEqual([0, 1536])
      expect((await run(unit, read, { room: 1535 })).sense).toBe('05/24/00')
    })
  }

  it('(6) with a length of 0 is 256 blocks', async () => {
    const { unit } = make()
    expect((await run(unit, '08 00 00 00 00 00', { room: 256 * 512 })).transferred).toBe(256 * 512)
  })

  it('of zero blocks do nothing, also right behind the last', async () => {
    const { unit } = make()
    expect(await run(unit, '28 00 00 00 08 00 00 00 00 00')).toMatchObject({ status: 0, transferred: 0 })
    expect((await run(unit, '28 00 00 00 08 01 00 00 00 00')).sense).toBe('05/21/00')
  })

  it('refuse blocks that are not there', async () => {
    const { unit } = make()
    expect((await run(unit, '28 00 00 00 07 ff 00 00 02 00')).sense).toBe('05/21/00')
    expect((await run(unit, '88 00 ff ff ff ff ff ff ff ff 00 00 00 01 00 00')).sense).toBe('05/21/00')
    expect(
      (await run(unit, '8a 00 00 20 00 00 00 00 00 00 00 00 00 01 00 00', { out: new Uint8Array(512) })).sense,
    ).toBe('05/21/00')
  })

  it('refuse protection information, NACA, and a buffer for the other way', async () => {
    const { unit } = make()
    expect((await run(unit, '28 20 00 00 00 00 00 00 01 00')).sense).toBe('05/24/00')
    expect((await run(unit, '28 00 00 00 00 00 00 00 01 04')).sense).toBe('05/24/00')
    expect((await run(unit, '28 00 00 00 00 00 00 00 01 00', { out: new Uint8Array(512) })).sense).toBe('05/24/00')
    expect((await run(unit, '2a 00 00 00 00 00 00 00 01 00')).sense).toBe('05/24/00')
  })

  it('refuse writes to a read-only disk, and say so in MODE SENSE', async () => {
    const { unit } = make({ readOnly: true })
    const out = new Uint8Array(512)
    for (const cdb of [
      '0a 00 00 00 01 00',
      '2a 00 00 00 00 00 00 00 01 00',
      '41 00 00 00 00 00 00 00 01 00',
      '42 00 00 00 00 00 00 00 00 00',
    ])
      expect((await run(unit, cdb, { out })).sense).toBe('07/27/00')
    expect((await run(unit, '1a 00 3f 00 ff 00')).data[2]).toBe(0x90)
    expect((await run(make().unit, '1a 00 3f 00 ff 00')).data[2]).toBe(0x10)
  })

  it('with FUA, or without a write cache, complete after a flush', async () => {
    const events: string[] = []
    const memory = new MemoryDisk(64)
    const disk: Disk = {
      ...shape(memory),
      write: async (sector, segments) => {
        await memory.write(sector, segments)
        events.push('write')
      },
      flush: async () => {
        events.push('flush')
      },
    }
    const unit = new BlockUnit(disk, { serial: 's' })
    const out = new Uint8Array(512)
    await run(unit, '2a 00 00 00 00 00 00 00 01 00', { out })
    expect(events.splice(0)).toEqual(['write'])
    await run(unit, '2a 08 00 00 00 00 00 00 01 00', { out })
    expect(events.splice(0)).toEqual(['write', 'flush'])
    // MODE SELECT (6): the caching page with WCE clear.
    const list = new Uint8Array(4 + 20)
    list.set([0x08, 0x12], 4)
    expect((await run(unit, '15 10 00 00 18 00', { out: list })).status).toBe(0)
    expect((await run(unit, '1a 08 08 00 ff 00')).data[6]).toBe(0)
    expect(events.splice(0)).toEqual(['flush'])
    await run(unit, '2a 00 00 00 00 00 00 00 01 00', { out })
    expect(events.splice(0)).toEqual(['write', 'flush'])
    await run(unit, '35 00 00 00 00 00 00 00 00 00', { room: 0 })
    await run(unit, '91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00', { room: 0 })
    expect(events.splice(0)).toEqual(['flush', 'flush'])
  })
})

describe('errors of the host', () => {
  const failing = (code: string): BlockUnit => {
    const fail = (): Promise<void> => Promise.reject(new PartitaError(code, 'no'))
    const disk: Disk = { ...shape(new MemoryDisk(64)), read: fail, write: fail, flush: fail, discard: fail, zero: fail }
    return new BlockUnit(disk, { serial: 's' })
  }
  const expected: readonly (readonly [string, string, string])[] = [
    [DISK_ERROR.IO, '03/11/00', '03/0c/00'],
    ['ERR_WHATEVER', '03/11/00', '03/0c/00'],
    [DISK_ERROR.FULL, '07/27/07', '07/27/07'],
    [DISK_ERROR.READ_ONLY, '07/27/00', '07/27/00'],
    [DISK_ERROR.RANGE, '05/21/00', '05/21/00'],
    [DISK_ERROR.CLOSED, '02/3a/00', '02/3a/00'],
  ]
  for (const [code, reading, writing] of expected) {
    it(`${code} is ${reading} to a reader and ${writing} to a writer`, async () => {
      const unit = failing(code)
      const read = await run(unit, '28 00 00 00 00 00 00 00 01 00')
      expect([read.status, read.sense, read.transferred]).toEqual([2, reading, 0])
      expect(read.command.fault).toMatchObject({ code })
      const out = new Uint8Array(512)
      expect((await run(unit, '2a 00 00 00 00 00 00 00 01 00', { out })).sense).toBe(writing)
      expect((await run(unit, '35 00 00 00 00 00 00 00 00 00', { room: 0 })).sense).toBe(writing)
      expect((await run(unit, '41 00 00 00 00 00 00 00 02 00', { out })).sense).toBe(writing)
      expect((await run(unit, '2f 00 00 00 00 00 00 00 02 00', { room: 0 })).sense).toBe(reading)
      expect(unit.base.inFlight).toBe(0)
    })
  }

  it('count as well where a disk throws them instead of rejecting', async () => {
    const disk: Disk = {
      ...shape(new MemoryDisk(64)),
      read: () => {
        throw new PartitaError(DISK_ERROR.IO, 'no')
      },
    }
    const unit = new BlockUnit(disk, { serial: 's' })
    expect((await run(unit, '28 00 00 00 00 00 00 00 01 00')).sense).toBe('03/11/00')
    expect(unit.base.inFlight).toBe(0)
  })

  it('leave no sense behind for the next command', async () => {
    const unit = failing(DISK_ERROR.IO)
    await run(unit, '28 00 00 00 00 00 00 00 01 00')
    expect(await run(unit, '00 00 00 00 00 00')).toMatchObject({ status: 0, sense: '' })
  })
})

describe('UNMAP and WRITE SAME', () => {
  /** A parameter list of UNMAP (SBC-3, 5.28.2). */
  function unmapList(...ranges: readonly (readonly [number, number])[]): Uint8Array {
    const list = new Uint8Array(8 + 16 * ranges.length)
    const view = new DataView(list.buffer)
    view.setUint16(0, list.length - 2)
    view.setUint16(2, 16 * ranges.length)
    ranges.forEach(([lba, count], i) => {
      view.setBigUint64(8 + 16 * i, BigInt(lba))
      view.setUint32(16 + 16 * i, count)
    })
    return list
  }
  const unmap = (length: number): Uint8Array => Uint8Array.of(0x42, 0, 0, 0, 0, 0, 0, length >> 8, length & 0xff, 0)

  it('give blocks back', async () => {
    const { disk, unit } = make({ contents: new Uint8Array(SECTORS * 512).fill(1) })
    const before = disk.allocated
    const list = unmapList([0, 128], [512, 256])
    expect((await run(unit, unmap(list.length), { out: list })).status).toBe(0)
    expect(disk.allocated).toBe(before - 3 * 65_536)
    expect((await stored(disk, 128, 1))[0]).toBe(1)
  })

  it('change nothing when one descriptor is wrong', async () => {
    const { disk, unit } = make({ contents: new Uint8Array(SECTORS * 512).fill(1) })
    const before = disk.allocated
    const list = unmapList([0, 1024], [SECTORS, 1])
    expect((await run(unit, unmap(list.length), { out: list })).sense).toBe('05/21/00')
    expect(disk.allocated).toBe(before)
    expect((await run(unit, unmap(4), { out: list })).sense).toBe('05/1a/00')
    expect((await run(unit, unmap(200), { out: list })).sense).toBe('05/1a/00')
    expect((await run(unit, '42 01 00 00 00 00 00 00 18 00', { out: list })).sense).toBe('05/24/00')
    expect((await run(unit, unmap(0), { out: list })).status).toBe(0)
  })

  it('go by the list as it was checked, whatever the guest makes of it meanwhile', async () => {
    const list = unmapList([0, 8], [8, 8], [16, 8])
    const discarded: number[][] = []
    const disk: Disk = {
      ...shape(new MemoryDisk(64)),
      discard: async (sector, count) => {
        discarded.push([sector, count])
        list.fill(0xff, 8)
      },
    }
    const unit = new BlockUnit(disk, { serial: 's' })
    expect((await run(unit, unmap(list.length), { out: list })).status).toBe(0)
    expect(discarded).toEqual([
      [0, 8],
      [8, 8],
      [16, 8],
    ])
  })

  it('are not there where the disk cannot give anything back', async () => {
    const { discard: _, ...rest } = shape(new MemoryDisk(64))
    const unit = new BlockUnit(rest, { serial: 's' })
    expect((await run(unit, unmap(24), { out: unmapList([0, 1]) })).sense).toBe('05/20/00')
    expect((await run(unit, '41 08 00 00 00 00 00 00 01 00', { out: new Uint8Array(512) })).sense).toBe('05/24/00')
    expect((await run(unit, '9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00')).data[14]).toBe(0)
  })

  it('write one block many times', async () => {
    const { disk, unit } = make()
    const block = pattern(512)
    const same = await run(unit, '41 00 00 00 00 07 00 01 2c 00', { out: block })
    expect([same.status, same.transferred]).toEqual([0, 512])
    const data = await stored(disk, 0, 310)
    expect(data[7 * 512 - 1]).toBe(0)
    for (const sector of [7, 100, 306]) expect(data.slice(sector * 512, sector * 512 + 512)).toEqual(block)
    expect(data[307 * 512 + 5]).toBe(0)
    // (16) with UNMAP and zeros; then with NDOB, without data.
    await run(unit, '93 08 00 00 00 00 00 00 00 07 00 00 00 64 00 00', { out: new Uint8Array(512) })
    expect((await stored(disk, 7, 100)).every((byte) => byte === 0)).toBe(true)
    expect((await run(unit, '93 01 00 00 00 00 00 00 00 6b 00 00 00 64 00 00', { room: 0 })).status).toBe(0)
    expect((await stored(disk, 107, 100)).every((byte) => byte === 0)).toBe(true)
    expect((await stored(disk, 207, 1)).slice(0, 512)).toEqual(block)
  })

  it('refuse no blocks, too many, and no data', async () => {
    const { unit } = make()
    const out = new Uint8Array(512)
    expect((await run(unit, '41 00 00 00 00 00 00 00 00 00', { out })).sense).toBe('05/24/00')
    expect((await run(unit, '93 00 00 00 00 00 00 00 00 00 ff ff ff ff 00 00', { out })).sense).toBe('05/24/00')
    expect((await run(unit, '41 00 00 00 00 00 00 00 01 00', { out: new Uint8Array(511) })).sense).toBe('05/24/00')
    expect((await run(unit, '41 00 00 00 07 ff 00 00 02 00', { out })).sense).toBe('05/21/00')
  })
})

describe('VERIFY', () => {
  it('compares byte by byte, and says where the difference is', async () => {
    const contents = pattern(SECTORS * 512)
    const { unit } = make({ contents })
    const out = contents.slice(512, 512 + 200 * 512)
    expect((await run(unit, '2f 02 00 00 00 01 00 00 c8 00', { out, pieces: 999 })).status).toBe(0)
    out[150 * 512 + 3] = (out[150 * 512 + 3] ?? 0) ^ 1
    const miscompare = await run(unit, '8f 02 00 00 00 00 00 00 00 01 00 00 00 c8 00 00', { out })
    expect(miscompare.sense).toBe('0e/1d/00')
    expect(miscompare.command.sense[0]).toBe(0xf0)
    expect(be32(miscompare.command.sense, 3)).toBe(150 * 512 + 3)
  })

  it('reads what it is told to, compares one block with many, and refuses what is reserved', async () => {
    const { unit } = make({ contents: new Uint8Array(SECTORS * 512).fill(3) })
    expect((await run(unit, '2f 00 00 00 00 00 00 08 00 00', { room: 0 })).status).toBe(0)
    expect((await run(unit, '2f 06 00 00 00 00 00 08 00 00', { out: new Uint8Array(512).fill(3) })).status).toBe(0)
    expect((await run(unit, '2f 04 00 00 00 00 00 00 01 00', { out: new Uint8Array(512) })).sense).toBe('05/24/00')
    expect((await run(unit, '2f 02 00 00 00 00 00 00 02 00', { out: new Uint8Array(512) })).sense).toBe('05/24/00')
    expect((await run(unit, '2f 00 00 00 07 ff 00 00 02 00', { room: 0 })).sense).toBe('05/21/00')
  })
})

describe('MODE SENSE and MODE SELECT', () => {
  it('report the caching page in both forms', async () => {
    const { unit } = make()
    const six = await run(unit, '1a 00 08 00 ff 00')
    expect(six.data[0]).toBe(six.transferred - 1)
    expect([six.data[3], be32(six.data, 4), be32(six.data, 8)]).toEqual([8, SECTORS, 512])
    expect([...six.data.subarray(12, 15)]).toEqual([0x08, 0x12, 0x04])
    const ten = await run(unit, '5a 08 08 00 00 00 00 00 ff 00')
    expect(be16(ten.data, 0)).toBe(ten.transferred - 2)
    expect([...ten.data.subarray(6, 11)]).toEqual([0, 0, 0x08, 0x12, 0x04])
    const long = await run(unit, '5a 10 3f 00 00 00 00 00 ff 00')
    expect([long.data[4], be16(long.data, 6), be64(long.data, 8), be32(long.data, 20)]).toEqual([1, 16, 2048n, 512])
  })

  it('tell what may change, and refuse what may not', async () => {
    const { unit } = make()
    expect((await run(unit, '1a 08 48 00 ff 00')).data[6]).toBe(0x04)
    expect((await run(unit, '1a 08 c8 00 ff 00')).sense).toBe('05/39/00')
    expect((await run(unit, '1a 08 19 00 ff 00')).sense).toBe('05/24/00')
    expect((await run(unit, '1a 08 08 01 ff 00')).sense).toBe('05/24/00')
    const list = new Uint8Array(24)
    list.set([0x08, 0x12, 0x05], 4) // RCD is not changeable
    expect((await run(unit, '15 10 00 00 18 00', { out: list })).sense).toBe('05/26/00')
    expect((await run(unit, '15 00 00 00 18 00', { out: list })).sense).toBe('05/24/00')
    expect((await run(unit, '15 10 00 00 17 00', { out: list })).sense).toBe('05/1a/00')
    expect((await run(unit, '15 10 00 00 40 00', { out: list })).sense).toBe('05/1a/00')
    expect(unit.writeCache).toBe(true)
  })

  it('flush what was written, and is being written, before the write cache is off', async () => {
    const memory = new MemoryDisk(64)
    const writing = Promise.withResolvers<void>()
    const events: string[] = []
    let broken = false
    const disk: Disk = {
      ...shape(memory),
      write: async () => {
        await writing.promise
        events.push('written')
      },
      flush: async () => {
        events.push('flush')
        if (broken) throw new PartitaError(DISK_ERROR.IO, 'lost')
      },
    }
    const unit = new BlockUnit(disk, { serial: 's' })
    const select = (wce: number): ReturnType<typeof run> =>
      run(unit, '15 10 00 00 18 00', { out: Uint8Array.from({ length: 24 }, (_, i) => [8, 0x12, wce][i - 4] ?? 0) })
    const write = run(unit, '2a 00 00 00 00 00 00 00 01 00', { out: new Uint8Array(512) })
    const off = select(0)
    writing.resolve()
    expect([(await write).status, (await off).status, (await off).transferred]).toEqual([0, 0, 24])
    expect(events.splice(0)).toEqual(['written', 'flush'])
    // Off already, and on: nothing to do.
    expect([(await select(0)).status, (await select(4)).status, unit.writeCache]).toEqual([0, 0, true])
    expect(events.splice(0)).toEqual([])
    broken = true
    expect((await select(0)).sense).toBe('03/0c/00')
    expect(unit.writeCache).toBe(false)
  })

  it('tell other initiators of a change', async () => {
    const { unit } = make()
    await run(unit, '00 00 00 00 00 00', { initiator: 7 })
    const list = new Uint8Array(28)
    list.set([0x08, 0x12], 8)
    expect((await run(unit, '55 10 00 00 00 00 00 00 1c 00', { out: list })).status).toBe(0)
    expect((await run(unit, '00 00 00 00 00 00')).status).toBe(0)
    expect((await run(unit, '00 00 00 00 00 00', { initiator: 7 })).sense).toBe('06/2a/01')
  })
})

describe('unit attentions and readiness', () => {
  it('are told once, to everyone who uses the unit, and not in the way of INQUIRY', async () => {
    const { unit } = make()
    await run(unit, '00 00 00 00 00 00', { initiator: 1 })
    await run(unit, '00 00 00 00 00 00', { initiator: 2 })
    unit.capacityChanged()
    unit.capacityChanged()
    expect((await run(unit, '12 00 00 00 24 00', { initiator: 1 })).status).toBe(0)
    expect((await run(unit, '28 00 00 00 00 00 00 00 01 00', { initiator: 1 })).sense).toBe('06/2a/09')
    expect((await run(unit, '28 00 00 00 00 00 00 00 01 00', { initiator: 1 })).status).toBe(0)
    const sense = await run(unit, '03 00 00 00 12 00', { initiator: 2 })
    expect([sense.status, sense.data[0], sense.data[2], sense.data[12], sense.data[13]]).toEqual([0, 0x70, 6, 0x2a, 9])
    expect((await run(unit, '03 00 00 00 12 00', { initiator: 2 })).data[2]).toBe(0)
  })

  it('a stopped unit is not ready until it is started', async () => {
    const { unit } = make()
    expect((await run(unit, '1b 00 00 00 00 00', { room: 0 })).status).toBe(0)
    expect((await run(unit, '00 00 00 00 00 00')).sense).toBe('02/04/02')
    expect((await run(unit, '28 00 00 00 00 00 00 00 01 00')).sense).toBe('02/04/02')
    expect((await run(unit, '1b 00 00 00 01 00', { room: 0 })).status).toBe(0)
    expect((await run(unit, '00 00 00 00 00 00')).status).toBe(0)
    expect((await run(unit, '1b 00 00 00 02 00', { room: 0 })).sense).toBe('05/24/00')
  })

  it('unknown operation codes are refused', async () => {
    const { unit } = make()
    for (const opcode of [0x01, 0x43, 0x7f, 0xa4, 0xc0, 0xff])
      expect((await run(unit, Uint8Array.of(opcode))).sense).toBe('05/20/00')
  })
})

describe('saved state', () => {
  it('carries what a guest has set', async () => {
    const { unit } = make()
    await run(unit, '00 00 00 00 00 00', { initiator: 3 })
    unit.capacityChanged()
    unit.writeCache = false
    const register = new Uint8Array(24)
    register[15] = 9
    await run(unit, '5f 00 00 00 00 00 00 00 18 00', { out: register })
    const state = structuredClone(unit.save())
    const other = make().unit
    other.restore(state)
    expect(other.writeCache).toBe(false)
    expect((await run(other, '00 00 00 00 00 00', { initiator: 3 })).sense).toBe('06/2a/09')
    expect(be64((await run(other, '5e 00 00 00 00 00 00 00 ff 00')).data, 8)).toBe(9n)
    other.powerOn()
    expect(other.writeCache).toBe(true)
    expect(be32((await run(other, '5e 00 00 00 00 00 00 00 ff 00')).data, 4)).toBe(0)
  })

  it('refuses what is none', () => {
    const { unit } = make()
    expect(() => unit.restore({ version: 2, data: unit.save().data })).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_INVALID' }),
    )
    expect(() => unit.restore({ version: 1, data: {} })).toThrow(expect.objectContaining({ code: 'ERR_STATE_INVALID' }))
  })
})

it('knows each of its senses by name', () => {
  const codes = Object.values(SENSE).map(({ key, asc, ascq }) => `${key}/${asc}/${ascq}`)
  expect(new Set(codes).size).toBe(codes.length)
})
