// A DVD drive's commands against MMC-6, and the sequence with which Linux' sr_mod looks at a drive.

import { MemoryDisk } from '@partita/disk-images'
import { describe, expect, it } from 'vitest'
import { DvdUnit } from '../src/index.ts'
import { be16, be32, run } from './scsi-initiator.ts'

const BLOCKS = 1000
function iso(value = 7): MemoryDisk {
  return new MemoryDisk(BLOCKS * 4, { readOnly: true, contents: new Uint8Array(BLOCKS * 2048).fill(value) })
}
const TUR = '00 00 00 00 00 00'
const OPEN = '1b 00 00 00 02 00'
const CLOSE = '1b 00 00 00 03 00'
const EVENT = '4a 01 00 00 10 00 00 00 08 00'

describe('a drive with a medium', () => {
  it('is removable, of type 5, and has no block pages', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' }, iso())
    const { data } = await run(unit, '12 00 00 00 60 00')
    expect([data[0], data[1]]).toEqual([5, 0x80])
    expect([...(await run(unit, '12 01 00 00 ff 00')).data.subarray(3, 7)]).toEqual([3, 0, 0x80, 0x83])
  })

  it('reads blocks of 2,048 bytes', async () => {
    const contents = Uint8Array.from({ length: 10 * 2048 }, (_, i) => (i * 3 + (i >> 11)) & 0xff)
    const unit = new DvdUnit({ serial: 'dvd0' }, new MemoryDisk(40, { readOnly: true, contents }))
    const capacity = await run(unit, '25 00 00 00 00 00 00 00 00 00')
    expect([be32(capacity.data, 0), be32(capacity.data, 4)]).toEqual([9, 2048])
    for (const cdb of ['28 00 00 00 00 03 00 00 02 00', 'a8 00 00 00 00 03 00 00 00 02 00 00']) {
      const { data, transferred } = await run(unit, cdb, { room: 4096, pieces: 500 })
      expect(transferred).toBe(4096)
      expect(data).toEqual(contents.slice(3 * 2048, 5 * 2048))
    }
    expect((await run(unit, '28 00 00 00 00 09 00 00 02 00')).sense).toBe('05/21/00')
    expect((await run(unit, '28 00 00 00 00 00 00 00 02 00', { room: 4095 })).sense).toBe('05/24/00')
  })

  it('also from a disk whose sectors are that large, but not from larger ones', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' }, new MemoryDisk(10, { sectorSize: 2048 }))
    expect(be32((await run(unit, '25 00 00 00 00 00 00 00 00 00')).data, 0)).toBe(9)
    expect(() => new DvdUnit({ serial: 'dvd0' }, new MemoryDisk(10, { sectorSize: 4096 }))).toThrow(
      expect.objectContaining({ code: 'ERR_STORAGE_DISK' }),
    )
  })

  it('cannot be written to', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' }, iso())
    expect((await run(unit, '2a 00 00 00 00 00 00 00 01 00', { out: new Uint8Array(2048) })).sense).toBe('05/20/00')
  })

  it('has a table of contents of one data track', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' }, iso())
    const lba = (await run(unit, '43 00 00 00 00 00 00 00 ff 00')).data
    expect([be16(lba, 0), lba[2], lba[3]]).toEqual([18, 1, 1])
    expect([lba[5], lba[6], be32(lba, 8), lba[14], be32(lba, 16)]).toEqual([0x14, 1, 0, 0xaa, BLOCKS])
    const msf = (await run(unit, '43 02 00 00 00 00 aa 00 ff 00')).data
    expect([be16(msf, 0), msf[6], ...msf.subarray(8, 12)]).toEqual([10, 0xaa, 0, 0, 15, 25]) // (1000 + 150) / 75
    const sessions = (await run(unit, '43 00 01 00 00 00 00 00 ff 00')).data
    expect([be16(sessions, 0), sessions[2], sessions[3], sessions[6], be32(sessions, 8)]).toEqual([10, 1, 1, 1, 0])
    expect((await run(unit, '43 00 00 00 00 00 02 00 ff 00')).sense).toBe('05/24/00')
    expect((await run(unit, '43 00 02 00 00 00 00 00 ff 00')).sense).toBe('05/24/00')
  })

  it('lists its features', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' }, iso())
    const { data, transferred } = await run(unit, '46 00 00 00 00 00 00 01 ff 00')
    expect([be32(data, 0), be16(data, 6)]).toEqual([transferred - 4, 0x10])
    const features: number[] = []
    for (let at = 8; at < transferred; at += 4 + (data[at + 3] ?? 0)) features.push(be16(data, at))
    expect(features).toEqual([0x0000, 0x0001, 0x0002, 0x0003, 0x0010, 0x001f, 0x0100, 0x0105])
    const one = await run(unit, '46 02 00 1f 00 00 00 00 ff 00')
    expect([one.transferred, be16(one.data, 8), (one.data[10] ?? 0) & 1]).toEqual([16, 0x1f, 1])
    const empty = await run(new DvdUnit({ serial: 'dvd0' }), '46 01 00 00 00 00 00 00 ff 00')
    expect(be16(empty.data, 6)).toBe(0)
  })

  it('has the structures of a DVD', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' }, iso())
    const { data } = await run(unit, 'ad 00 00 00 00 00 00 00 08 04 00 00')
    expect([be16(data, 0), be32(data, 8), be32(data, 12)]).toEqual([2050, 0x3_0000, 0x3_0000 + BLOCKS - 1])
    expect(be16((await run(unit, 'ad 00 00 00 00 00 00 01 08 04 00 00')).data, 0)).toBe(6)
    expect((await run(unit, 'ad 00 00 00 00 00 00 02 08 04 00 00')).sense).toBe('05/24/00')
    expect((await run(unit, '51 00 00 00 00 00 00 00 22 00')).transferred).toBe(34)
    expect(be32((await run(unit, '52 01 00 00 00 01 00 00 24 00')).data, 24)).toBe(BLOCKS)
  })

  it('tells in mode page 2Ah that it has a tray that can be locked', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' }, iso())
    const six = (await run(unit, '1a 00 2a 00 80 00')).data
    expect([six[3], six[4], (six[10] ?? 0) & 0xeb]).toEqual([0, 0x2a, 0x29])
    const ten = (await run(unit, '5a 00 2a 00 00 00 00 00 80 00')).data
    expect([be16(ten, 6), ten[8]]).toEqual([0, 0x2a])
  })
})

