// Interrupts (SDM vol. 3, 6.3, 6.7, 6.8): acceptance at instruction boundaries, shadows, HLT, NMI, priorities, TPR.
import { DELIVERY_MODE } from '@partita/interface'
import { type Assembler, mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, SELECTOR, SystemMachine } from './system-machine.ts'

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
  // enable the local APIC
  m.vp.cpu.apic.writeMmio(0xfee000f0, 4, 0x1ff)
  m.resume = (event) => event.rip
})

const fixed = (vector: number): boolean =>
  m.vp.receiveInterrupt({ vector, deliveryMode: DELIVERY_MODE.FIXED, destination: 0, logical: false, level: false })
const nmi = (): boolean =>
  m.vp.receiveInterrupt({ vector: 2, deliveryMode: DELIVERY_MODE.NMI, destination: 0, logical: false, level: false })

function kernel(write: (a: Assembler) => unknown): Assembler {
  const a = m.program(AT.CODE, 64, (a) => {
    write(a)
    a.label('end').cli().hlt()
  })
  m.start()
  return a
}

describe('maskable interrupts', () => {
  it('wait for IF, and for one instruction more after STI', () => {
    fixed(0x40)
    const a = kernel((a) => a.nop().sti().label('shadow').nop().label('after').nop())
    expect(m.events).toHaveLength(1)
    expect(m.events[0]).toMatchObject({ vector: 0x40, rip: a.addressOf('after') })
    expect((m.events[0]?.flags ?? 0) & 0x200).toBe(0x200)
  })
  it('do not get in between STI and CLI', () => {
    fixed(0x40)
    kernel((a) => a.sti().cli().nop())
    expect(m.vectors).toEqual([])
  })
  it('STI with IF set has no shadow', () => {
    m.onPortWrite = () => void fixed(0x41)
    const a = kernel((a) => a.sti().nop().out(0x80, 'al').label('next').sti().nop())
    expect(m.events[0]).toMatchObject({ vector: 0x41, rip: a.addressOf('next') })
  })
  it('wait for the instruction after MOV SS and POP SS', () => {
    fixed(0x40)
    const a = kernel((a) => {
      a.pushf().bytes(0x81, 0x0c, 0x24, 0, 2, 0, 0).mov('eax', SELECTOR.DATA)
      // POPF sets IF: the interrupt is recognised at once, unless a shadow follows
      a.label('mov').popf().label('after-popf').mov('ss', 'eax').mov('rsp', 'rsp').nop()
    })
    expect(m.events[0]).toMatchObject({ vector: 0x40, rip: a.addressOf('after-popf') })
    m.events.length = 0
    m.vp.cpu.apic.writeMmio(0xfee000b0, 4, 0)
    m.onPortWrite = () => void fixed(0x40)
    const b = kernel((a) =>
      a.mov('eax', SELECTOR.DATA).sti().nop().mov('ss', 'eax').out(0x80, 'al').label('next').nop(),
    )
    expect(m.events[0]).toMatchObject({ rip: b.addressOf('next') })
  })
  it('end HLT, and the handler returns behind it', () => {
    const a = m.program(AT.CODE, 64, (a) => a.sti().hlt().label('next').mov('eax', 0x55).out(0x80, 'eax').cli().hlt())
    expect(m.start()).toBe('halt')
    expect(m.output(0x80)).toEqual([])
    fixed(0x50)
    expect(m.run()).toBe('halt')
    expect(m.events[0]).toMatchObject({ vector: 0x50, rip: a.addressOf('next') })
    expect(m.output(0x80)).toEqual([0x55])
  })
  it('reach a loop that never calls anything', () => {
    const a = m.program(AT.CODE, 64, (a) => a.sti().label('loop').inc('rcx').jmpShort('loop'))
    expect(m.start()).toBe('budget')
    fixed(0x60)
    m.resume = () => undefined
    m.run()
    expect(m.vectors).toEqual([0x60])
    expect(m.events[0]?.rip).toBeGreaterThanOrEqual(a.addressOf('loop'))
    expect(m.get('rcx')).toBeGreaterThan(1000n)
  })
  it('come in the order of their priority', () => {
    fixed(0x40)
    fixed(0x90)
    fixed(0x41)
    m.resume = (event) => {
      m.vp.cpu.apic.writeMmio(0xfee000b0, 4, 0)
      return event.rip
    }
    kernel((a) => a.sti().nop().nop().nop().nop().nop())
    expect(m.vectors).toEqual([0x90, 0x41, 0x40])
  })
  it('are held back by CR8', () => {
    fixed(0x45)
    const a = kernel((a) => {
      a.mov('eax', 5).bytes(0x44, 0x0f, 0x22, 0xc0)
      a.sti().nop().nop().bytes(0x44, 0x0f, 0x20, 0xc1).mov('eax', 'ecx').out(0x80, 'eax')
      a.mov('eax', 3).bytes(0x44, 0x0f, 0x22, 0xc0).label('low').nop()
    })
    expect(m.output(0x80)).toEqual([5])
    expect(m.events).toHaveLength(1)
    expect(m.events[0]?.rip).toBe(a.addressOf('low'))
  })
  it('of the 8259A pair come through LINT0', () => {
    m.vp.cpu.apic.writeMmio(0xfee00350, 4, 0x700)
    m.vp.setExternalInterrupt(true)
    m.resume = (event) => {
      m.vp.setExternalInterrupt(false)
      return event.rip
    }
    kernel((a) => a.sti().nop().nop())
    expect(m.vectors).toEqual([0x20])
  })
  it('of ring 3 use the stack of ring 0', () => {
    m.program(AT.USER_CODE, 64, (a) => a.nop().nop().int(0x80))
    m.set('rflags', 0x202)
    fixed(0x70)
    m.resume = (event) => (event.vector === 0x70 ? event.rip : undefined)
    m.startUser()
    expect(m.vectors).toEqual([0x70, 0x80])
    expect(m.events[0]).toMatchObject({
      rip: AT.USER_CODE,
      cs: SELECTOR.USER_CODE,
      rsp: AT.USER_STACK,
      frame: AT.STACK - 40,
    })
  })
})

