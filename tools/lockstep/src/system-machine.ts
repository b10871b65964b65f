// Runs generated programs in supervisor mode: with page tables that they may change, an APIC, and gates for all vectors. Handlers halt, and the host does what an operating
// system's handler would: it lets the program go on behind the trap, or at the next unit.

import type { Clock, Intercepts } from '@partita/interface'
import { silentLogger } from '@partita/interface'
import { ACTIVITY, FLAG } from '../../../packages/processor-x86/src/cpu.ts'
import { SoftwareMemory } from '../../../packages/processor-x86/src/memory.ts'
import { GPR, STATE } from '../../../packages/processor-x86/src/state-layout.ts'
import type { TranslationOptions } from '../../../packages/processor-x86/src/translator/translator.ts'
import { SoftwareVirtualProcessor } from '../../../packages/processor-x86/src/virtual-processor.ts'
import type { ProgramMachine, Stop } from './machine.ts'
import { CODE, CODE_SIZE, DATA, LOW, PAGE, READ_ONLY, STACK } from './program/layout.ts'
import { SYSTEM } from './program/system.ts'
import type { PlacedProgram, Program } from './program/unit.ts'
import { BUDGET, clearHidden, firstState, resumeAt, SLICES } from './user-machine.ts'

const RAM = 4 * 2 ** 20
/** Physical addresses. The supervisor's own pages are mapped at KERNEL. */
const AT = { GDT: 0x1000, IDT: 0x2000, TSS: 0x3000, HANDLERS: 0x4000, STUB: 0x5000, STACK_TOP: 0x8000 } as const
const KERNEL = 0xffff_8000_0000_0000n
const TABLES = 0x11_0000
const FRAMES = 0x20_0000
const WITH_ERROR: ReadonlySet<number> = new Set([8, 10, 11, 12, 13, 14, 17])
const INT80 = 0x80
const IA32_APIC_BASE = 0x1b
const X2APIC_SVR = 0x80f
const NX = 1n << 63n
const PRESENT = 1n
const ACCESSED = 0x20
const WRITABLE = 2n
const USER = 4n

const clock: Clock = {
  now: () => 0,
  wallTime: () => 0,
  createTimer: () => ({ arm() {}, cancel() {}, deadline: Number.POSITIVE_INFINITY }),
}

/** What is mapped: linear address, frame, rights. */
interface Mapping {
  readonly linear: bigint
  readonly frame: number
  readonly bits: bigint
}

export class SystemMachine implements ProgramMachine {
  readonly vp: SoftwareVirtualProcessor
  readonly pages: readonly Uint8Array[]
  readonly #memory: SoftwareMemory
  readonly #addresses: readonly number[]
  readonly #mappings: readonly Mapping[]
  /** Those of the page tables. */
  readonly #comparedTables: readonly DataView[]
  /** Page tables as they were made, to begin each program with. */
  readonly #tables: Uint8Array
  #freeTable: number = TABLES

