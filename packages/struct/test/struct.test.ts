import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type AtomicStructType,
  type AtomicView,
  array,
  atomicStruct,
  bytes,
  guid,
  i32,
  nested,
  pad,
  type StructArray,
  StructError,
  type StructType,
  type StructView,
  struct,
  u8,
  u16,
  u32,
  u53,
  u64,
} from '../src/index.ts'

interface Inner extends StructView {
  low: number
  high: number
}
const Inner: StructType<Inner> = struct<Inner>({ low: u8, high: u16 })

interface Sample extends StructView {
  byte: number
  half: number
  word: number
  signed: number
  wide: bigint
  address: number
  id: string
  blob: Uint8Array
  list: StructArray<number>
  inner: Inner
}
const Sample: StructType<Sample> = struct<Sample>({
  byte: u8,
  half: u16,
  _reserved: pad(3),
  word: u32,
  signed: i32,
  wide: u64,
  address: u53,
  id: guid,
  blob: bytes(5),
  list: array(u16, 3),
  inner: nested(Inner),
})

const SCSI = 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f'

describe('layout', () => {
  it('packs fields in the order of the definition', () => {
    expect(Sample.offsets).toEqual({
      byte: 0,
      half: 1,
      word: 6,
      signed: 10,
      wide: 14,
      address: 22,
      id: 30,
      blob: 46,
      list: 51,
      inner: 57,
    })
    expect(Sample.sizes).toMatchObject({ half: 2, wide: 8, id: 16, blob: 5, list: 6, inner: 3 })
    expect(Sample.size).toBe(60)
    expect(Sample.fieldNames).toEqual(Object.keys(Sample.offsets))
  })

  it('refuses a field that every view has, and sizes that are none', () => {
    expect(() => struct({ moveTo: u8 } as never)).toThrow(expect.objectContaining({ code: 'ERR_STRUCT_DEFINITION' }))
    expect(() => struct({ view: u8 } as never)).toThrow(StructError)
    expect(() => bytes(-1)).toThrow(StructError)
    expect(() => array(u8, 1.5)).toThrow(StructError)
  })
})

