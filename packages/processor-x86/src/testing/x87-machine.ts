// A single-step machine with the x87 state at hand, for tests that the recorded vectors do not cover.

import { STATE } from '../state-layout.ts'
import { SingleStepMachine, type StepResult } from './single-step.ts'

export interface X87Value {
  significand: bigint
  se: number
}

const CODE = 0x400000n
/** Data that programs find in RDI. */
export const DATA = 0x500000n
const RDI = 7

export class X87Machine {
  readonly machine: SingleStepMachine = new SingleStepMachine()

  constructor() {
    this.machine.map(CODE, 4096, { write: false, execute: true })
    this.machine.map(DATA, 8192, { write: true, execute: false })
    this.reset()
  }

  get cpu(): SingleStepMachine['vp']['cpu'] {
    return this.machine.vp.cpu
  }
  /** FNINIT, an empty stack, the given control word. */
  reset(control = 0x37f): void {
    const { cpu } = this
    cpu.set32(STATE.X87_CONTROL, control)
    for (const field of [STATE.X87_STATUS, STATE.X87_TOP, STATE.X87_TAGS, STATE.X87_OPCODE]) cpu.set32(field, 0)
    cpu.set64(STATE.X87_INSTRUCTION, 0n)
    cpu.set64(STATE.X87_DATA, 0n)
  }
  /** Make the stack these values, ST(0) first. */
  stack(...values: X87Value[]): void {
    const { cpu } = this
    cpu.set32(STATE.X87_TOP, (8 - values.length) & 7)
    cpu.set32(STATE.X87_TAGS, (0xff00 >> values.length) & 0xff)
    values.forEach(({ significand, se }, i) => {
      const at = STATE.X87 + ((8 - values.length + i) & 7) * 16
      cpu.set64(at, significand)
      cpu.set32(at + 8, se)
    })
  }
  st(i: number): X87Value {
    const at = STATE.X87 + ((this.cpu.get32(STATE.X87_TOP) + i) & 7) * 16
    return { significand: this.cpu.get64(at), se: this.cpu.get32(at + 8) & 0xffff }
  }
  /** Status word without TOP. */
  get status(): number {
    return this.cpu.get32(STATE.X87_STATUS)
  }
  /** Execute instructions given as hexadecimal bytes; RDI points at DATA. The first exception ends it. */
  run(...instructions: string[]): StepResult {
    const { cpu, machine } = this
    const code = Uint8Array.from(
      (instructions.join('').replaceAll(' ', '').match(/../g) ?? []).map((b) => Number.parseInt(b, 16)),
    )
    machine.writeMemory(CODE, code)
    cpu.set64(STATE.RIP, CODE)
    cpu.setGpr(RDI, DATA)
    let result: StepResult = { exception: null }
    for (let i = 0; i < instructions.length && result.exception === null; i++) result = machine.step()
    return result
  }
  read(offset: number, length: number): DataView {
    return new DataView(this.machine.readMemory(DATA + BigInt(offset), length).buffer)
  }
  write(offset: number, bytes: Uint8Array): void {
    this.machine.writeMemory(DATA + BigInt(offset), bytes)
  }
  /** Address of the first instruction of {@link X87Machine.run}. */
  static readonly CODE: bigint = CODE
}
