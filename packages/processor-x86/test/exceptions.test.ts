// Exceptions and software interrupts (SDM vol. 3, chapter 6): vectors, error codes, saved state, stacks, double and triple faults.

import { type Assembler, mem } from '@partita/testkit/assembler'
import { segmentDescriptor } from '@partita/testkit/descriptors'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, eventName, RFLAGS, SELECTOR, SystemMachine } from './system-machine.ts'

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
})

const FREE = SELECTOR.FREE

describe('faults of instructions', () => {
  it.each([
    ['division by zero', (a) => a.mov('ecx', 0).div('ecx'), '#DE'],
    ['quotient overflow', (a) => a.mov('edx', 5).mov('ecx', 5).div('ecx'), '#DE'],
    ['UD2', (a) => a.ud2(), '#UD'],
    ['an undefined opcode', (a) => a.bytes(0x0f, 0x0a), '#UD'],
    ['LOCK on an instruction that has none', (a) => a.bytes(0xf0, 0x89, 0x03), '#UD'],
    ['LOCK with a register', (a) => a.bytes(0xf0, 0x01, 0xc0), '#UD'],
    ['RSM', (a) => a.bytes(0x0f, 0xaa), '#UD'],
    ['MONITOR, which CPUID does not offer', (a) => a.bytes(0x0f, 0x01, 0xc8), '#UD'],
    ['VMCALL that the host does not know', (a) => a.vmcall(), '#UD'],
    ['an instruction of 16 bytes', (a) => a.bytes(...new Array(15).fill(0x66), 0x90), '#GP(0)'],
    ['legacy instructions in 64-bit mode', (a) => a.bytes(0x60), '#UD'],
    ['MOV to CS', (a) => a.mov('eax', 8).bytes(0x8e, 0xc8), '#UD'],
    ['MOV to CR1', (a) => a.bytes(0x0f, 0x22, 0xc8), '#UD'],
    ['RDPMC', (a) => a.bytes(0x0f, 0x33), '#GP(0)'],
    ['RDMSR of nothing', (a) => a.mov('ecx', 0x12345).rdmsr(), '#GP(0)'],
    [
      'WRMSR of a non-canonical base',
      (a) => a.mov('ecx', 0xc0000100).mov('edx', 0x8000).mov('eax', 0).wrmsr(),
      '#GP(0)',
    ],
    ['INT through a gate that is not there', (a) => a.int(0xff), '#GP(2042)'],
    ['a jump to a non-canonical address', (a) => a.mov('rax', 0x8000_0000_0000n).jmp('rax'), '#GP(0)'],
  ] as [string, (a: import('@partita/testkit/assembler').Assembler) => unknown, string][])('%s', (_, write, result) => {
    m.write64(AT.IDT + 0xff0, 0n)
    expect(m.kernel(write)).toBe(result)
  })

  it('the fault names the instruction, with RF in the flags pushed', () => {
    m.kernel((a) => a.stc().nop().ud2())
    expect(m.events[0]).toMatchObject({ rip: AT.CODE + 2, cs: SELECTOR.CODE, ss: SELECTOR.DATA, rsp: AT.STACK })
    expect(m.events[0]?.flags).toBe(RFLAGS.RF | RFLAGS.CF | 2)
  })
  it('INT3 and INT n are traps, without RF', () => {
    m.user((a) => a.nop().int3())
    expect(m.events[0]).toMatchObject({ vector: 3, rip: AT.USER_CODE + 2, cs: SELECTOR.USER_CODE, flags: 2 })
    m.user((a) => a.int(0x80))
    expect(m.events[0]).toMatchObject({ rip: AT.USER_CODE + 2, rsp: AT.USER_STACK, ss: SELECTOR.USER_DATA })
  })
  it('INT n of ring 3 through a gate of ring 0 is #GP with the vector', () => {
    expect(m.user((a) => a.int(0x21))).toBe(`#GP(${(0x21 << 3) | 2})`)
    expect(m.events[0]?.rip).toBe(AT.USER_CODE)
  })
  it('INT1 needs no rights', () => {
    expect(m.user((a) => a.bytes(0xf1))).toBe('#DB')
    expect(m.events[0]?.rip).toBe(AT.USER_CODE + 1)
  })
  it('INTO is #OF when OF is set, and undefined in 64-bit mode', () => {
    expect(m.user((a) => a.bytes(0xce))).toBe('#UD')
    expect(m.user((a) => a.mov('eax', 0x7fffffff).add('eax', 1).bytes(0xce), 32)).toBe('#OF')
    expect(m.user((a) => a.xor('eax', 'eax').bytes(0xce), 32)).toBe('ok')
  })
  it('BOUND', () => {
    m.write32(AT.USER_DATA, 5)
    m.write32(AT.USER_DATA + 4, 9)
    const bound = [0x62, 0x05, 0x00, 0x00, 0x12, 0x00]
    expect(m.user((a) => a.mov('eax', 4).bytes(...bound), 32)).toBe('#BR')
    expect(m.user((a) => a.mov('eax', 9).bytes(...bound), 32)).toBe('ok')
  })
  it('alignment checks of ring 3', () => {
    m.set('cr0', m.get('cr0') | 0x40000n)
    expect(
      m.user((a) =>
        a
          .pushf()
          .pop('rax')
          .or('rax', RFLAGS.AC)
          .push('rax')
          .popf()
          .mov('eax', mem(AT.USER_DATA + 1)),
      ),
    ).toBe('#AC(0)')
    expect(m.user((a) => a.mov('eax', mem(AT.USER_DATA + 1)))).toBe('ok')
  })
})

