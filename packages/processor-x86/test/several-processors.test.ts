// Stores to code that another processor of the partition has executed (SDM vol. 3, 9.1.3: cross-modifying code). Each processor has decoded code and translations
// of its own; the memory is one.
import { silentLogger } from '@partita/interface'
import { mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { ACTIVITY } from '../src/cpu.ts'
import { SoftwareVirtualProcessor } from '../src/virtual-processor.ts'
import { AT, SystemMachine } from './system-machine.ts'

/** `mov eax, imm32` has its immediate at offset 1. */
const IMMEDIATE = 1
/** Places in the page that is code and data. */
const SHARED = { CODE: AT.DATA, OTHER: AT.DATA + 0x200, WORD: AT.DATA + 0x800 } as const

let machine: SystemMachine
let second: SoftwareVirtualProcessor
beforeEach(() => {
  machine = new SystemMachine('long')
  second = new SoftwareVirtualProcessor({
    index: 1,
    // With the first one's id, so that it can begin with its state.
    apicId: 0,
    memory: machine.memory,
    intercepts: {
      portRead: () => 0,
      portWrite() {},
      mmioRead: () => 0,
      mmioWrite() {},
      cpuid() {},
      msrRead: () => false,
      msrWrite: () => false,
      hypercall: () => false,
      acknowledgeInterrupt: () => 0x20,
      endOfInterrupt() {},
      sendInterrupt() {},
    },
    clock: { now: () => 0, wallTime: () => 0, createTimer: () => ({ arm() {}, cancel() {}, deadline: Infinity }) },
    logger: silentLogger,
  })
  second.restore(machine.vp.save())
})

/** Run from `rip` to the next HLT; EAX then. */
function run(vp: SoftwareVirtualProcessor, rip: number): number {
  vp.setRegister('rip', BigInt(rip))
  vp.cpu.activity = ACTIVITY.RUNNING
  expect(vp.run(10_000)).toBe('halt')
  return Number(vp.getRegister('rax'))
}

describe('code that two processors share', () => {
  beforeEach(() => {
    for (const at of [SHARED.CODE, SHARED.OTHER]) machine.program(at, 64, (a) => a.mov('eax', 0x1111).hlt())
  })

  it('is seen changed by one when the other stores to it, which could write to the page before', () => {
    const { vp } = machine
    // The first processor has a translation for writes before the page holds code.
    machine.program(AT.CODE, 64, (a) => a.mov('ecx', 5).mov(mem(SHARED.WORD), 'ecx').hlt())
    machine.program(AT.CODE + 0x100, 64, (a) =>
      a
        .mov('ecx', 0x2222)
        .mov(mem(SHARED.CODE + IMMEDIATE), 'ecx')
        .hlt(),
    )
    run(vp, AT.CODE)
    expect(run(second, SHARED.CODE)).toBe(0x1111)
    run(vp, AT.CODE + 0x100)
    expect(run(second, SHARED.CODE)).toBe(0x2222)
  })

  it('is watched as long as one of them has it', () => {
    const { vp } = machine
    expect(run(vp, SHARED.CODE)).toBe(0x1111)
    expect(run(second, SHARED.OTHER)).toBe(0x1111)
    // What the first one has of the page is dropped …
    machine.write32(SHARED.CODE + IMMEDIATE, 0x2222)
    // … and what the second one has is still there.
    machine.write32(SHARED.OTHER + IMMEDIATE, 0x3333)
    expect(run(second, SHARED.OTHER)).toBe(0x3333)
    expect(run(vp, SHARED.CODE)).toBe(0x2222)
  })
})

describe('a processor that waits', () => {
  it('gives its turn to the others, and alone keeps it', () => {
    // Two blocks a round.
    const place = (at: number): unknown => machine.program(at, 64, (a) => a.label('again').pause().jmp('again'))
    place(AT.CODE)
    machine.vp.setRegister('rip', BigInt(AT.CODE))
    const before = machine.vp.instructionCount
    expect(machine.vp.run(10_000)).toBe('budget')
    expect(machine.vp.instructionCount - before).toBeLessThan(10)

    machine = new SystemMachine('long')
    place(AT.CODE)
    machine.vp.setRegister('rip', BigInt(AT.CODE))
    expect(machine.vp.run(10_000)).toBe('budget')
    expect(machine.vp.instructionCount).toBeGreaterThan(1000)
  })
})
