// A drive that takes CDs besides DVDs: profiles, READ CD, the raw table of contents, against MMC-6 and ECMA-130.

import { MemoryDisk } from '@partita/disk-images'
import { describe, expect, it } from 'vitest'
import { blockReadOf, DvdUnit, partOfBlockRead } from '../src/index.ts'
import { be16, bytes, run } from './scsi-initiator.ts'

const CONTENTS: Uint8Array = Uint8Array.from({ length: 20 * 2048 }, (_, i) => (i * 5 + (i >> 9)) & 0xff)
const cd = (): DvdUnit =>
  new DvdUnit({ serial: 'cd', readsCds: true }, new MemoryDisk(80, { readOnly: true, contents: CONTENTS }))
const READ_CD = (select: string, lba = '00', blocks = '01'): string =>
  `be 00 00 00 00 ${lba} 00 00 ${blocks} ${select} 00 00`

/** Divides by the polynomial of the EDC bit by bit, least significant bits first. */
function remainder(data: Uint8Array): number {
  let value = 0
  for (const byte of data) {
    value ^= byte
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xd801_8001 : 0)
  }
  return value >>> 0
}

/** Multiplication in the field of the ECC. */
function times(a: number, b: number): number {
  let product = 0
  for (let bit = 0; bit < 8; bit++) {
    if ((b >> bit) & 1) product ^= a << bit
  }
  for (let bit = 14; bit >= 8; bit--) if ((product >> bit) & 1) product ^= 0x11d << (bit - 8)
  return product
}

/** The two syndromes of a word of the product code: 0 and 0 where it is right. */
function syndromes(word: readonly number[]): [number, number] {
  let sum = 0
  let weighted = 0
  for (const value of word) {
    sum ^= value
    weighted = times(weighted, 2) ^ value
  }
  return [sum, weighted]
}