describe('delivery', () => {
  it('switches to RSP0, aligned, from ring 3', () => {
    m.write64(AT.TSS + 4, BigInt(AT.STACK - 8))
    m.user((a) => a.int(0x80))
    expect(m.events[0]?.frame).toBe(AT.STACK - 16 - 40)
  })
  it('aligns the stack of ring 0, too', () => {
    m.kernel((a) => a.sub('rsp', 8).ud2())
    expect(m.events[0]).toMatchObject({ rsp: AT.STACK - 8, frame: AT.STACK - 16 - 40 })
  })
  it('uses the interrupt stack table', () => {
    m.setGate(6, { kind: 'interrupt', bits: 64, selector: SELECTOR.CODE, offset: Number(gateOffset(m, 6)), ist: 1 })
    m.kernel((a) => a.ud2())
    expect(m.events[0]).toMatchObject({ rsp: AT.STACK, frame: AT.IST - 40 })
  })
  it('clears IF through an interrupt gate, not through a trap gate', () => {
    const flagsIn = (kind: 'interrupt' | 'trap'): bigint => {
      m.program(AT.HANDLERS + 0x4000, 64, (a) => a.pushf().pop('rax').mov(mem(AT.DATA), 'rax').cli().hlt())
      m.setGate(0x30, { kind, bits: 64, selector: SELECTOR.CODE, offset: AT.HANDLERS + 0x4000 })
      m.kernel((a) => a.sti().nop().int(0x30))
      return m.read64(AT.DATA) & 0x200n
    }
    expect(flagsIn('interrupt')).toBe(0n)
    expect(flagsIn('trap')).toBe(0x200n)
  })
  it('returns where it came from with all state', () => {
    m.resume = (event) => (event.vector === 0x80 && m.events.length === 1 ? event.rip : undefined)
    m.user((a) => a.mov('ecx', 7).stc().int(0x80).setcc('b', 'cl'))
    expect(m.vectors).toEqual([0x80, 0x80])
    expect(m.get('rcx')).toBe(1n)
    expect(m.events[1]?.ss).toBe(SELECTOR.USER_DATA)
  })

  it.each<[string, 'kernel' | 'user', () => void, (a: Assembler) => unknown]>([
    ['a fault of ring 0', 'kernel', () => {}, (a) => a.stc().ud2()],
    ['a fault of ring 3', 'user', () => {}, (a) => a.stc().ud2()],
    ['a page fault', 'user', () => m.setPage(AT.DATA, 0n), (a) => a.mov('eax', mem(AT.DATA))],
    ['an error code', 'user', () => {}, (a) => a.mov('eax', 0x1000).mov('es', 'eax')],
    ['a software interrupt', 'user', () => {}, (a) => a.std().int(0x80)],
    [
      'the interrupt stack table',
      'user',
      () => m.setGate(6, { kind: 'trap', bits: 64, selector: SELECTOR.CODE, offset: Number(gateOffset(m, 6)), ist: 1 }),
      (a) => a.ud2(),
    ],
  ])('is the same when the TLBs know all tables: %s', (_, ring, prepare, write) => {
    prepare()
    const start = ring === 'kernel' ? AT.CODE : AT.USER_CODE
    const gpr: bigint[] = []
    m.resume = () => {
      gpr.push(m.get('rsp'), m.get('cr2'))
      return m.events.length < 5 ? start : undefined
    }
    m[ring](write)
    expect(m.events).toHaveLength(5)
    const [first] = m.events
    for (const event of m.events) expect(event).toEqual(first)
    expect(gpr.slice(2)).toEqual([...gpr.slice(0, 2), ...gpr.slice(0, 2), ...gpr.slice(0, 2), ...gpr.slice(0, 2)])
  })

  it.each([
    ['no gate', () => m.write64(AT.IDT + 6 * 16 + 0, 0n), '#GP(51)'],
    [
      'a gate that is not present',
      () => m.setGate(6, { kind: 'interrupt', bits: 64, selector: 8, offset: AT.HANDLERS, present: false }),
      '#NP(51)',
    ],
    [
      'a gate with a null selector',
      () => m.setGate(6, { kind: 'interrupt', bits: 64, selector: 0, offset: AT.HANDLERS }),
      '#GP(1)',
    ],
    [
      'a gate to a data segment',
      () => m.setGate(6, { kind: 'interrupt', bits: 64, selector: SELECTOR.DATA, offset: AT.HANDLERS }),
      `#GP(${SELECTOR.DATA | 1})`,
    ],
    [
      'a gate to 32-bit code',
      () => m.setGate(6, { kind: 'interrupt', bits: 64, selector: SELECTOR.CODE32, offset: AT.HANDLERS }),
      `#GP(${SELECTOR.CODE32 | 1})`,
    ],
    [
      'a gate to code that is not present',
      () => {
        m.setDescriptor(FREE, segmentDescriptor({ kind: 'code', bits: 64, present: false }))
        m.setGate(6, { kind: 'interrupt', bits: 64, selector: FREE, offset: AT.HANDLERS })
      },
      `#NP(${FREE | 1})`,
    ],
    [
      'a selector beyond the GDT',
      () => m.setGate(6, { kind: 'interrupt', bits: 64, selector: 0x1008, offset: AT.HANDLERS }),
      '#GP(4105)',
    ],
  ] as const)('%s: the error code has EXT', (_, prepare, result) => {
    // one at a time is benign: #UD is not contributory, so no double fault
    prepare()
    if (result === '#GP(51)') m.write64(AT.IDT + 6 * 16 + 8, 0n)
    expect(m.kernel((a) => a.ud2())).toBe(result)
  })
  it('two contributory faults are a double fault, with error code 0', () => {
    m.setGate(13, { kind: 'interrupt', bits: 64, selector: SELECTOR.DATA, offset: AT.HANDLERS })
    expect(m.kernel((a) => a.mov('ecx', 0x12345).rdmsr())).toBe('#DF(0)')
  })
  it('a page fault while a page fault is delivered is a double fault', () => {
    m.setPage(AT.STACK - 0x1000, 0n)
    m.setGate(8, { kind: 'interrupt', bits: 64, selector: SELECTOR.CODE, offset: Number(gateOffset(m, 8)), ist: 1 })
    expect(m.kernel((a) => a.mov('eax', mem(0x20_0000 * 100)))).toBe('#DF(0)')
  })
  it('a #GP while a page fault is delivered, too, but not the other way round', () => {
    m.setGate(14, { kind: 'interrupt', bits: 64, selector: SELECTOR.DATA, offset: AT.HANDLERS })
    expect(m.kernel((a) => a.mov('eax', mem(0x20_0000 * 100)))).toBe('#DF(0)')
  })
  it('a fault while a double fault is delivered shuts the processor down', () => {
    m.vp.setDescriptorTable('idtr', BigInt(AT.IDT), 0)
    expect(m.kernel((a) => a.ud2())).toBe('shutdown')
  })
  it('a stack pointer in the TSS that is not canonical is #SS', () => {
    m.write64(AT.TSS + 4, 0x9000_0000_0000n)
    m.setGate(12, { kind: 'interrupt', bits: 64, selector: SELECTOR.CODE, offset: Number(gateOffset(m, 12)), ist: 1 })
    expect(m.user((a) => a.int(0x80))).toBe('#SS(0)')
  })
  it('a TSS without room for RSP0 makes every event of ring 3 a #TS: shutdown', () => {
    m.vp.setSegment('tr', { selector: SELECTOR.TSS, base: BigInt(AT.TSS), limit: 10, attributes: 0x8b })
    expect(m.user((a) => a.int(0x80))).toBe('shutdown')
  })
})