describe('NMI', () => {
  it('needs no IF, and blocks the next one until IRET', () => {
    m.program(AT.HANDLERS + 0x4000, 64, (a) => {
      a.inc('rbx').mov(mem(AT.DATA), 'rbx').out(0x81, 'al').nop().nop().mov('rcx', mem(AT.DATA))
      a.mov('eax', 'ecx').out(0x82, 'eax').iret()
    })
    m.setGate(2, { kind: 'interrupt', bits: 64, selector: SELECTOR.CODE, offset: AT.HANDLERS + 0x4000 })
    let sent = 0
    m.onPortWrite = (port) => {
      if (port === 0x80 || (port === 0x81 && sent < 2)) {
        sent++
        nmi()
      }
    }
    kernel((a) => a.out(0x80, 'al').nop())
    // the second NMI came while the first was handled, and ran after its IRET: each saw its own count
    expect(m.output(0x82)).toEqual([1, 2])
  })
})

describe('the time-stamp counter deadline', () => {
  it('raises its vector when the time has come', () => {
    m.vp.cpu.apic.writeMmio(0xfee00320, 4, 0x40000 | 0x51)
    m.program(AT.CODE, 64, (a) => {
      a.rdtsc().shl('rdx', 32).or('rax', 'rdx').add('rax', 2000)
      a.mov('rdx', 'rax').shr('rdx', 32).mov('ecx', 0x6e0).wrmsr()
      a.sti().hlt().cli().hlt()
    })
    expect(m.start()).toBe('halt')
    expect(m.vectors).toEqual([])
    expect(m.vp.nextDeadline).toBe(1000)
    m.time = 999
    m.run()
    expect(m.vectors).toEqual([])
    m.time = 1000
    m.run()
    expect(m.vectors).toEqual([0x51])
  })
})
