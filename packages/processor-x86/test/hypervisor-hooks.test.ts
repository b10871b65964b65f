// What a hypervisor asks of the processor beside the SDM: AutoEOI, EOI notification and EOI assist (TLFS, "Virtual Interrupt Controller"), its own pages ("GPA Overlay
// Pages"), the way to hypercalls, idle, start.
import fc from 'fast-check'
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

describe('EOI assist', () => {
  const NO_EOI_REQUIRED = 1
  const machine = () => {
    const { unit, apic, clock } = single()
    const page = { words: new Int32Array(new SharedArrayBuffer(4096)) }
    page.words[0] = 0x10
    apic.setEoiAssist(page)
    const deliver = (vector: number, level = false): number => {
      unit.fixed(vector, level)
      return apic.acknowledge()
    }
    const assist = (): number => (page.words[0] as number) & NO_EOI_REQUIRED
    /** As TLFS says that a guest does it: true when no EOI was needed. */
    const end = (): boolean => {
      const offered = (Atomics.and(page.words, 0, ~NO_EOI_REQUIRED) & NO_EOI_REQUIRED) !== 0
      if (!offered) apic.endOfInterrupt()
      return offered
    }
    const inService = (): number => unit.read(0xa0)
    return { unit, apic, clock, page, deliver, assist, end, inService }
  }

  it('lets the guest end an edge-triggered interrupt without EOI, again and again', () => {
    const { deliver, assist, end, inService, page } = machine()
    for (let round = 0; round < 3; round++) {
      expect(deliver(0x50)).toBe(0x50)
      expect(assist()).toBe(1)
      expect(end()).toBe(true)
    }
    expect(inService()).toBe(0)
    // The other bits are the guest's.
    expect(page.words[0]).toBe(0x10)
  })

  it('lets the next interrupt in, of whatever priority, when the guest has ended the last one by it', () => {
    const { deliver, end, unit, apic } = machine()
    for (const vector of [0x90, 0x30, 0x30, 0xe0, 0x31]) {
      expect(deliver(vector)).toBe(vector)
      expect(end()).toBe(true)
    }
    unit.fixed(0x30)
    expect(apic.pendingVector()).toBe(0x30)
  })

  it('is not for level-triggered interrupts, those that end by themselves, and those whose EOI somebody waits for', () => {
    const { deliver, assist, end, apic, unit } = machine()
    deliver(0x50, true)
    expect(assist()).toBe(0)
    expect(end()).toBe(false)
    expect(unit.ended).toEqual([0x50])
    apic.setAutoEoi(0x51, true)
    deliver(0x51)
    expect(assist()).toBe(0)
    apic.setEoiNotify(0x52, true)
    deliver(0x52)
    expect(assist()).toBe(0)
    expect(end()).toBe(false)
    expect(unit.ended).toEqual([0x50, 0x52])
  })

  it('is taken back when somebody comes to wait for the EOI', () => {
    const { deliver, assist, end, apic, unit } = machine()
    deliver(0x52)
    apic.setEoiNotify(0x53, true)
    expect(assist()).toBe(1)
    apic.setEoiNotify(0x52, true)
    expect(assist()).toBe(0)
    expect(end()).toBe(false)
    expect(unit.ended).toEqual([0x52])
  })

  it('is not there while another interrupt waits, and taken back when one comes to wait', () => {
    const { deliver, assist, end, unit, apic } = machine()
    unit.fixed(0x40)
    expect(deliver(0x50)).toBe(0x50)
    expect(assist()).toBe(0)
    expect(end()).toBe(false)
    expect(apic.acknowledge()).toBe(0x40)
    expect(assist()).toBe(1)
    unit.fixed(0x30)
    expect(assist()).toBe(0)
    expect(apic.pendingVector()).toBe(-1)
    expect(end()).toBe(false)
    expect(apic.acknowledge()).toBe(0x30)
  })

  it('is for the highest of nested interrupts alone', () => {
    const { deliver, assist, end, inService } = machine()
    deliver(0x40)
    expect(assist()).toBe(1)
    deliver(0x80)
    expect(assist()).toBe(1)
    expect(end()).toBe(true)
    expect(assist()).toBe(0)
    expect(end()).toBe(false)
    expect(inService()).toBe(0)
  })

  it('may be ignored: EOI ends the interrupt, once', () => {
    const { deliver, assist, apic, inService } = machine()
    deliver(0x40)
    deliver(0x80)
    apic.endOfInterrupt()
    expect([assist(), inService()]).toEqual([0, 0x40])
    apic.endOfInterrupt()
    expect(inService()).toBe(0)
  })

  it('shows in the registers what the guest has ended', () => {
    const { deliver, end, unit } = machine()
    deliver(0x61)
    expect(unit.read(0x130)).toBe(2)
    end()
    deliver(0x61)
    end()
    expect([unit.read(0x130), unit.read(0xa0), unit.read(0x90)]).toEqual([0, 0, 0])
  })

  it('changes nothing of what is delivered when, whatever the guest and the devices do', () => {
    type Action =
      | { readonly kind: 'request'; readonly vector: number; readonly level: boolean }
      | { readonly kind: 'deliver' | 'end' | 'read' | 'page' }
      | { readonly kind: 'priority' | 'notify'; readonly value: number }
    const action: fc.Arbitrary<Action> = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('request' as const),
          vector: fc.constantFrom(0x31, 0x32, 0x55, 0x80, 0xf3),
          level: fc.constantFrom(false, false, true),
        }),
      },
      { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom('deliver' as const, 'end' as const) }) },
      fc.record({ kind: fc.constantFrom('read' as const, 'page' as const) }),
      fc.record({ kind: fc.constant('priority' as const), value: fc.constantFrom(0, 0x3f, 0x60, 0xff) }),
      fc.record({ kind: fc.constant('notify' as const), value: fc.constantFrom(0x32, 0x55) }),
    )
    /** What a guest sees; `assisted`: it ends interrupts as TLFS says. */
    const run = (actions: readonly Action[], assisted: boolean): string[] => {
      const log: string[] = []
      const { unit, apic, page, end } = machine()
      if (!assisted) apic.setEoiAssist(undefined)
      let depth = 0
      for (const action of actions) {
        if (action.kind === 'request') unit.fixed(action.vector, action.level)
        else if (action.kind === 'deliver' && apic.pendingVector() >= 0) {
          log.push(`deliver ${apic.acknowledge()}`)
          depth++
        } else if (action.kind === 'end' && depth > 0) {
          if (assisted) end()
          else apic.endOfInterrupt()
          depth--
        } else if (action.kind === 'read') log.push(`${unit.read(0xa0)} ${unit.read(0x130)} ${unit.read(0x170)}`)
        else if (action.kind === 'page' && assisted) {
          apic.setEoiAssist(undefined)
          apic.setEoiAssist(page)
        } else if (action.kind === 'priority') apic.tpr = action.value
        else if (action.kind === 'notify') apic.setEoiNotify(action.value, true)
        log.push(`pending ${apic.pendingVector()}`)
      }
      return [...log, `ended ${unit.ended}`]
    }
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        expect(run(actions, true)).toEqual(run(actions, false))
      }),
      { numRuns: 400 },
    )
  })

  it('comes and goes with the page', () => {
    const { apic, deliver, page, inService, assist, end } = machine()
    deliver(0x40)
    apic.setEoiAssist(undefined)
    expect(assist()).toBe(0)
    expect(inService()).toBe(0x40)
    apic.endOfInterrupt()
    deliver(0x40)
    expect(assist()).toBe(0)
    page.words[0] = 1
    apic.setEoiAssist(page)
    // A bit that nothing stands behind would lose an EOI.
    expect(assist()).toBe(0)
    expect(end()).toBe(false)
    // What the guest has ended by a page is known when the page goes.
    deliver(0x40)
    end()
    apic.setEoiAssist(undefined)
    expect(inService()).toBe(0)
  })

  it('requires EOI of what was in service when the state was saved, or when the local APIC was reset', () => {
    const { apic, deliver, assist, end, inService } = machine()
    deliver(0x40)
    const saved = apic.save()
    expect(assist()).toBe(0)
    expect(end()).toBe(false)
    deliver(0x70)
    apic.restore(saved)
    expect([assist(), inService()]).toEqual([0, 0x40])
    expect(end()).toBe(false)
    deliver(0x50)
    apic.reset('init')
    expect([assist(), inService()]).toEqual([0, 0])
  })
})

