// A virtual processor whose instructions are the steps of a coroutine. A slice delivers interrupts and goes on with the program until it halts or the budget is used up.

import type {
  InterruptMessage,
  RegisterName,
  RunExit,
  SavedState,
  SavedValue,
  SegmentName,
  SegmentRegister,
  VirtualProcessor,
  VirtualProcessorOptions,
} from '@partita/interface'
import { Cpu, type CpuHost } from './cpu.ts'
import { LocalApic } from './local-apic.ts'
import type { TypeScriptMemory } from './memory.ts'
import { ProcessorError } from './processor-error.ts'
import type { ProgramFactory, Step } from './program.ts'

/** Hz. */
export const TSC_FREQUENCY = 2_000_000_000
const TICKS_PER_NANOSECOND = BigInt(TSC_FREQUENCY / 1e9)
const SAVED_STATE_VERSION = 1
const NMI_VECTOR = 2
const XMM_COUNT = 16
const XMM_SIZE = 16
const RFLAGS = { FIXED: 2n, INTERRUPTS: 0x200n } as const
/** The part of FXSAVE64's layout that is x87 state and MXCSR. */
const FLOAT_STATE_SIZE = 160
/** The MSRs that are the processor's own. */
const MSR = { TIME_STAMP_COUNTER: 0x10, APIC_BASE: 0x1b, X2APIC_FIRST: 0x800, X2APIC_LAST: 0x8ff } as const
/** x2APIC mode; bit 8 is the boot processor's. */
const APIC_BASE = { VALUE: 0xfee0_0c00n, BOOT: 0x100n } as const
const NO_TABLE = { base: 0n, limit: 0 } as const
const NO_SEGMENT: SegmentRegister = { selector: 0, base: 0n, limit: 0, attributes: 0 }

/** Options of {@link TypeScriptVirtualProcessor}. */
export interface TypeScriptProcessorOptions extends VirtualProcessorOptions {
  readonly memory: TypeScriptMemory
  readonly program: ProgramFactory
}

/** One processor. It has one mode, 64-bit ring 0 with all of memory at its guest physical address; segments and control registers are kept, and mean nothing. */
export class TypeScriptVirtualProcessor implements VirtualProcessor, CpuHost {
  readonly index: number
  readonly apicId: number
  readonly memory: TypeScriptMemory
  readonly intercepts: VirtualProcessorOptions['intercepts']
  readonly localApic: LocalApic
  readonly registers: Map<RegisterName, bigint> = new Map()
  readonly is64Bit = true
  /** The synthetic timers are the guest's; the local APIC has none. */
  readonly nextDeadline: number = Infinity
  instructionCount = 0
  waitingForStartup: boolean
  inSlice = false
  readonly #options: TypeScriptProcessorOptions
  readonly #xmm = Array.from({ length: XMM_COUNT }, () => new Uint8Array(XMM_SIZE))
  readonly #segments = new Map<SegmentName, SegmentRegister>()
  readonly #tables = new Map<'gdtr' | 'idtr', { readonly base: bigint; readonly limit: number }>()
  readonly #floatState = new Uint8Array(FLOAT_STATE_SIZE)
  readonly #value = new BigUint64Array(1)
  #cpu: Cpu | undefined
  #steps: Iterator<Step, void, void> | undefined
  /** What the program goes on from, when it is started next. */
  #saved: { readonly value: SavedValue } | undefined
  #halted = false
  /** HV_X64_MSR_GUEST_IDLE: halted until an interrupt is pending, let in or not. */
  #idle = false
  #shutDown = false
  #exitRequested = false
  #externalInterrupt = false
  #fault: { readonly error: unknown } | undefined
  #timeStampOffset = 0n

  constructor(options: TypeScriptProcessorOptions) {
    this.#options = options
    this.index = options.index
    this.apicId = options.apicId
    this.memory = options.memory
    this.intercepts = options.intercepts
    this.waitingForStartup = options.index !== 0
    this.localApic = new LocalApic({
      apicId: options.apicId,
      send: (message) => options.intercepts.sendInterrupt(options.index, message),
      endOfInterrupt: (vector, level) => options.intercepts.endOfInterrupt(options.index, vector, level),
    })
    this.#resetRegisters()
  }

  // --- the run loop

  run(budget: number): RunExit {
    this.#exitRequested = false
    this.inSlice = true
    const exit = this.#run(budget)
    this.inSlice = false
    const fault = this.#fault
    this.#fault = undefined
    // A device that failed ends the partition's run, whatever the program made of it.
    if (fault !== undefined) throw fault.error
    return exit
  }

