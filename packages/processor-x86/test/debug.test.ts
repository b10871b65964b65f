// Debugging (SDM vol. 3, chapter 17): single-step, breakpoints on instructions and data, access to the debug registers.
import { mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, CR4, RFLAGS, SystemMachine } from './system-machine.ts'

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
})
const dr6 = (): number => Number(m.vp.cpu.get64(440))
const setDr = (number: number, value: number): void =>
  m.vp.cpu.set64(number < 4 ? 408 + number * 8 : number === 6 ? 440 : 448, BigInt(value))

describe('single-step', () => {
  it('traps after each instruction while TF is set, beginning with the one after POPF', () => {
    const addresses: number[] = []
    m.resume = (event) => {
      if (event.vector !== 1) return undefined
      expect(dr6() & 0x4000).toBe(0x4000)
      addresses.push(event.rip)
      return event.rip
    }
    const a = m.program(AT.USER_CODE, 64, (a) => {
      a.pushf().bytes(0x81, 0x0c, 0x24, 0, 1, 0, 0).popf()
      a.label('a').nop().label('b').mov('eax', 5).label('c').dec('eax').label('d')
      a.pushf().label('e').bytes(0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff).label('f').popf().label('g').nop().int(0x80)
    })
    m.startUser()
    expect(addresses).toEqual(['b', 'c', 'd', 'e', 'f', 'g'].map((label) => a.addressOf(label)))
    expect((m.events[0]?.flags ?? 0) & (RFLAGS.TF | RFLAGS.RF)).toBe(RFLAGS.TF)
  })
  it('does not trap behind INT n and SYSCALL, which clear TF on their way', () => {
    const addresses: number[] = []
    m.resume = (event) => {
      if (event.vector === 1) addresses.push(event.rip)
      return event.vector === 0x81 ? undefined : event.rip
    }
    m.vp.cpu.msrs.write(0xc0000081, (0x1bn << 48n) | (8n << 32n))
    m.vp.cpu.msrs.write(0xc0000082, BigInt(AT.CODE))
    m.vp.cpu.msrs.write(0xc0000084, BigInt(RFLAGS.TF))
    m.program(AT.CODE, 64, (a) => a.nop().sysret(64))
    const a = m.program(AT.USER_CODE, 64, (a) => {
      a.pushf().bytes(0x81, 0x0c, 0x24, 0, 1, 0, 0).popf().nop().label('int').int(0x80).label('a').nop().label('b')
      a.syscall().label('c').nop().label('d').int(0x81)
    })
    m.startUser()
    // the instruction behind IRETQ and SYSRET is stepped again, with the TF that they bring back
    expect(addresses).toEqual(['int', 'b', 'd'].map((label) => a.addressOf(label)))
  })
  it('counts a repeated string instruction once an element', () => {
    let traps = 0
    m.resume = (event) => {
      if (event.vector !== 1) return undefined
      traps++
      return event.rip
    }
    m.user((a) => {
      a.mov('rdi', AT.USER_DATA).mov('ecx', 3).pushf().bytes(0x81, 0x0c, 0x24, 0, 1, 0, 0).popf()
      a.rep().stos(8).pushf().bytes(0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff).popf()
    })
    expect(traps).toBeGreaterThanOrEqual(4)
    expect(m.get('rcx')).toBe(0n)
  })
})

describe('breakpoints', () => {
  it('on an instruction are faults, which RF passes', () => {
    const at = m.program(AT.CODE, 64, (a) => a.nop().label('here').mov('ebx', 7).hlt()).addressOf('here')
    setDr(1, at)
    setDr(7, 0x400 | (2 << 2))
    expect(m.start()).toBe('halt')
    expect(m.events).toHaveLength(1)
    expect(m.events[0]).toMatchObject({ vector: 1, rip: at })
    expect(dr6() & 0xf).toBe(2)
    expect((m.events[0]?.flags ?? 0) & RFLAGS.RF).toBe(0)
    expect(m.get('rbx')).not.toBe(7n)
    // a handler that sets RF in the image goes past it
    m.events.length = 0
    m.resume = (event) => {
      m.write32(event.frame + 16, event.flags | RFLAGS.RF)
      return event.rip
    }
    m.set('rsp', AT.STACK)
    expect(m.start()).toBe('halt')
    expect(m.vectors).toEqual([1])
    expect(m.get('rbx')).toBe(7n)
  })
  it.each([
    ['a write', 1, true, (a: import('@partita/testkit/assembler').Assembler) => a.mov(mem(AT.DATA + 4), 'eax')],
    [
      'a read that only writes are watched for',
      1,
      false,
      (a: import('@partita/testkit/assembler').Assembler) => a.mov('eax', mem(AT.DATA + 4)),
    ],
    ['a read', 3, true, (a: import('@partita/testkit/assembler').Assembler) => a.mov('eax', mem(AT.DATA + 4))],
    [
      'a read that overlaps from below',
      3,
      true,
      (a: import('@partita/testkit/assembler').Assembler) => a.mov('eax', mem(AT.DATA + 1)),
    ],
    ['a read beside it', 3, false, (a: import('@partita/testkit/assembler').Assembler) => a.mov('eax', mem(AT.DATA))],
  ] as const)('on data: %s', (_, kind, hit, access) => {
    setDr(0, AT.DATA + 4)
    setDr(7, 0x402 | ((kind | 0xc) << 16))
    expect(
      m.kernel((a) => {
        access(a)
        a.label('after').nop()
      }),
    ).toBe(hit ? '#DB' : 'ok')
    // a trap: RIP is behind the instruction
    if (hit) {
      expect(m.events[0]?.rip).toBe(AT.CODE + 7)
      expect(dr6() & 0xf).toBe(1)
    }
  })
})

