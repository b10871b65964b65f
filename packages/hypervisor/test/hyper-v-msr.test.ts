// TLFS, "Feature and Interface Discovery", "Partition Properties", "Timers": CPUID leaves, synthetic MSRs and the privileges for them.

import { describe, expect, it } from 'vitest'
import { CHILD_PRIVILEGES, HV_MSR, PartitionPrivileges, PRIVILEGE, type PrivilegeName } from '../src/index.ts'
import { GUEST_OS_ID, HyperVMachine, PAGES } from './hyper-v-machine.ts'

describe('CPUID', () => {
  it('names Hyper-V as Linux, FreeBSD and Windows look for it', () => {
    const machine = new HyperVMachine()
    expect(machine.cpuid(1)[2]).toBe(0x80000000)
    const [maximum, ...vendor] = machine.cpuid(0x40000000)
    expect(maximum).toBe(0x4000000c)
    expect(new TextDecoder().decode(Uint32Array.from(vendor))).toBe('Microsoft Hv')
    expect(machine.cpuid(0x40000001)).toEqual([0x31237648, 0, 0, 0])
    const [build, version] = machine.cpuid(0x40000002)
    expect(build).toBeGreaterThan(17763)
    expect(version).toBe(10 << 16)
  })

  it('shows the privileges and what goes with them', () => {
    const machine = new HyperVMachine()
    const [low, high, ecx, features] = machine.cpuid(0x40000003)
    // Hyper-V's for a Linux guest, and the reset MSR.
    expect(low).toBe(0x2e7f | (1 << 7))
    // Likewise, without VSM and extended GVA ranges.
    expect(high).toBe(0x3b8030 & ~((1 << 16) | (1 << 15)))
    expect(ecx).toBe(0)
    // XMM input and output, frequencies, crash, direct timers.
    expect((features as number) & 0x88510).toBe(0x88510)
    expect(machine.cpuid(0x40000004)[0]).toBe(0xe2c)
    expect(machine.cpuid(0x40000005)[0]).toBeGreaterThanOrEqual(2)
    for (const leaf of [0x40000006, 0x40000007, 0x4000000a, 0x4000000c, 0x400000ff])
      expect(machine.cpuid(leaf)).toEqual([0, 0, 0, 0])
    expect(machine.cpuid(0x40000081)).toEqual([0x31235356, 0, 0, 0])
  })

  it('never offers what would make Linux take itself for a root or an isolated guest', () => {
    const [, high] = new HyperVMachine().cpuid(0x40000003)
    for (const bit of [1, 12, 22]) expect((high as number) & (1 << bit)).toBe(0)
  })

  it('offers nothing without privileges', () => {
    const machine = new HyperVMachine({ privileges: new PartitionPrivileges() })
    const [low, high, , features] = machine.cpuid(0x40000003)
    expect([low, high]).toEqual([0, 0])
    // Crash MSRs need no privilege.
    expect(features).toBe(1 << 10)
    // Relaxed timing, no AutoEOI.
    expect(machine.cpuid(0x40000004)[0]).toBe(0x220)
  })

  it('tells to notify of long spins only where another virtual processor waits for the thread', () => {
    expect(new HyperVMachine({ virtualProcessors: 1 }).cpuid(0x40000004)[1]).toBe(0xffffffff)
    expect(new HyperVMachine({ virtualProcessors: 2 }).cpuid(0x40000004)[1]).toBe(0xfff)
  })

  it('hides the invariant TSC until the guest asks for it', () => {
    const own = [0, 0, 0, 0x100]
    expect(new HyperVMachine().cpuid(0x80000007, own)).toEqual([0, 0, 0, 0])
    const machine = new HyperVMachine({
      privileges: new PartitionPrivileges([...CHILD_PRIVILEGES, 'ACCESS_TSC_INVARIANT_CONTROLS']),
    })
    expect((machine.cpuid(0x40000003)[0] as number) & (1 << 15)).not.toBe(0)
    expect(machine.cpuid(0x80000007, own)).toEqual([0, 0, 0, 0])
    expect(machine.write(HV_MSR.TSC_INVARIANT_CONTROL, 2)).toBe(false)
    expect(machine.write(HV_MSR.TSC_INVARIANT_CONTROL, 1)).toBe(true)
    expect(machine.read(HV_MSR.TSC_INVARIANT_CONTROL)).toBe(1n)
    expect(machine.cpuid(0x80000007, own)).toEqual(own)
  })

  it('is plain hardware’s where the partition has no Hyper-V interface', () => {
    const machine = new HyperVMachine({ hypervisor: 'none' })
    expect(machine.cpuid(1, [0, 0, 0xffffffff, 0])[2]).toBe(0x7fffffff)
    expect(machine.cpuid(0x40000000)).toEqual([0, 0, 0, 0])
    expect(machine.cpuid(0x80000007, [0, 0, 0, 0x100])).toEqual([0, 0, 0, 0x100])
    expect(machine.read(HV_MSR.VP_INDEX)).toBeUndefined()
    expect(machine.raw(0x5cn, 0n, 0n)).toBeUndefined()
  })
})

