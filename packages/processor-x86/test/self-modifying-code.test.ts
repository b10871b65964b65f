// Self-modifying code (SDM vol. 3, 9.1.3 and 12.6): a store to code is seen by the next instruction, wherever it comes from.
import { type Assembler, byte, dword, mem, word } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { GPA_CODE } from '../src/memory.ts'
import { AT, SystemMachine } from './system-machine.ts'

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
})
/** `mov eax, imm32` has its immediate at offset 1. */
const IMMEDIATE = 1

describe('stores to code', () => {
  it('in the block that is running', () => {
    // mov [next + 1], ecx is 7 bytes long
    m.kernel((a) =>
      a
        .mov('ecx', 0x2222)
        .mov(mem(AT.CODE + 12 + IMMEDIATE), 'ecx')
        .mov('eax', 0x1111)
        .out(0x80, 'eax'),
    )
    expect(m.output(0x80)).toEqual([0x2222])
  })
  it('behind the store in a loop of one block', () => {
    const a = m.program(AT.CODE, 64, (a) => {
      a.mov('edx', 3).mov('ecx', 0)
      a.label('loop').mov('eax', 0).out(0x80, 'eax').inc('ecx')
      a.label('store').bytes(0x89, 0x0c, 0x25, 0, 0, 0, 0)
      a.dec('edx').jcc('ne', 'loop').hlt()
    })
    m.write32(a.addressOf('store') + 3, a.addressOf('loop') + IMMEDIATE)
    m.start()
    expect(m.output(0x80)).toEqual([0, 1, 2])
  })
  it('to a block that has run, over and over', () => {
    const a = m.program(AT.CODE, 64, (a) => {
      a.mov('edi', 100)
        .label('again')
        .mov('rbx', AT.DATA)
        .mov(dword(AT.DATA + 1), 'edi')
        .call('rbx')
        .add('esi', 'eax')
      a.dec('edi').jcc('ne', 'again').mov('eax', 'esi').out(0x80, 'eax').hlt()
    })
    m.program(AT.DATA, 64, (b) => b.mov('eax', 0).ret())
    m.set('rsi', 0)
    m.start()
    expect(m.output(0x80)).toEqual([5050])
    expect(a.here).toBeGreaterThan(AT.CODE)
  })
  it('that change the length of an instruction', () => {
    m.program(AT.DATA, 64, (b) => b.nop().nop().nop().nop().nop().ret())
    m.kernel((a) => {
      a.mov('rbx', AT.DATA).call('rbx')
      a.mov(byte(AT.DATA), 0xb8).mov(dword(AT.DATA + 1), 0x12345678)
      a.call('rbx').out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([0x12345678])
  })
  it('in several functions of a page: those that are not concerned run as before, and the page is written like any other in between', () => {
    const decoded = (): number => (m.memory.gpaMap[AT.DATA >> 12] as number) & GPA_CODE
    const count = 64
    const room = 4096 / count
    const changed = 6
    const callAll = (a: Assembler): Assembler => {
      a.mov('esi', 0)
      for (let n = 0; n < count; n++)
        a.mov('rbx', AT.DATA + n * room)
          .call('rbx')
          .add('esi', 'eax')
      return a
    }
    for (let n = 0; n < count; n++) m.program(AT.DATA + n * room, 64, (b) => b.mov('eax', n).ret())
    m.kernel((a) => callAll(a).mov('eax', 'esi').out(0x80, 'eax'))
    expect([m.output(0x80), decoded()]).toEqual([[(count * (count - 1)) / 2], GPA_CODE])
    m.kernel((a) => {
      for (let n = 0; n < changed; n++) a.mov(dword(AT.DATA + n * room + IMMEDIATE), 1000 + n)
    })
    expect(decoded()).toBe(0)
    m.kernel((a) => callAll(a).mov('eax', 'esi').out(0x81, 'eax'))
    expect([m.output(0x81), decoded()]).toEqual([[(count * (count - 1)) / 2 + changed * 1000], GPA_CODE])
  })
  it('on the second page of an instruction across two', () => {
    const at = AT.DATA + 0x1000 - 2
    m.program(at, 64, (b) => b.mov('eax', 0x11111111).ret())
    m.kernel((a) => {
      a.mov('rbx', at).call('rbx').out(0x80, 'eax')
      a.mov(word(AT.DATA + 0x1000), 0x2222)
        .call('rbx')
        .out(0x80, 'eax')
      a.mov(byte(at + 1), 0x33)
        .call('rbx')
        .out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([0x11111111, 0x11222211, 0x11222233])
  })
  it('that themselves cross into a page of code', () => {
    m.program(AT.DATA + 0x1000, 64, (b) => b.bytes(0xb0, 0x01).ret())
    m.kernel((a) => {
      a.mov('rbx', AT.DATA + 0x1000)
        .mov('eax', 0)
        .call('rbx')
        .out(0x80, 'eax')
      // the store's last two bytes replace mov al, 1 by mov al, 9
      a.mov(dword(AT.DATA + 0xffe), 0x09b0_0000)
        .call('rbx')
        .out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([1, 9])
  })
  it('by a string instruction over a whole function', () => {
    m.program(AT.DATA, 64, (b) => b.mov('eax', 1).ret())
    m.program(AT.DATA + 0x800, 64, (b) => b.mov('eax', 2).ret())
    m.kernel((a) => {
      a.mov('rbx', AT.DATA).call('rbx').out(0x80, 'eax')
      a.mov('rsi', AT.DATA + 0x800)
        .mov('rdi', AT.DATA)
        .mov('ecx', 6)
        .rep()
        .movs(8)
      a.call('rbx').out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([1, 2])
  })
  it('through another mapping of the page', () => {
    const alias = AT.DATA + 0x1_0000
    m.setPage(alias, BigInt(AT.DATA) | 3n)
    m.program(AT.DATA, 64, (b) => b.mov('eax', 1).ret())
    m.kernel((a) =>
      a
        .mov('rbx', AT.DATA)
        .call('rbx')
        .out(0x80, 'eax')
        .mov(byte(alias + 1), 5)
        .call('rbx')
        .out(0x80, 'eax'),
    )
    expect(m.output(0x80)).toEqual([1, 5])
  })
  it('to data beside code on one page do no harm', () => {
    m.program(AT.DATA, 64, (b) => b.mov('eax', 1).inc('eax').ret())
    m.kernel((a) => {
      a.mov('rbx', AT.DATA)
        .mov('edi', 50)
        .label('again')
        .call('rbx')
        .mov(dword(AT.DATA + 0x400), 'edi')
        .dec('edi')
        .jcc('ne', 'again')
        .out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([2])
    expect(m.read(AT.DATA + 0x400, 4)).toBe(1)
  })
  it('are seen when a locked or read-modify-write instruction makes them', () => {
    m.program(AT.DATA, 64, (b) => b.mov('eax', 1).ret())
    m.kernel((a) => {
      a.mov('rbx', AT.DATA).call('rbx').out(0x80, 'eax')
      a.lock()
        .inc(byte(AT.DATA + 1))
        .call('rbx')
        .out(0x80, 'eax')
      a.add(byte(AT.DATA + 1), 8)
        .call('rbx')
        .out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([1, 2, 10])
  })
})

describe('writes of the host', () => {
  it('while the guest is between slices', () => {
    m.program(AT.CODE, 64, (a) => a.label('loop').mov('eax', 1).jmpShort('loop'))
    expect(m.start()).toBe('budget')
    expect(m.get('rax')).toBe(1n)
    m.write32(AT.CODE + 1, 2)
    m.run()
    expect(m.get('rax')).toBe(2n)
  })
  it('from a port access of the guest: the next instruction is the new one', () => {
    const a = m.program(AT.CODE, 64, (a) => a.out(0x81, 'al').label('patched').mov('eax', 1).out(0x80, 'eax').hlt())
    m.onPortWrite = (port) => {
      if (port === 0x81) m.write32(a.addressOf('patched') + 1, 77)
    }
    m.start()
    expect(m.output(0x80)).toEqual([77])
  })
  it('of a page that DMA fills', () => {
    m.program(AT.DATA, 64, (b) => b.mov('eax', 1).ret())
    m.onPortWrite = (port) => {
      if (port === 0x81) m.program(AT.DATA, 64, (b) => b.mov('eax', 42).ret())
    }
    m.kernel((a) => a.mov('rbx', AT.DATA).call('rbx').out(0x80, 'eax').out(0x81, 'al').call('rbx').out(0x80, 'eax'))
    expect(m.output(0x80)).toEqual([1, 42])
  })
})
