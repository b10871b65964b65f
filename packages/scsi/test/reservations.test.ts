// Persistent reservations against SPC-4, 5.13, 6.15 and 6.16: who may do what, and who is told.

import { MemoryDisk } from '@partita/disk-images'
import { describe, expect, it } from 'vitest'
import { BlockUnit, RESERVATION_TYPE } from '../src/index.ts'
import { be16, be32, be64, type Outcome, run } from './scsi-initiator.ts'

const CONFLICT = 0x18
const ACTION = { REGISTER: 0, RESERVE: 1, RELEASE: 2, CLEAR: 3, PREEMPT: 4, PREEMPT_AND_ABORT: 5, IGNORE: 6 } as const
const make = (): BlockUnit => new BlockUnit(new MemoryDisk(64), { serial: 's' })

interface Out {
  readonly key?: number
  readonly actionKey?: number
  readonly type?: number
  readonly flags?: number
}

function out(unit: BlockUnit, initiator: number, action: number, options: Out = {}): Promise<Outcome> {
  const list = new Uint8Array(24)
  const view = new DataView(list.buffer)
  view.setBigUint64(0, BigInt(options.key ?? 0))
  view.setBigUint64(8, BigInt(options.actionKey ?? 0))
  list[20] = options.flags ?? 0
  return run(unit, Uint8Array.of(0x5f, action, options.type ?? 0, 0, 0, 0, 0, 0, 24, 0), { out: list, initiator })
}

const keysOf = async (unit: BlockUnit): Promise<bigint[]> => {
  const { data } = await run(unit, '5e 00 00 00 00 00 00 00 ff 00', { initiator: 99 })
  return Array.from({ length: be32(data, 4) / 8 }, (_, i) => be64(data, 8 + 8 * i))
}
const holder = async (unit: BlockUnit): Promise<readonly [bigint, number] | undefined> => {
  const { data } = await run(unit, '5e 01 00 00 00 00 00 00 ff 00', { initiator: 99 })
  return be32(data, 4) === 0 ? undefined : [be64(data, 8), (data[21] ?? 0) & 0xf]
}
const read = async (unit: BlockUnit, initiator: number): Promise<number> =>
  (await run(unit, '28 00 00 00 00 00 00 00 01 00', { initiator })).status
const write = async (unit: BlockUnit, initiator: number): Promise<number> =>
  (await run(unit, '2a 00 00 00 00 00 00 00 01 00', { initiator, out: new Uint8Array(512) })).status
const attention = async (unit: BlockUnit, initiator: number): Promise<string> =>
  (await run(unit, '00 00 00 00 00 00', { initiator })).sense

describe('registration', () => {
  it('needs the key that is there, or to ignore it; each change counts', async () => {
    const unit = make()
    expect((await out(unit, 1, ACTION.REGISTER, { key: 5, actionKey: 1 })).status).toBe(CONFLICT)
    expect((await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })).status).toBe(0)
    expect((await out(unit, 2, ACTION.IGNORE, { key: 77, actionKey: 2 })).status).toBe(0)
    expect((await out(unit, 1, ACTION.REGISTER, { key: 1, actionKey: 3 })).status).toBe(0)
    expect(await keysOf(unit)).toEqual([3n, 2n])
    expect((await out(unit, 2, ACTION.REGISTER, { key: 2, actionKey: 0 })).status).toBe(0)
    expect(await keysOf(unit)).toEqual([3n])
    expect(be32((await run(unit, '5e 00 00 00 00 00 00 00 ff 00')).data, 0)).toBe(4) // PRGENERATION
  })

  it('is refused with what is not offered, and with another length', async () => {
    const unit = make()
    expect((await out(unit, 1, ACTION.REGISTER, { actionKey: 1, flags: 1 })).sense).toBe('05/26/00') // APTPL
    expect((await out(unit, 1, ACTION.REGISTER, { actionKey: 1, flags: 8 })).sense).toBe('05/26/00') // SPEC_I_PT
    expect((await out(unit, 1, 7)).sense).toBe('05/24/00')
    expect((await run(unit, '5f 00 00 00 00 00 00 00 17 00', { out: new Uint8Array(24) })).sense).toBe('05/1a/00')
    expect((await run(unit, '5f 00 00 00 00 00 00 00 18 00', { out: new Uint8Array(8) })).sense).toBe('05/1a/00')
    expect((await run(unit, '5e 04 00 00 00 00 00 00 ff 00')).sense).toBe('05/24/00')
  })

  it('is needed for everything else', async () => {
    const unit = make()
    for (const action of [ACTION.RESERVE, ACTION.RELEASE, ACTION.CLEAR, ACTION.PREEMPT])
      expect((await out(unit, 1, action, { type: 1 })).status).toBe(CONFLICT)
    await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })
    expect((await out(unit, 1, ACTION.RESERVE, { key: 2, type: 1 })).status).toBe(CONFLICT)
    expect((await out(unit, 1, ACTION.RESERVE, { key: 1, type: 2 })).sense).toBe('05/24/00')
    expect((await out(unit, 1, ACTION.RESERVE, { key: 1, type: 0x11 })).sense).toBe('05/24/00') // scope
  })

  it('has an end', async () => {
    const unit = make()
    for (let i = 0; i < 64; i++) expect((await out(unit, i, ACTION.REGISTER, { actionKey: 1 })).status).toBe(0)
    expect((await out(unit, 64, ACTION.REGISTER, { actionKey: 1 })).sense).toBe('05/55/04')
  })
})

