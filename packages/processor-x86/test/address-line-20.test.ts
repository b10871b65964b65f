// The A20M# pin: while address line 20 is not connected, bit 20 of every physical address is 0, of code, of data and of page tables; and nothing of the time before is remembered.

import { type Assembler, mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, SystemMachine } from './system-machine.ts'

const MIB = 0x10_0000
const GATE = 0x92
const LOW = AT.DATA
const HIGH = LOW + MIB

let m: SystemMachine

describe.each(['protected', 'long'] as const)('in %s mode', (mode) => {
  beforeEach(() => {
    m = new SystemMachine(mode)
    m.onPortWrite = (port, _size, value) => {
      if (port === GATE) m.vp.setAddressLine20((value & 2) !== 0)
    }
  })
  const gate = (a: Assembler, open: boolean): Assembler => a.mov('eax', open ? 2 : 0).out(GATE, 'al')

  it('data of the second MiB is that of the first one, and of its own again afterwards', () => {
    const result = m.kernel((a) => {
      a.mov('edi', LOW).mov('esi', HIGH)
      a.mov('eax', 0x11111111).mov(mem('edi'), 'eax').mov('eax', 0x22222222).mov(mem('esi'), 'eax')
      gate(a, false)
      a.mov('ebx', mem('esi'))
      a.mov('eax', 0x33333333).mov(mem('esi'), 'eax')
      a.mov('ecx', mem('edi'))
      gate(a, true)
      a.mov('edx', mem('esi'))
    })
    expect(result).toBe('ok')
    expect(m.get('rbx')).toBe(0x11111111n)
    expect(m.get('rcx')).toBe(0x33333333n)
    expect(m.get('rdx')).toBe(0x22222222n)
  })

  it('code that was executed at one address is not taken for that at the other', () => {
    // mov ebx, n; ret
    m.load(LOW, Uint8Array.of(0xbb, 1, 0, 0, 0, 0xc3))
    m.load(HIGH, Uint8Array.of(0xbb, 2, 0, 0, 0, 0xc3))
    const result = m.kernel((a) => {
      a.mov('esi', HIGH).xor('ebp', 'ebp')
      for (const open of [true, false, true, false]) {
        gate(a, open)
        a.call('esi').shl('ebp', 4).or('ebp', 'ebx')
      }
      // What is written by the one name is executed by the other.
      a.mov('edi', LOW).mov('eax', 7).mov(mem('edi', 1), 'al')
      a.call('esi').shl('ebp', 4).or('ebp', 'ebx')
      a.mov('eax', 9).mov(mem('esi', 1), 'al')
      a.call('edi').shl('ebp', 4).or('ebp', 'ebx')
      gate(a, true)
      a.call('esi').shl('ebp', 4).or('ebp', 'ebx')
    })
    expect(result).toBe('ok')
    expect(m.get('rbp')).toBe(0x2121792n)
  })
})

it('page tables and what they point to', () => {
  m = new SystemMachine('long')
  m.write32(LOW, 0x11111111)
  m.write32(HIGH, 0x22222222)
  const page = AT.DATA + 0x5000
  m.setPage(page, BigInt(HIGH) | 3n)
  m.vp.setAddressLine20(false)
  expect(m.kernel((a) => a.mov('esi', page).mov('ebx', mem('esi')))).toBe('ok')
  expect(m.get('rbx')).toBe(0x11111111n)
  expect(m.vp.translateLinear(BigInt(page))).toBe(LOW)
  m.vp.setAddressLine20(true)
  expect(m.vp.translateLinear(BigInt(page))).toBe(HIGH)
})
