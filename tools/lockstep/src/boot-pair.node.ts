// Two virtual machines that boot the same guest, each with its own devices, on processors of two kinds. Time is a matter of instructions executed, interrupts wait until both
// processors stand at the same instruction, and so both guests do the same from the first instruction to the last.

import { readFile } from 'node:fs/promises'
import type { EventLoop, HostTime } from '@partita/hypervisor'
import {
  type CharacterBackend,
  definePlugin,
  type Intercepts,
  type InterruptMessage,
  PLUGIN_CONTRACT,
  type Plugin,
  processorToken,
  type RunExit,
  type VirtualProcessorOptions,
} from '@partita/interface'
import { createProcessor } from '@partita/processor-x86'
import { PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import type { DefaultGuest } from '../../../packages/cli/src/default-guest/index.ts'
import { ACTIVITY, FLAG } from '../../../packages/processor-x86/src/cpu.ts'
import type { SoftwareMemory } from '../../../packages/processor-x86/src/memory.ts'
import { STATE } from '../../../packages/processor-x86/src/state-layout.ts'
import { Alignment } from '../../../packages/processor-x86/src/testing/alignment.ts'
import { captureState, stateDifferences } from '../../../packages/processor-x86/src/testing/architectural-state.ts'
import { SoftwareVirtualProcessor } from '../../../packages/processor-x86/src/virtual-processor.ts'
import { disassemble } from './listing.ts'
import { modeOf } from './modes.ts'

const PROCESSOR = 'lockstep-processor'
const MEBIBYTE = 2 ** 20
/** Reference time of an instruction, nanoseconds, about what the guest is used to. */
const NANOSECONDS = 5
/** Milliseconds since 1970 at power-on. */
const WALL_TIME = 1_750_000_000_000
/** Slices that an interrupt waits for EFLAGS.IF before it is handed to the local APIC all the same. */
const PATIENCE = 100
const RDRAND = 1 << 30
const RDSEED = 1 << 18

/** Time that goes on when it is told to. */
class VirtualTime implements HostTime {
  nanoseconds = 0
  now(): number {
    return this.nanoseconds
  }
  wallTime(): number {
    return WALL_TIME + this.nanoseconds / 1e6
  }
}

/** The scheduler of a machine that somebody else drives waits for ever. */
const NEVER: EventLoop = {
  yield: () => new Promise(() => {}),
  after: () => () => {},
}

class DrivenProcessor extends SoftwareVirtualProcessor {
  readonly #waiting: (() => void)[] = []
  readonly started: Promise<void>
  #start: () => void
  #patience = 0

  constructor(options: ConstructorParameters<typeof SoftwareVirtualProcessor>[0]) {
    super(options)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.started = promise
    this.#start = resolve
  }

  /** What the machine's own scheduler calls. */
  override run(): RunExit {
    this.#start()
    return 'halt'
  }
  override get nextDeadline(): number {
    return Number.POSITIVE_INFINITY
  }
  execute(budget: number): RunExit {
    return super.run(budget)
  }
  get timerDeadline(): number {
    return super.nextDeadline
  }
  override receiveInterrupt(message: InterruptMessage): boolean {
    const copy = { ...message }
    this.#waiting.push(() => super.receiveInterrupt(copy))
    return true
  }
  override setExternalInterrupt(asserted: boolean): void {
    this.#waiting.push(() => super.setExternalInterrupt(asserted))
  }
  /** Hand over what came since the last time, if the processor would take it now. */
  release(): void {
    if (this.#waiting.length === 0) return
    const { cpu } = this
    const open = cpu.activity !== ACTIVITY.RUNNING || (cpu.get32(STATE.FLAGS_REST) & FLAG.IF) !== 0
    if (!open && ++this.#patience < PATIENCE) return
    this.#patience = 0
    for (const deliver of this.#waiting.splice(0)) deliver()
  }
}

/** Random numbers would be different ones. */
function withoutRandom(intercepts: Intercepts): Intercepts {
  return {
    ...intercepts,
    cpuid(vp, leaf, subleaf, registers) {
      intercepts.cpuid(vp, leaf, subleaf, registers)
      if (leaf === 1) registers[2] = (registers[2] as number) & ~RDRAND
      if (leaf === 7 && subleaf === 0) registers[1] = (registers[1] as number) & ~RDSEED
    },
  }
}

class Console implements CharacterBackend {
  onReady: (() => void) | undefined
  text = ''
  readonly #decoder = new TextDecoder('latin1')
  write(data: Uint8Array): boolean {
    this.text = (this.text + this.#decoder.decode(data)).slice(-100_000)
    return true
  }
  read(): number {
    return 0
  }
}

/** One of the two. */
class DrivenMachine {
  readonly console: Console = new Console()
  readonly time: VirtualTime = new VirtualTime()
  readonly #vps: DrivenProcessor[] = []
  #vm!: VirtualMachine

  static async boot(guest: DefaultGuest, memory: number, mode: string): Promise<DrivenMachine> {
    const machine = new DrivenMachine()
    const registry = new PluginRegistry({
      source: new NodePackageSource({ directory: import.meta.dirname }),
      plugins: [machine.#plugin(mode)],
    })
    const commandLine = [guest.commandLine, 'panic=-1', guest.pipedInputWord].join(' ')
    machine.#vm = await VirtualMachine.create(
      {
        processor: PROCESSOR,
        memory,
        boot: { kernel: guest.kernel, initrd: guest.initrd, commandLine },
        onReset: 'end',
      },
      {
        registry,
        readFile,
        characterBackends: new Map([['console', machine.console]]),
        hostTime: machine.time,
        eventLoop: NEVER,
      },
    )
    // it never comes to an end: its scheduler waits for ever
    machine.#vm.run().catch(() => {})
    await machine.vp.started
    return machine
  }

  get vp(): DrivenProcessor {
    return this.#vps[0] as DrivenProcessor
  }
  get clock(): VirtualMachine['partition']['clock'] {
    return this.#vm.partition.clock
  }

  #plugin(mode: string): Plugin<never> {
    const processor = {
      ...createProcessor(),
      createVirtualProcessor: (options: VirtualProcessorOptions): SoftwareVirtualProcessor => {
        const vp = new DrivenProcessor({
          ...options,
          intercepts: withoutRandom(options.intercepts),
          memory: options.memory as SoftwareMemory,
          translation: modeOf(mode),
        })
        this.#vps.push(vp)
        return vp
      },
    }
    return definePlugin<never>({
      name: PROCESSOR,
      kind: 'processor',
      contract: PLUGIN_CONTRACT,
      description: 'A software processor that is driven from outside',
      options: { '~standard': { version: 1, vendor: 'partita', validate: (value) => ({ value: value as never }) } },
      needs: [],
      provides: [processorToken],
      create: () => ({ services: { [processorToken.name]: processor }, async [Symbol.asyncDispose]() {} }),
    })
  }
}

export interface PairOptions {
  readonly guest: DefaultGuest
  /** Bytes. */
  readonly memory: number
  readonly first: string
  readonly second: string
  /** Instructions of a slice, about. */
  readonly slice: number
}

/** What ended a slice. */
export type SliceEnd = 'same' | 'different' | 'shutdown' | 'idle'

export class BootPair {
  readonly a: DrivenMachine
  readonly b: DrivenMachine
  readonly #alignment: Alignment
  readonly #slice: number
  readonly #ram: readonly [Uint8Array, Uint8Array]
  /** Where both stood the last time that they were known to agree. */
  lastRip = 0n
  lastCode: readonly string[] = []

  private constructor(a: DrivenMachine, b: DrivenMachine, { memory, slice }: PairOptions) {
    this.a = a
    this.b = b
    this.#slice = slice
    this.#alignment = new Alignment(a.vp, b.vp)
    const ram = ({ vp }: DrivenMachine): Uint8Array =>
      new Uint8Array(vp.cpu.memory.buffer, vp.cpu.memory.ramOffset, memory)
    this.#ram = [ram(a), ram(b)]
  }

  static async boot(options: PairOptions): Promise<BootPair> {
    const a = await DrivenMachine.boot(options.guest, options.memory, options.first)
    const b = await DrivenMachine.boot(options.guest, options.memory, options.second)
    return new BootPair(a, b, options)
  }

  get instructions(): number {
    return this.a.vp.instructionCount
  }

  /** Regions that each has translated. */
  get regions(): readonly [number, number] {
    const count = ({ vp }: DrivenMachine): number => vp.translationStatistics()?.translated ?? 0
    return [count(this.a), count(this.b)]
  }

  /** What is due happens on both, and time goes on by a slice. */
  begin(): void {
    for (const { clock, vp } of [this.a, this.b]) {
      clock.runDue()
      vp.release()
    }
  }
  /** Both go on for about `instructions`, to the same instruction. Time stands still. */
  advance(instructions: number): SliceEnd {
    const { a, b } = this
    this.lastRip = a.vp.cpu.get64(STATE.RIP)
    const budget = Math.max(1, Math.round(instructions / 5))
    const exits = [a.vp.execute(budget), b.vp.execute(budget)]
    if (!this.#alignment.align()) return 'different'
    if (exits.includes('shutdown')) return 'shutdown'
    return 'same'
  }
  end(): SliceEnd {
    const { a, b } = this
    for (const { time } of [a, b]) time.nanoseconds += this.#slice * NANOSECONDS
    if (a.vp.cpu.activity !== ACTIVITY.HALTED) return 'same'
    // nobody waits for what comes next
    const next = ({ clock, vp }: DrivenMachine): number => Math.min(clock.nextDeadline, vp.timerDeadline)
    const [deadline, other] = [next(a), next(b)]
    if (deadline !== other) return 'different'
    if (deadline === Number.POSITIVE_INFINITY) return 'idle'
    for (const { time, clock } of [a, b]) time.nanoseconds += Math.max(0, deadline - clock.now())
    return 'same'
  }
  /** Begin, advance, end. */
  slice(): SliceEnd {
    this.begin()
    const end = this.advance(this.#slice)
    return end === 'same' ? this.end() : end
  }

  /** Addresses of the first words of RAM that differ, with both values. */
  memoryDifferences(most = 8): string[] {
    const [x, y] = this.#ram
    const out: string[] = []
    for (let block = 0; block < x.length && out.length < most; block += MEBIBYTE) {
      if (Buffer.compare(x.subarray(block, block + MEBIBYTE), y.subarray(block, block + MEBIBYTE)) === 0) continue
      for (let at = block; at < block + MEBIBYTE && out.length < most; at += 8) {
        const show = (ram: Uint8Array): string => Buffer.from(ram.subarray(at, at + 8)).toString('hex')
        if (show(x) !== show(y)) out.push(`memory ${at.toString(16)}: ${show(x)}, ${show(y)}`)
      }
    }
    return out
  }
  registerDifferences(): string[] {
    return stateDifferences(captureState(this.a.vp), captureState(this.b.vp))
  }
  /** Instructions from `rip` on, as they are in memory now. */
  code(rip: bigint, most: number): string[] {
    const { vp } = this.a
    const bytes: number[] = []
    for (let n = 0n; n < 15n * BigInt(most); n++) {
      const gpa = vp.translateLinear(rip + n)
      const byte = gpa < 0 || gpa >= this.#ram[0].length ? undefined : this.#ram[0][gpa]
      if (byte === undefined) break
      bytes.push(byte)
    }
    return disassemble(Uint8Array.from(bytes), rip, most, vp.cpu.mode)
  }
}
