// Transfers between code segments (SDM vol. 3, 5.8, chapters 7 and 20): far jumps, calls and returns, call gates, IRET, virtual-8086 mode, task switches.
import { type Assembler, mem, ref } from '@partita/testkit/assembler'
import { gateDescriptor, segmentDescriptor, systemDescriptor } from '@partita/testkit/descriptors'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, eventName, RFLAGS, SELECTOR, SystemMachine } from './system-machine.ts'

const FREE = SELECTOR.FREE
const GATE = FREE + 0x10
const TARGET = AT.CODE + 0x1000

let m: SystemMachine

describe('32-bit protected mode', () => {
  beforeEach(() => {
    m = new SystemMachine('protected')
  })

  it('JMP, CALL and RET to a segment with a base', () => {
    m.setDescriptor(FREE, segmentDescriptor({ kind: 'code', bits: 32, base: TARGET, limit: 0xfff }))
    m.program(TARGET + 0x10, 32, (a) => a.mov('eax', 'cs').out(0x80, 'eax').retf())
    expect(
      m.kernel((a) => a.callFar(FREE, 0x10).mov('eax', 'cs').out(0x80, 'eax').mov('eax', 'esp').out(0x80, 'eax')),
    ).toBe('ok')
    expect(m.output(0x80)).toEqual([FREE, SELECTOR.CODE, AT.STACK])
    expect(m.read(AT.GDT + FREE + 5, 1) & 1).toBe(1)
  })
  it('to 16-bit code and back', () => {
    m.setDescriptor(FREE, segmentDescriptor({ kind: 'code', bits: 16, base: TARGET, limit: 0xffff }))
    m.program(TARGET, 16, (a) => a.mov('ax', 0x1234).out(0x80, 'ax').bytes(0x66).retf())
    expect(m.kernel((a) => a.callFar(FREE, 0).mov('eax', 0x5678_9abc).out(0x80, 'eax'))).toBe('ok')
    expect(m.output(0x80)).toEqual([0x1234, 0x5678_9abc])
  })
  const code = (options: Partial<Parameters<typeof segmentDescriptor>[0]>): bigint =>
    segmentDescriptor({ kind: 'code', bits: 32, ...options })
  it.each<[string, bigint, number, 'kernel' | 'user', string]>([
    ['a data segment', code({ kind: 'data' }), FREE, 'kernel', `#GP(${FREE})`],
    ['a code segment of another ring', code({ dpl: 3 }), FREE, 'kernel', `#GP(${FREE})`],
    ['an inner ring', code({}), FREE, 'user', `#GP(${FREE})`],
    ['a segment that is not present', code({ present: false }), FREE, 'kernel', `#NP(${FREE})`],
    ['an offset beyond the limit', code({ limit: 0xfff }), FREE, 'kernel', '#GP(0)'],
    ['RPL above CPL', code({ dpl: 0 }), FREE | 1, 'kernel', `#GP(${FREE})`],
    ['the null selector', code({}), 0, 'kernel', '#GP(0)'],
    ['a selector beyond the table', code({}), 0x1000, 'kernel', `#GP(${0x1000})`],
    ['an LDT descriptor', systemDescriptor('ldt', 32, 0, 0xff)[0] as bigint, FREE, 'kernel', `#GP(${FREE})`],
  ])('a far jump to %s', (_, descriptor, selector, ring, result) => {
    m.setDescriptor(FREE, descriptor)
    expect(m[ring]((a) => a.jmpFar(selector, TARGET))).toBe(result)
    expect(m.events[0]?.rip).toBe(ring === 'kernel' ? AT.CODE : AT.USER_CODE)
  })
  it('conforming code runs in the ring of its caller', () => {
    m.setDescriptor(FREE, code({ conforming: true }))
    m.program(AT.USER_DATA, 32, (a) => a.mov('eax', 'cs').retf())
    expect(m.user((a) => a.callFar(FREE, AT.USER_DATA))).toBe('ok')
    expect(m.get('rax') & 0xffffn).toBe(BigInt(FREE | 3))
  })

  describe('call gates', () => {
    const gate = (parameters = 0, selector: number = SELECTOR.CODE, dpl: 0 | 3 = 3): void => {
      const [word] = gateDescriptor({ kind: 'call', bits: 32, selector, offset: TARGET, dpl })
      m.setDescriptor(GATE, (word as bigint) | (BigInt(parameters) << 32n))
    }
    it('switch to the inner stack and copy the parameters', () => {
      gate(3)
      m.program(TARGET, 32, (a) => {
        for (const depth of [0, 4, 8, 12, 16, 20, 24]) a.mov('eax', mem('esp', depth)).out(0x80, 'eax')
        a.mov('eax', 'ss').out(0x80, 'eax').mov('eax', 'esp').out(0x80, 'eax').retf(32)
      })
      m.program(TARGET + 0x800, 32, (a) => a.nop())
      // RET 12: release the parameters on both stacks
      m.program(TARGET, 32, (a) => {
        for (const depth of [0, 4, 8, 12, 16, 20, 24]) a.mov('eax', mem('esp', depth)).out(0x80, 'eax')
        a.mov('eax', 'ss').out(0x80, 'eax').mov('eax', 'esp').out(0x80, 'eax').bytes(0xca, 12, 0)
      })
      expect(
        m.user((a) =>
          a
            .push(1)
            .push(2)
            .push(3)
            .callFar(GATE | 3, 0)
            .mov('ebx', 'esp'),
        ),
      ).toBe('ok')
      const back = AT.USER_CODE + 6 + 7
      expect(m.output(0x80)).toEqual([
        back,
        SELECTOR.USER_CODE32,
        3,
        2,
        1,
        AT.USER_STACK - 12,
        SELECTOR.USER_DATA,
        SELECTOR.DATA,
        AT.STACK - 28,
      ])
      expect(m.get('rbx')).toBe(BigInt(AT.USER_STACK))
    })
    it('drop data segments of the inner ring on the way out', () => {
      gate()
      m.program(TARGET, 32, (a) => a.mov('eax', SELECTOR.DATA).mov('es', 'eax').retf())
      m.user((a) =>
        a
          .callFar(GATE | 3, 0)
          .mov('eax', 'es')
          .mov('ecx', 'ds'),
      )
      expect(m.get('rax') & 0xffffn).toBe(0n)
      expect(m.get('rcx') & 0xffffn).toBe(BigInt(SELECTOR.USER_DATA))
    })
    it('in the same ring push two words', () => {
      gate()
      m.program(TARGET, 32, (a) => a.mov('eax', 'esp').out(0x80, 'eax').retf())
      expect(m.kernel((a) => a.callFar(GATE, 0).mov('eax', 'esp').out(0x80, 'eax'))).toBe('ok')
      expect(m.output(0x80)).toEqual([AT.STACK - 8, AT.STACK])
    })
    it('refuse those below their DPL, and what is no code', () => {
      gate(0, SELECTOR.CODE, 0)
      expect(m.user((a) => a.callFar(GATE | 3, 0))).toBe(`#GP(${GATE})`)
      gate(0, SELECTOR.DATA)
      expect(m.user((a) => a.callFar(GATE | 3, 0))).toBe(`#GP(${SELECTOR.DATA})`)
      gate(0, 0)
      expect(m.user((a) => a.callFar(GATE | 3, 0))).toBe('#GP(0)')
      m.setDescriptor(
        GATE,
        gateDescriptor({ kind: 'call', bits: 32, selector: SELECTOR.CODE, offset: TARGET, dpl: 3, present: false }),
      )
      expect(m.user((a) => a.callFar(GATE | 3, 0))).toBe(`#NP(${GATE})`)
    })
    it('JMP goes through to the same ring only', () => {
      gate()
      m.program(TARGET, 32, (a) => a.mov('eax', 9).out(0x80, 'eax').hlt())
      expect(m.kernel((a) => a.jmpFar(GATE, 0))).toBe('ok')
      expect(m.output(0x80)).toEqual([9])
      expect(m.user((a) => a.jmpFar(GATE | 3, 0))).toBe(`#GP(${SELECTOR.CODE})`)
    })
    it('a stack in the TSS of another ring is #TS, one without room #SS', () => {
      gate(2)
      m.write32(AT.TSS + 8, SELECTOR.USER_DATA)
      // the handlers of ring 0 need the same stack: this ends in shutdown
      expect(m.user((a) => a.callFar(GATE | 3, 0))).toBe('shutdown')
    })
  })

  describe('far returns', () => {
    it('to an outer ring load its stack', () => {
      m.program(AT.USER_CODE, 32, (a) => a.mov('eax', 'esp').int(0x80))
      m.kernel((a) =>
        a.push(SELECTOR.USER_DATA).push(AT.USER_STACK).push(SELECTOR.USER_CODE32).push(AT.USER_CODE).retf(),
      )
      expect(m.events[0]).toMatchObject({
        vector: 0x80,
        cs: SELECTOR.USER_CODE32,
        ss: SELECTOR.USER_DATA,
        rsp: AT.USER_STACK,
      })
    })
    it('never go to an inner ring', () => {
      expect(m.user((a) => a.push(SELECTOR.CODE).push(AT.CODE).retf())).toBe(`#GP(${SELECTOR.CODE})`)
    })
    it('check the outer stack', () => {
      expect(
        m.kernel((a) => a.push(SELECTOR.DATA).push(AT.USER_STACK).push(SELECTOR.USER_CODE32).push(AT.USER_CODE).retf()),
      ).toBe(`#GP(${SELECTOR.DATA})`)
      expect(m.kernel((a) => a.push(0).push(AT.USER_STACK).push(SELECTOR.USER_CODE32).push(AT.USER_CODE).retf())).toBe(
        '#GP(0)',
      )
    })
  })

  describe('IRET', () => {
    it('pops three words in the same ring', () => {
      m.kernel((a) =>
        a
          .bytes(0x68)
          .dwords(RFLAGS.CF | 0x3002)
          .push(SELECTOR.CODE)
          .bytes(0x68)
          .dwords(ref('on'))
          .iret()
          .label('on')
          .pushf()
          .pop('eax')
          .out(0x80, 'eax')
          .mov('eax', 'esp')
          .out(0x80, 'eax')
          .push(2)
          .popf(),
      )
      expect(m.output(0x80)).toEqual([0x3003, AT.STACK])
    })
    it('of ring 3 keeps IF and IOPL', () => {
      m.user((a) =>
        a.bytes(0x68).dwords(0x3202).push(SELECTOR.USER_CODE32).bytes(0x68).dwords(ref('on')).iret().label('on'),
      )
      expect(m.events[0]).toMatchObject({ vector: 0x80, flags: 2 })
    })
    it('to a null or wrong code segment', () => {
      const frame =
        (cs: number) =>
        (a: Assembler): unknown =>
          a.push(2).push(cs).push(AT.CODE).iret()
      expect(m.kernel(frame(0))).toBe('#GP(0)')
      expect(m.kernel(frame(SELECTOR.DATA))).toBe(`#GP(${SELECTOR.DATA})`)
      expect(m.user(frame(SELECTOR.CODE))).toBe(`#GP(${SELECTOR.CODE})`)
    })
  })

  describe('virtual-8086 mode', () => {
    /** Enter it at 1000:0000 with a program in ring 3's rights. */
    function virtual(write: (a: Assembler) => unknown, iopl = 0): void {
      m.events.length = 0
      m.program(0x1_a000, 16, write)
      m.kernel((a) => {
        for (const value of [0x44, 0x33, 0x22, 0x11, 0x1000, 0x800, RFLAGS.VM | (iopl << 12) | 2, 0x1a00, 0])
          a.bytes(0x68).dwords(value)
        a.iret()
      })
    }
    it('is entered by IRETD, and left by an exception with all segments on the stack', () => {
      virtual((a) => a.mov('ax', 'ds').out(0x80, 'ax').ud2())
      // port 0x80 is not allowed
      expect(m.events.map(eventName)).toEqual(['#GP(0)'])
      expect(m.events[0]).toMatchObject({ cs: 0x1a00, rip: 2, ss: 0x1000, rsp: 0x800, frame: AT.STACK - 36 })
      expect((m.events[0]?.flags ?? 0) & RFLAGS.VM).toBe(RFLAGS.VM)
      const at = m.events[0]?.frame ?? 0
      expect([20, 24, 28, 32].map((offset) => m.read(at + offset, 4))).toEqual([0x11, 0x22, 0x33, 0x44])
    })
    it('computes addresses as real mode does', () => {
      m.write32(0x110 + 0x20, 0x7788)
      virtual((a) => a.bytes(0x26, 0xa1, 0x20, 0).ud2())
      expect(m.vectors).toEqual([6])
      expect(m.get('rax') & 0xffffn).toBe(0x7788n)
    })
    it('is sensitive to IOPL: CLI, PUSHF, INT and IRET are #GP(0) below 3', () => {
      for (const opcode of [[0xfa], [0xfb], [0x9c], [0x9d], [0xcd, 0x21], [0xcf], [0xf4]]) {
        virtual((a) => a.bytes(...opcode))
        expect(m.events.map(eventName)).toEqual(['#GP(0)'])
        expect(m.events[0]?.rip).toBe(0)
      }
      virtual((a) => a.cli().pushf().pop('ax').ud2(), 3)
      expect(m.vectors).toEqual([6])
      virtual((a) => a.int(0x80), 3)
      expect(m.events[0]).toMatchObject({ vector: 0x80, cs: 0x1a00, rip: 2 })
    })
    it('has no protected-mode instructions', () => {
      virtual((a) => a.bytes(0x0f, 0x00, 0xc0))
      expect(m.vectors).toEqual([6])
      virtual((a) => a.bytes(0x63, 0xc0))
      expect(m.vectors).toEqual([6])
      virtual((a) => a.bytes(0x0f, 0x20, 0xc0))
      expect(m.events.map(eventName)).toEqual(['#GP(0)'])
    })
    it('is returned to', () => {
      m.resume = (event) => (event.vector === 6 ? event.rip + 2 : undefined)
      virtual((a) => a.ud2().mov('bx', 0x55).int(3))
      expect(m.events.map(eventName)).toEqual(['#UD', '#GP(0)'])
      expect(m.get('rbx') & 0xffffn).toBe(0x55n)
      expect(m.events[1]).toMatchObject({ cs: 0x1a00, rip: 5, ss: 0x1000, rsp: 0x800 })
    })
  })

  describe('task switches', () => {
    const NEW = AT.DATA + 0x1000
    const NEW_TSS = FREE
    const newTask = (): void => {
      m.setDescriptor(NEW_TSS, systemDescriptor('tss', 32, NEW, 0x67))
      for (let offset = 0; offset < 0x68; offset += 4) m.write32(NEW + offset, 0)
      m.write32(NEW + 0x20, TARGET)
      m.write32(NEW + 0x24, 2)
      m.write32(NEW + 0x28, 0xaaaa)
      m.write32(NEW + 0x38, AT.STACK - 0x1000)
      for (const [i, selector] of [SELECTOR.DATA, SELECTOR.CODE, SELECTOR.DATA, SELECTOR.DATA, 0, 0].entries())
        m.write32(NEW + 0x48 + i * 4, selector)
    }
    beforeEach(newTask)
    it('by JMP: state saved and loaded, busy bits moved, TS set', () => {
      m.program(TARGET, 32, (a) => {
        a.out(0x80, 'eax')
          .mov('eax', 'esp')
          .out(0x80, 'eax')
          .pushf()
          .pop('eax')
          .out(0x80, 'eax')
          .str('eax')
          .out(0x80, 'eax')
          .smsw('eax')
          .out(0x80, 'eax')
          .hlt()
      })
      expect(m.kernel((a) => a.mov('ecx', 0x1234).jmpFar(NEW_TSS, 0).label('back'))).toBe('ok')
      expect(m.output(0x80)).toEqual([0xaaaa, AT.STACK - 0x1000, 2, NEW_TSS, 0x3b])
      expect(m.read(AT.GDT + NEW_TSS + 5, 1)).toBe(0x8b)
      expect(m.read(AT.GDT + SELECTOR.TSS + 5, 1)).toBe(0x89)
      expect(m.read(AT.TSS + 0x20, 4)).toBe(AT.CODE + 12)
      expect(m.read(AT.TSS + 0x2c, 4)).toBe(0x1234)
      expect(m.read(AT.TSS + 0x38, 4)).toBe(AT.STACK)
      expect(m.read(AT.TSS + 0x4c, 2)).toBe(SELECTOR.CODE)
    })
    it('by CALL: nested, with a link, and IRET goes back', () => {
      m.program(TARGET, 32, (a) => a.pushf().pop('eax').out(0x80, 'eax').iret().mov('eax', 0x99).out(0x80, 'eax').hlt())
      expect(
        m.kernel((a) => a.mov('eax', 0x77).callFar(NEW_TSS, 0).out(0x81, 'eax').pushf().pop('eax').out(0x81, 'eax')),
      ).toBe('ok')
      expect(m.output(0x80)).toEqual([RFLAGS.NT | 2])
      expect(m.output(0x81)).toEqual([0x77, 2])
      expect(m.read(NEW, 2)).toBe(SELECTOR.TSS)
      expect(m.read(AT.GDT + NEW_TSS + 5, 1)).toBe(0x89)
      expect(m.read(AT.GDT + SELECTOR.TSS + 5, 1)).toBe(0x8b)
      // the task goes on after its IRET when it is called again
      expect(m.read(NEW + 0x20, 4)).toBe(TARGET + 5)
    })
    it('by a task gate of an exception, with its error code on the new stack', () => {
      m.write64(AT.IDT + 13 * 8, (0x85n << 40n) | (BigInt(NEW_TSS) << 16n))
      m.program(TARGET, 32, (a) => a.pop('eax').out(0x80, 'eax').hlt())
      m.start.call(m, AT.CODE)
      m.ports.length = 0
      m.kernel((a) => a.mov('eax', 0x1000).mov('ds', 'eax'))
      expect(m.output(0x80)).toEqual([0x1000])
      expect(m.read(AT.TSS + 0x20, 4)).toBe(AT.CODE + 5)
      expect(m.read(NEW, 2)).toBe(SELECTOR.TSS)
    })
    it('a busy TSS is #GP, one too small #TS', () => {
      m.setDescriptor(NEW_TSS, systemDescriptor('busy-tss', 32, NEW, 0x67))
      expect(m.kernel((a) => a.jmpFar(NEW_TSS, 0))).toBe(`#GP(${NEW_TSS})`)
      m.setDescriptor(NEW_TSS, systemDescriptor('tss', 32, NEW, 0x66))
      expect(m.kernel((a) => a.jmpFar(NEW_TSS, 0))).toBe(`#TS(${NEW_TSS})`)
      expect(m.events[0]?.rip).toBe(AT.CODE)
    })
    it('a wrong segment of the new task is a fault of the new task', () => {
      m.write32(NEW + 0x54, 0x1000)
      expect(m.kernel((a) => a.jmpFar(NEW_TSS, 0))).toBe(`#TS(${0x1000})`)
      expect(m.events[0]).toMatchObject({ rip: TARGET, cs: SELECTOR.CODE })
      expect(m.vp.getSegment('tr').selector).toBe(NEW_TSS)
    })
    it.each<[string, number, number, number, (a: Assembler) => unknown]>([
      ['INT n', 0x30, 0, 3, (a) => a.nop().int(0x30)],
      ['INT3', 3, 0, 2, (a) => a.nop().int3()],
      ['INT1', 1, 1, 2, (a) => a.nop().bytes(0xf1)],
      ['an exception', 6, 1, 1, (a) => a.nop().ud2()],
    ])('also where %s led to it through a task gate', (_name, vector, external, saved, code) => {
      m.write32(NEW + 0x54, 0x1000)
      m.write64(AT.IDT + vector * 8, (0xe5n << 40n) | (BigInt(NEW_TSS) << 16n))
      expect(m.kernel(code)).toBe(`#TS(${0x1000 | external})`)
      expect(m.events[0]).toMatchObject({ rip: TARGET, cs: SELECTOR.CODE })
      expect(m.read(AT.TSS + 0x20, 4)).toBe(AT.CODE + saved)
    })
  })
})

