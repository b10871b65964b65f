// Expected words: Intel SDM vol. 3, figures 3-8, 6-2, 6-8 and 7-4; the flat ones are what every boot loader uses.

import { expect, test } from 'vitest'
import { gateDescriptor, segmentDescriptor, systemDescriptor } from '../src/descriptors.ts'

test('segments', () => {
  expect(segmentDescriptor({ kind: 'code', bits: 32 })).toBe(0x00cf_9a00_0000_ffffn)
  expect(segmentDescriptor({ kind: 'data', bits: 32 })).toBe(0x00cf_9200_0000_ffffn)
  expect(segmentDescriptor({ kind: 'code', bits: 64, dpl: 3 })).toBe(0x00af_fa00_0000_ffffn)
  expect(segmentDescriptor({ kind: 'code', bits: 16, base: 0x1234_5678, limit: 0xffff })).toBe(0x1200_9a34_5678_ffffn)
  const expandDown = { kind: 'data', bits: 32, conforming: true, writable: false, present: false } as const
  expect(segmentDescriptor({ ...expandDown, limit: 0xf_ffff })).toBe(0x004f_1400_0000_ffffn)
})

test('TSS and LDT', () => {
  expect(systemDescriptor('tss', 32, 0x0010_2000, 0x67)).toEqual([0x0000_8910_2000_0067n])
  expect(systemDescriptor('busy-tss', 64, 0x1_8010_2000, 0x67)).toEqual([0x8000_8b10_2000_0067n, 1n])
  expect(systemDescriptor('ldt', 32, 0, 0xff, 3)).toEqual([0x0000_e200_0000_00ffn])
})

test('gates', () => {
  const at = { selector: 8, offset: 0x1234_5678 } as const
  expect(gateDescriptor({ kind: 'interrupt', bits: 32, ...at })).toEqual([0x1234_8e00_0008_5678n])
  expect(gateDescriptor({ kind: 'trap', bits: 32, dpl: 3, ...at })).toEqual([0x1234_ef00_0008_5678n])
  expect(gateDescriptor({ kind: 'call', bits: 32, ...at, present: false })).toEqual([0x1234_0c00_0008_5678n])
  expect(gateDescriptor({ kind: 'interrupt', bits: 64, selector: 0x18, offset: -0x1000n, ist: 3 })).toEqual([
    0xffff_8e03_0018_f000n,
    0xffff_ffffn,
  ])
})
