// A machine for tests of instructions: 64-bit mode at privilege level 3 with page tables of its own, one instruction at a time. Exceptions go through a real IDT to
// a supervisor stack, from which they are read back.

import type { Clock, Intercepts } from '@partita/interface'
import { silentLogger } from '@partita/interface'
import { ACTIVITY } from '../cpu.ts'
import { SoftwareMemory } from '../memory.ts'
import { GPR, SEGMENT, STATE } from '../state-layout.ts'
import type { TranslationOptions } from '../translator/translator.ts'
import { SoftwareVirtualProcessor } from '../virtual-processor.ts'
import { translationMode } from './translation-mode.ts'

/** Architectural state of user code. `x87` holds bytes 0 to 159 of an FXSAVE64 image. */
export interface MachineState {
  gpr: BigUint64Array
  rip: bigint
  rflags: bigint
  xmm: Uint8Array
  mxcsr: number
  x87: Uint8Array
  fsBase: bigint
  gsBase: bigint
}

/** What one step came to. */
export type StepResult = { exception: null } | { exception: number; errorCode: number; cr2: bigint }

const PAGE = 4096
const RAM = 64 * 1024 * 1024
/** Linear addresses of the supervisor's own page frames. */
const KERNEL = 0xffff800000000000n
const GDT = 0x2000
const IDT = 0x3000
const TSS = 0x4000
const STACK_TOP = 0x8000
const HANDLERS = 0x9000
const PML4 = 0x10000
const FIRST_FREE = 0x11000
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17])
const KERNEL_CS = 0x08
const KERNEL_SS = 0x10
const USER_SS = 0x1b
const USER_CS = 0x23

