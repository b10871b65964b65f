// Segment registers and descriptor tables (SDM vol. 3, 3.4, 3.5, 5.3–5.8): loads and their faults, LAR, LSL, VERR, VERW, ARPL, LLDT, LTR.
import { type Assembler, mem } from '@partita/testkit/assembler'
import { type SegmentDescriptorOptions, segmentDescriptor, systemDescriptor } from '@partita/testkit/descriptors'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, SELECTOR, SystemMachine } from './system-machine.ts'

const FREE = SELECTOR.FREE

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('protected')
})
const define = (selector: number, options: SegmentDescriptorOptions): void =>
  m.setDescriptor(selector, segmentDescriptor(options))
const load =
  (segment: 'ds' | 'es' | 'fs' | 'gs' | 'ss', selector: number) =>
  (a: Assembler): unknown =>
    a.mov('eax', selector).mov(segment, 'eax')

describe('loads of data segments', () => {
  it.each<[string, SegmentDescriptorOptions, number, 'kernel' | 'user', string]>([
    ['data', { kind: 'data', bits: 32, dpl: 3 }, FREE | 3, 'user', 'ok'],
    ['data of ring 0 from ring 3', { kind: 'data', bits: 32 }, FREE, 'user', `#GP(${FREE})`],
    ['RPL above DPL', { kind: 'data', bits: 32 }, FREE | 3, 'kernel', `#GP(${FREE})`],
    ['readable code', { kind: 'code', bits: 32, dpl: 3 }, FREE | 3, 'user', 'ok'],
    ['execute-only code', { kind: 'code', bits: 32, dpl: 3, writable: false }, FREE | 3, 'user', `#GP(${FREE})`],
    ['conforming code of ring 0 from ring 3', { kind: 'code', bits: 32, conforming: true }, FREE | 3, 'user', 'ok'],
    ['not present', { kind: 'data', bits: 32, dpl: 3, present: false }, FREE | 3, 'user', `#NP(${FREE})`],
  ])('%s', (_, options, selector, ring, result) => {
    define(FREE, options)
    expect(m[ring](load('ds', selector))).toBe(result)
    if (result !== 'ok') expect(m.events[0]?.rip).toBe((ring === 'user' ? AT.USER_CODE : AT.CODE) + 5)
  })
  it('a selector beyond the table, a system descriptor, an LDT that is not there', () => {
    expect(m.kernel(load('ds', 0x1000))).toBe(`#GP(${0x1000})`)
    expect(m.kernel(load('ds', SELECTOR.TSS))).toBe(`#GP(${SELECTOR.TSS})`)
    expect(m.kernel(load('ds', 0x0c))).toBe('#GP(12)')
  })
  it('sets the accessed bit in the table', () => {
    define(FREE, { kind: 'data', bits: 32 })
    m.kernel(load('es', FREE))
    expect(m.read(AT.GDT + FREE + 5, 1)).toBe(0x93)
  })
  it('null is allowed, and faults when it is used', () => {
    expect(m.kernel(load('fs', 3))).toBe('ok')
    expect(m.kernel((a) => a.mov('eax', 0).mov('fs', 'eax').bytes(0x64, 0xa1, 0, 0, 3, 0))).toBe('#GP(0)')
  })
})

