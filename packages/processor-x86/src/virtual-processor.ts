// A virtual processor on the software logical processor: its code cache and interpreter, and the loop that runs blocks and delivers events between them.

import type {
  InterruptMessage,
  RegisterName,
  RunExit,
  SavedState,
  SegmentName,
  SegmentRegister,
  VirtualLocalApic,
  VirtualProcessor,
  VirtualProcessorOptions,
} from '@partita/interface'
import { BLOCK, CodeCache } from './code-cache.ts'
import { ACTIVITY, type Activity, Cpu, canonical, FLAG } from './cpu.ts'
import { Decoder } from './decoder/decoder.ts'
import { MODE } from './decoder/mode.ts'
import type { DecodedForm } from './decoder/opcode-map.ts'
import { deliverEvent, deliverPendingFault } from './event-delivery.ts'
import { getFloatState, readMsr, setFloatState, writeMsr } from './host-registers.ts'
import { VECTOR } from './instruction/emitter.ts'
import { INSTRUCTION_SET } from './instruction-set/index.ts'
import { ExecutionProfile, type FormProfile, PROFILE_SIZE } from './interpreter/execution-profile.ts'
import { HANDLER } from './interpreter/handler.ts'
import { hasSimpleHandler, isInline } from './interpreter/inline-forms.ts'
import {
  buildInterpreterModule,
  type InlineHandler,
  type InterpreterExports,
  type RuntimeImports,
} from './interpreter/interpreter-module.ts'
import { LocalApic } from './local-apic.ts'
import type { SoftwareMemory } from './memory.ts'
import { ACCESS } from './mmu.ts'
import { ModelSpecificRegisters, TSC_FREQUENCY } from './msr.ts'
import { ProcessorError } from './processor-error.ts'
import {
  getDescriptorTable,
  getRegister,
  getSegment,
  setDescriptorTable,
  setRegister,
  setSegment,
} from './register-access.ts'
import { resetProcessor } from './reset.ts'
import { restoreProcessor, saveProcessor } from './saved-state.ts'
import { FILE, RECORD, SEGMENT, STATE, STATUS } from './state-layout.ts'
import { describeProcessor, type ProcessorExits } from './statistics.ts'
import { RegionCompilation } from './translator/compilation.ts'
import {
  COUNTERS_SIZE,
  MAXIMUM_REGIONS,
  type TranslationOptions,
  type TranslationStatistics,
  Translator,
  USED_SIZE,
} from './translator/translator.ts'

const PAGE = 4096
/** Instructions for each block of a budget, on average. */
const INSTRUCTIONS_PER_BLOCK = 5
/** Places in the function table for forms; those of regions follow. */
const FORMS = 16384
const TABLE_SIZE: number = FORMS + MAXIMUM_REGIONS
/** High half of what no RIP is: not canonical, and beyond 32 bits. */
const NO_ADDRESS = 0x70000000

export class SoftwareVirtualProcessor implements VirtualProcessor {
  readonly index: number
  readonly apicId: number
  readonly cpu: Cpu
  readonly #memory: SoftwareMemory
  readonly #code: CodeCache
  readonly #decoder: Decoder
  readonly #table: WebAssembly.Table
  readonly #imports: { env: WebAssembly.ModuleImports }
  readonly #run: (start: number) => number
  #tableUsed = 0
  #generation = 0
  #exitRequested = false
  /** Instructions executed before the present slice. */
  #instructions = 0
  #sliceBudget = 0
  #running = false
  #externalInterrupt = false
  /** Halted until an interrupt is pending, whether IF is set or not. */
  #idle = false

  readonly #profile: ExecutionProfile | undefined
  #translator: Translator | undefined
  #onDispose: (() => void) | undefined