describe('CDs', () => {
  it('have their own profile, up to 80 minutes', async () => {
    const profile = async (unit: DvdUnit): Promise<number> =>
      be16((await run(unit, '46 00 00 00 00 00 00 01 ff 00')).data, 6)
    expect(await profile(cd())).toBe(0x08)
    expect(await profile(new DvdUnit({ serial: 'd', readsCds: true }, new MemoryDisk(360_000 * 4)))).toBe(0x08)
    expect(await profile(new DvdUnit({ serial: 'd', readsCds: true }, new MemoryDisk(360_001 * 4)))).toBe(0x10)
    const { data } = await run(cd(), '46 02 00 1e 00 00 00 00 ff 00')
    expect([be16(data, 8), (data[10] ?? 0) & 1]).toEqual([0x1e, 1])
    // A CD has none of a DVD's structures.
    expect((await run(cd(), 'ad 00 00 00 00 00 00 00 08 04 00 00')).sense).toBe('05/30/02')
  })

  it('have a raw table of contents', async () => {
    const { data, transferred } = await run(cd(), '43 00 02 00 00 00 00 00 ff 00')
    expect([transferred, be16(data, 0), data[2], data[3]]).toEqual([48, 46, 1, 1])
    const points = [0, 1, 2, 3].map((i) => [data[7 + 11 * i], ...data.slice(12 + 11 * i, 15 + 11 * i)])
    expect(points).toEqual([
      [0xa0, 1, 0, 0],
      [0xa1, 1, 0, 0],
      [0xa2, 0, 2, 20], // lead-out: 150 frames and 20 blocks
      [1, 0, 2, 0],
    ])
  })

  it('are read by user data, by address and by time', async () => {
    const { data, transferred } = await run(cd(), READ_CD('10', '03', '02'))
    expect(transferred).toBe(4096)
    expect(data).toEqual(CONTENTS.slice(3 * 2048, 5 * 2048))
    const msf = await run(cd(), 'b9 00 00 00 02 03 00 02 05 10 00 00') // 00:02:03 up to 00:02:05
    expect(msf.data).toEqual(CONTENTS.slice(3 * 2048, 5 * 2048))
    expect((await run(cd(), READ_CD('00'))).transferred).toBe(0)
    expect((await run(cd(), READ_CD('10', '13', '02'))).sense).toBe('05/21/00')
    expect((await run(cd(), 'b9 00 00 00 02 05 00 02 03 10 00 00')).sense).toBe('05/24/00')
    expect((await run(cd(), 'b9 00 00 00 00 00 00 02 03 10 00 00')).sense).toBe('05/21/00')
    expect((await run(cd(), READ_CD('12'))).sense).toBe('05/24/00') // C2 pointers
    expect((await run(cd(), 'be 04 00 00 00 00 00 00 01 10 00 00')).sense).toBe('05/64/00') // CD-DA
  })

  it('are read whole, with codes that are right', async () => {
    const { data, transferred } = await run(cd(), READ_CD('f8', '11'))
    expect(transferred).toBe(2352)
    const sector = data.subarray(0, 2352)
    expect([...sector.subarray(0, 16)]).toEqual([...bytes('00 ff ff ff ff ff ff ff ff ff ff 00 00 02 17 01')])
    expect(sector.slice(16, 2064)).toEqual(CONTENTS.slice(17 * 2048, 18 * 2048))
    // A message with its remainder behind it divides without one.
    expect(remainder(sector.subarray(0, 2068))).toBe(0)
    expect([...sector.subarray(2068, 2076)]).toEqual(new Array(8).fill(0))
    const at = (index: number): number => sector[12 + index] as number
    for (let column = 0; column < 86; column++)
      expect(syndromes(Array.from({ length: 26 }, (_, row) => at(column + 86 * row)))).toEqual([0, 0])
    for (let diagonal = 0; diagonal < 52; diagonal++) {
      const word = Array.from({ length: 43 }, (_, i) => at(((diagonal >> 1) * 86 + (diagonal & 1) + 88 * i) % 2236))
      expect(syndromes([...word, at(2236 + diagonal), at(2236 + 52 + diagonal)])).toEqual([0, 0])
    }
    const parts = await run(cd(), READ_CD('28', '11'), { pieces: 7 })
    expect(parts.transferred).toBe(4 + 288)
    expect(parts.data.slice(0, 292)).toEqual(Uint8Array.from([...sector.slice(12, 16), ...sector.slice(2064)]))
  })

  it('can be read in parts', async () => {
    for (const cdb of [
      '28 00 00 00 00 03 00 00 04 00',
      'a8 00 00 00 00 03 00 00 00 04 00 00',
      READ_CD('f8', '03', '04'),
    ]) {
      const whole = bytes(cdb)
      const { lba, blocks, blockLength } = blockReadOf(whole) ?? { lba: 0, blocks: 0, blockLength: 0 }
      expect([lba, blocks]).toEqual([3, 4])
      const expected = (await run(cd(), whole, { room: 16_384 })).data.slice(0, blocks * blockLength)
      const part = new Uint8Array(16)
      for (let block = 0; block < blocks; block++) {
        partOfBlockRead(whole, part, lba + block, 1)
        const got = (await run(cd(), part)).data.slice(0, blockLength)
        expect(got).toEqual(expected.slice(block * blockLength, (block + 1) * blockLength))
      }
    }
    expect(blockReadOf(bytes('12 00 00 00 24 00'))).toBeUndefined()
  })

  it('take seeks, and mode parameters that are those that they have', async () => {
    expect((await run(cd(), '2b 00 00 00 00 13 00 00 00 00')).status).toBe(0)
    expect((await run(cd(), '2b 00 00 00 00 14 00 00 00 00')).sense).toBe('05/21/00')
    const page = (await run(cd(), '5a 00 01 00 00 00 00 00 ff 00')).data.slice(0, 20)
    page[0] = page[1] = 0
    expect((await run(cd(), '55 10 00 00 00 00 00 00 14 00', { out: page })).status).toBe(0)
    page[11] = 9
    expect((await run(cd(), '55 10 00 00 00 00 00 00 14 00', { out: page })).sense).toBe('05/26/00')
  })

  it('are asked for by the button of the drive', async () => {
    const unit = cd()
    unit.requestEject()
    expect((await run(unit, '4a 01 00 00 10 00 00 00 08 00')).data[4]).toBe(1)
  })
})
