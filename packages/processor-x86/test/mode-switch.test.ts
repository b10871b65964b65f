// Changes of mode (SDM vol. 3, 9.8 and 9.9): real to protected to long, as a boot loader does it.
import { mem, ref } from '@partita/testkit/assembler'
import { describe, expect, it } from 'vitest'
import { AT, SELECTOR, SystemMachine } from './system-machine.ts'

describe('mode switches', () => {
  it('goes from real through protected to 64-bit mode, paging on the way', () => {
    const machine = new SystemMachine('long')
    machine.vp.reset('power-on')
    machine.vp.setSegment('cs', { selector: 0, base: 0n, limit: 0xffff, attributes: 0x9b })
    machine.program(0x9000, 16, (a) => {
      a.cli()
      a.lgdt(mem(ref('gdtr')))
      a.mov('eax', 'cr0').or('eax', 1).mov('cr0', 'eax')
      a.jmpFar(SELECTOR.CODE32, ref('protected'), 32)
      a.label('gdtr').words(0xfff).dwords(AT.GDT)
      a.bits(32).label('protected')
      a.mov('eax', SELECTOR.DATA).mov('ds', 'eax').mov('ss', 'eax').mov('es', 'eax')
      a.mov('esp', AT.STACK)
      a.mov('eax', 0x1111).out(0x80, 'eax')
      a.mov('eax', 'cr4').or('eax', 0x20).mov('cr4', 'eax')
      a.mov('eax', AT.PML4).mov('cr3', 'eax')
      a.mov('ecx', 0xc0000080).rdmsr().or('eax', 0x100).wrmsr()
      a.mov('eax', 'cr0').or('eax', 0x80000000).mov('cr0', 'eax')
      // compatibility mode now
      a.rdmsr().out(0x81, 'eax')
      a.jmpFar(SELECTOR.CODE, ref('long'), 32)
      a.bits(64).label('long')
      a.mov('rax', 0x123456789abcdef0n).shr('rax', 32).out(0x82, 'eax')
      a.hlt()
    })
    expect(machine.start(0x9000)).toBe('halt')
    expect(machine.output(0x80)).toEqual([0x1111])
    expect(machine.output(0x81)).toEqual([0x500])
    expect(machine.output(0x82)).toEqual([0x12345678])
  })
})
