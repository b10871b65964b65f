// A partition of one processor for tests of system behaviour: small machine-code programs, exceptions that go through real gates and are told to the test, ports that
// are recorded. Set up by the host in long, 32-bit protected or real mode.

import { type Clock, type Intercepts, type RegisterName, silentLogger } from '@partita/interface'
import { Assembler, type CodeBits } from '@partita/testkit/assembler'
import { gateDescriptor, segmentDescriptor, systemDescriptor } from '@partita/testkit/descriptors'
import { ACTIVITY } from '../src/cpu.ts'
import { SoftwareMemory } from '../src/memory.ts'
import { translationMode } from '../src/testing/translation-mode.ts'
import type { TranslationOptions } from '../src/translator/translator.ts'
import { SoftwareVirtualProcessor } from '../src/virtual-processor.ts'

const PAGE = 4096
const RAM = 16 * 1024 * 1024

/** Physical addresses, mapped to themselves. The first megabyte is the supervisor's, the second the user's. */
export const AT = {
  PML4: 0x1000,
  PDPT: 0x2000,
  PD: 0x3000,
  /** Page table of the first 2 MiB. */
  PT: 0x4000,
  GDT: 0x6000,
  IDT: 0x7000,
  TSS: 0x8000,
  /** Top of the stack of ring 0. */
  STACK: 0x1_0000,
  /** Top of the stack of IST1. */
  IST: 0x1_4000,
  HANDLERS: 0x1_8000,
  STOP: 0x1_f000,
  CODE: 0x2_0000,
  DATA: 0x3_0000,
  USER_CODE: 0x10_0000,
  USER_STACK: 0x11_0000,
  USER_DATA: 0x12_0000,
} as const

/** Selectors. The user's are in SYSRET's order. */
export const SELECTOR = {
  CODE: 0x08,
  DATA: 0x10,
  USER_CODE32: 0x1b,
  USER_DATA: 0x23,
  USER_CODE: 0x2b,
  TSS: 0x30,
  CODE32: 0x40,
  CODE16: 0x48,
  DATA16: 0x50,
  /** From here on descriptors are free for tests. */
  FREE: 0x60,
} as const

export const RFLAGS = {
  CF: 1,
  ZF: 0x40,
  TF: 0x100,
  IF: 0x200,
  DF: 0x400,
  OF: 0x800,
  NT: 0x4000,
  RF: 0x1_0000,
  VM: 0x2_0000,
  AC: 0x4_0000,
} as const
export const CR4 = {
  DE: 8,
  PAE: 0x20,
  PGE: 0x80,
  UMIP: 0x800,
  FSGSBASE: 0x1_0000,
  PCIDE: 0x2_0000,
  SMEP: 0x10_0000,
  SMAP: 0x20_0000,
} as const
export const PTE = {
  P: 1n,
  W: 2n,
  U: 4n,
  A: 0x20n,
  D: 0x40n,
  PS: 0x80n,
  G: 0x100n,
  NX: 0x8000_0000_0000_0000n,
} as const

const EVENT_PORT = 0xf0
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17])

/** An event as its handler found it. `rsp` and `ss` are those pushed, if they were. */
export interface Event {
  readonly vector: number
  readonly error: number
  readonly rip: number
  readonly cs: number
  readonly flags: number
  readonly rsp: number
  readonly ss: number
  readonly cr2: bigint
  /** Where RIP was pushed. */
  readonly frame: number
}

export type Mode = 'long' | 'protected' | 'real'

export class SystemMachine {
  readonly vp: SoftwareVirtualProcessor
  readonly memory: SoftwareMemory
  readonly events: Event[] = []
  readonly ports: { port: number; size: number; value: number }[] = []
  /** Answers of port reads. */
  portRead: (port: number, size: number) => number = () => 0xffffffff
  onPortWrite: (port: number, size: number, value: number) => void = () => {}
  hypercall: () => boolean = () => false
  /** What the handler of an event does: return a RIP to go on with, or undefined to stop the machine. */
  resume: (event: Event) => number | undefined = () => undefined
  time = 0
  readonly mode: Mode