describe('Privileges', () => {
  /** Of each privilege of the first half: its MSRs. */
  const GUARDED: Partial<Record<PrivilegeName, readonly number[]>> = {
    ACCESS_VP_RUN_TIME_REG: [0x40000010],
    ACCESS_PARTITION_REFERENCE_COUNTER: [0x40000020],
    ACCESS_SYNIC_REGS: [0x40000080, 0x40000081, 0x40000082, 0x40000083, 0x40000084, 0x40000090, 0x40000092, 0x4000009f],
    ACCESS_SYNTHETIC_TIMER_REGS: [0x400000b0, 0x400000b1, 0x400000b6, 0x400000b7],
    ACCESS_INTR_CTRL_REGS: [0x40000070, 0x40000071, 0x40000072, 0x40000073],
    ACCESS_HYPERCALL_MSRS: [0x40000000, 0x40000001],
    ACCESS_VP_INDEX: [0x40000002],
    ACCESS_RESET_REG: [0x40000003],
    ACCESS_PARTITION_REFERENCE_TSC: [0x40000021],
    ACCESS_GUEST_IDLE_REG: [0x400000f0],
    ACCESS_FREQUENCY_REGS: [0x40000022, 0x40000023],
    ACCESS_REENLIGHTENMENT_CONTROLS: [0x40000106, 0x40000107, 0x40000108],
    ACCESS_TSC_INVARIANT_CONTROLS: [0x40000118],
  }
  /** Those for which there is nothing: statistics and the debugger are not built. */
  const WITHOUT_MSRS: readonly PrivilegeName[] = ['ACCESS_STATS_REG', 'ACCESS_DEBUG_REGS']
  const ALL = Object.keys(PRIVILEGE) as PrivilegeName[]

  it('of MSRs are all in the table', () => {
    const listed = [...(Object.keys(GUARDED) as PrivilegeName[]), ...WITHOUT_MSRS].sort()
    expect(listed).toEqual(ALL.filter((name) => PRIVILEGE[name] < 32).sort())
  })

  it.each(Object.entries(GUARDED))('%s guards its MSRs and shows in CPUID', (name, msrs) => {
    const privilege = name as PrivilegeName
    const allowed = new HyperVMachine({ privileges: new PartitionPrivileges(ALL) })
    const denied = new HyperVMachine({
      privileges: new PartitionPrivileges(ALL.filter((other) => other !== privilege)),
    })
    const bit = 1 << PRIVILEGE[privilege]
    expect((allowed.cpuid(0x40000003)[0] as number) & bit).toBe(bit)
    expect((denied.cpuid(0x40000003)[0] as number) & bit).toBe(0)
    for (const index of msrs) {
      expect(allowed.read(index) !== undefined || allowed.write(index, 0), index.toString(16)).toBe(true)
      expect(denied.read(index), index.toString(16)).toBeUndefined()
      expect(denied.write(index, 0), index.toString(16)).toBe(false)
    }
  })

  it('raises #GP for MSRs that are not built', () => {
    const machine = new HyperVMachine()
    for (const index of [
      0x40000004, 0x40000011, 0x40000024, 0x40000074, 0x40000085, 0x400000a0, 0x400000b8, 0x400000f1, 0x40000109,
      0x40000118,
    ]) {
      expect(machine.read(index)).toBeUndefined()
      expect(machine.write(index, 0)).toBe(false)
    }
  })
})