const clock: Clock = {
  now: () => 0,
  wallTime: () => 0,
  createTimer: () => ({ arm() {}, cancel() {}, deadline: Number.POSITIVE_INFINITY }),
}
const intercepts: Intercepts = {
  portRead: () => 0xffffffff,
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

export class SingleStepMachine {
  readonly vp: SoftwareVirtualProcessor
  readonly #memory: SoftwareMemory
  /** Whether steps are of translated code. */
  readonly #translated: boolean
  #free = FIRST_FREE

  static async create(): Promise<SingleStepMachine> {
    return new SingleStepMachine()
  }

  /** `translation`: as the environment asks, unless given. */
  constructor(translation: TranslationOptions = translationMode()) {
    this.#translated = translation.mode === 'on' && translation.instructions === 1
    const memory = new SoftwareMemory(RAM)
    memory.map(0, RAM / PAGE, memory.ramOffset, 7)
    this.#memory = memory
    const vp = new SoftwareVirtualProcessor({
      index: 0,
      apicId: 0,
      memory,
      intercepts,
      clock,
      logger: silentLogger,
      translation,
    })
    this.vp = vp
    for (let page = 0; page < 16; page++) this.#mapPage(KERNEL + BigInt(page * PAGE), page * PAGE, 3n)
    const view = this.#view
    for (const [selector, high] of [
      [KERNEL_CS, 0x00af9b00],
      [KERNEL_SS, 0x00cf9300],
      [USER_SS & ~3, 0x00cff300],
      [USER_CS & ~3, 0x00affb00],
    ] as const) {
      view(GDT + selector, 8).setUint32(0, 0xffff, true)
      view(GDT + selector, 8).setUint32(4, high, true)
    }
    for (let vector = 0; vector < 256; vector++) {
      const handler = KERNEL + BigInt(HANDLERS + vector * 16)
      const gate = view(IDT + vector * 16, 16)
      const dpl = vector === 3 || vector === 4 ? 3 : 0
      gate.setUint32(0, (KERNEL_CS << 16) | Number(handler & 0xffffn), true)
      gate.setUint32(4, (Number((handler >> 16n) & 0xffffn) << 16) | 0x8e00 | (dpl << 13), true)
      gate.setUint32(8, Number(handler >> 32n), true)
    }
    // handlers halt
    this.#memory.u8.fill(0xf4, memory.ramOffset + HANDLERS, memory.ramOffset + HANDLERS + PAGE)
    view(TSS, 104).setBigUint64(4, KERNEL + BigInt(STACK_TOP), true)
    view(TSS, 104).setUint16(102, 104, true)

    vp.setRegister('cr3', BigInt(PML4))
    vp.setRegister('cr4', 0x20n | 0x200n | 0x400n | 0x10000n | 0x40000n | 0x80n)
    vp.setRegister('efer', 0xd01n)
    vp.setRegister('cr0', 0x80050033n)
    vp.cpu.set64(STATE.XCR0, 3n)
    vp.setDescriptorTable('gdtr', KERNEL + BigInt(GDT), 0x7f)
    vp.setDescriptorTable('idtr', KERNEL + BigInt(IDT), 0xfff)
    vp.setSegment('tr', { selector: 0x40, base: KERNEL + BigInt(TSS), limit: 103, attributes: 0x8b })
    this.#user()
  }

  #view = (gpa: number, length: number): DataView =>
    new DataView(this.#memory.buffer, this.#memory.ramOffset + gpa, length)

  #user(): void {
    const { vp } = this
    vp.setSegment('cs', { selector: USER_CS, base: 0n, limit: 0xffffffff, attributes: 0xa0fb })
    vp.setSegment('ss', { selector: USER_SS, base: 0n, limit: 0xffffffff, attributes: 0xc0f3 })
    vp.cpu.updateMode()
  }

  #allocate(): number {
    const page = this.#free
    this.#free += PAGE
    if (page >= RAM) throw new RangeError('the test machine is out of memory')
    return page
  }
  #mapPage(linear: bigint, gpa: number, bits: bigint): void {
    let table = PML4
    for (const shift of [39n, 30n, 21n]) {
      const entry = this.#view(table + Number((linear >> shift) & 0x1ffn) * 8, 8)
      let next = entry.getBigUint64(0, true)
      if (next === 0n) {
        next = BigInt(this.#allocate()) | 7n
        entry.setBigUint64(0, next, true)
      }
      table = Number(next & 0xffff_f000n)
    }
    this.#view(table + Number((linear >> 12n) & 0x1ffn) * 8, 8).setBigUint64(0, BigInt(gpa) | bits, true)
  }

  /** Map fresh pages for user code. */
  map(linear: bigint, length: number, access: { write: boolean; execute: boolean }): void {
    for (let done = 0; done < length; done += PAGE) {
      this.#mapPage(
        linear + BigInt(done),
        this.#allocate(),
        5n | (access.write ? 2n : 0n) | (access.execute ? 0n : 1n << 63n),
      )
    }
    this.vp.cpu.mmu.flush(true)
  }

  #each(linear: bigint, length: number, body: (gpa: number, done: number, count: number) => void): void {
    for (let done = 0; done < length; ) {
      const at = BigInt.asUintN(64, linear + BigInt(done))
      const gpa = this.vp.translateLinear(at)
      if (gpa < 0) throw new RangeError(`nothing is mapped at ${at.toString(16)}`)
      const count = Math.min(length - done, PAGE - (gpa % PAGE))
      body(gpa, done, count)
      done += count
    }
  }
  writeMemory(linear: bigint, bytes: Uint8Array): void {
    this.#each(linear, bytes.length, (gpa, done, count) => {
      this.#memory.u8.set(bytes.subarray(done, done + count), this.#memory.ramOffset + gpa)
      this.#memory.written(gpa, count)
    })
  }
  readMemory(linear: bigint, length: number): Uint8Array {
    const out = new Uint8Array(length)
    this.#each(linear, length, (gpa, done, count) => {
      const at = this.#memory.ramOffset + gpa
      out.set(this.#memory.u8.subarray(at, at + count), done)
    })
    return out
  }

  set(state: MachineState): void {
    const { cpu } = this.vp
    for (let r = 0; r < 16; r++) cpu.setGpr(r, state.gpr[r] as bigint)
    cpu.set64(STATE.RIP, state.rip)
    cpu.flags = Number(state.rflags & 0xffffffffn)
    cpu.u8.set(state.xmm, cpu.base + STATE.XMM)
    cpu.set32(STATE.MXCSR, state.mxcsr)
    const fx = new DataView(state.x87.buffer, state.x87.byteOffset, state.x87.byteLength)
    const status = fx.getUint16(2, true)
    const top = (status >> 11) & 7
    cpu.set32(STATE.X87_CONTROL, fx.getUint16(0, true))
    cpu.set32(STATE.X87_STATUS, status & ~0x3800)
    cpu.set32(STATE.X87_TOP, top)
    cpu.set32(STATE.X87_TAGS, fx.getUint8(4))
    for (let i = 0; i < 8; i++) {
      cpu.u8.set(state.x87.subarray(32 + i * 16, 42 + i * 16), cpu.base + STATE.X87 + ((top + i) & 7) * 16)
    }
    cpu.setSegmentBase(SEGMENT.FS, state.fsBase)
    cpu.setSegmentBase(SEGMENT.GS, state.gsBase)
    cpu.updateContext()
  }
  get(): MachineState {
    const { cpu } = this.vp
    const x87 = new Uint8Array(160)
    const fx = new DataView(x87.buffer)
    const top = cpu.get32(STATE.X87_TOP)
    fx.setUint16(0, cpu.get32(STATE.X87_CONTROL), true)
    fx.setUint16(2, (cpu.get32(STATE.X87_STATUS) & ~0x3800) | (top << 11), true)
    fx.setUint8(4, cpu.get32(STATE.X87_TAGS))
    fx.setUint32(24, cpu.get32(STATE.MXCSR), true)
    for (let i = 0; i < 8; i++) {
      const at = cpu.base + STATE.X87 + ((top + i) & 7) * 16
      x87.set(cpu.u8.subarray(at, at + 10), 32 + i * 16)
    }
    return {
      gpr: BigUint64Array.from({ length: 16 }, (_, r) => cpu.gpr(r)),
      rip: cpu.get64(STATE.RIP),
      rflags: BigInt(cpu.flags >>> 0),
      xmm: cpu.u8.slice(cpu.base + STATE.XMM, cpu.base + STATE.XMM + 256),
      mxcsr: cpu.get32(STATE.MXCSR),
      x87,
      fsBase: cpu.segmentBase(SEGMENT.FS),
      gsBase: cpu.segmentBase(SEGMENT.GS),
    }
  }

  /** Execute one instruction, or one iteration of a repeated one. After an exception the state is the one that its handler was given. */
  step(): StepResult {
    const { vp } = this
    const { cpu } = vp
    vp.step(this.#translated)
    return cpu.cpl === 3 ? { exception: null } : this.#exception()
  }
  /** Execute until an exception, in slices of `budget` blocks. The state is then as {@link SingleStepMachine.step} leaves it. */
  run(budget: number): StepResult {
    const { vp } = this
    while (vp.cpu.cpl === 3) vp.run(budget)
    vp.cpu.activity = ACTIVITY.RUNNING
    return this.#exception()
  }
  /** Back from the handler of an exception to where it was raised. */
  #exception(): StepResult {
    const { cpu } = this.vp
    const rip = cpu.get64(STATE.RIP)
    const vector = Number((rip - KERNEL - BigInt(HANDLERS)) / 16n)
    const frame = this.#view(Number(cpu.gpr(GPR.RSP) - KERNEL), 48)
    const hasError = WITH_ERROR.has(vector)
    const at = hasError ? 8 : 0
    const errorCode = hasError ? frame.getUint32(0, true) : 0
    cpu.set64(STATE.RIP, frame.getBigUint64(at, true))
    cpu.setGpr(GPR.RSP, frame.getBigUint64(at + 24, true))
    const flags = frame.getUint32(at + 16, true)
    this.#user()
    cpu.flags = flags & ~0x10000
    return { exception: vector, errorCode, cr2: cpu.get64(STATE.CR2) }
  }
}