  /** `translation`: as the environment asks, unless given. */
  constructor(mode: Mode = 'long', translation: TranslationOptions = translationMode()) {
    this.mode = mode
    const memory = new SoftwareMemory(RAM)
    memory.map(0, RAM / PAGE, memory.ramOffset, 7)
    this.memory = memory
    const clock: Clock = {
      now: () => this.time,
      wallTime: () => 0,
      createTimer: () => ({ arm() {}, cancel() {}, deadline: Number.POSITIVE_INFINITY }),
    }
    const intercepts: Intercepts = {
      portRead: (_, port, size) => this.portRead(port, size),
      portWrite: (_, port, size, value) => {
        if (port === EVENT_PORT) this.#event()
        else {
          this.ports.push({ port, size, value })
          this.onPortWrite(port, size, value)
        }
      },
      mmioRead: () => 0xffffffff,
      mmioWrite() {},
      cpuid() {},
      msrRead: () => false,
      msrWrite: () => false,
      hypercall: () => this.hypercall(),
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
    this.#tables()
    this.#handlers()
    this.#registers()
  }

  // --- guest memory

  read(address: number, bytes: 1 | 2 | 4): number {
    const at = this.memory.ramOffset + address
    const { view } = this.memory
    return bytes === 1 ? view.getUint8(at) : bytes === 2 ? view.getUint16(at, true) : view.getUint32(at, true)
  }
  read64(address: number): bigint {
    return this.memory.view.getBigUint64(this.memory.ramOffset + address, true)
  }
  write32(address: number, value: number): void {
    this.memory.view.setUint32(this.memory.ramOffset + address, value, true)
    this.memory.written(address, 4)
  }
  write64(address: number, value: bigint): void {
    this.memory.view.setBigUint64(this.memory.ramOffset + address, BigInt.asUintN(64, value), true)
    this.memory.written(address, 8)
  }
  load(address: number, bytes: Uint8Array): void {
    this.memory.u8.set(bytes, this.memory.ramOffset + address)
    this.memory.written(address, bytes.length)
  }
  /** Assemble a program and load it; returns its labels' addresses. */
  program(address: number, bits: CodeBits, write: (a: Assembler) => unknown): Assembler {
    const a = new Assembler({ origin: address, bits })
    write(a)
    this.load(address, a.assemble())
    return a
  }
  /** Page-table entry of an address in the first 2 MiB. */
  setPage(linear: number, entry: bigint): void {
    this.write64(AT.PT + (linear / PAGE) * 8, entry)
  }
  page(linear: number): bigint {
    return this.read64(AT.PT + Math.floor(linear / PAGE) * 8)
  }
  setDescriptor(selector: number, words: bigint | readonly bigint[]): void {
    const list = typeof words === 'bigint' ? [words] : words
    for (const [i, word] of list.entries()) this.write64(AT.GDT + (selector & ~7) + i * 8, word)
  }
  setGate(vector: number, options: Parameters<typeof gateDescriptor>[0]): void {
    const words = gateDescriptor(options)
    for (const [i, word] of words.entries()) this.write64(AT.IDT + vector * words.length * 8 + i * 8, word)
  }

  // --- registers

  get(name: RegisterName): bigint {
    return this.vp.getRegister(name)
  }
  set(name: RegisterName, value: bigint | number): void {
    this.vp.setRegister(name, BigInt(value))
  }

  // --- running

  /** Run until the machine halts, shuts down, or `instructions` have gone by. */
  run(instructions = 100_000): string {
    const exit = this.vp.run(Math.ceil(instructions / 5))
    return exit
  }
  /** Run a program in ring 0 (or real mode). */
  start(rip: number = AT.CODE): string {
    this.set('rip', rip)
    this.vp.cpu.activity = ACTIVITY.RUNNING
    this.write32(AT.STOP, 0)
    return this.run()
  }
  /** Run a program in ring 3: 64-bit code in long mode, or 32-bit code. */
  startUser(rip: number = AT.USER_CODE, bits: 32 | 64 = this.mode === 'long' ? 64 : 32): string {
    const { vp } = this
    const wide = bits === 64
    vp.setSegment('cs', {
      selector: wide ? SELECTOR.USER_CODE : SELECTOR.USER_CODE32,
      base: 0n,
      limit: 0xffffffff,
      attributes: wide ? 0xa0fb : 0xc0fb,
    })
    vp.setSegment('ss', { selector: SELECTOR.USER_DATA, base: 0n, limit: 0xffffffff, attributes: 0xc0f3 })
    for (const name of ['ds', 'es', 'fs', 'gs'] as const) {
      vp.setSegment(name, { selector: SELECTOR.USER_DATA, base: 0n, limit: 0xffffffff, attributes: 0xc0f3 })
    }
    this.set('rsp', AT.USER_STACK)
    return this.start(rip)
  }

  /** Run a program in ring 0 up to its HLT or its first exception: `ok`, `#GP(0)`, `#UD`, … */
  kernel(write: (a: Assembler) => unknown, bits: CodeBits = this.mode === 'long' ? 64 : 32): string {
    this.events.length = 0
    this.program(AT.CODE, bits, (a) => {
      write(a)
      a.hlt()
    })
    this.set('rsp', AT.STACK)
    this.set('rflags', 2)
    this.#ringZero(bits)
    const exit = this.start()
    const [event] = this.events
    return event ? eventName(event) : exit === 'halt' ? 'ok' : exit
  }
  /** Run a program in ring 3 up to its end or its first exception. */
  user(write: (a: Assembler) => unknown, bits: 32 | 64 = this.mode === 'long' ? 64 : 32): string {
    this.events.length = 0
    this.program(AT.USER_CODE, bits, (a) => {
      write(a)
      a.int(0x80)
    })
    this.set('rflags', 2)
    const exit = this.startUser(AT.USER_CODE, bits)
    const [event] = this.events
    return event === undefined ? exit : event.vector === 0x80 ? 'ok' : eventName(event)
  }
  #ringZero(bits: CodeBits): void {
    if (this.mode === 'real') return
    const { vp } = this
    const wide = bits === 64 || this.mode === 'protected'
    vp.setSegment('cs', {
      selector: wide ? SELECTOR.CODE : SELECTOR.CODE32,
      base: 0n,
      limit: 0xffffffff,
      attributes: bits === 64 ? 0xa09b : 0xc09b,
    })
    for (const name of ['ss', 'ds', 'es', 'fs', 'gs'] as const) {
      vp.setSegment(name, { selector: SELECTOR.DATA, base: 0n, limit: 0xffffffff, attributes: 0xc093 })
    }
  }