describe('loads of SS', () => {
  it.each<[string, SegmentDescriptorOptions, number, string]>([
    ['writable data', { kind: 'data', bits: 32 }, FREE, 'ok'],
    ['read-only data', { kind: 'data', bits: 32, writable: false }, FREE, `#GP(${FREE})`],
    ['code', { kind: 'code', bits: 32 }, FREE, `#GP(${FREE})`],
    ['another ring', { kind: 'data', bits: 32, dpl: 3 }, FREE, `#GP(${FREE})`],
    ['another RPL', { kind: 'data', bits: 32 }, FREE | 1, `#GP(${FREE})`],
    ['not present', { kind: 'data', bits: 32, present: false }, FREE, `#SS(${FREE})`],
  ])('%s', (_, options, selector, result) => {
    define(FREE, options)
    expect(m.kernel(load('ss', selector))).toBe(result)
  })
  it('null', () => {
    expect(m.kernel(load('ss', 0))).toBe('#GP(0)')
    const long = new SystemMachine('long')
    expect(long.kernel((a) => load('ss', 0)(a))).toBe('ok')
    expect(long.user((a) => load('ss', 3)(a))).toBe('#GP(0)')
  })
  it('a 16-bit stack uses SP and leaves the rest of ESP', () => {
    define(FREE, { kind: 'data', bits: 16, limit: 0xffff })
    m.kernel((a) =>
      a
        .mov('esp', 0x1234_8000)
        .mov('eax', FREE)
        .mov('ss', 'eax')
        .push(5)
        .pop('ebx')
        .mov('eax', 'esp')
        .out(0x80, 'eax')
        .push('eax')
        .mov('eax', 'esp')
        .out(0x80, 'eax'),
    )
    expect(m.output(0x80)).toEqual([0x1234_8000, 0x1234_7ffc])
    expect(m.read(0x7ffc, 4)).toBe(0x1234_8000)
  })
  it('POP SS takes the new value from the old stack', () => {
    expect(m.kernel((a) => a.push(SELECTOR.DATA).bytes(0x17).mov('eax', 'esp').out(0x80, 'eax'))).toBe('ok')
    expect(m.output(0x80)).toEqual([AT.STACK])
    expect(m.kernel((a) => a.push(0).bytes(0x17))).toBe('#GP(0)')
    expect(m.events[0]?.frame).toBe(AT.STACK - 4 - 12)
  })
})