describe('32-bit protected mode', () => {
  beforeEach(() => {
    m = new SystemMachine('protected')
  })
  it('pushes three words in ring 0 and five from ring 3', () => {
    m.kernel((a) => a.ud2())
    expect(m.events[0]).toMatchObject({ frame: AT.STACK - 12, cs: SELECTOR.CODE, rip: AT.CODE })
    m.user((a) => a.ud2())
    expect(m.events[0]).toMatchObject({
      frame: AT.STACK - 20,
      rsp: AT.USER_STACK,
      ss: SELECTOR.USER_DATA,
      rip: AT.USER_CODE,
    })
  })
  it('a limit violation is #GP(0), with the stack #SS(0)', () => {
    m.setDescriptor(FREE, segmentDescriptor({ kind: 'data', bits: 32, limit: 0xfff }))
    expect(m.kernel((a) => a.mov('eax', FREE).mov('ds', 'eax').mov('eax', mem(0xffc)))).toBe('ok')
    expect(m.kernel((a) => a.mov('eax', FREE).mov('ds', 'eax').mov('eax', mem(0xffd)))).toBe('#GP(0)')
    expect(
      m.kernel((a) => a.mov('ebp', 0x1000).mov('eax', FREE).mov('ss', 'eax').mov('eax', mem('ebp')).nop()),
    ).not.toBe('ok')
  })
  it('expand-down segments', () => {
    m.setDescriptor(FREE, segmentDescriptor({ kind: 'data', bits: 32, limit: 0x2fff, conforming: true }))
    const at = (address: number): string =>
      m.kernel((a) =>
        a
          .mov('eax', FREE)
          .mov('es', 'eax')
          .bytes(0x26, 0xa1, address & 255, address >> 8, address >> 16, 0),
      )
    expect(at(0x2ffc)).toBe('#GP(0)')
    expect(at(0x3000)).toBe('ok')
  })
  it('a write to a read-only segment, a read of execute-only code, any use of a null selector', () => {
    m.setDescriptor(FREE, segmentDescriptor({ kind: 'data', bits: 32, writable: false }))
    expect(m.kernel((a) => a.mov('eax', FREE).mov('ds', 'eax').mov('eax', mem(AT.DATA)))).toBe('ok')
    expect(m.kernel((a) => a.mov('eax', FREE).mov('ds', 'eax').mov(mem(AT.DATA), 'eax'))).toBe('#GP(0)')
    expect(m.kernel((a) => a.mov('eax', 0).mov('ds', 'eax').mov('eax', mem(AT.DATA)))).toBe('#GP(0)')
  })
  it('a handler in ring 1 gets its stack from the TSS; a wrong one is #TS', () => {
    m.setDescriptor(FREE, segmentDescriptor({ kind: 'code', bits: 32, dpl: 1 }))
    m.setDescriptor(FREE + 8, segmentDescriptor({ kind: 'data', bits: 32, dpl: 1 }))
    m.program(AT.HANDLERS + 0x4000, 32, (a) => a.mov('eax', 'esp').int(0x20))
    m.setGate(0x80, { kind: 'interrupt', bits: 32, selector: FREE, offset: AT.HANDLERS + 0x4000, dpl: 3 })
    m.setGate(0x20, {
      kind: 'interrupt',
      bits: 32,
      selector: SELECTOR.CODE,
      offset: Number(gateOffset(m, 0x20)),
      dpl: 1,
    })
    m.write32(AT.TSS + 12, AT.STACK - 0x800)
    m.write32(AT.TSS + 16, (FREE + 8) | 1)
    m.user((a) => a.nop())
    expect(m.vectors).toEqual([0x20])
    expect(m.events[0]).toMatchObject({ cs: FREE | 1, ss: (FREE + 8) | 1, rsp: AT.STACK - 0x800 - 20 })
    m.write32(AT.TSS + 16, SELECTOR.DATA | 1)
    m.events.length = 0
    m.startUser()
    expect(m.events.map(eventName)).toEqual([`#TS(${SELECTOR.DATA})`])
  })
})