  #run(budget: number): RunExit {
    if (this.#shutDown) return 'shutdown'
    for (let used = 0; ; used++) {
      this.#takeInitAndStartup()
      if (this.waitingForStartup) return 'wait-for-sipi'
      try {
        this.#start()
        while (this.#deliver()) this.instructionCount++
        if (this.#fault !== undefined) return 'budget'
        if (this.#halted) return 'halt'
        if (used >= budget || this.#exitRequested) return 'budget'
        this.instructionCount++
        const { done, value } = (this.#steps as Iterator<Step, void, void>).next()
        if (done === true || value === 'halt') this.#halted = true
        if (this.#idle) {
          this.#idle = false
          this.#halted = this.localApic.irr.highest < 0 && !this.localApic.nmiPending
        }
      } catch (error) {
        if (this.#fault !== undefined) return 'budget'
        this.#options.logger.log('error', 'The program on a virtual processor threw what it did not catch', {
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        })
        this.#shutDown = true
        return 'shutdown'
      }
    }
  }

  /** The program, from its beginning or from what was saved. */
  #start(): void {
    if (this.#steps !== undefined) return
    this.memory.program ??= this.#options.program()
    const saved = this.#saved
    this.#saved = undefined
    this.#cpu = new Cpu(this)
    this.#steps = this.memory.program.run(this.#cpu, saved?.value)
  }

  /** Deliver the most urgent interrupt, if one may come in. */
  #deliver(): boolean {
    const { localApic } = this
    if (localApic.nmiPending) {
      localApic.nmiPending = false
      this.#interrupt(NMI_VECTOR)
      return true
    }
    if (!this.interruptsEnabled) return false
    if (this.#externalInterrupt) {
      this.#interrupt(this.intercepts.acknowledgeInterrupt(this.index))
      return true
    }
    const vector = localApic.deliverable
    if (vector < 0) return false
    localApic.accept(vector)
    this.#interrupt(vector)
    return true
  }

  #interrupt(vector: number): void {
    const handler = this.#cpu?.handler(vector)
    if (handler === undefined) throw new Error(`Interrupt ${vector} has no handler`)
    const enabled = this.interruptsEnabled
    this.interruptsEnabled = false
    this.#halted = false
    try {
      handler()
    } finally {
      this.interruptsEnabled = enabled
    }
  }

  #takeInitAndStartup(): void {
    const { localApic } = this
    const { initPending, startupPending } = localApic
    // A startup message that counts came after the INIT.
    if (initPending) this.reset('init')
    localApic.startupPending = false
    if (startupPending && this.waitingForStartup) this.start()
  }

  requestExit(): void {
    this.#exitRequested = true
  }

  failed(error: unknown): void {
    this.#fault ??= { error }
  }

  // --- interrupts

  receiveInterrupt(message: InterruptMessage): boolean {
    return this.localApic.receive(message)
  }

  setExternalInterrupt(asserted: boolean): void {
    this.#externalInterrupt = asserted
  }

  get interruptsEnabled(): boolean {
    return (this.getRegister('rflags') & RFLAGS.INTERRUPTS) !== 0n
  }

  set interruptsEnabled(enabled: boolean) {
    const flags = this.getRegister('rflags') & ~RFLAGS.INTERRUPTS
    this.registers.set('rflags', enabled ? flags | RFLAGS.INTERRUPTS : flags)
  }

  idle(): void {
    this.#idle = true
  }

  start(): void {
    this.waitingForStartup = false
    this.#halted = false
  }

  // --- registers

  getRegister(name: RegisterName): bigint {
    return name === 'cr8' ? BigInt(this.localApic.tpr >> 4) : (this.registers.get(name) ?? 0n)
  }

  setRegister(name: RegisterName, value: bigint): void {
    if (name === 'cr8') this.localApic.tpr = (Number(value) & 15) << 4
    else this.registers.set(name, BigInt.asUintN(64, value))
  }

  getSegment(name: SegmentName): SegmentRegister {
    return { ...(this.#segments.get(name) ?? NO_SEGMENT) }
  }

  setSegment(name: SegmentName, value: SegmentRegister): void {
    this.#segments.set(name, { ...value })
  }

  getDescriptorTable(name: 'gdtr' | 'idtr'): { base: bigint; limit: number } {
    return { ...(this.#tables.get(name) ?? NO_TABLE) }
  }

  /** It is kept: the program has handlers instead of an IDT. */
  setDescriptorTable(name: 'gdtr' | 'idtr', base: bigint, limit: number): void {
    this.#tables.set(name, { base, limit })
  }

  readMsr(index: number): bigint | undefined {
    if (index === MSR.TIME_STAMP_COUNTER) return this.timeStampCounter
    if (index === MSR.APIC_BASE) return APIC_BASE.VALUE | (this.index === 0 ? APIC_BASE.BOOT : 0n)
    if (index >= MSR.X2APIC_FIRST && index <= MSR.X2APIC_LAST) return this.localApic.readMsr(index)
    return this.intercepts.msrRead(this.index, index, this.#value) ? this.#value[0] : undefined
  }

  writeMsr(index: number, value: bigint): boolean {
    if (index === MSR.TIME_STAMP_COUNTER) {
      this.timeStampCounter = value
      this.intercepts.timeStampWritten?.(this.index)
      return true
    }
    if (index >= MSR.X2APIC_FIRST && index <= MSR.X2APIC_LAST) return this.localApic.writeMsr(index, value)
    return this.intercepts.msrWrite(this.index, index, value)
  }

  /** There is no x87: the state is kept, and nothing computes with it. */
  getFloatState(): Uint8Array {
    return this.#floatState.slice()
  }

  setFloatState(state: Uint8Array): void {
    this.#floatState.set(state.subarray(0, FLOAT_STATE_SIZE))
  }

  getXmm(index: number): Uint8Array {
    return this.#register(index).slice()
  }

  setXmm(index: number, value: Uint8Array): void {
    this.#register(index).set(value.subarray(0, XMM_SIZE))
  }

  #register(index: number): Uint8Array {
    const register = this.#xmm[index]
    if (register === undefined) throw new ProcessorError('ERR_PROCESSOR_STATE', `There is no register XMM${index}`)
    return register
  }

  get timeStampCounter(): bigint {
    return BigInt.asUintN(64, BigInt(this.#options.clock.now()) * TICKS_PER_NANOSECOND + this.#timeStampOffset)
  }

  set timeStampCounter(value: bigint) {
    this.#timeStampOffset = value - BigInt(this.#options.clock.now()) * TICKS_PER_NANOSECOND
  }

  flushTranslations(): void {}

  translateLinear(linear: bigint): number {
    const gpa = Number(linear)
    return this.memory.isRam(gpa, 1) ? gpa : -1
  }

  // --- life

  reset(kind: 'power-on' | 'init'): void {
    this.#stopProgram(kind === 'power-on' && this.index === 0)
    this.localApic.reset()
    this.#resetRegisters()
    // INIT sends the boot processor back to its first instruction, and the others to wait for a startup message.
    this.waitingForStartup = this.index !== 0
    if (kind === 'power-on') this.timeStampCounter = 0n
  }

  #resetRegisters(): void {
    this.registers.clear()
    this.registers.set('rflags', RFLAGS.FIXED)
    this.#segments.clear()
    this.#tables.clear()
    this.#floatState.fill(0)
    for (const register of this.#xmm) register.fill(0)
    this.#halted = false
    this.#idle = false
    this.#shutDown = false
  }

  /** Nothing of the program that ran goes on; with `all`, on no processor. */
  #stopProgram(all: boolean): void {
    this.#cpu?.stop()
    this.#cpu = undefined
    this.#steps = undefined
    this.#saved = undefined
    if (!all) return
    this.memory.program?.end?.()
    this.memory.program = undefined
  }

  save(): SavedState {
    const program = this.#steps === undefined ? this.#saved?.value : this.memory.program?.save?.(this.index)
    return {
      version: SAVED_STATE_VERSION,
      data: {
        registers: Object.fromEntries(this.registers),
        segments: Object.fromEntries([...this.#segments].map(([name, segment]) => [name, { ...segment }])),
        xmm: this.#xmm.map((register) => register.slice()),
        localApic: this.localApic.save(),
        timeStampCounter: this.timeStampCounter,
        waitingForStartup: this.waitingForStartup,
        shutDown: this.#shutDown,
        ...(program !== undefined && { program }),
      },
    }
  }

  restore(state: SavedState): void {
    const { registers, segments, xmm, localApic, timeStampCounter, waitingForStartup, shutDown, program } = state.data
    if (
      state.version !== SAVED_STATE_VERSION ||
      !isObject(registers) ||
      !isObject(segments) ||
      !isObject(localApic) ||
      !Array.isArray(xmm) ||
      typeof timeStampCounter !== 'bigint'
    ) {
      throw new ProcessorError('ERR_STATE_INVALID', 'The saved state is not one of this processor', {
        data: { version: state.version },
      })
    }
    this.reset('power-on')
    for (const [name, value] of Object.entries(registers)) this.registers.set(name as RegisterName, value as bigint)
    for (const [name, value] of Object.entries(segments))
      this.#segments.set(name as SegmentName, value as unknown as SegmentRegister)
    for (const [index, value] of xmm.entries()) this.#xmm[index]?.set(value as Uint8Array)
    this.localApic.restore(localApic)
    this.timeStampCounter = timeStampCounter
    this.waitingForStartup = waitingForStartup === true
    this.#shutDown = shutDown === true
    // The program finds out by itself whether there is something to do, and has no handlers yet.
    this.#halted = false
    this.interruptsEnabled = false
    this.#saved = program === undefined ? undefined : { value: program }
  }

  [Symbol.dispose](): void {
    this.#stopProgram(true)
  }
}

function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