describe('Notification of migrations', () => {
  it('interrupts the processor that the guest named, after a restore', () => {
    const machine = new HyperVMachine()
    const control = (1n << 32n) | 0x1_00een
    expect(machine.write(HV_MSR.REENLIGHTENMENT_CONTROL, control)).toBe(true)
    expect(machine.write(HV_MSR.TSC_EMULATION_CONTROL, 1)).toBe(true)
    expect(machine.interrupts(1)).toEqual([])
    const state = machine.save()
    const other = new HyperVMachine()
    other.partition.clock.stop()
    other.partition.restore(state)
    expect(other.interrupts(0)).toEqual([])
    expect(other.interrupts(1)).toEqual([0xee])
    expect(other.read(HV_MSR.REENLIGHTENMENT_CONTROL)).toBe(control)
    expect(other.read(HV_MSR.TSC_EMULATION_CONTROL)).toBe(1n)
    // The counters go on at the same frequency: nothing to emulate, and nothing to end.
    expect(other.read(HV_MSR.TSC_EMULATION_STATUS)).toBe(0n)
    expect(other.write(HV_MSR.TSC_EMULATION_STATUS, 0)).toBe(true)
    other.partition.reset()
    expect(other.read(HV_MSR.REENLIGHTENMENT_CONTROL)).toBe(0n)
    expect(other.read(HV_MSR.TSC_EMULATION_CONTROL)).toBe(0n)
  })

  it('has no reserved bits, and vectors of interrupts alone', () => {
    const machine = new HyperVMachine()
    for (const value of [0x1_000fn, 0x100n, 0x2_00een, 1n << 31n])
      expect(machine.write(HV_MSR.REENLIGHTENMENT_CONTROL, value)).toBe(false)
    expect(machine.write(HV_MSR.TSC_EMULATION_CONTROL, 2)).toBe(false)
    expect(machine.write(HV_MSR.REENLIGHTENMENT_CONTROL, 5)).toBe(true)
    const state = machine.save()
    const other = new HyperVMachine()
    other.partition.clock.stop()
    // Not enabled: a processor hears nothing.
    other.partition.restore(state)
    expect([other.interrupts(0), other.interrupts(1)]).toEqual([[], []])
  })
})