  get vectors(): number[] {
    return this.events.map((event) => event.vector)
  }
  /** The values written to a port. */
  output(port: number): number[] {
    return this.ports.filter((entry) => entry.port === port).map((entry) => entry.value)
  }

  // --- setting up

  #tables(): void {
    const long = this.mode === 'long'
    if (long) {
      this.write64(AT.PML4, BigInt(AT.PDPT) | 7n)
      this.write64(AT.PDPT, BigInt(AT.PD) | 7n)
      this.write64(AT.PD, BigInt(AT.PT) | 7n)
      for (let i = 1; i < RAM / 0x20_0000; i++) this.write64(AT.PD + i * 8, BigInt(i * 0x20_0000) | 0x83n)
      for (let i = 0; i < 512; i++) this.setPage(i * PAGE, BigInt(i * PAGE) | (i >= 256 ? 7n : 3n))
    }
    const bits = long ? 64 : 32
    this.setDescriptor(SELECTOR.CODE, segmentDescriptor({ kind: 'code', bits }))
    this.setDescriptor(SELECTOR.DATA, segmentDescriptor({ kind: 'data', bits: 32 }))
    this.setDescriptor(SELECTOR.USER_CODE32, segmentDescriptor({ kind: 'code', bits: 32, dpl: 3 }))
    this.setDescriptor(SELECTOR.USER_DATA, segmentDescriptor({ kind: 'data', bits: 32, dpl: 3 }))
    this.setDescriptor(SELECTOR.USER_CODE, segmentDescriptor({ kind: 'code', bits, dpl: 3 }))
    this.setDescriptor(SELECTOR.TSS, systemDescriptor('busy-tss', bits, AT.TSS, 0x67 + 0x2001))
    this.setDescriptor(SELECTOR.CODE32, segmentDescriptor({ kind: 'code', bits: 32 }))
    this.setDescriptor(SELECTOR.CODE16, segmentDescriptor({ kind: 'code', bits: 16, limit: 0xffff }))
    this.setDescriptor(SELECTOR.DATA16, segmentDescriptor({ kind: 'data', bits: 16, limit: 0xffff }))
    if (long) {
      this.write64(AT.TSS + 4, BigInt(AT.STACK))
      this.write64(AT.TSS + 0x24, BigInt(AT.IST))
    } else {
      this.write32(AT.TSS + 4, AT.STACK)
      this.write32(AT.TSS + 8, SELECTOR.DATA)
    }
    // an I/O bitmap that allows nothing
    this.write32(AT.TSS + 0x64, 0x68 << 16)
    for (let i = 0x68; i < 0x68 + 0x2004; i += 4) this.write32(AT.TSS + i, 0xffffffff)
  }

  #handlers(): void {
    if (this.mode === 'real') return
    const long = this.mode === 'long'
    this.program(AT.HANDLERS, long ? 64 : 32, (a) => {
      for (let vector = 0; vector < 256; vector++) {
        a.label(`vector${vector}`)
        if (!WITH_ERROR.has(vector)) a.push(0)
        a.push(vector)
        a.jmp('common')
      }
      a.label('common')
      a.out(EVENT_PORT, 'al')
      if (long) a.bytes(0x80, 0x3c, 0x25, ...bytes32(AT.STOP), 0)
      // DS is null after an exception of virtual-8086 mode
      else a.bytes(0x36, 0x80, 0x3d, ...bytes32(AT.STOP), 0)
      a.jcc('ne', 'stop')
      if (long) a.add('rsp', 16).iret()
      else a.add('esp', 8).iret()
      a.label('stop')
      a.cli().hlt()
      for (let vector = 0; vector < 256; vector++) {
        this.setGate(vector, {
          kind: 'interrupt',
          bits: long ? 64 : 32,
          selector: SELECTOR.CODE,
          offset: a.addressOf(`vector${vector}`),
          dpl: vector === 3 || vector === 4 || vector === 0x80 || vector === 0x81 ? 3 : 0,
        })
      }
    })
  }

  /** The handler has pushed vector and perhaps error code: read the frame, and let the test decide. */
  #event(): void {
    const long = this.mode === 'long'
    const size = long ? 8 : 4
    const rsp = Number(this.get('rsp'))
    const word = (n: number): number =>
      long ? Number(this.read64(this.#linear(rsp + n * size))) : this.read(this.#linear(rsp + n * size), 4)
    const cs = word(3) & 0xffff
    const privileged = long || (cs & 3) !== 0 || (word(4) & RFLAGS.VM) !== 0
    const event: Event = {
      vector: word(0),
      error: word(1),
      rip: word(2),
      cs,
      flags: word(4),
      rsp: privileged ? word(5) : 0,
      ss: privileged ? word(6) & 0xffff : 0,
      cr2: this.get('cr2'),
      frame: rsp + 2 * size,
    }
    this.events.push(event)
    const next = this.events.length > 1000 ? undefined : this.resume(event)
    if (next === undefined) this.write32(AT.STOP, 1)
    else if (long) this.write64(this.#linear(rsp + 2 * size), BigInt(next))
    else this.write32(this.#linear(rsp + 2 * size), next)
  }
  #linear(address: number): number {
    return this.vp.translateLinear(BigInt(address))
  }

  #registers(): void {
    const { vp } = this
    if (this.mode === 'real') {
      for (const name of ['cs', 'ds', 'es', 'ss'] as const) {
        vp.setSegment(name, { selector: 0, base: 0n, limit: 0xffff, attributes: name === 'cs' ? 0x9b : 0x93 })
      }
      this.set('rsp', 0xfff0)
      return
    }
    const long = this.mode === 'long'
    vp.setDescriptorTable('gdtr', BigInt(AT.GDT), 0xfff)
    vp.setDescriptorTable('idtr', BigInt(AT.IDT), 0xfff)
    if (long) {
      this.set('cr4', CR4.PAE)
      this.set('cr3', AT.PML4)
      this.set('efer', 0xd01)
      this.set('cr0', 0x80010033)
    } else this.set('cr0', 0x33)
    vp.setSegment('cs', { selector: SELECTOR.CODE, base: 0n, limit: 0xffffffff, attributes: long ? 0xa09b : 0xc09b })
    for (const name of ['ss', 'ds', 'es', 'fs', 'gs'] as const) {
      vp.setSegment(name, { selector: SELECTOR.DATA, base: 0n, limit: 0xffffffff, attributes: 0xc093 })
    }
    vp.setSegment('tr', { selector: SELECTOR.TSS, base: BigInt(AT.TSS), limit: 0x67 + 0x2001, attributes: 0x8b })
    vp.setSegment('ldtr', { selector: 0, base: 0n, limit: 0, attributes: 0x1_0000 })
    this.set('rsp', AT.STACK)
    this.set('rflags', 2)
  }
}

function bytes32(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]
}

const NAMES: Readonly<Record<number, string>> = {
  0: '#DE',
  1: '#DB',
  2: 'NMI',
  3: '#BP',
  4: '#OF',
  5: '#BR',
  6: '#UD',
  7: '#NM',
  8: '#DF',
  10: '#TS',
  11: '#NP',
  12: '#SS',
  13: '#GP',
  14: '#PF',
  16: '#MF',
  17: '#AC',
  19: '#XM',
}
/** `#GP(8)`, `#UD`, `INT 32`. */
export function eventName({ vector, error }: Event): string {
  const name = NAMES[vector] ?? `INT ${vector}`
  return WITH_ERROR.has(vector) ? `${name}(${error})` : name
}
