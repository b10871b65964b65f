// One virtual processor of any make, with memory, intercepts that are noted, tables for long mode, and gates that tell the host of every exception and interrupt.
// It uses the contract of `@partita/interface` alone.

import {
  GPA_ACCESS,
  type Intercepts,
  type InterruptMessage,
  type PartitionMemory,
  type Processor,
  type RegisterName,
  type RunExit,
  silentLogger,
  type VirtualProcessor,
} from '@partita/interface'
import { Assembler, type CodeBits } from '../assembler.ts'
import { gateDescriptor, segmentDescriptor, systemDescriptor } from '../descriptors.ts'
import { FakeClock } from '../fake-clock.ts'
import { fail } from './check.ts'

const PAGE = 4096
const RAM = 4 * 1024 * 1024

/** Physical addresses, mapped to themselves. */
export const AT = {
  PML4: 0x1000,
  PDPT: 0x2000,
  PD: 0x3000,
  /** Page tables of the first 4 MiB. */
  PT: 0x4000,
  GDT: 0x6000,
  IDT: 0x7000,
  TSS: 0x8000,
  /** Top of the stack of ring 0. */
  STACK: 0x1_0000,
  HANDLERS: 0x1_8000,
  STOP: 0x1_f000,
  CODE: 0x2_0000,
  DATA: 0x3_0000,
  /** From here on pages are the user's. */
  USER_CODE: 0x10_0000,
  USER_STACK: 0x11_0000,
  USER_DATA: 0x12_0000,
  /** Not backed by memory. */
  MMIO: 0x3f_0000,
} as const

const SELECTOR = { CODE: 0x08, DATA: 0x10, USER_DATA: 0x1b, USER_CODE: 0x23, TSS: 0x28 } as const
/** Bits of page table entries. */
export const PTE = { P: 1n, W: 2n, U: 4n, NX: 0x8000_0000_0000_0000n } as const
const EVENT_PORT = 0xf0
/** Written by a program that has come to its end, and then goes round in circles: a processor that halts would have to be woken up for the next one. */
const END_PORT = 0xf1
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17])
/** Calls of `run` that a program may take. */
const PATIENCE = 20_000

/** An exception or interrupt as its handler found it. */
export interface BenchEvent {
  readonly vector: number
  readonly error: number
  readonly rip: number
  readonly cr2: number
}

/** An access that reached the hypervisor. */
export interface BenchAccess {
  readonly type: 'port-read' | 'port-write' | 'mmio-read' | 'mmio-write'
  readonly address: number
  readonly size: number
  /** Of writes. */
  readonly value?: number
}

/** A partition of one virtual processor. */
export class ProcessorBench {
  readonly processor: Processor
  readonly memory: PartitionMemory
  readonly clock: FakeClock = new FakeClock()
  readonly vp: VirtualProcessor
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly events: BenchEvent[] = []
  readonly accesses: BenchAccess[] = []
  /** Messages that the local APIC sent. */
  readonly sent: InterruptMessage[] = []
  readonly endOfInterrupts: { readonly vector: number; readonly level: boolean }[] = []
  /** What a read of a port or of MMIO gives; cut to its size. */
  answer: (address: number, size: number) => number = () => 0xffff_ffff
  onWrite: (access: BenchAccess) => void = () => {}
  cpuid: (leaf: number, subleaf: number, registers: Uint32Array) => void = () => {}
  msrRead: (index: number, value: BigUint64Array) => boolean = () => false
  msrWrite: (index: number, value: bigint) => boolean = () => false
  hypercall: () => boolean = () => false
  acknowledge: () => number = () => 0x20
  /** What becomes of an event: an RIP to go on at, or `undefined`: the machine stops. */
  resume: (event: BenchEvent) => number | undefined = () => undefined

  #ended = false
  readonly #mode: string

