// Runs generated programs in user mode on a software processor, from one exception to the next, with the memory and the registers that programs begin with.

import { ACTIVITY } from '../../../packages/processor-x86/src/cpu.ts'
import { STATE } from '../../../packages/processor-x86/src/state-layout.ts'
import {
  type MachineState,
  SingleStepMachine,
  type StepResult,
} from '../../../packages/processor-x86/src/testing/single-step.ts'
import type { TranslationOptions } from '../../../packages/processor-x86/src/translator/translator.ts'
import type { SoftwareVirtualProcessor } from '../../../packages/processor-x86/src/virtual-processor.ts'
import type { ProgramMachine, Stop } from './machine.ts'
import { vectors } from './program/generate.ts'
import { CODE, CODE_SIZE, PAGE, REGIONS } from './program/layout.ts'
import type { PlacedProgram, Program } from './program/unit.ts'

/** Blocks of a slice, and slices until a program is given up. */
export const BUDGET = 200
export const SLICES = 400
const VECTOR = { DB: 1, NMI: 2, BP: 3 } as const
const TF = 0x100
const FX_SIZE = 160

export class UserMachine implements ProgramMachine {
  readonly machine: SingleStepMachine
  readonly pages: readonly Uint8Array[]
  readonly #addresses: readonly bigint[]

  constructor(translation: TranslationOptions) {
    const machine = new SingleStepMachine(translation)
    this.machine = machine
    const { vp } = machine
    const { u8, memory } = vp.cpu
    this.#addresses = REGIONS.flatMap(({ base, pages }) =>
      Array.from({ length: pages }, (_, page) => base + BigInt(page * PAGE)),
    )
    for (const { base, pages, write, execute } of REGIONS) machine.map(base, pages * PAGE, { write, execute })
    this.pages = this.#addresses.map((address) => {
      const at = memory.ramOffset + vp.translateLinear(address)
      return u8.subarray(at, at + PAGE)
    })
  }

  get vp(): SoftwareVirtualProcessor {
    return this.machine.vp
  }

  load(program: Program, placed: PlacedProgram, contents: Uint8Array): void {
    const { memory } = this.vp.cpu
    for (const [n, page] of this.pages.entries()) {
      page.set(contents.subarray(n * PAGE, (n + 1) * PAGE))
      memory.written(page.byteOffset - memory.ramOffset, PAGE)
    }
    this.machine.set(firstState(program, placed))
    clearHidden(this.vp)
  }

  run(): Stop {
    const { vp } = this
    for (let slice = 0; slice < SLICES && vp.cpu.cpl === 3; slice++) vp.run(BUDGET)
    if (vp.cpu.cpl === 3) return { kind: 'runaway' }
    // the processor is not in user mode, so nothing is executed
    const result: StepResult = this.machine.run(1)
    if (result.exception === null) throw new Error('the machine has stopped without an exception')
    vp.cpu.activity = ACTIVITY.RUNNING
    return { kind: 'exception', vector: result.exception, errorCode: result.errorCode, address: result.cr2 }
  }

  resume(stop: Stop, placed: PlacedProgram): boolean {
    if (stop.kind !== 'exception') return false
    const { cpu } = this.vp
    const next = resumeAt(stop.vector, cpu.get64(STATE.RIP), placed)
    if (next === undefined) return false
    cpu.set64(STATE.RIP, next)
    if (stop.vector === VECTOR.DB) cpu.flags &= ~TF
    return true
  }

  addressOf(page: number, offset: number): string {
    return ((this.#addresses[page] as bigint) + BigInt(offset)).toString(16)
  }
}

/** Registers that a program begins with. */
export function firstState(program: Program, placed: PlacedProgram): MachineState {
  const { xmm, st } = vectors(program)
  const x87 = new Uint8Array(FX_SIZE)
  x87.set(st, 32)
  const fx = new DataView(x87.buffer)
  fx.setUint16(0, 0x37f, true)
  fx.setUint8(4, 0xff)
  return {
    gpr: BigUint64Array.from(program.registers),
    rip: CODE + BigInt(placed.offsets[0] as number),
    rflags: BigInt(program.flags),
    xmm,
    mxcsr: program.mxcsr,
    x87,
    fsBase: 0n,
    gsBase: 0n,
  }
}
/** What a machine state does not have. */
export function clearHidden({ cpu }: SoftwareVirtualProcessor): void {
  for (const field of [STATE.X87_OPCODE, STATE.X87_CS, STATE.X87_DS]) cpu.set32(field, 0)
  for (const field of [STATE.X87_INSTRUCTION, STATE.X87_DATA, STATE.CR2]) cpu.set64(field, 0n)
}

/** Where a program goes on after an exception: behind a trap or an interrupt, or at the next unit. */
export function resumeAt(vector: number, rip: bigint, placed: PlacedProgram): bigint | undefined {
  const offset = Number(BigInt.asIntN(64, rip - CODE))
  if (offset < 0 || offset >= CODE_SIZE) return undefined
  if (vector === VECTOR.DB || vector === VECTOR.NMI || vector === VECTOR.BP || vector >= 0x20) return rip
  const next = placed.offsets.find((start) => start > offset)
  return next === undefined || next === placed.offsets.at(-1) ? undefined : CODE + BigInt(next)
}
