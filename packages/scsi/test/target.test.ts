// A target: its list of units, what is not there, units that come and go, and resets.

import { MemoryDisk } from '@partita/disk-images'
import type { Disk } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { BlockUnit, DvdUnit, ScsiTarget, SENSE } from '../src/index.ts'
import { be32, run } from './scsi-initiator.ts'

const unit = (serial = 's'): BlockUnit => new BlockUnit(new MemoryDisk(64), { serial })
const REPORT_LUNS = 'a0 00 00 00 00 00 00 00 10 00 00 00'
const TUR = '00 00 00 00 00 00'

describe('REPORT LUNS', () => {
  it('lists the units, at any LUN', async () => {
    const target = new ScsiTarget()
    for (const lun of [0, 5, 63]) target.attach(lun, unit())
    for (const lun of [0, 1, 63]) {
      const { data, transferred } = await run(target, REPORT_LUNS, { lun })
      expect([transferred, be32(data, 0)]).toEqual([32, 24])
      expect([data[9], data[17], data[25]]).toEqual([0, 5, 63])
    }
    expect((await run(target, 'a0 00 01 00 00 00 00 00 10 00 00 00')).transferred).toBe(8)
    expect((await run(target, 'a0 00 03 00 00 00 00 00 10 00 00 00')).sense).toBe('05/24/00')
    expect((await run(target, 'a0 00 00 00 00 00 00 00 00 0f 00 00')).sense).toBe('05/24/00')
  })
})

describe('where there is no unit', () => {
  it('INQUIRY says so in its first byte, and everything else by sense', async () => {
    const target = new ScsiTarget()
    const inquiry = await run(target, '12 00 00 00 24 00')
    expect([inquiry.status, inquiry.transferred, inquiry.data[0]]).toEqual([0, 36, 0x7f])
    expect((await run(target, '12 01 00 00 24 00')).sense).toBe('05/24/00')
    expect((await run(target, TUR)).sense).toBe('05/25/00')
    const sense = await run(target, '03 00 00 00 12 00')
    expect([sense.status, sense.data[2], sense.data[12]]).toEqual([0, 5, 0x25])
    expect((await run(target, TUR, { lun: 200 })).sense).toBe('05/25/00')
  })
})

describe('units that come and go', () => {
  it('are told to disks, until someone looks at the list; not to drives', async () => {
    let changes = 0
    const target = new ScsiTarget({ onChange: () => void changes++ })
    target.attach(0, unit())
    target.attach(1, new DvdUnit({ serial: 'dvd' }, new MemoryDisk(64)))
    for (const lun of [0, 1]) expect((await run(target, TUR, { lun })).status).toBe(0)
    await run(target, TUR, { lun: 0, initiator: 2 })
    target.attach(2, unit())
    expect(changes).toBe(3)
    expect((await run(target, TUR, { lun: 1 })).status).toBe(0)
    expect((await run(target, TUR, { lun: 2 })).status).toBe(0)
    expect((await run(target, TUR, { lun: 0, initiator: 2 })).sense).toBe('06/3f/0e')
    await run(target, REPORT_LUNS)
    expect((await run(target, TUR, { lun: 0 })).status).toBe(0)
    await target.detach(2)
    expect((await run(target, TUR, { lun: 2 })).sense).toBe('05/25/00')
    expect((await run(target, TUR, { lun: 0 })).sense).toBe('06/3f/0e')
  })

  it('are refused where there is no place', async () => {
    const target = new ScsiTarget({ luns: 2 })
    target.attach(1, unit())
    for (const lun of [1, 2, -1, 0.5])
      expect(() => target.attach(lun, unit())).toThrow(expect.objectContaining({ code: 'ERR_STORAGE_LUN' }))
    await expect(target.detach(0)).rejects.toMatchObject({ code: 'ERR_STORAGE_LUN' })
  })

  it('go when their commands are complete', async () => {
    let finish = (): void => {}
    const disk: Disk = Object.assign(Object.create(new MemoryDisk(64)) as Disk, {
      sectorSize: 512,
      physicalSectorSize: 512,
      sectorCount: 64,
      readOnly: false,
      read: () => new Promise<void>((resolve) => (finish = resolve)),
    })
    const target = new ScsiTarget()
    target.attach(0, new BlockUnit(disk, { serial: 's' }))
    const reading = run(target, '28 00 00 00 00 00 00 00 01 00')
    const order: string[] = []
    const detaching = target.detach(0).then(() => order.push('detached'))
    expect((await run(target, TUR)).sense).toBe('05/25/00')
    order.push('finish')
    finish()
    expect((await reading).status).toBe(0)
    await detaching
    expect(order).toEqual(['finish', 'detached'])
  })
})

