// Fast system calls (SDM vol. 3, 5.8.7, 5.8.8) and SWAPGS.
import { mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, RFLAGS, SELECTOR, SystemMachine } from './system-machine.ts'

const ENTRY = AT.CODE + 0x1000

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
  m.vp.cpu.msrs.write(0xc0000081, (BigInt(SELECTOR.USER_CODE32) << 48n) | (BigInt(SELECTOR.CODE) << 32n))
  m.vp.cpu.msrs.write(0xc0000082, BigInt(ENTRY))
  m.vp.cpu.msrs.write(0xc0000084, BigInt(RFLAGS.IF | RFLAGS.CF))
})

describe('SYSCALL and SYSRET', () => {
  it('go in and out with RIP in RCX and RFLAGS in R11', () => {
    m.program(ENTRY, 64, (a) => {
      a.pushf().pop('rax').out(0x80, 'eax').mov('eax', 'cs').out(0x80, 'eax').mov('eax', 'ss').out(0x80, 'eax')
      a.mov('rax', 'rsp').mov('rbx', 'rcx').mov('rdx', 'r11').sysret(64)
    })
    // the stack of the program is still the user's
    m.program(AT.USER_CODE, 64, (a) =>
      a.stc().mov('rsp', AT.USER_STACK).syscall().label('back').setcc('b', 'sil').int(0x80),
    )
    m.set('rflags', 0x202)
    m.startUser()
    expect(m.vectors).toEqual([0x80])
    expect(m.output(0x80)).toEqual([2, SELECTOR.CODE, SELECTOR.DATA])
    expect(m.get('rax')).toBe(BigInt(AT.USER_STACK))
    expect(m.get('rdx')).toBe(0x203n)
    expect(m.get('rsi') & 0xffn).toBe(1n)
    expect(m.events[0]).toMatchObject({ cs: SELECTOR.USER_CODE, ss: SELECTOR.USER_DATA, flags: 0x203 })
    const cs = m.vp.getSegment('cs')
    expect([cs.selector, cs.attributes]).toEqual([SELECTOR.CODE, 0xa09b])
  })
  it('SYSRET to compatibility mode', () => {
    m.program(AT.USER_DATA, 32, (a) => a.mov('eax', 'esp').int(0x80))
    m.kernel((a) =>
      a
        .mov('rcx', 0x5_0000_0000n + BigInt(AT.USER_DATA))
        .mov('r11d', 2)
        .mov('rsp', AT.USER_STACK)
        .sysret(32),
    )
    expect(m.events[0]).toMatchObject({
      vector: 0x80,
      cs: SELECTOR.USER_CODE32,
      ss: SELECTOR.USER_DATA,
      rip: AT.USER_DATA + 4,
    })
  })
  it('SYSRET to a non-canonical address is #GP(0) in ring 0', () => {
    expect(m.kernel((a) => a.mov('rcx', 0x8000_0000_0000n).sysret(64))).toBe('#GP(0)')
    expect(m.events[0]?.cs).toBe(SELECTOR.CODE)
  })
  it('are undefined without EFER.SCE, and outside 64-bit mode', () => {
    expect(m.user((a) => a.syscall(), 32)).toBe('#UD')
    m.set('efer', 0xd00)
    expect(m.user((a) => a.syscall())).toBe('#UD')
    expect(m.kernel((a) => a.sysret())).toBe('#UD')
  })
})

describe('SYSENTER and SYSEXIT', () => {
  it('go to 64-bit code in long mode, and back to 32-bit code', () => {
    m.vp.cpu.msrs.write(0x174, BigInt(SELECTOR.CODE))
    m.vp.cpu.msrs.write(0x175, BigInt(AT.STACK - 0x100))
    m.vp.cpu.msrs.write(0x176, BigInt(ENTRY))
    m.program(ENTRY, 64, (a) =>
      a
        .mov('rax', 'rsp')
        .out(0x80, 'eax')
        .mov('eax', 'cs')
        .out(0x80, 'eax')
        .mov('edx', AT.USER_DATA)
        .mov('ecx', AT.USER_STACK)
        .sysexit(32),
    )
    m.program(AT.USER_DATA, 32, (a) => a.int(0x80))
    m.program(AT.USER_CODE, 32, (a) => a.sysenter())
    m.startUser(AT.USER_CODE, 32)
    expect(m.output(0x80)).toEqual([AT.STACK - 0x100, SELECTOR.CODE])
    expect(m.events[0]).toMatchObject({ vector: 0x80, cs: 0x1b, ss: 0x23, rsp: AT.USER_STACK, rip: AT.USER_DATA + 2 })
  })
  it('in 32-bit protected mode', () => {
    const p = new SystemMachine('protected')
    p.vp.cpu.msrs.write(0x174, BigInt(SELECTOR.CODE))
    p.vp.cpu.msrs.write(0x175, BigInt(AT.STACK))
    p.vp.cpu.msrs.write(0x176, BigInt(ENTRY))
    p.program(ENTRY, 32, (a) => a.mov('eax', 'ss').out(0x80, 'eax').sysexit())
    expect(
      p.user((a) =>
        a
          .mov('edx', AT.USER_CODE + 12)
          .mov('ecx', 'esp')
          .sysenter()
          .nop()
          .nop()
          .nop(),
      ),
    ).toBe('ok')
    expect(p.output(0x80)).toEqual([SELECTOR.DATA])
  })
  it('are #GP(0) while IA32_SYSENTER_CS is null', () => {
    expect(m.user((a) => a.sysenter())).toBe('#GP(0)')
    expect(m.kernel((a) => a.sysexit())).toBe('#GP(0)')
  })
})

it('SWAPGS exchanges the base of GS with IA32_KERNEL_GS_BASE', () => {
  m.vp.cpu.msrs.write(0xc0000102, BigInt(AT.DATA))
  m.vp.cpu.msrs.write(0xc0000101, BigInt(AT.DATA + 0x1000))
  m.write32(AT.DATA + 8, 1)
  m.write32(AT.DATA + 0x1008, 2)
  const load = [0x65, 0x8b, 0x04, 0x25, 8, 0, 0, 0]
  m.program(AT.CODE, 64, (a) => {
    a.bytes(...load)
      .out(0x80, 'eax')
      .swapgs()
      .bytes(...load)
      .out(0x80, 'eax')
    a.mov('ecx', 0xc0000102).rdmsr().out(0x80, 'eax').mov(mem(AT.DATA), 'eax').hlt()
  })
  m.start()
  expect(m.output(0x80)).toEqual([2, 1, AT.DATA + 0x1000])
})
