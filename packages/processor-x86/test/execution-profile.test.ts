import { type Clock, type Intercepts, silentLogger } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { SoftwareMemory } from '../src/memory.ts'
import { SoftwareVirtualProcessor } from '../src/virtual-processor.ts'

const RAM = 1 << 20
const CODE = 0x1000

const clock: Clock = {
  now: () => 0,
  wallTime: () => 0,
  createTimer: () => ({ arm() {}, cancel() {}, deadline: Number.POSITIVE_INFINITY }),
}
const intercepts: Intercepts = {
  portRead: () => 0,
  portWrite() {},
  mmioRead: () => 0,
  mmioWrite() {},
  cpuid() {},
  msrRead: () => false,
  msrWrite: () => false,
  hypercall: () => false,
  acknowledgeInterrupt: () => 0,
  endOfInterrupt() {},
  sendInterrupt() {},
}

/** Runs real-mode code to its HLT. */
function run(profile: boolean, ...code: number[]): SoftwareVirtualProcessor {
  const memory = new SoftwareMemory(RAM)
  memory.map(0, RAM / 4096, memory.ramOffset, 7)
  memory.u8.set(code, memory.ramOffset + CODE)
  const vp = new SoftwareVirtualProcessor({
    index: 0,
    apicId: 0,
    memory,
    intercepts,
    clock,
    logger: silentLogger,
    profile,
  })
  vp.setSegment('cs', { selector: 0, base: 0n, limit: 0xffff, attributes: 0x9b })
  vp.setRegister('rip', BigInt(CODE))
  expect(vp.run(100)).toBe('halt')
  return vp
}

describe('the execution profile', () => {
  it('counts each execution of each form, and the calls of system instructions', () => {
    // mov cx, 5; mov al, [si]; again: loop again; inc eax; inc eax; hlt
    const vp = run(true, 0xb9, 5, 0, 0x8a, 0x04, 0xe2, 0xfe, 0x66, 0x40, 0x66, 0x40, 0xf4)
    const profile = vp.executionProfile()
    const forms = profile?.forms ?? []
    const executed = (start: string): number =>
      forms
        .filter(({ key }) => key.startsWith(start))
        .reduce((sum, { inline, outOfLine }) => sum + inline + outOfLine, 0)
    expect(executed('LOOP E2')).toBe(5)
    expect(executed('MOV B8')).toBe(1)
    expect(executed('MOV 8A')).toBe(1)
    expect(executed('INC 40')).toBe(2)
    expect(executed('')).toBe(vp.instructionCount)
    expect(profile?.calls['system']).toBe(1)
  })

  it('is not there unless asked for', () => {
    expect(run(false, 0xf4).executionProfile()).toBeUndefined()
  })
})