  constructor(translation: TranslationOptions) {
    const memory = new SoftwareMemory(RAM)
    memory.map(0, RAM / PAGE, memory.ramOffset, 7)
    this.#memory = memory
    const intercepts: Intercepts = {
      portRead: () => 0xffffffff,
      portWrite() {},
      mmioRead: () => 0xffffffff,
      mmioWrite() {},
      cpuid() {},
      msrRead: () => false,
      msrWrite: () => false,
      hypercall: () => false,
      acknowledgeInterrupt: () => 0x20,
      endOfInterrupt() {},
      sendInterrupt: (_, message) => void this.vp.receiveInterrupt(message),
    }
    this.vp = new SoftwareVirtualProcessor({
      index: 0,
      apicId: 0,
      memory,
      intercepts,
      clock,
      logger: silentLogger,
      translation,
    })
    this.#descriptors()
    this.#mappings = mappings()
    for (const { linear, frame, bits } of this.#mappings) this.#map(linear, frame, bits)
    for (let page = 0; page < 16; page++) this.#map(KERNEL + BigInt(page * PAGE), page * PAGE, PRESENT | WRITABLE)
    this.#mapTables()
    this.#tables = this.#bytes(SYSTEM.ROOT, this.#freeTable - SYSTEM.ROOT).slice()
    const frames = [...new Set(this.#mappings.map(({ frame }) => frame))]
    const tables = [SYSTEM.ROOT]
    for (let at = TABLES; at < this.#freeTable; at += PAGE) tables.push(at)
    this.#addresses = [...frames, ...tables, AT.TSS]
    this.pages = this.#addresses.map((at) => this.#bytes(at, PAGE))
    this.#comparedTables = tables.map((at) => this.#view(at, PAGE))
  }

  #bytes(gpa: number, length: number): Uint8Array {
    return this.#memory.u8.subarray(this.#memory.ramOffset + gpa, this.#memory.ramOffset + gpa + length)
  }
  #view(gpa: number, length: number): DataView {
    return new DataView(this.#memory.buffer, this.#memory.ramOffset + gpa, length)
  }

  #map(linear: bigint, frame: number, bits: bigint): void {
    let table: number = SYSTEM.ROOT
    for (const shift of [39n, 30n, 21n]) {
      const entry = this.#view(table + Number((linear >> shift) & 0x1ffn) * 8, 8)
      if (entry.getBigUint64(0, true) === 0n) {
        entry.setBigUint64(0, BigInt(this.#freeTable) | PRESENT | WRITABLE | USER, true)
        this.#freeTable += PAGE
      }
      table = Number(entry.getBigUint64(0, true) & 0xffff_f000n)
    }
    this.#view(table + Number((linear >> 12n) & 0x1ffn) * 8, 8).setBigUint64(0, BigInt(frame) | bits, true)
  }
  /** The page tables that programs change, where they find them. */
  #mapTables(): void {
    const tableOf = (linear: bigint): number => {
      let table: number = SYSTEM.ROOT
      for (const shift of [39n, 30n, 21n]) {
        const entry = this.#view(table + Number((linear >> shift) & 0x1ffn) * 8, 8)
        table = Number(entry.getBigUint64(0, true) & 0xffff_f000n)
      }
      return table
    }
    const rights = PRESENT | WRITABLE | NX
    this.#map(SYSTEM.TABLES, tableOf(CODE), rights)
    this.#map(SYSTEM.TABLES + BigInt(PAGE), tableOf(READ_ONLY), rights)
  }

  #descriptors(): void {
    const high = { [SYSTEM.CODE64]: 0x00af9b00, 16: 0x00cf9300, 24: 0x00cff300, 32: 0x00affb00 }
    for (const [selector, value] of Object.entries(high)) {
      this.#view(AT.GDT + Number(selector), 8).setUint32(0, 0xffff, true)
      this.#view(AT.GDT + Number(selector), 8).setUint32(4, value, true)
    }
    for (let vector = 0; vector < 256; vector++) {
      const handler = KERNEL + BigInt(AT.HANDLERS + vector * 16)
      const gate = this.#view(AT.IDT + vector * 16, 16)
      const dpl = vector === 3 || vector === 4 || vector === INT80 ? 3 : 0
      gate.setUint32(0, (SYSTEM.CODE64 << 16) | Number(handler & 0xffffn), true)
      // all on a stack of their own
      gate.setUint32(4, (Number((handler >> 16n) & 0xffffn) << 16) | 0x8e01 | (dpl << 13), true)
      gate.setUint32(8, Number(handler >> 32n), true)
    }
    this.#bytes(AT.HANDLERS, PAGE).fill(0xf4)
    this.#view(AT.TSS, 104).setBigUint64(4, KERNEL + BigInt(AT.STACK_TOP), true)
    this.#view(AT.TSS, 104).setBigUint64(0x24, KERNEL + BigInt(AT.STACK_TOP), true)
    this.#view(AT.TSS, 104).setUint16(102, 104, true)
    // SYSRETQ is where SYSCALL goes
    this.#bytes(AT.STUB, 3).set([0x48, 0x0f, 0x07])
  }

  load(program: Program, placed: PlacedProgram, contents: Uint8Array): void {
    const memory = this.#memory
    const { vp } = this
    this.#bytes(SYSTEM.ROOT, this.#tables.length).set(this.#tables)
    memory.written(SYSTEM.ROOT, this.#tables.length)
    let at = 0
    for (const { linear, frame } of this.#mappings) {
      if (linear >= SYSTEM.ALIAS && linear < SYSTEM.ALIAS + BigInt(CODE_SIZE)) continue
      // the other frame of the code is like the second page, with other numbers in it
      const other = linear === SYSTEM.OTHER
      const bytes = other ? contents.subarray(PAGE, 2 * PAGE).slice() : contents.subarray(at, at + PAGE)
      if (other) changeImmediates(bytes, program, placed)
      else at += PAGE
      this.#bytes(frame, PAGE).set(bytes)
      memory.written(frame, PAGE)
    }
    vp.reset('power-on')
    const { cpu } = vp
    vp.setRegister('cr3', BigInt(SYSTEM.ROOT))
    // PAE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE, PGE, PCIDE
    vp.setRegister(
      'cr4',
      0x20n | 0x200n | 0x400n | 0x1_0000n | 0x4_0000n | 0x80n | (program.contents & 1 ? 0x2_0000n : 0n),
    )
    vp.setRegister('efer', 0xd01n)
    vp.setRegister('cr0', 0x8005_0033n)
    cpu.set64(STATE.XCR0, 3n)
    vp.setDescriptorTable('gdtr', KERNEL + BigInt(AT.GDT), 0x7f)
    vp.setDescriptorTable('idtr', KERNEL + BigInt(AT.IDT), 0xfff)
    vp.setSegment('tr', { selector: 0x40, base: KERNEL + BigInt(AT.TSS), limit: 103, attributes: 0x8b })
    this.#segments(0)
    cpu.msrs.star = (0x13n << 48n) | (BigInt(SYSTEM.CODE64) << 32n)
    cpu.msrs.lstar = KERNEL + BigInt(AT.STUB)
    this.#enableApic()
    const state = firstState(program, placed)
    for (let r = 0; r < 16; r++) cpu.setGpr(r, state.gpr[r] as bigint)
    cpu.set64(STATE.RIP, state.rip)
    cpu.flags = Number(state.rflags)
    cpu.u8.set(state.xmm, cpu.base + STATE.XMM)
    cpu.set32(STATE.MXCSR, state.mxcsr)
    cpu.set32(STATE.X87_CONTROL, 0x37f)
    cpu.set32(STATE.X87_TAGS, 0xff)
    for (let n = 0; n < 8; n++) {
      cpu.u8.set(state.x87.subarray(32 + n * 16, 42 + n * 16), cpu.base + STATE.X87 + n * 16)
    }
    clearHidden(vp)
    cpu.updateContext()
  }

  #segments(cpl: number): void {
    const { vp } = this
    vp.setSegment('cs', {
      selector: cpl === 3 ? SYSTEM.USER_CODE : SYSTEM.CODE64,
      base: 0n,
      limit: 0xffffffff,
      attributes: cpl === 3 ? 0xa0fb : 0xa09b,
    })
    vp.setSegment('ss', {
      selector: cpl === 3 ? SYSTEM.USER_DATA : 0,
      base: 0n,
      limit: 0xffffffff,
      attributes: cpl === 3 ? 0xc0f3 : 0xc093,
    })
    vp.cpu.updateMode()
  }

  /** x2APIC mode and the software-enable bit, written by the processor itself. */
  #enableApic(): void {
    const { vp } = this
    const wrmsr = (register: number, low: number): void => {
      this.#bytes(AT.STUB + 16, 3).set([0x0f, 0x30, 0xf4])
      this.#memory.written(AT.STUB + 16, 3)
      vp.setRegister('rcx', BigInt(register))
      vp.setRegister('rax', BigInt(low >>> 0))
      vp.setRegister('rdx', 0n)
      vp.setRegister('rip', KERNEL + BigInt(AT.STUB + 16))
      vp.step()
    }
    wrmsr(IA32_APIC_BASE, 0xfee00d00)
    wrmsr(X2APIC_SVR, 0x1ff)
  }

  run(): Stop {
    const { vp } = this
    for (let slice = 0; slice < SLICES; slice++) {
      const exit = vp.run(BUDGET)
      if (exit === 'shutdown') return { kind: 'shutdown' }
      if (exit === 'halt') {
        this.#settle()
        return this.#stop()
      }
    }
    return { kind: 'runaway' }
  }
  /** Accessed bits of page tables may be set earlier than an access needs it, by decoding ahead: all are set wherever a page is present. */
  #settle(): void {
    for (const table of this.#comparedTables) {
      for (let at = 0; at < PAGE; at += 8) {
        const low = table.getUint8(at)
        if (low !== 0) table.setUint8(at, low | ACCESSED)
      }
    }
  }
  /** The frame that the handler was given becomes the state again, and the vector the answer. */
  #stop(): Stop {
    const { cpu } = this.vp
    const rip = cpu.get64(STATE.RIP) - 1n
    const handlers = KERNEL + BigInt(AT.HANDLERS)
    cpu.activity = ACTIVITY.RUNNING
    if (rip < handlers || rip >= handlers + 4096n) {
      // a HLT of the program's own
      return { kind: 'exception', vector: 0xf4, errorCode: 0, address: 0n }
    }
    const vector = Number((rip - handlers) / 16n)
    const frame = this.#view(Number(cpu.gpr(GPR.RSP) - KERNEL), 48)
    const at = WITH_ERROR.has(vector) ? 8 : 0
    const errorCode = at ? frame.getUint32(0, true) : 0
    cpu.set64(STATE.RIP, frame.getBigUint64(at, true))
    const flags = frame.getUint32(at + 16, true)
    cpu.setGpr(GPR.RSP, frame.getBigUint64(at + 24, true))
    const cpl = frame.getUint16(at + 8, true) & 3
    this.#segments(vector === INT80 ? 0 : cpl)
    cpu.flags = flags & ~FLAG.RF
    cpu.nmiBlocked = false
    if (vector >= 0x20 && vector !== INT80) cpu.apic.endOfInterrupt()
    return { kind: 'exception', vector, errorCode, address: cpu.get64(STATE.CR2) }
  }

  resume(stop: Stop, placed: PlacedProgram): boolean {
    if (stop.kind !== 'exception') return false
    const { cpu } = this.vp
    const next = resumeAt(stop.vector === 0xf4 ? 0x20 : stop.vector, cpu.get64(STATE.RIP), placed)
    if (next === undefined) return false
    cpu.set64(STATE.RIP, next)
    // a breakpoint on the next instruction would be met again
    if (stop.vector === 1) cpu.flags = (cpu.flags & ~FLAG.TF) | FLAG.RF
    return true
  }

  addressOf(page: number, offset: number): string {
    const frame = this.#addresses[page] as number
    const linear = this.#mappings.find((mapping) => mapping.frame === frame)?.linear
    const physical = (frame + offset).toString(16)
    return linear === undefined
      ? `physical ${physical}`
      : `physical ${physical}, at first ${(linear + BigInt(offset)).toString(16)}`
  }
}