describe('reservation', () => {
  // [type, holder, registered, stranger] as read, write (SPC-4, table 66).
  const table: readonly (readonly [keyof typeof RESERVATION_TYPE, string, string])[] = [
    ['WRITE_EXCLUSIVE', 'r-', 'r-'],
    ['EXCLUSIVE_ACCESS', '--', '--'],
    ['WRITE_EXCLUSIVE_REGISTRANTS_ONLY', 'rw', 'r-'],
    ['EXCLUSIVE_ACCESS_REGISTRANTS_ONLY', 'rw', '--'],
    ['WRITE_EXCLUSIVE_ALL_REGISTRANTS', 'rw', 'r-'],
    ['EXCLUSIVE_ACCESS_ALL_REGISTRANTS', 'rw', '--'],
  ]
  for (const [name, registered, stranger] of table) {
    it(`${name}: the registered may ${registered}, others ${stranger}`, async () => {
      const unit = make()
      const type = RESERVATION_TYPE[name]
      await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })
      await out(unit, 2, ACTION.REGISTER, { actionKey: 2 })
      expect((await out(unit, 1, ACTION.RESERVE, { key: 1, type })).status).toBe(0)
      expect((await out(unit, 1, ACTION.RESERVE, { key: 1, type })).status).toBe(0) // again
      const access = async (initiator: number): Promise<string> =>
        `${(await read(unit, initiator)) === 0 ? 'r' : '-'}${(await write(unit, initiator)) === 0 ? 'w' : '-'}`
      expect([await access(1), await access(2), await access(3)]).toEqual(['rw', registered, stranger])
      expect(await holder(unit)).toEqual([type >= 7 ? 0n : 1n, type])
      // What never conflicts.
      for (const cdb of ['00 00 00 00 00 00', '12 00 00 00 24 00', '25 00 00 00 00 00 00 00 00 00'])
        expect((await run(unit, cdb, { initiator: 3 })).status).toBe(0)
    })
  }

  it('of one is a conflict for another, and goes with release', async () => {
    const unit = make()
    await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })
    await out(unit, 2, ACTION.REGISTER, { actionKey: 2 })
    await out(unit, 1, ACTION.RESERVE, { key: 1, type: 5 })
    expect((await out(unit, 2, ACTION.RESERVE, { key: 2, type: 5 })).status).toBe(CONFLICT)
    expect((await out(unit, 1, ACTION.RELEASE, { key: 1, type: 1 })).sense).toBe('05/26/04')
    expect((await out(unit, 2, ACTION.RELEASE, { key: 2, type: 5 })).status).toBe(0) // not the holder: nothing
    expect(await holder(unit)).toEqual([1n, 5])
    expect((await out(unit, 1, ACTION.RELEASE, { key: 1, type: 5 })).status).toBe(0)
    expect(await holder(unit)).toBeUndefined()
    expect(await attention(unit, 2)).toBe('06/2a/04')
    expect(await attention(unit, 1)).toBe('')
  })

  it('goes with its holder, or with the last registrant', async () => {
    const unit = make()
    await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })
    await out(unit, 2, ACTION.REGISTER, { actionKey: 2 })
    await out(unit, 1, ACTION.RESERVE, { key: 1, type: 6 })
    await out(unit, 1, ACTION.REGISTER, { key: 1 })
    expect(await holder(unit)).toBeUndefined()
    expect(await attention(unit, 2)).toBe('06/2a/04')
    await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })
    await out(unit, 1, ACTION.RESERVE, { key: 1, type: 8 })
    await out(unit, 1, ACTION.REGISTER, { key: 1 })
    expect(await holder(unit)).toEqual([0n, 8])
    await out(unit, 2, ACTION.REGISTER, { key: 2 })
    expect(await holder(unit)).toBeUndefined()
  })

  it('is cleared for all, who are told', async () => {
    const unit = make()
    await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })
    await out(unit, 2, ACTION.REGISTER, { actionKey: 2 })
    await out(unit, 2, ACTION.RESERVE, { key: 2, type: 3 })
    expect((await out(unit, 1, ACTION.CLEAR, { key: 1 })).status).toBe(0)
    expect([await keysOf(unit), await holder(unit)]).toEqual([[], undefined])
    expect(await attention(unit, 2)).toBe('06/2a/03')
  })
})