describe('The hypervisor’s pages', () => {
  const READ_EXECUTE = 5
  const PROTECTED = 16
  const PRESENT = 3n
  /** Somewhere in the first 2 MiB. */
  const LINEAR = 0x7_0000

  it('raise #GP(0) on every kind of write when they are protected, and a write changes nothing', () => {
    const machine = new SystemMachine('long')
    const page = machine.memory.allocateOverlay()
    machine.memory.map(LINEAR / 4096, 1, page, READ_EXECUTE | PROTECTED)
    const at = (size: 8 | 16 | 32 | 64, displacement = 0) =>
      ({ kind: 'memory', size, base: 'rbx', displacement }) as const
    const writes: Parameters<SystemMachine['kernel']>[0][] = [
      (a) => a.mov('rbx', LINEAR).mov(at(32), 'eax'),
      (a) => a.mov('rbx', LINEAR).add(at(64), 'rax'),
      (a) => a.mov('rbx', LINEAR - 4).mov(at(64), 'rax'),
      (a) => a.mov('rsp', LINEAR + 8).push('rax'),
      (a) => a.mov('rdi', LINEAR).mov('ecx', 4).bytes(0xf3, 0xaa),
    ]
    for (const write of writes) {
      expect(machine.kernel(write)).toBe('#GP(0)')
      expect(machine.memory.u32[page >> 2]).toBe(0)
    }
    expect(machine.read(LINEAR - 4, 4)).toBe(0)
    expect(machine.kernel((a) => a.mov('rbx', LINEAR).mov('eax', at(32)))).toBe('ok')
    // With the right to write there is nothing to protect.
    machine.memory.map(LINEAR / 4096, 1, page, 7 | PROTECTED)
    expect(machine.kernel((a) => a.mov('eax', 5).mov('rbx', LINEAR).mov(at(32), 'eax'))).toBe('ok')
    expect(machine.memory.u32[page >> 2]).toBe(5)
  })

  it('are seen at any address of 40 bits: read, written, executed, changed, and gone', () => {
    const machine = new SystemMachine('long')
    const { memory } = machine
    const page = memory.allocateOverlay()
    const other = memory.allocateOverlay()
    for (const gpa of [0x1_0000_0000, 0x1_0003_f000, 0x1_0004_0000, 0x80_0000_0000, 2 ** 40 - 4096]) {
      memory.u8.fill(0, page, page + 4096)
      memory.map(gpa / 4096, 1, page, 7)
      memory.map(gpa / 4096 - 1, 1, other, 7)
      machine.setPage(LINEAR, BigInt(gpa) | PRESENT)
      machine.vp.flushTranslations()
      const at = { kind: 'memory', size: 32, base: 'rbx', displacement: 0 } as const
      expect(
        machine.kernel((a) =>
          a
            .mov('rbx', LINEAR + 64)
            .mov('ecx', 0x1234)
            .mov(at, 'ecx')
            .mov('eax', at),
        ),
      ).toBe('ok')
      expect(machine.get('rax')).toBe(0x1234n)
      expect(memory.u32[(page + 64) >> 2]).toBe(0x1234)
      expect(memory.translate(gpa + 64, 3)).toBe(page + 64)
      expect(machine.vp.translateLinear(BigInt(LINEAR + 64))).toBe(gpa + 64)
      // mov eax, 1; ret. Changed by the host, and by the guest itself.
      memory.u8.set([0xb8, 1, 0, 0, 0, 0xc3], page)
      const call = (): bigint => {
        expect(machine.kernel((a) => a.mov('rbx', LINEAR).call('rbx'))).toBe('ok')
        return machine.get('rax')
      }
      expect(call()).toBe(1n)
      memory.u8[page + 1] = 2
      memory.written(gpa + 1, 1)
      expect(call()).toBe(2n)
      expect(
        machine.kernel((a) =>
          a
            .mov('rbx', LINEAR + 1)
            .mov('ecx', 3)
            .mov(at, 'ecx'),
        ),
      ).toBe('ok')
      expect(call()).toBe(3n)
      memory.unmap(gpa / 4096 - 1, 1)
      expect(memory.translate(gpa - 4096, 1)).toBe(-1)
      memory.unmap(gpa / 4096, 1)
      expect(memory.translate(gpa, 1)).toBe(-1)
      expect(machine.kernel((a) => a.mov('rbx', LINEAR).mov('eax', at))).toBe('ok')
      expect(machine.get('rax')).toBe(0xffffffffn)
    }
  })

  it('cannot be anywhere else, nor more of them than there are', () => {
    const { memory } = new SystemMachine('long')
    const page = memory.allocateOverlay()
    expect(memory.gpaEnd).toBe(2 ** 40)
    expect(() => memory.map(2 ** 28, 1, page, 7)).toThrow(expect.objectContaining({ code: 'ERR_PROCESSOR_MEMORY' }))
    for (let index = 0; index < 192; index++) memory.map(2 ** 20 + index, 1, page, 7)
    expect(() => memory.map(2 ** 20 + 192, 1, page, 7)).toThrow(
      expect.objectContaining({ code: 'ERR_PROCESSOR_MEMORY' }),
    )
    memory.unmap(2 ** 20, 2 ** 27)
    memory.map(2 ** 20 + 64, 1, page, 1)
    expect([memory.translate(2 ** 32, 1), memory.translate(2 ** 32 + 64 * 4096, 1)]).toEqual([-1, page])
  })
})