/** In the order of an image, then the other mappings. */
function mappings(): Mapping[] {
  const out: Mapping[] = []
  let frame = FRAMES
  const map = (linear: bigint, pages: number, bits: bigint): void => {
    for (let page = 0; page < pages; page++) {
      out.push({ linear: linear + BigInt(page * PAGE), frame, bits: PRESENT | USER | bits })
      frame += PAGE
    }
  }
  map(CODE, 2, WRITABLE)
  map(DATA, 2, WRITABLE | NX)
  map(READ_ONLY, 1, NX)
  map(STACK, 2, WRITABLE | NX)
  map(LOW, 1, WRITABLE | NX)
  map(SYSTEM.OTHER, 1, WRITABLE)
  for (let page = 0; page < 2; page++) {
    const linear = SYSTEM.ALIAS + BigInt(page * PAGE)
    out.push({ linear, frame: FRAMES + page * PAGE, bits: PRESENT | USER | WRITABLE | NX })
  }
  return out
}

/** The immediates of units that may be patched, changed. */
function changeImmediates(page: Uint8Array, program: Program, placed: PlacedProgram): void {
  program.units.forEach(({ name }, n) => {
    const at = (placed.offsets[n] as number) - PAGE
    if (name === 'patchable' && at >= 0 && at + 5 <= PAGE) page[at + 1] = ((page[at + 1] as number) + 1) & 255
  })
}