describe('media that come and go', () => {
  it('an empty drive says so', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' })
    for (const cdb of [
      TUR,
      '25 00 00 00 00 00 00 00 00 00',
      '28 00 00 00 00 00 00 00 01 00',
      '43 00 00 00 00 00 00 00 ff 00',
    ])
      expect((await run(unit, cdb)).sense).toBe('02/3a/00')
    expect((await run(unit, EVENT)).data[5]).toBe(0)
  })

  it('a new medium is told once, by unit attention and by event', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' })
    await run(unit, TUR)
    await unit.insert(iso())
    const event = await run(unit, EVENT)
    expect([be16(event.data, 0), event.data[2], event.data[3], event.data[4], event.data[5]]).toEqual([
      6, 4, 0x10, 2, 2,
    ])
    expect((await run(unit, EVENT)).data[4]).toBe(0)
    expect((await run(unit, TUR)).sense).toBe('06/28/00')
    expect((await run(unit, TUR)).status).toBe(0)
  })

  it('the guest opens and closes the tray, unless it has locked it', async () => {
    const moves: boolean[] = []
    const unit = new DvdUnit({ serial: 'dvd0', onTray: (open) => void moves.push(open) }, iso())
    expect((await run(unit, '1e 00 00 00 01 00')).status).toBe(0)
    expect((await run(unit, OPEN)).sense).toBe('05/53/02')
    await run(unit, '1e 00 00 00 00 00')
    expect((await run(unit, OPEN)).status).toBe(0)
    expect((await run(unit, TUR)).sense).toBe('02/3a/02')
    expect((await run(unit, EVENT)).data.slice(4, 6)).toEqual(Uint8Array.of(3, 1))
    expect((await run(unit, CLOSE)).status).toBe(0)
    expect((await run(unit, TUR)).sense).toBe('06/28/00')
    expect((await run(unit, '28 00 00 00 00 00 00 00 01 00')).status).toBe(0)
    expect(moves).toEqual([true, false])
  })

  it('the host takes a medium once nothing reads from it', async () => {
    let finish = (): void => {}
    const slow = Object.assign(Object.create(iso()) as MemoryDisk, {
      sectorSize: 512,
      sectorCount: BLOCKS * 4,
      read: () => new Promise<void>((resolve) => (finish = resolve)),
    })
    const unit = new DvdUnit({ serial: 'dvd0' }, slow)
    const reading = run(unit, '28 00 00 00 00 00 00 00 01 00')
    let gone = false
    const removing = unit.remove().then((disk) => {
      gone = true
      return disk
    })
    await Promise.resolve()
    await Promise.resolve()
    expect(gone).toBe(false)
    finish()
    expect((await reading).status).toBe(0)
    expect(await removing).toBe(slow)
    expect((await run(unit, TUR)).sense).toBe('02/3a/00')
  })

  it('its state is saved', async () => {
    const unit = new DvdUnit({ serial: 'dvd0' }, iso())
    await run(unit, '1e 00 00 00 01 00')
    const other = new DvdUnit({ serial: 'dvd0' }, iso())
    other.restore(structuredClone(unit.save()))
    expect(other.locked).toBe(true)
    expect((await run(other, OPEN)).sense).toBe('05/53/02')
    expect(() => other.restore({ version: 1, data: { locked: 3 } })).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_INVALID' }),
    )
  })
})
