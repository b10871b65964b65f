// A processor that runs JavaScript functions instead of instructions, and a host whose time is a variable.

import type {
  Intercepts,
  InterruptMessage,
  PartitionMemory,
  Processor,
  RegisterName,
  RunExit,
  SavedState,
  SegmentName,
  SegmentRegister,
  VirtualLocalApic,
  VirtualProcessor,
  VirtualProcessorOptions,
} from '@partita/interface'
import type { EventLoop, HostTime } from '../src/index.ts'

const PAGE = 4096
/** Pages before RAM in the fake's store, so that nobody takes an offset for an address. */
const RAM_OFFSET = 2 * PAGE
const OVERLAYS = 64

export class FakeMemory implements PartitionMemory {
  readonly buffer: ArrayBuffer
  readonly ramOffset: number = RAM_OFFSET
  readonly ramSize: number
  readonly gpaEnd: number = 2 ** 40
  readonly pages: Map<number, { offset: number; access: number }> = new Map()
  overlays = 0
  readonly writes: { gpa: number; length: number }[] = []

  constructor(ramSize: number) {
    this.ramSize = ramSize
    this.buffer = new ArrayBuffer(RAM_OFFSET + ramSize + OVERLAYS * PAGE)
  }

  map(gpaPage: number, pages: number, offset: number, access: number): void {
    for (let index = 0; index < pages; index++)
      this.pages.set(gpaPage + index, { offset: offset + index * PAGE, access })
  }

  unmap(gpaPage: number, pages: number): void {
    for (let index = 0; index < pages; index++) this.pages.delete(gpaPage + index)
  }

  translate(gpa: number, access: number): number {
    const page = this.pages.get(Math.floor(gpa / PAGE))
    return page !== undefined && (page.access & access) === access ? page.offset + (gpa % PAGE) : -1
  }

  allocateOverlay(): number {
    if (this.overlays === OVERLAYS) throw new Error('no overlay page is left')
    return RAM_OFFSET + this.ramSize + this.overlays++ * PAGE
  }

  written(gpa: number, length: number): void {
    this.writes.push({ gpa, length })
  }
}

/** Remembers what the synthetic interrupt controller asks for. */
export class FakeLocalApic implements VirtualLocalApic {
  icr = 0n
  tpr = 0
  ended = 0
  readonly autoEoi: Set<number> = new Set()
  readonly eoiNotify: Set<number> = new Set()
  assist: { readonly words: Int32Array } | undefined

  endOfInterrupt(): void {
    this.ended++
  }

  setAutoEoi(vector: number, automatic: boolean): void {
    if (automatic) this.autoEoi.add(vector)
    else this.autoEoi.delete(vector)
  }

  setEoiNotify(vector: number, notify: boolean): void {
    if (notify) this.eoiNotify.add(vector)
    else this.eoiNotify.delete(vector)
  }

  setEoiAssist(page: { readonly words: Int32Array } | undefined): void {
    this.assist = page
  }
}

/** What a slice of the fake processor does. */
export type Script = (vp: FakeProcessorVp, budget: number) => RunExit

export class FakeProcessorVp implements VirtualProcessor {
  readonly index: number
  readonly apicId: number
  readonly intercepts: Intercepts
  readonly options: VirtualProcessorOptions
  readonly received: InterruptMessage[] = []
  readonly budgets: number[] = []
  readonly resets: string[] = []
  readonly registers: Map<string, bigint> = new Map()
  script: Script
  externalInterrupt = false
  exitRequested = false
  disposed = false
  nextDeadline: number = Infinity
  instructionCount = 0
  readonly localApic: FakeLocalApic = new FakeLocalApic()
  timeStampCounter = 0n
  is64Bit = true
  waitingForStartup: boolean
  flushes = 0
  idles = 0
  readonly xmm: Uint8Array[] = Array.from({ length: 16 }, () => new Uint8Array(16))
  readonly segments: Map<SegmentName, SegmentRegister> = new Map()
  readonly tables: Map<string, { base: bigint; limit: number }> = new Map()

  constructor(options: VirtualProcessorOptions, script: Script) {
    this.index = options.index
    this.apicId = options.apicId
    this.intercepts = options.intercepts
    this.options = options
    this.script = script
    this.waitingForStartup = options.index !== 0
  }

  run(budget: number): RunExit {
    this.budgets.push(budget)
    this.exitRequested = false
    this.instructionCount += budget
    return this.script(this, budget)
  }

  requestExit(): void {
    this.exitRequested = true
  }

  getRegister(name: RegisterName): bigint {
    return this.registers.get(name) ?? 0n
  }

  setRegister(name: RegisterName, value: bigint): void {
    this.registers.set(name, value)
  }

  getSegment(name: SegmentName): SegmentRegister {
    return this.segments.get(name) ?? { selector: 0, base: 0n, limit: 0, attributes: 0 }
  }