describe('long mode', () => {
  beforeEach(() => {
    m = new SystemMachine('long')
  })
  it('to compatibility mode and back with a far call', () => {
    m.write32(AT.DATA, TARGET)
    m.write32(AT.DATA + 4, SELECTOR.CODE32)
    m.program(TARGET, 32, (a) => a.mov('eax', -1).inc('eax').bytes(0x40).out(0x80, 'eax').bytes(0x66).retf())
    m.program(TARGET, 32, (a) => a.mov('eax', -1).bytes(0x40).out(0x80, 'eax').retf())
    expect(
      m.kernel((a) =>
        a
          .callFarIndirect(mem(AT.DATA), 32)
          .mov('rax', 0x1_0000_0005n)
          .shr('rax', 32)
          .out(0x80, 'eax')
          .mov('rax', 'rsp')
          .out(0x80, 'eax'),
      ),
    ).toBe('ok')
    expect(m.output(0x80)).toEqual([0, 1, AT.STACK])
  })
  it('64-bit call gates take RSP0 and push four words', () => {
    m.setDescriptor(GATE, gateDescriptor({ kind: 'call', bits: 64, selector: SELECTOR.CODE, offset: TARGET, dpl: 3 }))
    m.write32(AT.USER_DATA, 0)
    m.write32(AT.USER_DATA + 4, GATE | 3)
    m.program(TARGET, 64, (a) => {
      for (const depth of [0, 8, 16, 24]) a.mov('rax', mem('rsp', depth)).out(0x80, 'eax')
      a.mov('eax', 'ss').out(0x80, 'eax').mov('rax', 'rsp').out(0x80, 'eax').retf(64)
    })
    expect(m.user((a) => a.callFarIndirect(mem(AT.USER_DATA), 32).mov('rbx', 'rsp'))).toBe('ok')
    expect(m.output(0x80)).toEqual([
      AT.USER_CODE + 7,
      SELECTOR.USER_CODE,
      AT.USER_STACK,
      SELECTOR.USER_DATA,
      0,
      AT.STACK - 32,
    ])
    expect(m.get('rbx')).toBe(BigInt(AT.USER_STACK))
  })
  it('has no task switches, no 16-bit gates, and no far pointers in the instruction', () => {
    m.write32(AT.DATA + 4, SELECTOR.TSS)
    expect(m.kernel((a) => a.callFarIndirect(mem(AT.DATA), 32))).toBe(`#GP(${SELECTOR.TSS})`)
    expect(m.kernel((a) => a.bytes(0xea, 0, 0, 0, 0, 8, 0))).toBe('#UD')
    expect(
      m.kernel((a) =>
        a
          .push(RFLAGS.NT | 2)
          .popf()
          .iret(),
      ),
    ).toBe('#GP(0)')
  })
  it('IRETQ pops five words in the same ring, too', () => {
    m.kernel((a) => {
      a.mov('rax', 'rsp')
        .push(SELECTOR.DATA)
        .mov('ebx', AT.STACK - 0x800)
        .push('rbx')
        .push(RFLAGS.CF | 2)
        .push(SELECTOR.CODE)
      a.bytes(0x68).dwords(ref('on')).iret().label('on').setcc('b', 'al').mov('rax', 'rsp').out(0x80, 'eax')
    })
    expect(m.output(0x80)).toEqual([AT.STACK - 0x800])
  })
  it('IRETQ to a null SS is for ring 0 to 2 of 64-bit mode', () => {
    const frame =
      (ss: number, cs: number) =>
      (a: Assembler): unknown =>
        a.push(ss).push(AT.STACK).push(2).push(cs).bytes(0x68).dwords(ref('on')).iret().label('on').nop()
    expect(m.kernel(frame(0, SELECTOR.CODE))).toBe('ok')
    expect(m.kernel(frame(3, SELECTOR.USER_CODE))).toBe('#GP(0)')
    expect(m.kernel(frame(0, SELECTOR.CODE32))).toBe('#GP(0)')
    expect(m.kernel(frame(SELECTOR.USER_DATA, SELECTOR.CODE))).toBe(`#GP(${SELECTOR.USER_DATA & ~3})`)
  })
  it('IRETQ to a non-canonical address is #GP(0)', () => {
    expect(
      m.kernel((a) =>
        a
          .push(SELECTOR.DATA)
          .push(AT.STACK)
          .push(2)
          .push(SELECTOR.CODE)
          .mov('rax', 0x8000_0000_0000n)
          .push('rax')
          .iret(),
      ),
    ).toBe('#GP(0)')
  })
})