describe('The hypercall page', () => {
  it('needs the guest’s identity, covers RAM with VMCALL and RET, and gives RAM back', () => {
    const machine = new HyperVMachine()
    const { memory } = machine.partition
    memory.writeU32(PAGES.HYPERCALL, 0x11223344)
    expect(machine.write(HV_MSR.HYPERCALL, PAGES.HYPERCALL | 1)).toBe(true)
    expect(machine.read(HV_MSR.HYPERCALL)).toBe(BigInt(PAGES.HYPERCALL))
    expect(memory.readU32(PAGES.HYPERCALL)).toBe(0x11223344)
    expect(machine.call(0x08)).toBeUndefined()

    machine.enableHypercalls()
    expect(machine.read(HV_MSR.GUEST_OS_ID)).toBe(GUEST_OS_ID)
    expect(machine.read(HV_MSR.HYPERCALL, 1)).toBe(BigInt(PAGES.HYPERCALL | 1))
    expect(memory.readU32(PAGES.HYPERCALL)).toBe(0xc3c1010f)
    expect(memory.writeU8(PAGES.HYPERCALL, 0)).toBe(false)
    // Read, execute, and #GP for a write.
    expect(machine.processor.memory?.pages.get(PAGES.HYPERCALL / 4096)?.access).toBe(5 | 16)
    expect(machine.call(0x08)).toBe(0n)

    expect(machine.write(HV_MSR.HYPERCALL, (PAGES.HYPERCALL + 0x5000) | 1)).toBe(true)
    expect(memory.readU32(PAGES.HYPERCALL)).toBe(0x11223344)
    expect(memory.readU32(PAGES.HYPERCALL + 0x5000)).toBe(0xc3c1010f)
    expect(machine.write(HV_MSR.GUEST_OS_ID, 0)).toBe(true)
    expect(machine.read(HV_MSR.HYPERCALL)).toBe(BigInt(PAGES.HYPERCALL + 0x5000))
    expect(memory.readU32(PAGES.HYPERCALL + 0x5000)).toBe(0)
    expect(machine.call(0x08)).toBeUndefined()
  })

  it('can lie outside RAM, but not outside the GPA space', () => {
    const machine = new HyperVMachine()
    machine.enableHypercalls()
    expect(machine.write(HV_MSR.HYPERCALL, 0xf0000001n)).toBe(true)
    expect(machine.partition.memory.readU32(0xf0000000)).toBe(0xc3c1010f)
    expect(machine.write(HV_MSR.HYPERCALL, 0x100_0000_0001n)).toBe(false)
    expect(machine.write(HV_MSR.HYPERCALL, 0xffff_ffff_ffff_f001n)).toBe(false)
    expect(machine.read(HV_MSR.HYPERCALL)).toBe(0xf0000001n)
    for (const gpa of [0x1_0000_0000n, 0xff_ffff_f000n]) {
      expect(machine.write(HV_MSR.HYPERCALL, gpa | 1n)).toBe(true)
      expect(machine.partition.memory.readU32(Number(gpa))).toBe(0xc3c1010f)
    }
    expect(machine.partition.memory.readU32(0xf0000000)).toBeUndefined()
  })

  it('stays where it is once it is locked, until a reset', () => {
    const machine = new HyperVMachine()
    machine.enableHypercalls()
    expect(machine.write(HV_MSR.HYPERCALL, PAGES.HYPERCALL | 3)).toBe(true)
    expect(machine.write(HV_MSR.HYPERCALL, 0x40000 | 1)).toBe(true)
    expect(machine.read(HV_MSR.HYPERCALL)).toBe(BigInt(PAGES.HYPERCALL | 3))
    machine.partition.reset()
    expect(machine.read(HV_MSR.HYPERCALL)).toBe(0n)
    expect(machine.read(HV_MSR.GUEST_OS_ID)).toBe(0n)
    machine.enableHypercalls()
  })
})

