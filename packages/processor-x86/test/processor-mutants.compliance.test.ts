// The suite for processors finds those that do something wrong: this one, with one thing of it broken at a time.

import {
  DELIVERY_MODE,
  type Intercepts,
  type PartitionMemory,
  type Processor,
  type VirtualProcessor,
  type VirtualProcessorOptions,
} from '@partita/interface'
import { type ProcessorSubject, processorChecks } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import { createProcessor } from '../src/index.ts'

/** One thing that is wrong: other methods in the place of the processor's. `vp` and `memory` are the sound ones. */
interface Mutant {
  readonly memory?: (memory: PartitionMemory) => Partial<PartitionMemory>
  readonly anySize?: boolean
  readonly intercepts?: (intercepts: Intercepts) => Partial<Intercepts>
  readonly vp?: (vp: VirtualProcessor) => Partial<VirtualProcessor>
  /** The check that has to find it. */
  readonly foundBy: string
}

const MUTANTS: Readonly<Record<string, Mutant>> = {
  'adds one to a register': {
    vp: (vp) => ({ getRegister: (name) => vp.getRegister(name) + (name === 'rax' ? 1n : 0n) }),
    foundBy: 'computes what programs with known outcomes compute, in code of 16, 32 and 64 bits',
  },
  'mistakes one register for another': {
    vp: (vp) => ({ getRegister: (name) => vp.getRegister(name === 'r9' ? 'r8' : name) }),
    foundBy: 'computes what a model computes, for random programs',
  },
  'asks for bytes of ports alone': {
    intercepts: (to) => ({ portRead: (vp, port) => to.portRead(vp, port, 1) }),
    foundBy: 'asks for ports in the size of the access, and gives answers as they are',
  },
  'writes elements of strings twice': {
    intercepts: (to) => ({
      portWrite: (vp, port, size, value) => {
        to.portWrite(vp, port, size, value)
        if (size === 2) to.portWrite(vp, port, size, value)
      },
    }),
    foundBy: 'moves strings to and from ports, one element an access',
  },
  'cuts what it writes to registers of devices': {
    intercepts: (to) => ({ mmioWrite: (vp, gpa, size, value) => to.mmioWrite(vp, gpa, size, value & 0xffff) }),
    foundBy: 'asks for addresses without memory, aligned, and split where they are not',
  },
  'maps everything for everything': {
    memory: (memory) => ({ map: (page, pages, offset) => memory.map(page, pages, offset, 7) }),
    foundBy: 'maps pages with their rights: what may not be written is an intercept, what is unmapped too',
  },
  'takes every MSR': {
    intercepts: (to) => ({
      msrWrite: (vp, index, value) => {
        to.msrWrite(vp, index, value)
        return true
      },
    }),
    foundBy: 'asks for CPUID, MSRs that are not its own, and hypercalls, and raises what it is told',
  },
  'has slices that are too long': {
    vp: (vp) => ({ run: (budget) => vp.run(budget * 10_000) }),
    foundBy: 'gives up a slice when its budget is used up, and goes on where it was',
  },
  'does not leave when it is asked to': {
    vp: () => ({ requestExit: () => {} }),
    foundBy: 'leaves soon when an intercept asks it to',
  },
  'forgets where a page fault was': {
    vp: (vp) => ({ getRegister: (name) => (name === 'cr2' ? 0n : vp.getRegister(name)) }),
    foundBy: 'raises exceptions with their error codes, at the instruction that caused them',
  },
  'knows no NX bit': {
    vp: (vp) => ({
      setRegister: (name, value) => vp.setRegister(name, name === 'efer' ? value & ~0x800n : value),
    }),
    foundBy: 'keeps programs out of pages that are not theirs, not for writing, or not for code',
  },
  'does not say that it halts': {
    vp: (vp) => ({
      run: (budget) => {
        const exit = vp.run(budget)
        return exit === 'halt' ? 'budget' : exit
      },
    }),
    foundBy: 'halts until an interrupt comes that it lets in',
  },
  'mistakes the levels of interrupts': {
    vp: (vp) => ({ receiveInterrupt: (message) => vp.receiveInterrupt({ ...message, level: false }) }),
    foundBy:
      'delivers interrupts by their priority, one class after the other, and tells of the end of level-triggered ones',
  },
  'has no interrupt pin': {
    vp: () => ({ setExternalInterrupt: () => {} }),
    foundBy: 'asks for the vector of an interrupt at its pin, while the pin is asserted',
  },
  'starts somewhere else': {
    vp: (vp) => ({
      receiveInterrupt: (message) =>
        vp.receiveInterrupt(
          message.deliveryMode === DELIVERY_MODE.STARTUP ? { ...message, vector: message.vector + 1 } : message,
        ),
    }),
    foundBy: 'starts where a startup message says',
  },
  'sends to nobody': {
    intercepts: () => ({ sendInterrupt: () => {} }),
    foundBy: 'sends what a guest writes to the interrupt command register',
  },
  'keeps its deadline to itself': {
    vp: () => ({
      get nextDeadline() {
        return Number.POSITIVE_INFINITY
      },
    }),
    foundBy: 'fires the timer of its local APIC when its time has come, and says when that is',
  },
  'takes a shutdown for a halt': {
    vp: (vp) => ({
      run: (budget) => {
        const exit = vp.run(budget)
        return exit === 'shutdown' ? 'halt' : exit
      },
    }),
    foundBy: 'shuts down after a fault without handlers',
  },
  'makes memory of any size': {
    anySize: true,
    foundBy: 'makes memory of whole pages, zeroed, and refuses other sizes with ERR_PROCESSOR_MEMORY',
  },
  'keeps registers over INIT': {
    vp: (vp) => ({
      reset: (kind) => {
        vp.reset(kind)
        vp.setRegister('rbx', 1n)
      },
    }),
    foundBy: 'is at power-on and after INIT as the SDM says, table 9-1',
  },
  'has no XMM registers': {
    vp: () => ({ getXmm: () => new Uint8Array(16) }),
    foundBy: 'has the registers that it is given',
  },
  'translates nothing for debuggers': {
    vp: () => ({ translateLinear: (linear) => Number(linear) }),
    foundBy: 'translates addresses as its page tables do, and forgets translations when it is told to',
  },
  'does not see what the host has changed': {
    memory: () => ({ written: () => {} }),
    foundBy: 'sees code that has changed: by itself, and by the host',
  },
  'restores not all of it': {
    vp: (vp) => ({
      restore: (state) => {
        vp.restore(state)
        vp.setRegister('r15', vp.getRegister('r15') ^ 1n)
        vp.setRegister('rsi', vp.getRegister('rsi') ^ 1n)
      },
    }),
    foundBy: 'goes on elsewhere from a state that was saved between any two slices',
  },
  'loses interrupts that wait': {
    vp: (vp) => ({
      restore: (state) => {
        const fresh = vp.save().data['apic'] ?? null
        vp.restore({ version: state.version, data: { ...state.data, apic: fresh } })
      },
    }),
    foundBy: 'saves interrupts that wait, and a halt',
  },
  'takes any state': {
    vp: (vp) => ({
      restore: (state) => {
        try {
          vp.restore(state)
        } catch {
          // Whatever.
        }
      },
    }),
    foundBy: 'refuses a state that is not one with ERR_STATE_INVALID',
  },
  'has a clock that stands': {
    vp: () => ({
      get timeStampCounter() {
        return 0n
      },
    }),
    foundBy: 'counts time stamps by reference time',
  },
  'does not sleep': {
    vp: () => ({ idle: () => {} }),
    foundBy: 'sleeps when the hypervisor says so, until an interrupt is pending, let in or not',
  },
}