describe('breakpoints of what system instructions access', () => {
  it.each([
    ['a port', 0x80, 2, 1, 0x80, true],
    ['one of four ports', 0x80, 2, 4, 0x82, true],
    ['a port beside it', 0x80, 2, 1, 0x81, false],
    ['a port, without CR4.DE', 0x80, 2, 1, 0x80, undefined],
  ] as const)('%s', (_, address, kind, length, port, hit) => {
    if (hit !== undefined) m.set('cr4', m.get('cr4') | 8n)
    setDr(0, address)
    setDr(7, 0x402 | ((kind | ((length - 1) << 2)) << 16))
    expect(
      m.kernel((a) => {
        a.bytes(0xe6, port).nop()
      }),
    ).toBe(hit ? '#DB' : 'ok')
    if (hit) {
      expect(m.events[0]?.rip).toBe(AT.CODE + 2)
      expect(dr6() & 0xf).toBe(1)
    }
  })
  it('memory that SIDT writes', () => {
    setDr(0, AT.DATA + 4)
    setDr(7, 0x402 | ((1 | 0xc) << 16))
    // sidt [DATA]
    expect(
      m.kernel((a) => a.bytes(0x0f, 0x01, 0x0c, 0x25, ...new Uint8Array(new Uint32Array([AT.DATA]).buffer)).nop()),
    ).toBe('#DB')
    expect(dr6() & 0xf).toBe(1)
  })
})

describe('debug registers', () => {
  it('DR4 and DR5 are DR6 and DR7 without CR4.DE, undefined with it', () => {
    expect(m.kernel((a) => a.bytes(0x0f, 0x21, 0xe0).out(0x80, 'eax'))).toBe('ok')
    expect(m.output(0x80)).toEqual([0xffff0ff0])
    m.set('cr4', CR4.PAE | CR4.DE)
    expect(m.kernel((a) => a.bytes(0x0f, 0x21, 0xe0))).toBe('#UD')
  })
  it('DR7.GD guards them with #DB and BD', () => {
    expect(m.kernel((a) => a.mov('eax', 0x2000).mov('dr7', 'rax').label('x').mov('rbx', 'dr0'))).toBe('#DB')
    expect(dr6() & 0x2000).toBe(0x2000)
    expect(m.vp.cpu.get64(448) & 0x2000n).toBe(0n)
    expect(m.events[0]?.rip).toBe(AT.CODE + 8)
  })
  it('reserved bits have fixed values, and those above 31 are #GP(0)', () => {
    m.kernel((a) =>
      a
        .mov('eax', 0)
        .mov('dr6', 'rax')
        .mov('rax', 'dr6')
        .out(0x80, 'eax')
        .mov('eax', 0)
        .mov('dr7', 'rax')
        .mov('rax', 'dr7')
        .out(0x80, 'eax'),
    )
    expect(m.output(0x80)).toEqual([0xffff0ff0, 0x400])
    expect(m.kernel((a) => a.mov('rax', 0x1_0000_0000n).mov('dr7', 'rax'))).toBe('#GP(0)')
    expect(m.kernel((a) => a.mov('rax', 0x1_0000_0000n).mov('dr3', 'rax').mov('rbx', 'dr3'))).toBe('ok')
    expect(m.get('rbx')).toBe(0x1_0000_0000n)
  })
  it('are for ring 0', () => {
    expect(m.user((a) => a.mov('rax', 'dr0'))).toBe('#GP(0)')
    expect(m.user((a) => a.mov('dr7', 'rax'))).toBe('#GP(0)')
  })
})