  /** `profile`: count executions, for {@link SoftwareVirtualProcessor.executionProfile}; slower. */
  constructor(
    options: VirtualProcessorOptions & {
      readonly memory: SoftwareMemory
      readonly profile?: boolean
      readonly translation?: TranslationOptions
      /** Count what each region executes, for {@link SoftwareVirtualProcessor.describe}; a little slower. */
      readonly statistics?: boolean
      readonly onDispose?: () => void
    },
  ) {
    const { memory, index, apicId, intercepts, clock } = options
    this.index = index
    this.apicId = apicId
    this.#onDispose = options.onDispose
    this.#memory = memory
    const area = memory.allocateVp()
    // what is known of regions takes the end of the decoded code's area
    const used = area.arenaEnd - USED_SIZE
    const counters = options.statistics ? used - COUNTERS_SIZE : undefined
    const countersStart = counters ?? used
    const arenaEnd = options.profile ? countersStart - PROFILE_SIZE : countersStart
    this.#profile = options.profile ? new ExecutionProfile(memory, arenaEnd) : undefined
    const cpu = new Cpu(index, memory, area.state, intercepts)
    this.cpu = cpu
    cpu.msrs = new ModelSpecificRegisters(cpu, clock)
    cpu.apic = new LocalApic({
      apicId,
      bootProcessor: index === 0,
      clock,
      readTsc: () => cpu.msrs.readTsc(),
      tscFrequency: TSC_FREQUENCY,
      send: (message) => intercepts.sendInterrupt(index, message),
      endOfInterrupt: (vector, level) => intercepts.endOfInterrupt(index, vector, level),
      changed: () => this.#interruptsChanged(),
    })
    this.#decoder = new Decoder(INSTRUCTION_SET, (form) => this.#generate(form))
    this.#code = new CodeCache({
      memory,
      decoder: this.#decoder,
      arena: area.arena,
      arenaEnd,
      onReset: () => {
        this.#generation++
        this.#translator?.reset()
        cpu.mmu.flushJumps()
      },
      onReuse: () => {
        this.#generation++
        cpu.mmu.flushJumps()
      },
      onDrop: (record) => this.#translator?.blockDropped(record),
      isHeld: (record) => this.#translator?.holds(record) ?? false,
    })
    cpu.code = this.#code
    memory.observe({
      codePage: (page) => cpu.mmu.protectPage(page),
      codeWritten: (page, start, end) => {
        this.#code.invalidate(page, start, end)
        this.#translator?.invalidate(page, start, end)
      },
      mapChanged: () => cpu.mmu.flush(true),
    })
    cpu.set64(STATE.FILE + 144, 4096n)
    cpu.set32(STATE.SHADOW + 4, NO_ADDRESS)

    this.#table = new WebAssembly.Table({ initial: TABLE_SIZE, element: 'anyfunc' })
    const imports: RuntimeImports = {
      readSlow: (lo, hi, bytes) => cpu.readSlow(lo, hi, bytes),
      writeSlow: (lo, hi, bytes) => cpu.writeSlow(lo, hi, bytes),
      modifyBegin: (lo, hi, bytes) => cpu.modifyBegin(lo, hi, bytes),
      modifyCommit: (lo, hi, bytes) => cpu.modifyCommit(lo, hi, bytes),
      probe: (lo, hi, bytes) => cpu.probe(lo, hi, bytes),
      regionRead: (lo, hi, bytes) => cpu.regionRead(lo, hi, bytes),
      regionWrite: (lo, hi, bytes) => cpu.regionWrite(lo, hi, bytes),
      regionModify: (lo, hi, bytes) => cpu.regionModify(lo, hi, bytes),
      findBlock: () => this.#findBlock(),
      link: (record) => this.#link(record),
      now: () => clock.now(),
      system: (form, record) => this.#system(form, record),
    }
    this.#imports = { env: { memory: memory.wasm, table: this.#table, ...(this.#profile?.count(imports) ?? imports) } }
    const inline: InlineHandler[] = []
    const forms = this.#decoder.enumerate(
      (definition, size, _memory) => typeof definition.semantics === 'function' && isInline(definition.opcode, size),
    )
    for (const decoded of forms) {
      if (!decoded.form.memory) inline.push({ decoded, addressKind: 0 })
      else if (!decoded.form.operands.some((operand) => operand.moffs)) {
        if (hasSimpleHandler(decoded.form.definition.opcode)) inline.push({ decoded, addressKind: 1 })
        inline.push({ decoded, addressKind: 2 })
      }
    }
    const main = this.#instantiate(forms, inline)
    this.#run = main.run
    // forms that are met later import what the first module defines
    Object.assign(this.#imports.env, main)
    const { translation } = options
    if (translation?.mode === 'on') {
      const translator = new Translator({
        memory,
        base: cpu.base,
        compilation: new RegionCompilation(this.#decoder),
        code: this.#code,
        table: this.#table,
        tableBase: FORMS,
        imports: this.#imports as WebAssembly.Imports,
        translation,
        used,
        counters,
      })
      this.#translator = translator
      cpu.hasCode = (page, start, end) => this.#code.covers(page, start, end) || translator.covers(page, start, end)
    }
    this.reset('power-on')
  }

  #instantiate(forms: readonly DecodedForm[], inline?: readonly InlineHandler[]): InterpreterExports {
    const { pages } = this.#memory
    const bytes = buildInterpreterModule({
      base: this.cpu.base,
      memory: { initial: pages, maximum: pages, shared: true },
      forms,
      tableBase: this.#tableUsed,
      ...(inline ? { inline } : {}),
      counters: this.#profile?.counters,
    })
    this.#tableUsed += forms.length
    if (this.#tableUsed > FORMS)
      throw new ProcessorError('ERR_PROCESSOR_STATE', 'More instruction forms than the table holds')
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), this.#imports as WebAssembly.Imports)
    return instance.exports as unknown as InterpreterExports
  }
  /** A form was met for the first time: give it its function. */
  #generate(form: DecodedForm): void {
    this.#instantiate([form])
  }

  // --- what generated code calls

  /** The record of the block at STATE.RIP, or 0 with a fault pending. */
  #findBlock(): number {
    const { cpu } = this
    const mmu = cpu.mmu
    const { mode } = cpu
    const at = (cpu.base + STATE.RIP) >> 2
    let lo = cpu.i32[at] as number
    let hi = cpu.i32[at + 1] as number
    const ripLo = lo
    const ripHi = hi
    if (mode === MODE.LONG) {
      if (!canonical(hi, lo, 1)) {
        cpu.setFault(VECTOR.GP, 0)
        return 0
      }
    } else {
      if (lo >>> 0 > cpu.segmentLimit(SEGMENT.CS)) {
        cpu.setFault(VECTOR.GP, 0)
        return 0
      }
      lo = Number((cpu.segmentBase(SEGMENT.CS) + BigInt(lo >>> 0)) & 0xffffffffn) | 0
      hi = 0
    }
    if (!mmu.walkCode(lo, hi)) {
      cpu.setPageFault(mmu.errorCode, lo, hi)
      return 0
    }
    const { page, global, pageSize } = mmu
    if (!((this.#memory.gpaMap[page] ?? 0) & 4)) {
      // no memory there: the bus would answer with ones, which are no instruction
      cpu.setFault(VECTOR.UD, 0)
      return 0
    }
    const offset = lo & 0xfff
    let record = this.#code.find(page, offset, mode)
    if (record === 0) {
      record = this.#decode(page, offset, lo, hi, cpu.cpl === 3, undefined)
      if (record === 0) return 0
      if (this.#translator?.threshold === 1) this.#translator.translate(record, page, offset, mode)
    }
    mmu.global = global
    mmu.pageSize = pageSize
    mmu.fillJump(ripLo, ripHi, record)
    return record
  }

  /** Decode at a page and offset; 0 with a fault pending. */
  #decode(page: number, offset: number, lo: number, hi: number, user: boolean, limit: number | undefined): number {
    const { cpu } = this
    const mmu = cpu.mmu
    const nextLo = ((lo & ~0xfff) + PAGE) | 0
    const nextHi = cpu.mode === MODE.LONG && nextLo === 0 ? (hi + 1) | 0 : hi
    const nextPage = (): number => {
      if (cpu.mode === MODE.LONG && !canonical(nextHi, nextLo, 1)) return -1
      if (!mmu.walk(nextLo, nextHi, ACCESS.EXECUTE, user, false)) return -1
      return (this.#memory.gpaMap[mmu.page] ?? 0) & 4 ? mmu.page : -1
    }
    const record = this.#code.decode(page, offset, cpu.mode, nextPage, limit)
    if (record > 0) return record
    if (record === BLOCK.UNDEFINED) cpu.setFault(VECTOR.UD, 0)
    else if (record === BLOCK.TOO_LONG) cpu.setFault(VECTOR.GP, 0)
    else if (cpu.mode === MODE.LONG && !canonical(nextHi, nextLo, 1)) cpu.setFault(VECTOR.GP, 0)
    else if (mmu.walk(nextLo, nextHi, ACCESS.EXECUTE, user, false)) cpu.setFault(VECTOR.UD, 0)
    else cpu.setPageFault(mmu.errorCode, nextLo, nextHi)
    return 0
  }

  /** The record that a direct jump inside its page goes to, remembered in the jump's record. */
  #link(record: number): number {
    const generation = this.#generation
    const target = this.#findBlock()
    const view = this.#memory.view
    if (target !== 0 && generation === this.#generation && view.getUint32(record + RECORD.CHAIN, true) === 0) {
      this.#code.link(record, target)
    }
    return target
  }

  #system(formNumber: number, record: number): number {
    const { cpu } = this
    const decoded = this.#decoder.forms[formNumber] as DecodedForm
    const { semantics, options } = decoded.form.definition
    try {
      if (typeof semantics === 'function') throw new Error(`${decoded.form.key} is not a system instruction`)
      if (options.unit) this.#checkUnit(options.unit)
      // the shadow of an earlier instruction ends with this one, which may cast its own
      cpu.interruptShadow = false
      const status = semantics.execute(cpu, record, decoded.form)
      const rest = cpu.get32(STATE.FLAGS_REST)
      if (
        // a shadow in which nothing waits needs no attention, and may outlive its instruction
        rest & FLAG.TF ||
        (cpu.get32(STATE.DR7) & 0xff) !== 0 ||
        (rest & FLAG.IF && this.#interruptWaiting()) ||
        cpu.apic.nmiPending
      ) {
        this.#breakOut()
      }
      return status
    } catch (thrown) {
      cpu.catchFault(thrown)
      return STATUS.FAULT
    }
  }
  #checkUnit(unit: 'sse' | 'x87' | 'mmx'): void {
    const { cpu } = this
    const cr0 = cpu.get32(STATE.CR0)
    if (unit === 'sse' && (cr0 & 4 || !(cpu.get32(STATE.CR4) & 0x200))) cpu.fault(VECTOR.UD)
    if (unit === 'mmx' && cr0 & 4) cpu.fault(VECTOR.UD)
    if (cr0 & (unit === 'x87' ? 12 : 8)) cpu.fault(VECTOR.NM)
  }

  // --- interrupts

  #interruptWaiting(): boolean {
    const { apic } = this.cpu
    return apic.pendingVector() >= 0 || (this.#externalInterrupt && apic.acceptsExternal())
  }
  /** Leave generated code at the end of the block, to look at what is pending. */
  #breakOut(): void {
    if (this.#running) this.cpu.requestExit()
  }
  #interruptsChanged(): void {
    // called by the APIC's own constructor, too
    this.cpu.set32(STATE.INTERRUPT_WAITING, 1)
    if (this.#running) this.#breakOut()
  }

  /** The pending fault of STATE.FAULT_…, raised by the instruction at STATE.RECORD, or by the fetch of the next one. */
  #deliverPending(): void {
    const { cpu } = this
    const record = cpu.get32(STATE.RECORD)
    let vector = cpu.get32(STATE.FAULT_VECTOR)
    if (record !== 0) cpu.setRip(record, 0)
    if (cpu.nonCanonical && vector === VECTOR.GP) {
      // translated code has no record at hand
      const instruction = record !== 0 ? record : this.#singleRecord()
      if (instruction !== 0 && cpu.segmentOf(instruction) === SEGMENT.SS) vector = VECTOR.SS
    }
    cpu.nonCanonical = false
    deliverPendingFault(cpu, vector)
  }

  /** Take what is pending before the next instruction. True when something was delivered. */
  #takeEvents(): boolean {
    const { cpu } = this
    const { apic } = cpu
    if (apic.initPending) {
      apic.initPending = false
      this.reset('init')
      return true
    }
    if (cpu.interruptShadow) return false
    if (apic.nmiPending && !cpu.nmiBlocked) {
      apic.nmiPending = false
      cpu.nmiBlocked = true
      cpu.activity = ACTIVITY.RUNNING
      deliverEvent(cpu, VECTOR.NMI, 'external', 0, 0n)
      return true
    }
    if (!(cpu.get32(STATE.FLAGS_REST) & FLAG.IF)) return false
    let vector = -1
    if (this.#externalInterrupt && apic.acceptsExternal()) {
      vector = cpu.intercepts.acknowledgeInterrupt(this.index)
      apic.externalAcknowledged()
    } else if (apic.pendingVector() >= 0) vector = apic.acknowledge()
    if (vector < 0) return false
    cpu.activity = ACTIVITY.RUNNING
    deliverEvent(cpu, vector, 'external', 0, 0n)
    return true
  }

  // --- running

  run(budget: number): RunExit {
    const { cpu } = this
    this.#exitRequested = false
    this.cpu.turnOver = false
    cpu.apic.checkTimer()
    if (cpu.apic.initPending) this.#takeEvents()
    if (cpu.activity === ACTIVITY.WAIT_FOR_SIPI) {
      const vector = cpu.apic.startupVector
      if (vector < 0) return 'wait-for-sipi'
      cpu.apic.startupVector = -1
      cpu.activity = ACTIVITY.RUNNING
      cpu.setSegment(SEGMENT.CS, vector << 8, BigInt(vector << 12), 0xffff, 0x9b)
      cpu.set64(STATE.RIP, 0n)
      cpu.updateMode()
    }
    let left = Math.max(1, Math.min(budget * INSTRUCTIONS_PER_BLOCK, 0x3fffffff))
    for (;;) {
      while (cpu.activity !== ACTIVITY.SHUTDOWN && this.#takeEvents());
      if (this.#idle && (cpu.activity !== ACTIVITY.HALTED || this.#interruptWaiting() || cpu.apic.nmiPending)) {
        this.#idle = false
        if (cpu.activity === ACTIVITY.HALTED) cpu.activity = ACTIVITY.RUNNING
      }
      const activity = cpu.activity as Activity
      if (activity === ACTIVITY.SHUTDOWN) return 'shutdown'
      if (activity === ACTIVITY.HALTED) return 'halt'
      if (activity === ACTIVITY.WAIT_FOR_SIPI) return 'wait-for-sipi'
      if (left <= 0 || this.#exitRequested || this.cpu.turnOver) return 'budget'
      if (this.#stepping()) {
        this.#step()
        left--
        continue
      }
      this.#slice(left, 0)
      // an exception counts, too: a handler that faults at its first instruction goes on for ever
      left -= Math.max(1, this.#executed)
    }
  }

  /** Whether the next instruction is to be executed alone. */
  #stepping(): boolean {
    const { cpu } = this
    return cpu.interruptShadow || (cpu.get32(STATE.FLAGS_REST) & FLAG.TF) !== 0 || (cpu.get32(STATE.DR7) & 0xff) !== 0
  }

  readonly #exits: ProcessorExits = { budget: 0, exception: 0, leave: 0, requested: 0, system: 0 }
  #executed = 0
  /** Instructions to interpret until the next sample. */
  #untilSample = 0
  /** Execute generated code for about `budget` instructions. */
  #slice(budget: number, start: number): boolean {
    const { cpu } = this
    const translator = this.#translator
    // the interpreter comes back for samples, translated code has the rest
    const interpreted = translator ? Math.min(budget, this.#untilSample) : budget
    cpu.stolenBudget = 0
    cpu.set32(STATE.BUDGET, interpreted)
    cpu.set32(STATE.RESERVE, budget - interpreted)
    cpu.set32(STATE.INTERRUPT_WAITING, this.#interruptWaiting() || cpu.apic.nmiPending || cpu.apic.initPending ? 1 : 0)
    this.#sliceBudget = budget
    this.#running = true
    let status = -1
    try {
      status = this.#run(start)
      const exits = this.#exits
      if (status === STATUS.FAULT) exits.exception++
      else if (status === STATUS.LEAVE) exits.leave++
      else if (cpu.stolenBudget > 0) exits.requested++
      else if (cpu.get32(STATE.RESERVE) < 0 || cpu.get32(STATE.BUDGET) < 0) exits.budget++
      else exits.system++
      if (translator && start === 0 && status === STATUS.EXIT && cpu.get32(STATE.RESERVE) < 0) {
        translator.sliceEnded(cpu.get32(STATE.RIP), cpu.get32(STATE.RIP + 4), cpu.get32(STATE.JUMPS))
      }
    } finally {
      this.#running = false
      if (translator && start === 0) {
        // what slices have interpreted adds up: those of a guest with many exits are short
        this.#untilSample -= interpreted - cpu.get32(STATE.BUDGET) - cpu.stolenBudget
        if (this.#untilSample < 0) {
          this.#sample(translator)
          this.#untilSample = translator.nextSample()
        }
      }
      this.#executed = budget - cpu.get32(STATE.BUDGET) - cpu.get32(STATE.RESERVE) - cpu.stolenBudget
      if (translator) translator.executed += budget - interpreted - cpu.get32(STATE.RESERVE)
      this.#sliceBudget = 0
      cpu.set32(STATE.BUDGET, 0)
      cpu.set32(STATE.RESERVE, 0)
      cpu.stolenBudget = 0
    }
    const shadowed = this.#inShadow()
    if (status === STATUS.FAULT) {
      // those of the block before the one that faulted
      const record = cpu.get32(STATE.RECORD)
      if (record !== 0) this.#executed += cpu.view.getUint16(record + RECORD.COUNT, true) - 1
      this.#instructions += this.#executed
      this.#deliverPending()
      return false
    }
    this.#instructions += this.#executed
    // the instruction that is left is the one that a shadow would be for
    if (status === STATUS.LEAVE) this.#interpret()
    else if (shadowed) cpu.interruptShadow = true
    return true
  }
  /** Execute the instruction at STATE.RIP alone, which translated code has left. */
  #interpret(): void {
    const executed = this.#executed
    const record = this.#singleRecord()
    if (record === 0) {
      this.cpu.set32(STATE.RECORD, 0)
      this.#deliverPending()
    } else this.#slice(0, record)
    this.#executed += executed
  }
  /** The slice's interpreted part is over: the block that was just executed is likely to be hot. (What follows it may be translated already.) */
  #sample(translator: Translator): void {
    const { cpu } = this
    const last = cpu.get32(STATE.RECORD)
    if (last === 0) return
    const { i32, base } = cpu
    // a block that is left without a jump ends with a record that is no instruction
    const ended = cpu.view.getUint16(last + RECORD.HANDLER, true) === HANDLER.CONTINUE ? 0 : 1
    const block = last - (cpu.view.getUint16(last + RECORD.COUNT, true) - ended) * RECORD.SIZE
    const rip = (base + STATE.FILE + FILE.BLOCK_RIP) >> 2
    translator.sample(block, i32[rip] as number, i32[rip + 1] as number, cpu.get32(STATE.JUMPS))
  }
  /** Whether the next instruction is the one after an STI; asked once. */
  #inShadow(): boolean {
    const { i32, base } = this.cpu
    const at = (base + STATE.SHADOW) >> 2
    const rip = (base + STATE.RIP) >> 2
    const shadowed = i32[at] === i32[rip] && i32[at + 1] === i32[rip + 1]
    i32[at] = 0
    i32[at + 1] = NO_ADDRESS
    return shadowed
  }

  /** Execute one instruction, with what hangs on its boundaries: interrupt shadow, single-step and breakpoints. */
  #step(): void {
    const { cpu } = this
    const mmu = cpu.mmu
    const shadow = cpu.interruptShadow
    const dr7 = cpu.get32(STATE.DR7)
    const tf = (cpu.get32(STATE.FLAGS_REST) & FLAG.TF) !== 0
    const watching = (dr7 & 0xff) !== 0
    const resumed = (cpu.get32(STATE.FLAGS_REST) & FLAG.RF) !== 0
    if (watching !== mmu.watching) {
      mmu.watching = watching
      mmu.flush(true)
    }
    cpu.debugHits = 0
    cpu.trapSuppressed = false
    const rip = cpu.get64(STATE.RIP)
    if (watching && !shadow && !(cpu.get32(STATE.FLAGS_REST) & FLAG.RF)) {
      const hits = this.#instructionBreakpoints(rip, dr7)
      if (hits) {
        deliverEvent(cpu, VECTOR.DB, 'exception', 0, BigInt(hits))
        return
      }
    }
    const record = this.#singleRecord()
    let completed = false
    if (record === 0) {
      cpu.set32(STATE.RECORD, 0)
      this.#deliverPending()
    } else {
      completed = this.#slice(0, record)
    }
    if (shadow) cpu.interruptShadow = false
    if (!completed) return
    // one that was set before; an IRET has set it for the next instruction
    if (resumed) cpu.set32(STATE.FLAGS_REST, cpu.get32(STATE.FLAGS_REST) & ~FLAG.RF)
    // a MOV SS or POP SS holds debug traps back until the next instruction
    const hits = cpu.debugHits | (tf && !cpu.trapSuppressed ? 0x4000 : 0)
    if (hits && !(cpu.interruptShadow && !tf)) deliverEvent(cpu, VECTOR.DB, 'exception', 0, BigInt(hits))
  }
  #instructionBreakpoints(rip: bigint, dr7: number): number {
    const { cpu } = this
    const linear = cpu.mode === MODE.LONG ? rip : (rip + cpu.segmentBase(SEGMENT.CS)) & 0xffffffffn
    let hits = 0
    for (let n = 0; n < 4; n++) {
      if ((dr7 >> (n * 2)) & 3 && ((dr7 >>> (16 + n * 4)) & 3) === 0 && cpu.get64(STATE.DR0 + n * 8) === linear)
        hits |= 1 << n
    }
    return hits
  }
  /** A record of the instruction at RIP alone; 0 with a fault pending. */
  #singleRecord(): number {
    const { cpu } = this
    if (this.#findBlock() === 0) return 0
    const long = cpu.mode === MODE.LONG
    const rip = cpu.get64(STATE.RIP)
    const linear = long ? rip : (rip + cpu.segmentBase(SEGMENT.CS)) & 0xffffffffn
    const lo = Number(linear & 0xffffffffn) | 0
    const hi = Number(linear >> 32n) | 0
    const user = cpu.cpl === 3
    if (!cpu.mmu.walk(lo, hi, ACCESS.EXECUTE, user, false)) return 0
    return this.#decode(cpu.mmu.page, lo & 0xfff, lo, hi, user, 1)
  }

  /**
   * Execute exactly one instruction (or deliver the exception that it raises), for debuggers and tests. `translated`: as translated code where it can be; that needs a
   * translator whose regions have one instruction.
   */
  step(translated: boolean = false): void {
    if (translated && !this.#stepping() && this.#atRegion()) this.#slice(0, 0)
    else this.#step()
  }

  /** Whether translated code begins at RIP. */
  #atRegion(): boolean {
    const record = this.#findBlock()
    return record !== 0 && this.cpu.view.getUint16(record + RECORD.HANDLER, true) === HANDLER.REGION
  }

  requestExit(): void {
    this.#exitRequested = true
    this.#breakOut()
  }
  get instructionCount(): number {
    const { cpu } = this
    const now = this.#running
      ? this.#sliceBudget - cpu.get32(STATE.BUDGET) - cpu.get32(STATE.RESERVE) - cpu.stolenBudget
      : 0
    return this.#instructions + now
  }
  /** What was executed so far, of a processor that was made with `profile`. */
  executionProfile():
    | {
        readonly forms: readonly FormProfile[]
        readonly calls: Readonly<Record<string, number>>
        readonly blocksDecoded: number
      }
    | undefined {
    const profile = this.#profile
    return (
      profile && {
        forms: profile.forms(this.#decoder.forms),
        calls: profile.calls,
        blocksDecoded: this.#code.blocksDecoded,
      }
    )
  }
  /** What was translated; undefined without a translator. */
  translationStatistics(): TranslationStatistics | undefined {
    return this.#translator?.statistics
  }
  describe(symbol?: (address: bigint) => string | undefined): readonly string[] {
    return describeProcessor(
      {
        index: this.index,
        instructions: this.instructionCount,
        exits: this.#exits,
        walks: this.cpu.mmu.walks,
        blocksDecoded: this.#code.blocksDecoded,
        translation: this.#translator?.statistics,
      },
      symbol,
    )
  }
  get nextDeadline(): number {
    return this.cpu.apic.nextDeadline
  }

  // --- registers

  getRegister(name: RegisterName): bigint {
    return getRegister(this.cpu, name)
  }
  setRegister(name: RegisterName, value: bigint): void {
    setRegister(this.cpu, name, value)
  }
  getSegment(name: SegmentName): SegmentRegister {
    return getSegment(this.cpu, name)
  }
  setSegment(name: SegmentName, value: SegmentRegister): void {
    setSegment(this.cpu, name, value)
  }
  getDescriptorTable(name: 'gdtr' | 'idtr'): { base: bigint; limit: number } {
    return getDescriptorTable(this.cpu, name)
  }
  setDescriptorTable(name: 'gdtr' | 'idtr', base: bigint, limit: number): void {
    setDescriptorTable(this.cpu, name, base, limit)
  }
  readMsr(index: number): bigint | undefined {
    return readMsr(this.cpu, index)
  }
  writeMsr(index: number, value: bigint): boolean {
    return writeMsr(this.cpu, index, value)
  }
  getFloatState(): Uint8Array {
    return getFloatState(this.cpu)
  }
  setFloatState(state: Uint8Array): void {
    setFloatState(this.cpu, state)
  }
  getXmm(index: number): Uint8Array {
    const at = this.cpu.base + STATE.XMM + index * 16
    return this.cpu.u8.slice(at, at + 16)
  }
  setXmm(index: number, value: Uint8Array): void {
    this.cpu.u8.set(value.subarray(0, 16), this.cpu.base + STATE.XMM + index * 16)
  }

  reset(kind: 'power-on' | 'init'): void {
    this.#idle = false
    if (kind === 'power-on') {
      this.#externalInterrupt = false
      this.#instructions = 0
    }
    resetProcessor(this.cpu, kind)
  }

  get localApic(): VirtualLocalApic {
    return this.cpu.apic
  }
  get timeStampCounter(): bigint {
    return this.cpu.msrs.readTsc()
  }
  get is64Bit(): boolean {
    return this.cpu.mode === MODE.LONG
  }
  flushTranslations(): void {
    this.cpu.mmu.flush(true)
  }
  idle(): void {
    this.cpu.activity = ACTIVITY.HALTED
    this.#idle = true
  }
  get waitingForStartup(): boolean {
    return this.cpu.activity === ACTIVITY.WAIT_FOR_SIPI
  }
  start(): void {
    const { cpu } = this
    if (cpu.activity !== ACTIVITY.WAIT_FOR_SIPI) return
    cpu.apic.startupVector = -1
    cpu.activity = ACTIVITY.RUNNING
    cpu.updateMode()
  }

  receiveInterrupt(message: InterruptMessage): boolean {
    return this.cpu.apic.receive(message)
  }
  setAddressLine20(connected: boolean): void {
    this.cpu.mmu.setAddressLine20(connected)
  }
  setExternalInterrupt(asserted: boolean): void {
    this.#externalInterrupt = asserted
    this.cpu.apic.setLint0(asserted)
    if (!asserted) return
    this.cpu.set32(STATE.INTERRUPT_WAITING, 1)
    this.#breakOut()
  }

  translateLinear(linear: bigint): number {
    const { cpu } = this
    const lo = Number(linear & 0xffffffffn) | 0
    const hi = Number((linear >> 32n) & 0xffffffffn) | 0
    return cpu.mmu.walk(lo, hi, ACCESS.READ, false, true)
      ? this.#memory.gpaPage(cpu.mmu.page) * PAGE + (lo & 0xfff)
      : -1
  }

  // --- saved state

  save(): SavedState {
    return saveProcessor(this.cpu, {
      idle: this.#idle,
      externalInterrupt: this.#externalInterrupt,
      instructions: this.#instructions,
    })
  }
  restore(state: SavedState): void {
    const { idle, externalInterrupt, instructions } = restoreProcessor(this.cpu, state)
    this.#idle = idle
    this.#externalInterrupt = externalInterrupt
    this.#instructions = instructions
    this.#code.reset()
    this.cpu.mmu.flush(true)
    this.cpu.updateMode()
    this.cpu.updateUnits()
  }

  [Symbol.dispose](): void {
    this.#code.reset()
    const onDispose = this.#onDispose
    this.#onDispose = undefined
    onDispose?.()
  }
}