describe('waiting for commands', () => {
  it('is for those that are under way, and ends although a guest goes on without a pause', async () => {
    const reads: (() => void)[] = []
    const disk = new MemoryDisk(64, { sectorSize: 2048 })
    disk.read = () => new Promise((resolve) => reads.push(resolve))
    const unit = new DvdUnit({ serial: 'd' }, disk)
    const read = (): Promise<unknown> => run(unit, '28 00 00 00 00 00 00 00 01 00')
    const ends: string[] = []
    const note = (name: string) => (): void => void ends.push(name)
    // It is there at the next turn of the host, if it is.
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    const all = [read(), read()]
    all.push(unit.base.drain().then(note('first')), unit.base.drain().then(note('same')))
    all.push(read(), unit.base.drain().then(note('second')))
    all.push(read())
    expect(unit.base.inFlight).toBe(4)
    // Those of later are complete first.
    reads[2]?.()
    reads[0]?.()
    await turn()
    expect([ends, unit.base.inFlight]).toEqual([[], 2])
    reads[1]?.()
    await turn()
    expect([ends, unit.base.inFlight]).toEqual([['first', 'same', 'second'], 1])
    const inserted = unit.insert(new MemoryDisk(64, { sectorSize: 2048 }))
    all.push(inserted)
    reads[3]?.()
    expect(await inserted).toBe(disk)
    await Promise.all(all)
    await unit.base.drain()
    expect(unit.base.inFlight).toBe(0)
  })
})

describe('reset', () => {
  it('is told to everyone, and ends commands of many steps', async () => {
    let reads = 0
    const memory = new MemoryDisk(100_000)
    const disk: Disk = Object.assign(Object.create(memory) as Disk, {
      sectorSize: 512,
      physicalSectorSize: 512,
      sectorCount: 100_000,
      readOnly: false,
      read: async () => {
        reads++
      },
    })
    const target = new ScsiTarget()
    target.attach(0, new BlockUnit(disk, { serial: 's' }))
    const verifying = run(target, '8f 00 00 00 00 00 00 00 00 00 00 01 86 a0 00 00', { room: 0 })
    await target.reset(SENSE.BUS_RESET_OCCURRED)
    expect((await verifying).status).toBe(0x40) // TASK ABORTED
    expect(reads).toBeLessThan(10)
    expect((await run(target, TUR)).sense).toBe('06/29/02')
    expect((await run(target, TUR)).status).toBe(0)
  })
})

describe('saved state', () => {
  it('is for the same units', async () => {
    const make = (...luns: number[]): ScsiTarget => {
      const target = new ScsiTarget()
      for (const lun of luns) target.attach(lun, unit(`s${lun}`))
      return target
    }
    const source = make(0, 3)
    await run(source, '1b 00 00 00 00 00', { lun: 3, room: 0 })
    const state = structuredClone(source.save())
    const same = make(0, 3)
    same.restore(state)
    expect((await run(same, TUR, { lun: 3 })).sense).toBe('02/04/02')
    for (const luns of [[0], [0, 2], [0, 2, 3]])
      expect(() => make(...luns).restore(state)).toThrow(expect.objectContaining({ code: 'ERR_STATE_INVALID' }))
    same.powerOn()
    expect((await run(same, TUR, { lun: 3 })).status).toBe(0)
  })
})