  constructor(processor: Processor, mode: 'real' | 'protected' | 'long' | 'power-on' = 'long', index = 0) {
    this.processor = processor
    this.#mode = mode
    this.memory = processor.createMemory(RAM)
    this.memory.map(0, AT.MMIO / PAGE, this.memory.ramOffset, GPA_ACCESS.ALL)
    this.bytes = new Uint8Array(this.memory.buffer, this.memory.ramOffset, RAM)
    this.view = new DataView(this.memory.buffer, this.memory.ramOffset, RAM)
    this.vp = processor.createVirtualProcessor({
      index,
      apicId: index,
      memory: this.memory,
      intercepts: this.#intercepts(),
      clock: this.clock,
      logger: silentLogger,
    })
    if (mode === 'long') this.#tables()
    if (mode !== 'power-on') this.#registers(mode)
  }

  #intercepts(): Intercepts {
    const cut = (value: number, size: number): number => (size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1))
    const read = (type: 'port-read' | 'mmio-read', address: number, size: number): number => {
      this.accesses.push({ type, address, size })
      return cut(this.answer(address, size), size)
    }
    const write = (type: 'port-write' | 'mmio-write', address: number, size: number, value: number): void => {
      const access: BenchAccess = { type, address, size, value }
      this.accesses.push(access)
      this.onWrite(access)
    }
    return {
      portRead: (_vp, port, size) => read('port-read', port, size),
      portWrite: (_vp, port, size, value) => {
        if (port === EVENT_PORT) this.#event()
        else if (port === END_PORT) {
          this.#ended = true
          this.vp.requestExit()
        } else write('port-write', port, size, value)
      },
      mmioRead: (_vp, gpa, size) => read('mmio-read', gpa, size),
      mmioWrite: (_vp, gpa, size, value) => write('mmio-write', gpa, size, value),
      cpuid: (_vp, leaf, subleaf, registers) => this.cpuid(leaf, subleaf, registers),
      msrRead: (_vp, index, value) => this.msrRead(index, value),
      msrWrite: (_vp, index, value) => this.msrWrite(index, value),
      hypercall: () => this.hypercall(),
      acknowledgeInterrupt: () => this.acknowledge(),
      endOfInterrupt: (_vp, vector, level) => void this.endOfInterrupts.push({ vector, level }),
      sendInterrupt: (_vp, message) => {
        this.sent.push({ ...message })
        this.vp.receiveInterrupt(message)
      },
    }
  }

  // Memory.

  write64(gpa: number, value: bigint): void {
    this.view.setBigUint64(gpa, BigInt.asUintN(64, value), true)
    this.memory.written(gpa, 8)
  }

  write32(gpa: number, value: number): void {
    this.view.setUint32(gpa, value, true)
    this.memory.written(gpa, 4)
  }

  read32(gpa: number): number {
    return this.view.getUint32(gpa, true)
  }

  /** Assemble a program and put it into memory. */
  load(gpa: number, bits: CodeBits, write: (a: Assembler) => unknown): Assembler {
    const a = new Assembler({ origin: gpa, bits })
    write(a)
    const code = a.assemble()
    this.bytes.set(code, gpa)
    this.memory.written(gpa, code.length)
    return a
  }

  /** The page table entry of a page in the first 4 MiB. The processor is told to forget what it knew. */
  setPage(linear: number, entry: bigint): void {
    this.write64(AT.PT + (linear / PAGE) * 8, entry)
    this.vp.flushTranslations()
  }

  // Registers.

  get(name: RegisterName): bigint {
    return this.vp.getRegister(name)
  }

  set(name: RegisterName, value: bigint | number): void {
    this.vp.setRegister(name, BigInt(value))
  }

  // Running.

  /** Run until a program says that it has come to its end, or the processor stops for more than its budget. @throws ComplianceError when that is never */
  run(budget = 200): RunExit | 'end' {
    this.#ended = false
    for (let slice = 0; slice < PATIENCE; slice++) {
      const exit = this.vp.run(budget)
      if (exit !== 'budget') return exit
      if (this.#ended) return 'end'
    }
    return fail('the program does not end')
  }

  /** What ends a program. */
  static end(a: Assembler): Assembler {
    return a.cli().out(END_PORT, 'al').label('end of program').jmp('end of program')
  }

  /** Run a program of ring 0 up to its end or its first event: `ok`, `#PF(2)`, `interrupt 48`, `shutdown`. */
  kernel(write: (a: Assembler) => unknown, bits: CodeBits = 64): string {
    this.load(AT.CODE, bits, (a) => {
      write(a)
      ProcessorBench.end(a)
    })
    // The program before may have been one of ring 3.
    if (this.#mode === 'long') {
      this.kernelSegments('long')
      this.set('rsp', AT.STACK)
      this.set('rflags', 2)
    }
    return this.go(AT.CODE)
  }

  /** Run what is at `rip` in ring 0. */
  go(rip: number): string {
    this.events.length = 0
    this.write32(AT.STOP, 0)
    this.set('rip', rip)
    const exit = this.run()
    const [event] = this.events
    if (event !== undefined) return eventName(event)
    return exit === 'end' ? 'ok' : exit
  }

  /** Run a program of ring 3 up to its INT 80h or its first other event. */
  user(write: (a: Assembler) => unknown): string {
    this.load(AT.USER_CODE, 64, (a) => {
      write(a)
      a.int(0x80)
    })
    const { vp } = this
    vp.setSegment('cs', { selector: SELECTOR.USER_CODE, base: 0n, limit: 0xffff_ffff, attributes: 0xa0fb })
    vp.setSegment('ss', { selector: SELECTOR.USER_DATA, base: 0n, limit: 0xffff_ffff, attributes: 0xc0f3 })
    this.set('rsp', AT.USER_STACK)
    this.set('rflags', 2)
    const name = this.go(AT.USER_CODE)
    return name === 'interrupt 128' ? 'ok' : name
  }

  /** The handler of an event has pushed vector and perhaps error code. */
  #event(): void {
    const rsp = Number(this.get('rsp'))
    const word = (n: number): number => Number(this.view.getBigUint64(rsp + n * 8, true))
    const event: BenchEvent = { vector: word(0), error: word(1), rip: word(2), cr2: Number(this.get('cr2')) }
    this.events.push(event)
    const next = this.events.length > 1000 ? undefined : this.resume(event)
    if (next === undefined) this.write32(AT.STOP, 1)
    else this.write64(rsp + 16, BigInt(next))
  }

  // Setting up.

  #tables(): void {
    this.write64(AT.PML4, BigInt(AT.PDPT) | 7n)
    this.write64(AT.PDPT, BigInt(AT.PD) | 7n)
    this.write64(AT.PD, BigInt(AT.PT) | 7n)
    this.write64(AT.PD + 8, BigInt(AT.PT + PAGE) | 7n)
    for (let page = 0; page < RAM / PAGE; page++)
      this.write64(AT.PT + page * 8, BigInt(page * PAGE) | (page * PAGE >= AT.USER_CODE ? 7n : 3n))
    const descriptors = [
      0n,
      segmentDescriptor({ kind: 'code', bits: 64 }),
      segmentDescriptor({ kind: 'data', bits: 32 }),
      segmentDescriptor({ kind: 'data', bits: 32, dpl: 3 }),
      segmentDescriptor({ kind: 'code', bits: 64, dpl: 3 }),
      ...systemDescriptor('busy-tss', 64, AT.TSS, 0x67),
    ]
    for (const [at, word] of descriptors.entries()) this.write64(AT.GDT + at * 8, word)
    this.write64(AT.TSS + 4, BigInt(AT.STACK))
    this.write32(AT.TSS + 0x64, 0x68 << 16)
    const handlers = this.load(AT.HANDLERS, 64, (a) => {
      for (let vector = 0; vector < 256; vector++) {
        a.label(`vector${vector}`)
        if (!WITH_ERROR.has(vector)) a.push(0)
        a.push(vector).jmp('common')
      }
      a.label('common')
        .out(EVENT_PORT, 'al')
        .push('rax')
        .mov('rax', AT.STOP)
        .cmp({ kind: 'memory', size: 8, base: 'rax' }, 0)
      a.pop('rax')
        .jcc('ne', 'stop')
        .lea('rsp', { kind: 'memory', size: undefined, base: 'rsp', displacement: 16 })
        .iret()
      ProcessorBench.end(a.label('stop'))
    })
    for (let vector = 0; vector < 256; vector++) {
      const offset = handlers.addressOf(`vector${vector}`)
      const gate = gateDescriptor({
        kind: 'interrupt',
        bits: 64,
        selector: SELECTOR.CODE,
        offset,
        dpl: vector === 0x80 ? 3 : 0,
      })
      for (const [at, word] of gate.entries()) this.write64(AT.IDT + vector * 16 + at * 8, word)
    }
  }

  #registers(mode: 'real' | 'protected' | 'long'): void {
    const { vp } = this
    const long = mode === 'long'
    const flat = { base: 0n, limit: mode === 'real' ? 0xffff : 0xffff_ffff }
    if (long) {
      this.set('cr4', 0x20)
      this.set('cr3', AT.PML4)
      this.set('efer', 0xd00)
      this.set('cr0', 0x8001_0033)
      vp.setDescriptorTable('gdtr', BigInt(AT.GDT), 0x37)
      vp.setDescriptorTable('idtr', BigInt(AT.IDT), 0xfff)
      vp.setSegment('tr', { selector: SELECTOR.TSS, base: BigInt(AT.TSS), limit: 0x67, attributes: 0x8b })
      vp.setSegment('ldtr', { selector: 0, base: 0n, limit: 0, attributes: 0x1_0000 })
    } else if (mode === 'protected') this.set('cr0', 0x33)
    this.kernelSegments(mode, flat)
    this.set('rsp', mode === 'real' ? 0xfff0 : AT.STACK)
    this.set('rflags', 2)
  }

  /** Load the segment registers of ring 0. */
  kernelSegments(
    mode: 'real' | 'protected' | 'long',
    flat: { readonly base: bigint; readonly limit: number } = { base: 0n, limit: 0xffff_ffff },
  ): void {
    const { vp } = this
    const real = mode === 'real'
    const attributes = real ? 0x9b : mode === 'long' ? 0xa09b : 0xc09b
    vp.setSegment('cs', { selector: real ? 0 : SELECTOR.CODE, ...flat, attributes })
    for (const name of ['ss', 'ds', 'es', 'fs', 'gs'] as const)
      vp.setSegment(name, { selector: real ? 0 : SELECTOR.DATA, ...flat, attributes: real ? 0x93 : 0xc093 })
  }

  /** MOV to an MSR, as code. */
  static wrmsr(a: Assembler, index: number, value: number): Assembler {
    return a.mov('ecx', index).mov('eax', value).mov('edx', 0).wrmsr()
  }

  /** Code that switches the local APIC on, as an x2APIC. */
  static enableApic(a: Assembler): Assembler {
    ProcessorBench.wrmsr(a, 0x1b, 0xfee0_0d00)
    return ProcessorBench.wrmsr(a, 0x80f, 0x1ff)
  }

  [Symbol.dispose](): void {
    this.vp[Symbol.dispose]()
  }
}

const NAMES: Readonly<Record<number, string>> = {
  0: '#DE',
  1: '#DB',
  2: 'NMI',
  3: '#BP',
  6: '#UD',
  8: '#DF',
  12: '#SS',
  13: '#GP',
  14: '#PF',
}

/** `#GP(8)`, `#UD`, `interrupt 32`. */
function eventName({ vector, error }: BenchEvent): string {
  const name = NAMES[vector] ?? `interrupt ${vector}`
  return WITH_ERROR.has(vector) ? `${name}(${error})` : name
}