describe('Registers from outside', () => {
  it('are the model-specific ones as RDMSR and WRMSR have them', () => {
    const { vp } = new SystemMachine('long')
    expect(vp.writeMsr(0xc0000082, 0xffff_8000_0000_1000n)).toBe(true)
    expect(vp.readMsr(0xc0000082)).toBe(0xffff_8000_0000_1000n)
    // Not canonical; read-only; not there.
    expect(vp.writeMsr(0xc0000082, 0x8000_0000_0000n)).toBe(false)
    expect(vp.writeMsr(0xfe, 0n)).toBe(false)
    expect([vp.readMsr(0xfe), vp.readMsr(0x49), vp.readMsr(0x12345)]).toEqual([0x508n, undefined, undefined])
    expect(vp.readMsr(0xc0000082)).toBe(0xffff_8000_0000_1000n)
  })

  it('are the x87 and SSE state as FXSAVE64 stores it', () => {
    const machine = new SystemMachine('long')
    const { vp } = machine
    vp.setRegister('cr4', vp.getRegister('cr4') | 0x200n)
    const state = Uint8Array.from({ length: 160 }, (_, index) => (index * 37) & 0xff)
    const view = new DataView(state.buffer)
    view.setUint16(0, 0x037f, true)
    view.setUint16(2, 0x3841, true)
    view.setUint8(5, 0)
    view.setUint16(6, 0x123, true)
    view.setUint32(24, 0x1fa0, true)
    view.setUint32(28, 0xffff, true)
    for (let index = 0; index < 8; index++) state.fill(0, 32 + index * 16 + 10, 48 + index * 16)
    vp.setFloatState(state)
    expect(vp.getFloatState()).toEqual(state)
    // FXSAVE64 [AT.DATA]
    expect(machine.kernel((a) => a.mov('rbx', AT.DATA).bytes(0x48, 0x0f, 0xae, 0x03))).toBe('ok')
    const stored = Uint8Array.from({ length: 160 }, (_, index) => machine.read(AT.DATA + index, 1))
    expect(stored).toEqual(state)
    // An exception that is pending and not masked shows in ES and B.
    view.setUint16(0, 0x0340, true)
    vp.setFloatState(state)
    expect(new DataView(vp.getFloatState().buffer).getUint16(2, true)).toBe(0x3841 | 0x8080)
  })

  it('are tables, debug registers and XCR0', () => {
    const { vp } = new SystemMachine('long')
    vp.setDescriptorTable('idtr', 0xffff_8000_0000_0000n, 0xfff)
    expect(vp.getDescriptorTable('idtr')).toEqual({ base: 0xffff_8000_0000_0000n, limit: 0xfff })
    const before = vp.getDescriptorTable('gdtr')
    vp.setDescriptorTable('gdtr', before.base, before.limit + 8)
    expect(vp.getDescriptorTable('gdtr').limit).toBe(before.limit + 8)
    for (const [index, name] of (['dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7', 'xcr0'] as const).entries()) {
      vp.setRegister(name, BigInt(index + 1))
      expect(vp.getRegister(name)).toBe(BigInt(index + 1))
    }
  })

  it('may have any values: the guest is at fault, not the host', () => {
    const control = ['cr0', 'cr3', 'cr4', 'efer', 'rflags', 'rip', 'dr7', 'rsp'] as const
    // The bits that HvCallSetVpRegisters lets through.
    const masks = [0xe005003fn, 0xff_ffff_ffffn, 0x370fffn, 0xd01n, 0x3d7fd7n, ~0n, 0xffff_ffffn, ~0n]
    const machine = new SystemMachine('long')
    const saved = structuredClone(machine.vp.save())
    let state = 0x1234_5678n
    const random = (): bigint => {
      state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n)
      return state >> 13n
    }
    const exits = new Set<string>()
    for (let round = 0; round < 200; round++) {
      machine.vp.restore(saved)
      machine.program(AT.CODE, 64, (a) => a.mov('eax', 1).push('rax').pop('rbx').hlt())
      machine.set('rip', AT.CODE)
      const count = Number(random() % 4n)
      for (let n = 0; n <= count; n++) {
        const which = Number(random() % BigInt(control.length))
        const value = BigInt.asUintN(64, (random() * random()) & (masks[which] as bigint))
        machine.vp.setRegister(control[which] as 'cr0', control[which] === 'rflags' ? value | 2n : value)
      }
      for (const name of ['cs', 'ss'] as const)
        if (random() % 4n === 0n)
          machine.vp.setSegment(name, {
            selector: Number(random() & 0xffffn),
            base: random() & 0xffff_ffffn,
            limit: Number(random() & 0xffff_ffffn),
            attributes: Number(random() & 0x1_f0ffn),
          })
      exits.add(machine.vp.run(20))
    }
    expect([...exits].every((exit) => ['budget', 'halt', 'shutdown', 'wait-for-sipi'].includes(exit))).toBe(true)
    expect(exits.size).toBeGreaterThan(1)
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
