// What a hypervisor asks of the processor beside the SDM: AutoEOI and EOI notification (TLFS, "Virtual Interrupt Controller"), the way to hypercalls, idle, start.
import { describe, expect, it } from 'vitest'
import { BenchApic, BenchClock, bench, single } from './local-apic-bench.ts'
import { AT, SELECTOR, SystemMachine } from './system-machine.ts'

describe('AutoEOI', () => {
  it('ends an edge-triggered interrupt with its delivery', () => {
    const { unit, apic } = single()
    apic.setAutoEoi(0x50, true)
    for (let round = 0; round < 3; round++) {
      unit.fixed(0x50)
      expect(apic.acknowledge()).toBe(0x50)
      expect(unit.read(0x120)).toBe(0)
      expect(unit.read(0xa0)).toBe(0)
    }
    // An EOI ends what is in service, not what has ended.
    unit.fixed(0x40)
    apic.acknowledge()
    unit.fixed(0x50)
    apic.acknowledge()
    unit.write(0xb0, 0)
    expect(unit.read(0x120)).toBe(0)
    expect(apic.pendingVector()).toBe(-1)
  })

  it('is a vector’s, can be taken back, and leaves level-triggered interrupts alone', () => {
    const { unit, apic } = single()
    apic.setAutoEoi(0x50, true)
    unit.fixed(0x51)
    apic.acknowledge()
    expect(unit.read(0xa0)).toBe(0x50)
    unit.write(0xb0, 0)
    unit.fixed(0x50, true)
    apic.acknowledge()
    expect(unit.read(0xa0)).toBe(0x50)
    unit.write(0xb0, 0)
    apic.setAutoEoi(0x50, false)
    unit.fixed(0x50)
    apic.acknowledge()
    expect(unit.read(0xa0)).toBe(0x50)
  })
})

describe('EOI notification', () => {
  it('tells of edge-triggered vectors that were asked for, and of level-triggered ones as ever', () => {
    const told: [number, boolean][] = []
    const clock = new BenchClock()
    const unit = new BenchApic(
      clock,
      0,
      () => {},
      1e9,
      (vector, level) => told.push([vector, level]),
    )
    unit.write(0xf0, 0x1ff)
    unit.apic.setEoiNotify(0x60, true)
    for (const [vector, level] of [
      [0x60, false],
      [0x61, false],
      [0x60, true],
      [0x62, true],
    ] as const) {
      unit.fixed(vector, level)
      unit.drain()
    }
    expect(told).toEqual([
      [0x60, false],
      [0x60, true],
      [0x62, true],
    ])
    unit.apic.setEoiNotify(0x60, false)
    unit.fixed(0x60)
    unit.drain()
    expect(told.length).toBe(3)
  })
})

describe('ICR and TPR for the hypervisor', () => {
  it('send and hold as the registers do', () => {
    const { apics } = bench(2)
    const [first, second] = apics as [BenchApic, BenchApic]
    first.apic.icr = 0x0100_0000_0000_4041n
    expect(second.apic.pendingVector()).toBe(0x41)
    expect(first.apic.icr).toBe(0x0100_0000_0000_4041n)
    expect([first.read(0x300), first.read(0x310)]).toEqual([0x4041, 0x0100_0000])
    first.enterX2Apic()
    second.enterX2Apic()
    first.apic.icr = 0x0000_0001_0000_4042n
    expect(second.apic.pendingVector()).toBe(0x42)
    second.apic.tpr = 0x47
    expect(second.apic.readMsr(0x808)).toBe(0x47n)
    expect(second.apic.pendingVector()).toBe(-1)
    second.apic.tpr = 0
    expect(second.apic.pendingVector()).toBe(0x42)
  })
})

describe('VMCALL', () => {
  it('reaches the hypervisor from protected mode with CPL 0 alone, with RIP at the instruction', () => {
    for (const mode of ['long', 'protected', 'real'] as const) {
      const machine = new SystemMachine(mode)
      const rips: bigint[] = []
      machine.hypercall = () => {
        rips.push(machine.get('rip'))
        return true
      }
      if (mode === 'real') {
        machine.program(AT.CODE, 16, (a) => a.vmcall().hlt())
        machine.start()
        expect(rips).toEqual([])
        continue
      }
      expect(machine.kernel((a) => a.nop().nop().vmcall().nop())).toBe('ok')
      expect(rips).toEqual([BigInt(AT.CODE + 2)])
      expect(machine.user((a) => a.vmcall())).toBe('#UD')
      expect(rips.length).toBe(1)
      machine.hypercall = () => false
      expect(machine.kernel((a) => a.vmcall())).toBe('#UD')
    }
  })

  it('tells 64-bit mode from compatibility mode', () => {
    const machine = new SystemMachine('long')
    const seen: boolean[] = []
    machine.hypercall = () => {
      seen.push(machine.vp.is64Bit)
      return true
    }
    expect(machine.kernel((a) => a.vmcall())).toBe('ok')
    expect(machine.kernel((a) => a.vmcall(), 32)).toBe('ok')
    expect(seen).toEqual([true, false])
    expect(SELECTOR.CODE32).toBeGreaterThan(0)
  })

  it('may flush the caller’s own translations', () => {
    const machine = new SystemMachine('long')
    machine.hypercall = () => {
      // The page goes elsewhere, as another processor would have done it.
      machine.setPage(0x7000, 0x8003n)
      machine.vp.flushTranslations()
      return true
    }
    machine.write32(0x7000, 1)
    machine.write32(0x8000, 2)
    expect(
      machine.kernel((a) =>
        a
          .mov('rbx', 0x7000)
          .mov('eax', { kind: 'memory', size: 32, base: 'rbx', displacement: 0 })
          .vmcall()
          .mov('ecx', { kind: 'memory', size: 32, base: 'rbx', displacement: 0 }),
      ),
    ).toBe('ok')
    expect([machine.get('rax'), machine.get('rcx')]).toEqual([1n, 2n])
  })
})

describe('A virtual processor’s activity', () => {
  it('idles until an interrupt is pending, though it is not let in', () => {
    const idle = new SystemMachine('long')
    idle.vp.idle()
    expect(idle.vp.run(100)).toBe('halt')
    expect(idle.vp.run(100)).toBe('halt')
    idle.program(AT.CODE, 64, (a) => a.mov('ebx', 5).hlt())
    idle.set('rip', AT.CODE)
    const saved = structuredClone(idle.vp.save())
    idle.vp.localApic.icr = 0x4_4040n
    expect(idle.vp.run(100)).toBe('halt')
    expect(idle.get('rbx')).toBe(5n)
    // A HLT is no idle state: IF is clear, so the pending interrupt does not end it.
    expect(idle.vp.run(100)).toBe('halt')
    expect(idle.get('rip')).toBe(BigInt(AT.CODE + 6))
    idle.set('rbx', 0)
    idle.vp.restore(saved)
    idle.vp.localApic.icr = 0x4_4040n
    idle.vp.run(100)
    expect(idle.get('rbx')).toBe(5n)
  })

  it('counts its time stamp', () => {
    const machine = new SystemMachine('long')
    const before = machine.vp.timeStampCounter
    machine.time += 1000
    expect(machine.vp.timeStampCounter).toBe(before + 2000n)
  })
})
