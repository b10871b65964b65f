// The loops on Partita's processor: user mode in a flat machine without devices, so that nothing but the interpreter is measured.

import { SingleStepMachine } from '../../../../packages/processor-x86/src/testing/single-step.ts'
import type { LoopResult, LoopRunner } from './loop-runner.ts'
import { BUFFER_SIZE, type LoopProgram } from './programs.ts'

const PAGE = 4096
const CODE = 0x400000n
const BUFFER = 0x600000n
const STACK = 0x900000n
const STACK_SIZE = 65536
/** The programs return to UD2, which ends the run. */
const END = CODE - BigInt(PAGE)
const UD2 = Uint8Array.of(0x0f, 0x0b)
const INVALID_OPCODE = 6
/** Blocks in a slice: what the scheduler gives a processor at once. */
const SLICE = 40_000
const RAX = 0
const RSP = 4
const RDI = 7
const FLAGS = 0x202n

export class PartitaRunner implements LoopRunner {
  readonly label = 'Partita'
  readonly #machine: SingleStepMachine
  readonly #entries = new Map<string, bigint>()
  /** Instructions of each program, by name: the same for whoever runs it. */
  readonly instructions: Map<string, number> = new Map()
  #free = CODE

  private constructor(machine: SingleStepMachine) {
    this.#machine = machine
    machine.map(BUFFER, BUFFER_SIZE, { write: true, execute: false })
    machine.map(STACK, STACK_SIZE, { write: true, execute: false })
    machine.map(END, PAGE, { write: false, execute: true })
    machine.writeMemory(END, UD2)
  }

  static async create(): Promise<PartitaRunner> {
    return new PartitaRunner(await SingleStepMachine.create())
  }

  async run(programs: readonly LoopProgram[]): Promise<LoopResult[]> {
    return programs.map((program) => this.#call(program))
  }

  #call(program: LoopProgram): LoopResult {
    const machine = this.#machine
    const entry = this.#entries.get(program.name) ?? this.#load(program)
    const state = machine.get()
    const top = STACK + BigInt(STACK_SIZE) - 8n
    state.rip = entry
    state.rflags = FLAGS
    state.gpr[RDI] = BUFFER
    state.gpr[RSP] = top
    machine.set(state)
    machine.writeMemory(top, new Uint8Array(BigUint64Array.of(END).buffer))
    const { vp } = machine
    const before = vp.instructionCount
    const start = process.threadCpuUsage()
    const { exception } = machine.run(SLICE)
    const { user, system } = process.threadCpuUsage(start)
    const seconds = (user + system) / 1e6
    const after = machine.get()
    if (exception !== INVALID_OPCODE || after.rip !== END) {
      throw new Error(`${program.name} ended with exception ${exception} at ${after.rip.toString(16)}`)
    }
    this.instructions.set(program.name, vp.instructionCount - before)
    return { name: program.name, seconds, checksum: Number((after.gpr[RAX] as bigint) & 0xffffffffn) }
  }

  /** A page of its own for each program. */
  #load({ name, code }: LoopProgram): bigint {
    const entry = this.#free
    this.#free += BigInt(PAGE)
    this.#machine.map(entry, PAGE, { write: false, execute: true })
    this.#machine.writeMemory(entry, code)
    this.#entries.set(name, entry)
    return entry
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#machine.vp[Symbol.dispose]()
  }
}