describe('real mode', () => {
  beforeEach(() => {
    m = new SystemMachine('real')
    m.write32(0x21 * 4, 0x0000_2000)
    m.write32(6 * 4, 0x0100_2000)
    m.program(0x2000, 16, (a) => a.mov('bx', 0x77).iret())
    m.program(0x3000, 16, (a) => a.pop('ax').out(0x80, 'ax').hlt())
  })
  it('goes through the vector table and returns', () => {
    m.program(0x1000, 16, (a) => a.int(0x21).mov('ax', 'bx').out(0x80, 'ax').hlt())
    expect(m.start(0x1000)).toBe('halt')
    expect(m.output(0x80)).toEqual([0x77])
    expect(m.get('rsp')).toBe(0xfff0n)
  })
  it('an exception pushes the IP of its instruction, and no error code', () => {
    m.program(0x1000, 16, (a) => a.nop().ud2())
    expect(m.start(0x1000)).toBe('halt')
    expect(m.output(0x80)).toEqual([0x1001])
  })
  it('a vector beyond the table limit shuts down in the end', () => {
    m.vp.setDescriptorTable('idtr', 0n, 3)
    m.program(0x1000, 16, (a) => a.int(0x21))
    expect(m.start(0x1000)).toBe('shutdown')
  })
})

/** The offset of a gate as it is. */
function gateOffset(machine: SystemMachine, vector: number): bigint {
  if (machine.mode === 'long') {
    const low = machine.read64(AT.IDT + vector * 16)
    return (low & 0xffffn) | ((low >> 32n) & 0xffff0000n) | (machine.read64(AT.IDT + vector * 16 + 8) << 32n)
  }
  const low = machine.read64(AT.IDT + vector * 8)
  return (low & 0xffffn) | ((low >> 32n) & 0xffff0000n)
}