describe('Reference time', () => {
  /** Reference time as a guest computes it (TLFS, "Partition Reference TSC Mechanism"). */
  function computed(machine: HyperVMachine, gpa: number): { sequence: number; time: bigint } {
    const { memory } = machine.partition
    const [scale, offset] = [memory.readU64(gpa + 8) as bigint, memory.readU64(gpa + 16) as bigint]
    const time = BigInt.asUintN(64, ((machine.vp().timeStampCounter * scale) >> 64n) + offset)
    return { sequence: memory.readU32(gpa) as number, time }
  }

  it('counts units of 100 ns, and cannot be set', () => {
    const machine = new HyperVMachine()
    expect(machine.read(HV_MSR.TIME_REF_COUNT)).toBe(10_000n)
    machine.advance(12_345)
    expect(machine.read(HV_MSR.TIME_REF_COUNT, 1)).toBe(10_123n)
    expect(machine.write(HV_MSR.TIME_REF_COUNT, 0)).toBe(false)
  })

  it('is what the page and the time-stamp counter make of it', () => {
    const machine = new HyperVMachine()
    machine.vp().timeStampCounter = 987_654_321n
    expect(machine.write(HV_MSR.REFERENCE_TSC, 0x50001)).toBe(true)
    expect(machine.read(HV_MSR.REFERENCE_TSC)).toBe(0x50001n)
    for (const step of [0, 1000, 77_777, 1e9, 86_400e9]) {
      machine.advance(step)
      const { sequence, time } = computed(machine, 0x50000)
      expect(sequence).toBe(1)
      const counter = machine.read(HV_MSR.TIME_REF_COUNT) as bigint
      expect(Math.abs(Number(time - counter))).toBeLessThanOrEqual(1)
    }
    expect(machine.partition.memory.writeU32(0x50000, 7)).toBe(false)
    machine.vp().timeStampCounter = 5n
    machine.vp().intercepts.timeStampWritten?.(0)
    const after = computed(machine, 0x50000)
    expect(after.sequence).toBe(2)
    expect(Math.abs(Number(after.time - (machine.read(HV_MSR.TIME_REF_COUNT) as bigint)))).toBeLessThanOrEqual(1)
    expect(machine.write(HV_MSR.REFERENCE_TSC, 0)).toBe(true)
    expect(machine.partition.memory.readU64(0x50008)).toBe(0n)
  })

  it('is right although the host runs something else while the page is made', () => {
    const machine = new HyperVMachine()
    const vp = machine.vp()
    let counter = 123_456n
    let readings = 0
    Object.defineProperty(vp, 'timeStampCounter', {
      set: (value: bigint) => {
        counter = value
      },
      get: () => {
        // The host is away for 8 ms, before the counter is read and after it.
        readings++
        if (readings === 1) machine.advance(8e6)
        const value = counter
        if (readings === 2) machine.advance(8e6)
        return value
      },
    })
    expect(machine.write(HV_MSR.REFERENCE_TSC, 0x50001)).toBe(true)
    expect(readings).toBeGreaterThan(2)
    const { time } = computed(machine, 0x50000)
    expect(Math.abs(Number(time - (machine.read(HV_MSR.TIME_REF_COUNT) as bigint)))).toBeLessThanOrEqual(1)
  })

  it('tells the frequencies of the processor', () => {
    const machine = new HyperVMachine()
    expect(machine.read(HV_MSR.TSC_FREQUENCY)).toBe(2_000_000_000n)
    expect(machine.read(HV_MSR.APIC_FREQUENCY)).toBe(1_000_000_000n)
    expect(machine.write(HV_MSR.TSC_FREQUENCY, 1)).toBe(false)
  })
})

