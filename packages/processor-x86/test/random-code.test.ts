// Whatever a guest executes, the host goes on: random bytes as code, in real, protected and long mode, with random registers and page tables, never throw,
// never hang and never touch what is not the partition's.

import { type Intercepts, silentLogger } from '@partita/interface'
import { describe, expect, test } from 'vitest'
import { SoftwareMemory } from '../src/memory.ts'
import { translationMode } from '../src/testing/translation-mode.ts'
import { SoftwareVirtualProcessor } from '../src/virtual-processor.ts'

const PAGE = 4096
const RAM = 4 * 1024 * 1024
/** Slices for each random machine, and machines for each mode. */
const SLICES = 40
const MACHINES = Number(process.env.PARTITA_RANDOM_MACHINES ?? 40)

/** A small generator of known quality (xorshift32), so that a failure names its seed. */
function generator(seed: number): () => number {
  let x = seed | 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return x >>> 0
  }
}

const intercepts: Intercepts = {
  portRead: (_vp, _port, size) => (size === 4 ? 0xffffffff : (1 << (size * 8)) - 1),
  portWrite() {},
  mmioRead: () => 0xffffffff,
  mmioWrite() {},
  cpuid() {},
  msrRead: () => false,
  msrWrite: () => false,
  hypercall: () => false,
  acknowledgeInterrupt: () => 0,
  endOfInterrupt() {},
  sendInterrupt() {},
}

function machine(): { vp: SoftwareVirtualProcessor; ram: Uint8Array; memory: SoftwareMemory } {
  const memory = new SoftwareMemory(RAM)
  memory.map(0, RAM / PAGE, memory.ramOffset, 7)
  let now = 0
  const vp = new SoftwareVirtualProcessor({
    index: 0,
    apicId: 0,
    memory,
    intercepts,
    clock: {
      now: () => (now += 1000),
      wallTime: () => 0,
      createTimer: () => ({ arm() {}, cancel() {}, deadline: Number.POSITIVE_INFINITY }),
    },
    logger: silentLogger,
    translation: translationMode(),
  })
  return { vp, memory, ram: new Uint8Array(memory.buffer, memory.ramOffset, RAM) }
}

type Mode = 'real' | 'protected' | 'long'

function prepare(vp: SoftwareVirtualProcessor, ram: Uint8Array, mode: Mode, random: () => number): void {
  vp.reset('power-on')
  const words = new Uint32Array(ram.buffer, ram.byteOffset, RAM / 4)
  // dense code: mostly short opcodes with their prefixes and maps, over all of memory
  for (let i = 0; i < words.length; i++) words[i] = random()
  for (const name of ['rax', 'rcx', 'rdx', 'rbx', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r14', 'r15'] as const) {
    vp.setRegister(name, BigInt(random() % RAM))
  }
  vp.setRegister('rsp', BigInt(0x8000 + (random() & 0xfff0)))
  if (mode === 'real') {
    vp.setSegment('cs', { selector: 0x100, base: 0x1000n, limit: 0xffff, attributes: 0x9b })
    vp.setRegister('rip', BigInt(random() & 0xffff))
    return
  }
  const view = new DataView(ram.buffer, ram.byteOffset)
  // flat descriptors of all kinds at 0x1000, gates to random places at 0x2000
  const high = mode === 'long' ? 0x00af9b00 : 0x00cf9b00
  for (const [n, value] of [high, 0x00cf9300, 0x00cffb00, 0x00cff300, 0x00008900, 0x00008200].entries()) {
    view.setUint32(0x1008 + n * 8, 0x0000ffff, true)
    view.setUint32(0x100c + n * 8, value, true)
  }
  const gate = mode === 'long' ? 16 : 8
  for (let vector = 0; vector < 256; vector++) {
    const at = 0x2000 + vector * gate
    view.setUint32(at, (8 << 16) | (random() & 0xffff), true)
    view.setUint32(at + 4, 0x8e00 | ((random() & 3) << 13) | ((random() & 0x1f) << 16), true)
    if (gate === 16) view.setBigUint64(at + 8, 0n, true)
  }
  vp.setDescriptorTable('gdtr', 0x1000n, 0xff)
  vp.setDescriptorTable('idtr', 0x2000n, 256 * gate - 1)
  vp.setSegment('ds', { selector: 0x10, base: 0n, limit: 0xffffffff, attributes: 0xc093 })
  vp.setSegment('es', { selector: 0x10, base: 0n, limit: 0xffffffff, attributes: 0xc093 })
  vp.setSegment('ss', { selector: 0x10, base: 0n, limit: 0xffffffff, attributes: 0xc093 })
  if (mode === 'long') {
    // identity map of 2 MiB pages
    view.setBigUint64(0x10000, 0x11007n, true)
    view.setBigUint64(0x11000, 0x12007n, true)
    for (let n = 0; n < 512; n++) view.setBigUint64(0x12000 + n * 8, BigInt(n * 0x200000) | 0x87n, true)
    vp.setRegister('cr3', 0x10000n)
    vp.setRegister('cr4', 0x6a0n)
    vp.setRegister('efer', 0xd01n)
    vp.setRegister('cr0', 0x80000033n)
    vp.setSegment('cs', { selector: 8, base: 0n, limit: 0xffffffff, attributes: 0xa09b })
  } else {
    vp.setRegister('cr0', 0x33n)
    vp.setRegister('cr4', 0x600n)
    vp.setSegment('cs', { selector: 8, base: 0n, limit: 0xffffffff, attributes: 0xc09b })
  }
  vp.setRegister('rip', BigInt(0x20000 + (random() % (RAM - 0x20000))))
}

describe('random code', () => {
  test.each<Mode>(['real', 'protected', 'long'])('in %s mode', { timeout: 120_000 }, (mode) => {
    const { vp, ram, memory } = machine()
    const outside = new Uint8Array(memory.buffer, 0, PAGE)
    let executed = 0
    for (let seed = 1; seed <= MACHINES; seed++) {
      const random = generator(seed * 7919)
      prepare(vp, ram, mode, random)
      try {
        for (let slice = 0; slice < SLICES; slice++) {
          const exit = vp.run(50)
          if (exit === 'halt')
            vp.receiveInterrupt({
              vector: 0x20 + (random() & 0x7f),
              deliveryMode: 4,
              destination: 0,
              logical: false,
              level: false,
            })
          if (exit === 'shutdown' || exit === 'wait-for-sipi') break
          // go on somewhere else, in whatever state that was left
          if (slice % 4 === 3) vp.setRegister('rip', BigInt(random() % RAM))
        }
      } catch (error) {
        throw new Error(`seed ${seed}, mode ${mode}, rip ${vp.getRegister('rip').toString(16)}`, { cause: error })
      }
      executed += vp.instructionCount
      expect(outside.every((byte) => byte === 0)).toBe(true)
    }
    expect(executed).toBeGreaterThan(MACHINES * 20)
  })
})
