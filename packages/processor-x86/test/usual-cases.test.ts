// System instructions whose usual case is emitted code: they must not differ from the general case, and interrupts must come where they belong.
import { DELIVERY_MODE } from '@partita/interface'
import { type Assembler, mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, CR4, RFLAGS, SELECTOR, SystemMachine } from './system-machine.ts'

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
  m.vp.cpu.apic.writeMmio(0xfee000f0, 4, 0x1ff)
})

const fixed = (vector: number): boolean =>
  m.vp.receiveInterrupt({ vector, deliveryMode: DELIVERY_MODE.FIXED, destination: 0, logical: false, level: false })

describe('STI', () => {
  /** At the end of a page, so that its block ends with it, behind more instructions than the slice has. */
  function stopAfterSti(rflags: number): number {
    const next = AT.CODE + 0x1000
    m.program(next - 9, 64, (a) => a.nop().nop().nop().nop().nop().nop().nop().nop().sti())
    m.program(next, 64, (a) => a.nop().nop().cli().hlt())
    m.set('rflags', rflags)
    m.set('rip', next - 9)
    expect(m.vp.run(1)).toBe('budget')
    expect(m.get('rip')).toBe(BigInt(next))
    return next
  }
  it('casts its shadow when the slice ends right behind it', () => {
    const next = stopAfterSti(2)
    fixed(0x40)
    m.run()
    expect(m.events[0]).toMatchObject({ vector: 0x40, rip: next + 1 })
  })
  it('casts none when IF was set', () => {
    const next = stopAfterSti(2 | RFLAGS.IF)
    fixed(0x40)
    m.run()
    expect(m.events[0]).toMatchObject({ vector: 0x40, rip: next })
  })
  it('casts its shadow in a saved state', () => {
    const next = stopAfterSti(2)
    const state = m.vp.save()
    m.vp.restore(state)
    fixed(0x40)
    m.run()
    expect(m.events[0]).toMatchObject({ vector: 0x40, rip: next + 1 })
  })
  it('lets an interrupt in that came while the code ran', () => {
    m.onPortWrite = () => void fixed(0x41)
    const at = m.program(AT.CODE, 64, (a) => a.out(0x80, 'al').nop().sti().nop().label('next').nop().cli().hlt())
    m.set('rflags', 2)
    m.start()
    expect(m.events[0]).toMatchObject({ vector: 0x41, rip: at.addressOf('next') })
  })
  it('is privileged', () => {
    expect(m.user((a) => a.sti())).toBe('#GP(0)')
    m.set('rflags', 2)
    m.program(AT.USER_CODE, 64, (a) => a.sti().int(0x80))
    m.set('rflags', 0x3002)
    m.startUser()
    expect(m.vectors.at(-1)).toBe(0x80)
    expect((m.events.at(-1)?.flags ?? 0) & RFLAGS.IF).toBe(RFLAGS.IF)
  })
})

describe('SYSRET', () => {
  it('lets interrupts in that wait', () => {
    m.program(AT.USER_CODE, 64, (a) => a.nop().int(0x80))
    m.set('efer', 0xd01)
    m.vp.cpu.msrs.star = BigInt(SELECTOR.USER_CODE32 & ~3) << 48n
    fixed(0x55)
    m.kernel((a) =>
      a
        .mov('rcx', AT.USER_CODE)
        .mov('r11', 2 | RFLAGS.IF)
        .bytes(0x48, 0x0f, 0x07),
    )
    expect(m.events[0]).toMatchObject({
      vector: 0x55,
      rip: AT.USER_CODE,
      cs: SELECTOR.USER_CODE,
      ss: SELECTOR.USER_DATA,
    })
  })
  it('turns on alignment checks', () => {
    m.program(AT.USER_CODE, 64, (a) => a.mov('eax', mem(AT.USER_DATA + 1)).int(0x80))
    m.set('efer', 0xd01)
    m.set('cr0', 0x80050033)
    m.vp.cpu.msrs.star = BigInt(SELECTOR.USER_CODE32 & ~3) << 48n
    expect(
      m.kernel((a) =>
        a
          .mov('rcx', AT.USER_CODE)
          .mov('r11', 2 | RFLAGS.AC)
          .bytes(0x48, 0x0f, 0x07),
      ),
    ).toBe('#AC(0)')
  })
})

describe('RDTSC', () => {
  const rdtsc = (a: Assembler): Assembler => a.mov('rax', -1).mov('rdx', -1).rdtsc()
  it('is the clock and what was added to it', () => {
    m.time = 1_000_000_007
    m.vp.cpu.msrs.tscOffset = -5n
    m.kernel(rdtsc)
    const expected = m.vp.cpu.msrs.readTsc()
    expect(expected).toBe(2_000_000_009n)
    expect((m.get('rdx') << 32n) | m.get('rax')).toBe(expected)
    expect(m.get('rdx')).toBe(expected >> 32n)
  })
  it('wraps', () => {
    m.vp.cpu.msrs.tscOffset = -1n
    m.kernel(rdtsc)
    expect([m.get('rax'), m.get('rdx')]).toEqual([0xffffffffn, 0xffffffffn])
    m.time = 3
    m.kernel(rdtsc)
    expect([m.get('rax'), m.get('rdx')]).toEqual([5n, 0n])
  })
  it("gives the processor's number as RDTSCP", () => {
    m.vp.cpu.msrs.tscAux = 0x12345678n
    m.kernel((a) => rdtsc(a).mov('rcx', -1).bytes(0x0f, 0x01, 0xf9))
    expect(m.get('rcx')).toBe(0x12345678n)
  })
  it('is for ring 0 alone with CR4.TSD', () => {
    expect(m.user(rdtsc)).toBe('ok')
    m.set('cr4', CR4.PAE | 4)
    expect(m.kernel(rdtsc)).toBe('ok')
    expect(m.user(rdtsc)).toBe('#GP(0)')
  })
})

describe('MOV from a segment register', () => {
  it('takes the size of its destination', () => {
    m.kernel((a) => {
      a.mov('rax', -1).mov('rbx', -1).mov('rcx', -1)
      // mov eax, ss; mov rbx, ss; mov cx, ss; mov [DATA], ss
      a.bytes(0x8c, 0xd0).bytes(0x48, 0x8c, 0xd3).bytes(0x66, 0x8c, 0xd1)
      a.mov('rdx', AT.DATA).mov(mem('rdx'), 'rax').mov('rsi', -1).mov(mem('rdx'), 'rsi').bytes(0x8c, 0x12)
    })
    expect(m.get('rax')).toBe(BigInt(SELECTOR.DATA))
    expect(m.get('rbx')).toBe(BigInt(SELECTOR.DATA))
    expect(m.get('rcx')).toBe(0xffffffffffff0000n | BigInt(SELECTOR.DATA))
    expect(m.read64(AT.DATA)).toBe(0xffffffffffff0000n | BigInt(SELECTOR.DATA))
  })
  it.each([6, 7])('has no register %i', (n) => {
    expect(m.kernel((a) => a.bytes(0x8c, 0xc0 | (n << 3)))).toBe('#UD')
  })
})