describe('Other MSRs', () => {
  it('number the processors', () => {
    const machine = new HyperVMachine()
    expect([machine.read(HV_MSR.VP_INDEX, 0), machine.read(HV_MSR.VP_INDEX, 1)]).toEqual([0n, 1n])
    expect(machine.write(HV_MSR.VP_INDEX, 1)).toBe(false)
  })

  it('reach the local APIC', () => {
    const machine = new HyperVMachine()
    const { localApic } = machine.vp(1)
    expect(machine.write(HV_MSR.EOI, 0, 1)).toBe(true)
    expect(localApic.ended).toBe(1)
    expect(machine.read(HV_MSR.EOI, 1)).toBeUndefined()
    expect(machine.write(HV_MSR.ICR, 0x0100_0000_0000_40f0n, 1)).toBe(true)
    expect(localApic.icr).toBe(0x0100_0000_0000_40f0n)
    expect(machine.read(HV_MSR.ICR, 1)).toBe(0x0100_0000_0000_40f0n)
    expect(machine.write(HV_MSR.TPR, 0x80, 1)).toBe(true)
    expect(machine.read(HV_MSR.TPR, 1)).toBe(0x80n)
    expect(machine.write(HV_MSR.TPR, 0x100, 1)).toBe(false)
    expect(machine.vp(0).localApic.ended).toBe(0)
  })

  it('place an assist page for each processor, which keeps its contents', () => {
    const machine = new HyperVMachine()
    const { memory } = machine.partition
    expect(machine.write(HV_MSR.VP_ASSIST_PAGE, 0x60001, 0)).toBe(true)
    expect(machine.write(HV_MSR.VP_ASSIST_PAGE, 0x61001, 1)).toBe(true)
    expect(memory.writeU32(0x61000, 5)).toBe(true)
    expect(memory.readU32(0x60000)).toBe(0)
    expect(machine.write(HV_MSR.VP_ASSIST_PAGE, 0x62001, 1)).toBe(true)
    expect([memory.readU32(0x61000), memory.readU32(0x62000)]).toEqual([0, 5])
    // Beyond the GPA space it is seen nowhere, and the register keeps it.
    expect(machine.write(HV_MSR.VP_ASSIST_PAGE, 0xffff_ffff_ffff_f001n, 1)).toBe(true)
    expect(machine.read(HV_MSR.VP_ASSIST_PAGE, 1)).toBe(0xffff_ffff_ffff_f001n)
    expect(memory.readU32(0x62000)).toBe(0)
  })

  it('can have every page above RAM and above 4 GiB', () => {
    const machine = new HyperVMachine()
    const { memory } = machine.partition
    machine.enableHypercalls()
    const base = 0x12_3456_0000n
    const places: readonly (readonly [number, number])[] = [
      [HV_MSR.VP_ASSIST_PAGE, 0],
      [HV_MSR.VP_ASSIST_PAGE, 1],
      [HV_MSR.SIMP, 0],
      [HV_MSR.SIEFP, 1],
      [HV_MSR.REFERENCE_TSC, 0],
    ]
    for (const [index, [msr, vpIndex]] of places.entries()) {
      const gpa = base + BigInt(index) * 4096n
      expect(machine.write(msr, gpa | 1n, vpIndex)).toBe(true)
      expect(machine.read(msr, vpIndex)).toBe(gpa | 1n)
      const page = machine.processor.memory?.pages.get(Number(gpa) / 4096)
      expect(page?.access).toBe(msr === HV_MSR.REFERENCE_TSC ? 1 | 16 : 7)
      if (msr !== HV_MSR.REFERENCE_TSC) expect(memory.writeU32(Number(gpa) + 8, index)).toBe(true)
    }
    expect(memory.readU32(Number(base) + 4096 + 8)).toBe(1)
    expect(memory.readU32(Number(base) + 4 * 4096)).toBe(1)
    expect(machine.write(HV_MSR.SIMP, 0)).toBe(true)
    expect(memory.readU32(Number(base) + 2 * 4096)).toBeUndefined()
  })

  it('give the local APIC the page for its EOI assist while it is to be seen', () => {
    const machine = new HyperVMachine()
    const { localApic } = machine.vp(1)
    expect(machine.write(HV_MSR.VP_ASSIST_PAGE, 0x61001, 1)).toBe(true)
    expect(machine.vp(0).localApic.assist).toBeUndefined()
    Atomics.or(localApic.assist?.words as Int32Array, 0, 1)
    expect(machine.partition.memory.readU32(0x61000)).toBe(1)
    expect(machine.write(HV_MSR.VP_ASSIST_PAGE, 0x61000, 1)).toBe(true)
    expect(localApic.assist).toBeUndefined()
    expect(machine.write(HV_MSR.VP_ASSIST_PAGE, 0xffff_ffff_ffff_f001n, 1)).toBe(true)
    expect(localApic.assist).toBeUndefined()
    expect(machine.write(HV_MSR.VP_ASSIST_PAGE, 0x61001, 1)).toBe(true)
    machine.partition.reset()
    expect(localApic.assist).toBeUndefined()
  })

  it('halt the processor that reads GUEST_IDLE', () => {
    const machine = new HyperVMachine()
    expect(machine.read(HV_MSR.GUEST_IDLE, 1)).toBe(0n)
    expect([machine.vp(0).idles, machine.vp(1).idles]).toEqual([0, 1])
    expect(machine.write(HV_MSR.GUEST_IDLE, 0)).toBe(false)
  })

  it('reset the machine, and only for a one', async () => {
    const exits: unknown[] = []
    const machine = new HyperVMachine()
    machine.vp().script = () => {
      expect(machine.write(HV_MSR.RESET, 2)).toBe(true)
      expect(machine.vp().exitRequested).toBe(false)
      expect(machine.write(HV_MSR.RESET, 1)).toBe(true)
      expect(machine.vp().exitRequested).toBe(true)
      return 'budget'
    }
    machine.partition.clock.stop()
    exits.push(await machine.partition.run())
    expect(exits).toEqual([{ type: 'reset' }])
    expect(machine.read(HV_MSR.RESET)).toBe(0n)
  })

  it('tell how long a processor has run', async () => {
    const machine = new HyperVMachine()
    machine.vp(1).script = () => 'wait-for-sipi'
    const seen: (bigint | undefined)[] = []
    let slices = 0
    machine.vp().script = () => {
      machine.host.time += 5_000_000
      seen.push(machine.read(HV_MSR.VP_RUNTIME))
      return ++slices === 2 ? 'shutdown' : 'budget'
    }
    machine.partition.clock.stop()
    await machine.partition.run()
    expect(seen).toEqual([50_000n, 100_000n])
    expect(machine.write(HV_MSR.VP_RUNTIME, 0)).toBe(false)
  })
})