  setSegment(name: SegmentName, value: SegmentRegister): void {
    this.segments.set(name, value)
  }

  readonly msrs: Map<number, bigint> = new Map()
  floatState: Uint8Array = new Uint8Array(160)

  /** It has those that a test gave it, and no others. */
  readMsr(index: number): bigint | undefined {
    return this.msrs.get(index)
  }

  writeMsr(index: number, value: bigint): boolean {
    if (!this.msrs.has(index) || value === 0xbadn) return false
    this.msrs.set(index, value)
    return true
  }

  getFloatState(): Uint8Array {
    return this.floatState.slice()
  }

  setFloatState(state: Uint8Array): void {
    this.floatState = state.slice()
  }

  getDescriptorTable(name: 'gdtr' | 'idtr'): { base: bigint; limit: number } {
    return this.tables.get(name) ?? { base: 0n, limit: 0 }
  }

  setDescriptorTable(name: 'gdtr' | 'idtr', base: bigint, limit: number): void {
    this.tables.set(name, { base, limit })
  }

  getXmm(index: number): Uint8Array {
    return (this.xmm[index] as Uint8Array).slice()
  }

  setXmm(index: number, value: Uint8Array): void {
    this.xmm[index]?.set(value)
  }

  flushTranslations(): void {
    this.flushes++
  }

  idle(): void {
    this.idles++
  }

  start(): void {
    this.waitingForStartup = false
  }

  reset(kind: 'power-on' | 'init'): void {
    this.resets.push(kind)
    this.waitingForStartup = this.index !== 0
    this.registers.clear()
  }

  receiveInterrupt(message: InterruptMessage): boolean {
    const mine = message.logical
      ? (message.destination & (1 << this.apicId)) !== 0
      : message.destination === this.apicId || message.destination === 0xff
    if (mine) this.received.push({ ...message })
    return mine
  }

  setExternalInterrupt(asserted: boolean): void {
    this.externalInterrupt = asserted
  }

  translateLinear(linear: bigint): number {
    return Number(linear)
  }

  save(): SavedState {
    return { version: 1, data: { registers: Object.fromEntries(this.registers) } }
  }

  restore(state: SavedState): void {
    this.registers.clear()
    for (const [name, value] of Object.entries(state.data['registers'] as Record<string, bigint>)) {
      this.registers.set(name, value)
    }
  }

  [Symbol.dispose](): void {
    this.disposed = true
  }
}

export class FakeProcessor implements Processor {
  readonly name: string = 'fake'
  readonly maximumRam: number
  readonly timeStampFrequency: number = 2e9
  readonly apicTimerFrequency: number = 1e9
  readonly processors: FakeProcessorVp[] = []
  memory: FakeMemory | undefined
  readonly #script: Script

  /** Every processor halts where no script is given. */
  constructor(script: Script = () => 'halt', maximumRam: number = 64 * 2 ** 20) {
    this.#script = script
    this.maximumRam = maximumRam
  }

  createMemory(ramSize: number): FakeMemory {
    this.memory = new FakeMemory(ramSize)
    return this.memory
  }

  createVirtualProcessor(options: VirtualProcessorOptions): FakeProcessorVp {
    const vp = new FakeProcessorVp(options, this.#script)
    this.processors.push(vp)
    return vp
  }
}

/** A host whose time moves when a test says so, or to the next event when the partition waits for one. */
export class FakeHost implements HostTime, EventLoop {
  time = 1000
  wall = 1_700_000_000_000
  yields = 0
  readonly waits: number[] = []
  readonly #events: { at: number; callback: () => void }[] = []

  now(): number {
    return this.time
  }

  wallTime(): number {
    return this.wall
  }

  /** Events that are to come. */
  get pending(): number {
    return this.#events.length
  }

  /** Something happens at host time `at` (nanoseconds). */
  at(at: number, callback: () => void): () => void {
    const event = { at, callback }
    this.#events.push(event)
    this.#events.sort((a, b) => a.at - b.at)
    return () => {
      const index = this.#events.indexOf(event)
      if (index >= 0) this.#events.splice(index, 1)
    }
  }

  async yield(): Promise<void> {
    this.yields++
    this.time += 1000
    await new Promise((resolve) => setImmediate(resolve))
    while ((this.#events[0]?.at ?? Infinity) <= this.time) this.#events.shift()?.callback()
  }

  after(milliseconds: number, callback: () => void): () => void {
    this.waits.push(milliseconds)
    const cancel = this.at(this.time + milliseconds * 1e6, callback)
    queueMicrotask(() => {
      const event = this.#events.shift()
      if (event === undefined) return
      this.time = Math.max(this.time, event.at)
      event.callback()
    })
    return cancel
  }
}