describe('fields', () => {
  it('are little-endian at the offset of the view', () => {
    const memory = new Uint8Array(100)
    const sample = new Sample(new DataView(memory.buffer), 7)
    sample.byte = 0x11
    sample.half = 0x2233
    sample.word = 0x44556677
    sample.signed = -2
    sample.wide = 0x8899aabbccddeeffn
    sample.address = 0x1f_1234_5678_9abc
    sample.id = SCSI
    sample.blob = Uint8Array.of(1, 2, 3)
    sample.list.set(2, 0xabcd)
    sample.inner.high = 0x0102
    const hex = [...memory.subarray(7, 67)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    expect(hex).toBe(
      '11 33 22 00 00 00 77 66 55 44 fe ff ff ff ff ee dd cc bb aa 99 88 bc 9a 78 56 34 12 1f 00 ' +
        'd9 63 61 ba a1 04 29 4d b6 05 72 e2 ff b1 dc 7f 01 02 03 00 00 00 00 00 00 cd ab 00 02 01',
    )
    expect(sample.word).toBe(0x44556677)
    expect(sample.signed).toBe(-2)
    expect(sample.wide).toBe(0x8899aabbccddeeffn)
    expect(sample.address).toBe(0x1f_1234_5678_9abc)
    expect(sample.id).toBe(SCSI)
    expect(memory.subarray(0, 7).every((byte) => byte === 0)).toBe(true)
  })

  it('respects the byte offset of the DataView', () => {
    const memory = new Uint8Array(32)
    const inner = new Inner(new DataView(memory.buffer, 8), 2)
    inner.low = 5
    expect(memory[10]).toBe(5)
  })

  it('writes bytes up to their size and clears the rest', () => {
    const sample = Sample.allocate()
    sample.blob = Uint8Array.of(9, 9, 9, 9, 9)
    sample.blob = Uint8Array.of(1)
    expect([...sample.blob]).toEqual([1, 0, 0, 0, 0])
    expect(() => {
      sample.blob = new Uint8Array(6)
    }).toThrow(expect.objectContaining({ code: 'ERR_STRUCT_VALUE' }))
  })

  it('refuses what is no GUID and no 53-bit number', () => {
    const sample = Sample.allocate()
    expect(() => {
      sample.id = 'nonsense'
    }).toThrow(StructError)
    expect(() => {
      sample.address = 2 ** 53
    }).toThrow(StructError)
    expect(() => {
      sample.address = -1
    }).toThrow(StructError)
    sample.view.setBigUint64(Sample.offsets.address, 0xffff_ffff_ffff_ffffn, true)
    expect(Number.isSafeInteger(sample.address)).toBe(false)
  })

  it('keeps arrays and nested views with a view that moves', () => {
    const view = new DataView(new ArrayBuffer(200))
    const sample = new Sample(view)
    const { list, inner } = sample
    sample.moveTo(100)
    list.set(0, 7)
    expect(view.getUint16(100 + Sample.offsets.list, true)).toBe(7)
    expect(sample.list).toBe(list)
    expect(sample.inner).toBe(inner)
    sample.inner.low = 3
    expect(view.getUint8(100 + Sample.offsets.inner)).toBe(3)
    expect(() => list.get(3)).toThrow(RangeError)
    expect(() => list.set(-1, 0)).toThrow(RangeError)
  })

  it('copies arrays and nested structs on assignment', () => {
    const a = Sample.allocate()
    const b = Sample.allocate()
    a.list.set(1, 12)
    a.inner.high = 99
    b.list = a.list
    b.inner = a.inner
    expect(b.list.get(1)).toBe(12)
    expect(b.inner.high).toBe(99)
    expect(Sample.toObject(b)).toMatchObject({ byte: 0, list: [0, 12, 0], inner: { low: 0, high: 99 } })
  })

  it('reports an access outside the memory as a DataView does', () => {
    const inner = new Inner(new DataView(new ArrayBuffer(3)), 2)
    expect(inner.low).toBe(0)
    expect(() => inner.high).toThrow(RangeError)
  })

  it('works on shared memory', () => {
    const sample = new Sample(new DataView(new SharedArrayBuffer(60)))
    sample.id = SCSI
    sample.blob = Uint8Array.of(4)
    expect(sample.id).toBe(SCSI)
  })

  it('gives back what was stored, whatever it was', () => {
    fc.assert(
      fc.property(
        fc.nat(64),
        fc.record({
          byte: fc.nat(0xff),
          half: fc.nat(0xffff),
          word: fc.nat(0xffffffff),
          signed: fc.integer(),
          wide: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          address: fc.maxSafeNat(),
          id: fc.uuid(),
        }),
        (offset, values) => {
          const sample = new Sample(new DataView(new ArrayBuffer(128)), offset)
          Object.assign(sample, values)
          expect(Sample.toObject(sample)).toMatchObject(values)
        },
      ),
    )
  })
})

describe('atomic structs', () => {
  interface Control extends AtomicView {
    in: number
    out: number
  }
  const Control: AtomicStructType<Control> = atomicStruct<Control>({ in: 0, out: 8 })

  it('reads and writes unsigned words of shared memory', () => {
    const memory = new SharedArrayBuffer(64)
    const a = new Control(memory, 16)
    const b = new Control(memory, 16)
    a.out = 0xffff_fff8
    expect(b.out).toBe(0xffff_fff8)
    expect(new DataView(memory).getUint32(24, true)).toBe(0xffff_fff8)
    expect(Atomics.exchange(b.words, Control.offsets.in / 4, 5)).toBe(0)
    expect(a.in).toBe(5)
    expect(Control.size).toBe(12)
  })

  it('refuses words that are not aligned or do not fit', () => {
    expect(() => atomicStruct({ a: 2 } as never)).toThrow(expect.objectContaining({ code: 'ERR_STRUCT_DEFINITION' }))
    expect(() => new Control(new ArrayBuffer(8))).toThrow(RangeError)
    expect(() => new Control(new ArrayBuffer(64), 2)).toThrow(RangeError)
  })
})