describe('Crash reports', () => {
  const TEXT = '<0>[   12.3] Kernel panic - not syncing: ünexpected'

  function crash(machine: HyperVMachine, control: bigint, length = new TextEncoder().encode(TEXT).length): void {
    machine.partition.memory.write(0x70000, new TextEncoder().encode(TEXT))
    for (const [index, value] of [1n, 2n, 3n, 0x70000n, BigInt(length)].entries())
      expect(machine.write(HV_MSR.CRASH_P0 + index, value)).toBe(true)
    expect(machine.write(HV_MSR.CRASH_CTL, control)).toBe(true)
  }

  it('say what they can, end the run, and carry parameters and message', async () => {
    const machine = new HyperVMachine()
    machine.partition.clock.stop()
    expect(machine.read(HV_MSR.CRASH_CTL)).toBe((1n << 63n) | (1n << 62n))
    machine.vp().script = () => {
      crash(machine, (1n << 63n) | (1n << 62n))
      return 'budget'
    }
    const exit = await machine.partition.run()
    expect(exit).toEqual({
      type: 'guest-crash',
      parameters: [1n, 2n, 3n, 0x70000n, BigInt(new TextEncoder().encode(TEXT).length)],
      message: TEXT,
    })
    expect(machine.read(HV_MSR.CRASH_P0 + 2)).toBe(3n)
  })

  it('do without a message that is not asked for or not in memory, and take no more than 4 KiB of one', async () => {
    for (const [control, address, length, expected] of [
      [1n << 63n, 0x70000n, 10n, undefined],
      [3n << 62n, 0xfff0_0000n, 10n, undefined],
      [3n << 62n, 0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ffffn, undefined],
      [3n << 62n, 0x70000n, 0n, undefined],
      [3n << 62n, 0x80000n, 0xffff_ffff_ffff_ffffn, 'x'.repeat(4096)],
    ] as const) {
      const machine = new HyperVMachine()
      machine.partition.clock.stop()
      machine.partition.memory.fill(0x80000, 0x2000, 0x78)
      machine.vp().script = () => {
        machine.write(HV_MSR.CRASH_P0 + 3, address)
        machine.write(HV_MSR.CRASH_P0 + 4, length)
        machine.write(HV_MSR.CRASH_CTL, control)
        return 'budget'
      }
      const exit = await machine.partition.run()
      expect(exit.type).toBe('guest-crash')
      expect((exit as { message?: string }).message).toBe(expected)
    }
  })

  it('leave a guest running that has a dump to write', async () => {
    const machine = new HyperVMachine({ onGuestCrash: 'continue' })
    machine.partition.clock.stop()
    machine.vp().script = () => {
      crash(machine, 1n << 63n)
      return 'shutdown'
    }
    expect(await machine.partition.run()).toEqual({ type: 'triple-fault', vpIndex: 0 })
  })

  it('are not made by a write that does not notify', () => {
    const machine = new HyperVMachine()
    expect(machine.write(HV_MSR.CRASH_CTL, 1n << 62n)).toBe(true)
    expect(machine.vp().exitRequested).toBe(false)
  })
})