describe('far pointers', () => {
  it('LES, LFS and LSS', () => {
    define(FREE, { kind: 'data', bits: 32 })
    m.write32(AT.DATA, 0x1234_5678)
    m.write32(AT.DATA + 4, FREE)
    m.kernel((a) => {
      a.bytes(0xc4, 0x1d, 0, 0, 3, 0).mov('eax', 'es').out(0x80, 'eax').mov('eax', 'ebx').out(0x80, 'eax')
      a.bytes(0x0f, 0xb2, 0x25, 0, 0, 3, 0).mov('eax', 'ss').out(0x80, 'eax').mov('eax', 'esp').out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([FREE, 0x1234_5678, FREE, 0x1234_5678])
  })
  it('that fault leave the register', () => {
    m.write32(AT.DATA, 0x1234_5678)
    m.write32(AT.DATA + 4, 0x1000)
    expect(m.kernel((a) => a.mov('ebx', 7).bytes(0xc4, 0x1d, 0, 0, 3, 0))).toBe(`#GP(${0x1000})`)
    expect(m.get('rbx')).toBe(7n)
  })
})

describe('questions about selectors', () => {
  /** ZF and the value of LAR (02) or LSL (03). */
  function ask(opcode: number, selector: number): [boolean, number] {
    m.ports.length = 0
    m.user((a) => a.mov('eax', selector).mov('ebx', -1).bytes(0x0f, opcode, 0xd8).setcc('e', 'cl'))
    return [(m.get('rcx') & 1n) === 1n, Number(m.get('rbx'))]
  }
  it('LAR', () => {
    define(FREE, { kind: 'data', bits: 32, dpl: 3 })
    expect(ask(2, FREE | 3)).toEqual([true, 0xc0f200])
    expect(ask(2, SELECTOR.CODE)).toEqual([false, 0xffffffff])
    expect(ask(2, 0)).toEqual([false, 0xffffffff])
    expect(ask(2, 0x1000)).toEqual([false, 0xffffffff])
    m.setDescriptor(FREE, systemDescriptor('tss', 32, 0, 0x67, 3))
    expect(ask(2, FREE | 3)).toEqual([true, 0xe900])
    define(FREE, { kind: 'code', bits: 32, conforming: true })
    expect(ask(2, FREE | 3)[0]).toBe(true)
  })
  it('LSL', () => {
    define(FREE, { kind: 'data', bits: 32, dpl: 3, limit: 0x12345 })
    expect(ask(3, FREE | 3)).toEqual([true, 0x12345])
    define(FREE, { kind: 'data', bits: 32, dpl: 3 })
    expect(ask(3, FREE | 3)).toEqual([true, 0xffffffff])
    m.setDescriptor(FREE, systemDescriptor('ldt', 32, 0, 0x47, 3))
    expect(ask(3, FREE | 3)).toEqual([true, 0x47])
    expect(ask(3, SELECTOR.DATA)[0]).toBe(false)
  })
  it('VERR and VERW', () => {
    const verify = (selector: number): boolean[] => {
      m.user((a) => a.mov('eax', selector).verr('eax').setcc('e', 'cl').verw('eax').setcc('e', 'dl'))
      return [(m.get('rcx') & 1n) === 1n, (m.get('rdx') & 1n) === 1n]
    }
    define(FREE, { kind: 'data', bits: 32, dpl: 3 })
    expect(verify(FREE | 3)).toEqual([true, true])
    define(FREE, { kind: 'data', bits: 32, dpl: 3, writable: false })
    expect(verify(FREE | 3)).toEqual([true, false])
    define(FREE, { kind: 'code', bits: 32, dpl: 3 })
    expect(verify(FREE | 3)).toEqual([true, false])
    define(FREE, { kind: 'code', bits: 32, dpl: 3, writable: false })
    expect(verify(FREE | 3)).toEqual([false, false])
    expect(verify(SELECTOR.DATA)).toEqual([false, false])
    expect(verify(SELECTOR.TSS)).toEqual([false, false])
  })
  it('ARPL', () => {
    const adjust = (target: number, source: number): [number, boolean] => {
      m.kernel((a) => a.mov('eax', target).mov('ebx', source).bytes(0x63, 0xd8).setcc('e', 'cl'))
      return [Number(m.get('rax')), (m.get('rcx') & 1n) === 1n]
    }
    expect(adjust(0xffff_0010, 3)).toEqual([0xffff_0013, true])
    expect(adjust(0x13, 1)).toEqual([0x13, false])
    expect(adjust(0x12, 2)).toEqual([0x12, false])
  })
})

describe('LLDT and LTR', () => {
  it('load from the GDT only', () => {
    m.setDescriptor(FREE, systemDescriptor('ldt', 32, AT.DATA, 0xff))
    expect(m.kernel((a) => a.mov('eax', FREE).lldt('ax').sldt('eax').out(0x80, 'eax'))).toBe('ok')
    expect(m.output(0x80)).toEqual([FREE])
    expect(m.vp.getSegment('ldtr')).toMatchObject({ base: BigInt(AT.DATA), limit: 0xff })
    expect(m.kernel((a) => a.mov('eax', FREE | 4).lldt('ax'))).toBe(`#GP(${FREE | 4})`)
    expect(m.kernel((a) => a.mov('eax', SELECTOR.DATA).lldt('ax'))).toBe(`#GP(${SELECTOR.DATA})`)
    m.write64(AT.GDT + FREE, m.read64(AT.GDT + FREE) & ~(1n << 47n))
    expect(m.kernel((a) => a.mov('eax', FREE).lldt('ax'))).toBe(`#NP(${FREE})`)
    expect(m.kernel((a) => a.mov('eax', 0).lldt('ax'))).toBe('ok')
  })
  it('a descriptor of the LDT is found there', () => {
    m.setDescriptor(FREE, systemDescriptor('ldt', 32, AT.DATA, 0xff))
    m.write64(AT.DATA + 8, segmentDescriptor({ kind: 'data', bits: 32, base: AT.DATA + 0x1000 }))
    m.write32(AT.DATA + 0x1004, 0xcafe)
    expect(
      m.kernel((a) =>
        a.mov('eax', FREE).lldt('ax').mov('eax', 0xc).mov('es', 'eax').bytes(0x26, 0xa1, 4, 0, 0, 0).out(0x80, 'eax'),
      ),
    ).toBe('ok')
    expect(m.output(0x80)).toEqual([0xcafe])
    expect(m.kernel((a) => a.mov('eax', 0x104).mov('es', 'eax'))).toBe(`#GP(${0x104})`)
  })
  it('LTR marks the descriptor busy, and takes no busy one', () => {
    m.setDescriptor(FREE, systemDescriptor('tss', 32, AT.TSS, 0x67))
    expect(m.kernel((a) => a.mov('eax', FREE).ltr('ax').str('eax').out(0x80, 'eax'))).toBe('ok')
    expect(m.output(0x80)).toEqual([FREE])
    expect(m.read(AT.GDT + FREE + 5, 1)).toBe(0x8b)
    expect(m.kernel((a) => a.mov('eax', FREE).ltr('ax'))).toBe(`#GP(${FREE})`)
    expect(m.kernel((a) => a.mov('eax', 0).ltr('ax'))).toBe('#GP(0)')
  })
  it('have descriptors of 16 bytes in long mode', () => {
    const long = new SystemMachine('long')
    long.setDescriptor(FREE, systemDescriptor('tss', 64, 0x1_2345_6000, 0x67))
    expect(long.kernel((a) => a.mov('eax', FREE).ltr('ax'))).toBe('ok')
    expect(long.vp.getSegment('tr').base).toBe(0x1_2345_6000n)
    long.setDescriptor(FREE, systemDescriptor('ldt', 64, 0x1_2345_6000, 0x67))
    long.write64(AT.GDT + FREE + 8, 0x8000n)
    expect(long.kernel((a) => a.mov('eax', FREE).lldt('ax'))).toBe(`#GP(${FREE})`)
  })
})

describe('descriptor tables', () => {
  it('SGDT and SIDT give back what LGDT and LIDT took', () => {
    const long = new SystemMachine('long')
    long.write64(AT.DATA, 0x9234_5678_0000_0123n)
    long.write32(AT.DATA + 8, 0xffff)
    long.kernel((a) =>
      a
        .mov('rbx', AT.DATA)
        .lidt(mem('rbx'))
        .sidt(mem(AT.DATA + 0x20)),
    )
    expect(long.read(AT.DATA + 0x20, 2)).toBe(0x123)
    expect(long.read64(AT.DATA + 0x22)).toBe(0xffff_9234_5678_0000n)
    expect(
      new SystemMachine('long').kernel((a) =>
        a.mov('rax', 0x8000_0000_0000n).push('rax').push('rax').lgdt(mem('rsp', 6)),
      ),
    ).toBe('#GP(0)')
  })
  it('a 16-bit operand gives bases of 24 bits', () => {
    m.write32(AT.DATA, 0x0fff)
    m.write32(AT.DATA + 2, 0xff00_0000 + AT.GDT)
    m.kernel((a) => a.bytes(0x66).lgdt(mem(AT.DATA)))
    expect(m.vp.cpu.get64(624)).toBe(BigInt(AT.GDT))
  })
})

describe('CS in real-address mode', () => {
  it.each([
    ['a far jump', (a: Assembler) => a.jmpFar(0x2000, 0x100, 16)],
    ['a software interrupt', (a: Assembler) => a.int(0x40)],
  ])('can be written to after %s, whatever protected mode left in it', (_, enter) => {
    const real = new SystemMachine('real')
    real.vp.setSegment('cs', { ...real.vp.getSegment('cs'), attributes: 0x9b })
    real.write32(0x40 * 4, 0x2000_0100)
    real.program(0x2_0100, 16, (a) => a.bytes(0x2e, 0xc7, 0x06, 0x00, 0x02, 0x34, 0x12).hlt()) // mov word cs:[0x200], 0x1234
    real.program(0x3_0000, 16, enter)
    real.vp.setSegment('cs', { ...real.vp.getSegment('cs'), selector: 0x3000, base: 0x3_0000n })
    real.vp.setDescriptorTable('idtr', 0n, 0x3ff)
    expect(real.start(0)).toBe('halt')
    expect(real.read(0x2_0200, 2)).toBe(0x1234)
    expect(real.vp.getSegment('cs')).toMatchObject({ selector: 0x2000, base: 0x2_0000n, attributes: 0x93 })
  })
})