/** `target`, with other methods in the place of some. The sound ones run on the sound object. */
function patched<T extends object>(target: T, patch: Partial<T>): T {
  return new Proxy(target, {
    get: (_target, key) => {
      const value: unknown = Reflect.get(key in patch ? patch : target, key, key in patch ? patch : target)
      return typeof value === 'function' ? value.bind(key in patch ? patch : target) : value
    },
  })
}

function mutated(mutant: Mutant): ProcessorSubject {
  const create = (): Processor => {
    const sound = createProcessor()
    /** The sound memory behind each that was given away. */
    const memories = new Map<PartitionMemory, PartitionMemory>()
    return {
      ...sound,
      createMemory: (size) => {
        const memory = sound.createMemory(mutant.anySize && !(size > 0 && size % 4096 === 0) ? 4096 : size)
        const shown = patched(memory, mutant.memory?.(memory) ?? {})
        memories.set(shown, memory)
        return shown
      },
      createVirtualProcessor: (options: VirtualProcessorOptions) => {
        const intercepts = patched(options.intercepts, mutant.intercepts?.(options.intercepts) ?? {})
        const memory = memories.get(options.memory) ?? options.memory
        const vp = sound.createVirtualProcessor({ ...options, memory, intercepts })
        return patched(vp, mutant.vp?.(vp) ?? {})
      },
    }
  }
  return { create, runs: 2 }
}

describe('the suite for processors', () => {
  it.each(Object.keys(MUTANTS))('finds one that %s', async (name) => {
    const mutant = MUTANTS[name] as Mutant
    const check = processorChecks(mutated(mutant)).find((one) => one.name === mutant.foundBy)
    if (check === undefined) throw new Error(`there is no check '${mutant.foundBy}'`)
    await expect(check.run()).rejects.toMatchObject({ code: 'ERR_COMPLIANCE', data: { check: mutant.foundBy } })
  })

  it('has no check that finds nobody', () => {
    const names = processorChecks(mutated({ foundBy: '' })).map(({ name }) => name)
    expect(new Set(Object.values(MUTANTS).map(({ foundBy }) => foundBy))).toEqual(new Set(names))
  })
})
