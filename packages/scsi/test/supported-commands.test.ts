// What a disk tells of its commands and of its blocks: REPORT SUPPORTED OPERATION CODES (SPC-4, 6.35) and GET LBA STATUS (SBC-3, 5.6).

import { MemoryDisk } from '@partita/disk-images'
import { describe, expect, it } from 'vitest'
import { BLOCK_COMMANDS } from '../src/block-commands.ts'
import { BlockUnit } from '../src/index.ts'
import { be16, be32, be64, run } from './scsi-initiator.ts'

const SECTORS = 2048
const ALL = 'a3 0c 00 00 00 00 00 00 10 00 00 00'

function make(readOnly = false): BlockUnit {
  return new BlockUnit(new MemoryDisk(SECTORS, { readOnly }), { serial: 'disk' })
}

interface Listed {
  readonly opcode: number
  readonly serviceAction: number | undefined
  readonly length: number
}

async function listed(unit: BlockUnit): Promise<Listed[]> {
  const { data, transferred } = await run(unit, ALL)
  expect(be32(data, 0)).toBe(transferred - 4)
  return Array.from({ length: be32(data, 0) / 8 }, (_, i) => {
    const at = 4 + 8 * i
    const hasServiceAction = ((data[at + 5] as number) & 1) !== 0
    return {
      opcode: data[at] as number,
      serviceAction: hasServiceAction ? be16(data, at + 2) : undefined,
      length: be16(data, at + 6),
    }
  })
}

/** A CDB that asks for one command, with or without its service action. */
function askFor({ opcode, serviceAction }: Pick<Listed, 'opcode' | 'serviceAction'>, timeouts = false): Uint8Array {
  const cdb = new Uint8Array(12)
  cdb.set([0xa3, 0x0c, (timeouts ? 0x80 : 0) | (serviceAction === undefined ? 1 : 2), opcode])
  cdb.set([(serviceAction ?? 0) >> 8, (serviceAction ?? 0) & 0xff, 0, 0, 1, 0], 4)
  return cdb
}

describe('REPORT SUPPORTED OPERATION CODES', () => {
  it('lists each command that the unit knows, in order, and no other', async () => {
    const commands = await listed(make())
    const known = BLOCK_COMMANDS.flatMap((entry) => (entry === undefined ? [] : [entry.opcode]))
    // REPORT LUNS is the target's.
    expect([...new Set(commands.map(({ opcode }) => opcode))]).toEqual([...known, 0xa0].sort((a, b) => a - b))
    const keys = commands.map(({ opcode, serviceAction = 0 }) => opcode * 32 + serviceAction)
    expect(keys).toEqual([...keys].sort((a, b) => a - b))
    expect(new Set(keys).size).toBe(keys.length)
  })

  it('tells the length and the bits of each CDB', async () => {
    const unit = make()
    for (const command of await listed(unit)) {
      const group = command.opcode >> 5
      expect(command.length).toBe(group === 0 ? 6 : group === 4 ? 16 : group === 5 ? 12 : 10)
      const { data, transferred } = await run(unit, askFor(command))
      expect([data[1], be16(data, 2), transferred]).toEqual([3, command.length, 4 + command.length])
      expect(data[4]).toBe(command.opcode)
      if (command.serviceAction !== undefined) expect((data[5] as number) & 0x1f).toBe(command.serviceAction)
      expect(data[3 + command.length], 'NACA').toBe(0x04)
    }
    // READ (10): protection and FUA, the address, the length.
    expect([...(await run(unit, askFor({ opcode: 0x28, serviceAction: undefined }))).data.subarray(4, 14)]).toEqual([
      0x28, 0xe8, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0x04,
    ])
  })

  it('has a descriptor of timeouts where one is asked for', async () => {
    const unit = make()
    const one = await run(unit, askFor({ opcode: 0x00, serviceAction: undefined }, true))
    expect([one.data[1], one.transferred, be16(one.data, 10)]).toEqual([0x83, 4 + 6 + 12, 10])
    const all = await run(unit, 'a3 0c 80 00 00 00 00 00 10 00 00 00')
    expect(be32(all.data, 0)).toBe((await listed(unit)).length * 20)
    expect([(all.data[4 + 5] as number) & 2, be16(all.data, 4 + 8)]).toEqual([2, 10])
  })

  it('says of others that they are not supported', async () => {
    const unit = make()
    for (const command of [
      { opcode: 0xc1, serviceAction: undefined },
      { opcode: 0xc1, serviceAction: 3 },
      { opcode: 0x5e, serviceAction: 9 },
    ])
      expect((await run(unit, askFor(command))).data[1]).toBe(1)
    // A unit that cannot give blocks back.
    const protectedUnit = make(true)
    const commands = await listed(protectedUnit)
    expect(commands.some(({ opcode }) => opcode === 0x42)).toBe(false)
    expect(commands.some(({ opcode, serviceAction }) => opcode === 0x9e && serviceAction === 0x12)).toBe(false)
    expect((await run(protectedUnit, askFor({ opcode: 0x42, serviceAction: undefined }))).data[1]).toBe(1)
  })

  it('refuses questions that do not fit the command', async () => {
    const unit = make()
    for (const cdb of [
      askFor({ opcode: 0x5e, serviceAction: undefined }),
      askFor({ opcode: 0x28, serviceAction: 1 }),
      'a3 0c 04 28 00 00 00 00 10 00 00 00',
      'a3 0d 00 00 00 00 00 00 10 00 00 00',
    ])
      expect((await run(unit, cdb)).sense).toBe('05/24/00')
    // Either with a service action or without one.
    expect((await run(unit, 'a3 0c 03 28 00 00 00 00 10 00 00 00')).data[1]).toBe(3)
    expect((await run(unit, 'a3 0c 03 5e 00 02 00 00 10 00 00 00')).data[1]).toBe(3)
    expect((await run(unit, 'a3 0c 03 5e 00 07 00 00 10 00 00 00')).data[1]).toBe(1)
  })
})

describe('GET LBA STATUS', () => {
  const cdb = (lba: number, allocation = 255): Uint8Array =>
    Uint8Array.of(0x9e, 0x12, 0, 0, 0, 0, 0, 0, lba >> 8, lba & 0xff, 0, 0, 0, allocation, 0, 0)

  it('tells of all blocks from the one named on that they are mapped, or not known', async () => {
    const { data, transferred } = await run(make(), cdb(2000))
    expect([transferred, be32(data, 0), be64(data, 8), be32(data, 16), data[20]]).toEqual([24, 20, 2000n, 48, 0])
    expect((await run(make(), cdb(0, 8))).transferred).toBe(8)
  })

  it('is refused behind the last block, without provisioning, and under a reservation for exclusive access', async () => {
    expect((await run(make(), cdb(SECTORS))).sense).toBe('05/21/00')
    expect((await run(make(true), cdb(0))).sense).toBe('05/24/00')
    const unit = make()
    const list = new Uint8Array(24)
    list[15] = 1
    await run(unit, '5f 00 00 00 00 00 00 00 18 00', { out: list })
    list.copyWithin(0, 8, 16)
    expect((await run(unit, '5f 01 03 00 00 00 00 00 18 00', { out: list })).status).toBe(0)
    expect((await run(unit, cdb(0), { initiator: 1 })).status).toBe(0x18)
    expect((await run(unit, cdb(0))).status).toBe(0)
    // READ CAPACITY (16), which shares the operation code, is not.
    expect((await run(unit, '9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00', { initiator: 1 })).status).toBe(0)
  })
})