describe('preemption', () => {
  async function two(type: number): Promise<BlockUnit> {
    const unit = make()
    await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })
    await out(unit, 2, ACTION.REGISTER, { actionKey: 2 })
    await out(unit, 3, ACTION.REGISTER, { actionKey: 2 })
    await out(unit, 1, ACTION.RESERVE, { key: 1, type })
    return unit
  }

  for (const action of [ACTION.PREEMPT, ACTION.PREEMPT_AND_ABORT]) {
    it(`(${action}) of the holder takes its reservation`, async () => {
      const unit = await two(1)
      expect((await out(unit, 2, action, { key: 2, actionKey: 1, type: 3 })).status).toBe(0)
      expect(await holder(unit)).toEqual([2n, 3])
      expect(await keysOf(unit)).toEqual([2n, 2n])
      expect(await attention(unit, 1)).toBe('06/2a/05')
      expect(await read(unit, 1)).toBe(CONFLICT)
    })
  }

  it('of others takes only their registrations', async () => {
    const unit = await two(1)
    expect((await out(unit, 1, ACTION.PREEMPT, { key: 1, actionKey: 2, type: 1 })).status).toBe(0)
    expect([await keysOf(unit), await holder(unit)]).toEqual([[1n], [1n, 1]])
    expect(await attention(unit, 2)).toBe('06/2a/05')
    expect((await out(unit, 1, ACTION.PREEMPT, { key: 1, actionKey: 9, type: 1 })).status).toBe(CONFLICT)
    expect((await out(unit, 1, ACTION.PREEMPT, { key: 1, actionKey: 0, type: 1 })).sense).toBe('05/26/00')
  })

  it('of an all-registrants reservation by key zero takes it from everyone', async () => {
    const unit = await two(7)
    expect((await out(unit, 2, ACTION.PREEMPT, { key: 2, actionKey: 0, type: 1 })).status).toBe(0)
    expect([await keysOf(unit), await holder(unit)]).toEqual([[2n], [2n, 1]])
  })
})

it('reports capabilities and full status', async () => {
  const unit = make()
  const capabilities = (await run(unit, '5e 02 00 00 00 00 00 00 ff 00')).data
  expect([be16(capabilities, 0), (capabilities[3] ?? 0) & 0x80, be16(capabilities, 4)]).toEqual([8, 0x80, 0xea01])
  await out(unit, 1, ACTION.REGISTER, { actionKey: 1 })
  await out(unit, 2, ACTION.REGISTER, { actionKey: 2 })
  await out(unit, 2, ACTION.RESERVE, { key: 2, type: 1 })
  const full = (await run(unit, '5e 03 00 00 00 00 00 00 ff 00')).data
  expect(be32(full, 4)).toBe(2 * 48)
  expect([be64(full, 8), (full[20] ?? 0) & 1]).toEqual([1n, 0])
  expect([be64(full, 56), (full[68] ?? 0) & 1, full[69], be32(full, 76)]).toEqual([2n, 1, 1, 24])
})
