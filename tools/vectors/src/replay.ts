/** Replays vectors on a processor that executes one instruction at a time. */
import { differences } from './compare.ts'
import type { FormVectors, VectorReader } from './format.ts'
import {
  AT_CODE,
  AT_CR2,
  AT_ERROR,
  AT_FX,
  AT_GPR,
  AT_MXCSR,
  AT_RFLAGS,
  AT_RIP,
  AT_TRAP,
  AT_WINDOW,
  AT_XMM,
  CODE_PAGE,
  CODE_ROOM,
  FS_BASE,
  GS_BASE,
  NO_EXCEPTION,
  PAGE,
  PAGE_FAULT,
  READ_ONLY_PAGE,
  RECORD_SIZE,
  REGIONS,
  WINDOW_BASE,
  WINDOW_SIZE,
} from './layout.ts'

/** The state of the processor. `x87` holds bytes 0 to 159 of an FXSAVE64 image. */
export interface MachineState {
  gpr: BigUint64Array
  rip: bigint
  rflags: bigint
  xmm: Uint8Array
  mxcsr: number
  x87: Uint8Array
  fsBase: bigint
  gsBase: bigint
}

/** A processor in 64-bit mode at privilege level 3, with CR0.AM set. */
export interface Machine {
  map(linear: bigint, length: number, access: { write: boolean; execute: boolean }): void
  writeMemory(linear: bigint, bytes: Uint8Array): void
  readMemory(linear: bigint, length: number): Uint8Array
  set(state: MachineState): void
  get(): MachineState
  /** Executes one instruction, or one iteration of a repeated one. */
  step(): { exception: null } | { exception: number; errorCode: number; cr2: bigint }
}

/** More iterations than any repeated instruction of the vectors has. */
const MOST_STEPS = 1000
const X87_SIZE = 160

/** Puts requests into a machine and gets results out, in the layout of records. */
export class Player {
  readonly #machine: Machine
  readonly #state: MachineState = {
    gpr: new BigUint64Array(16),
    rip: 0n,
    rflags: 0n,
    xmm: new Uint8Array(256),
    mxcsr: 0,
    x87: new Uint8Array(X87_SIZE),
    fsBase: FS_BASE,
    gsBase: GS_BASE,
  }
  readonly #result: Uint8Array = new Uint8Array(RECORD_SIZE)
  readonly #view: DataView = new DataView(this.#result.buffer)
  readonly #traps: Uint8Array = new Uint8Array(CODE_ROOM).fill(0xcc)

  constructor(machine: Machine) {
    this.#machine = machine
    for (const { base, pages, write, execute } of REGIONS) machine.map(base, pages * PAGE, { write, execute })
    machine.writeMemory(CODE_PAGE, new Uint8Array(PAGE).fill(0xcc))
    machine.writeMemory(
      READ_ONLY_PAGE,
      Uint8Array.from({ length: PAGE }, (_, i) => i * 7 + 3),
    )
  }

  /** The result of one request; the record is reused. `until` is the RIP at which a repeated instruction has come to its end. */
  play(form: FormVectors, request: Uint8Array, until: bigint): Uint8Array {
    const machine = this.#machine
    const state = this.#state
    const view = new DataView(request.buffer, request.byteOffset, RECORD_SIZE)
    const start = view.getBigUint64(AT_RIP, true)
    for (let i = 0; i < 16; i++) state.gpr[i] = view.getBigUint64(AT_GPR + i * 8, true)
    state.rip = start
    state.rflags = view.getBigUint64(AT_RFLAGS, true)
    state.xmm.set(request.subarray(AT_XMM, AT_XMM + 256))
    state.mxcsr = view.getUint32(AT_MXCSR, true)
    state.x87.set(request.subarray(AT_FX, AT_FX + X87_SIZE))
    const window = WINDOW_BASE[form.recipe.window]
    const room = Math.min(CODE_ROOM, Number(CODE_PAGE + BigInt(PAGE) - start))
    machine.writeMemory(start, request.subarray(AT_CODE, AT_CODE + room))
    machine.writeMemory(window, request.subarray(AT_WINDOW, AT_WINDOW + WINDOW_SIZE))
    machine.set(state)
    let outcome = machine.step()
    let after = machine.get()
    for (let n = 1; outcome.exception === null && after.rip === start && until !== start && n < MOST_STEPS; n++) {
      outcome = machine.step()
      after = machine.get()
    }
    machine.writeMemory(start, this.#traps.subarray(0, room))
    const result = this.#result
    const out = this.#view
    result.set(request)
    for (let i = 0; i < 16; i++) out.setBigUint64(AT_GPR + i * 8, after.gpr[i]!, true)
    out.setBigUint64(AT_RIP, after.rip, true)
    out.setBigUint64(AT_RFLAGS, after.rflags & ~0x10000n, true)
    result.set(after.x87.subarray(0, X87_SIZE), AT_FX)
    out.setUint32(AT_MXCSR, after.mxcsr, true)
    result.set(after.xmm, AT_XMM)
    result.set(machine.readMemory(window, WINDOW_SIZE), AT_WINDOW)
    out.setUint32(AT_TRAP, outcome.exception ?? NO_EXCEPTION, true)
    out.setUint32(AT_ERROR, outcome.exception === null ? 0 : outcome.errorCode, true)
    out.setBigUint64(AT_CR2, outcome.exception === PAGE_FAULT ? outcome.cr2 : 0n, true)
    return result
  }
}

/** One test that went wrong. */
export interface Failure {
  readonly form: FormVectors
  readonly index: number
  readonly differences: readonly string[]
  readonly request: Uint8Array
}

export interface FamilyReport {
  forms: number
  vectors: number
  wrong: number
  /** Names of the forms with differences, each with its number of wrong vectors. */
  readonly wrongForms: Map<string, number>
}

export interface Report {
  readonly families: Map<string, FamilyReport>
  /** The first failures of each form. */
  readonly failures: Failure[]
  vectors: number
  wrong: number
}

export interface ReplayOptions {
  /** Which forms; all by default. */
  readonly wanted?: (form: FormVectors) => boolean
  /** How many failures of a form are kept; 1 by default. */
  readonly keep?: number
  /** Told from time to time how many vectors are done. */
  readonly progress?: (vectors: number) => void
}

/** Replays a file. An exception that the machine throws counts as a difference. */
export function replay(reader: VectorReader, machine: Machine, options: ReplayOptions = {}): Report {
  const { wanted = () => true, keep = 1, progress } = options
  const player = new Player(machine)
  const report: Report = { families: new Map(), failures: [], vectors: 0, wrong: 0 }
  reader.visit((form, index, request, expected) => {
    let family = report.families.get(form.family)
    if (!family) report.families.set(form.family, (family = { forms: 0, vectors: 0, wrong: 0, wrongForms: new Map() }))
    if (index === 0) family.forms++
    family.vectors++
    let found: readonly string[] | null
    try {
      const until = new DataView(expected.buffer, expected.byteOffset, RECORD_SIZE).getBigUint64(AT_RIP, true)
      found = differences(form, request, expected, player.play(form, request, until))
    } catch (error) {
      found = [`host fault: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`]
    }
    if (found) {
      family.wrong++
      report.wrong++
      const n = (family.wrongForms.get(form.name) ?? 0) + 1
      family.wrongForms.set(form.name, n)
      if (n <= keep) report.failures.push({ form, index, differences: found, request: request.slice() })
    }
    if (++report.vectors % 4096 === 0) progress?.(report.vectors)
  }, wanted)
  return report
}

/** A table of families, and below it the forms that differ. */
export function summary(report: Report): string {
  const lines = [`${'family'.padEnd(14)}${'forms'.padStart(8)}${'vectors'.padStart(10)}${'wrong'.padStart(8)}`]
  for (const [name, f] of report.families)
    lines.push(
      `${name.padEnd(14)}${String(f.forms).padStart(8)}${String(f.vectors).padStart(10)}${String(f.wrong).padStart(8)}`,
    )
  const forms = [...report.families.values()].reduce((n, f) => n + f.forms, 0)
  lines.push(
    `${'all'.padEnd(14)}${String(forms).padStart(8)}${String(report.vectors).padStart(10)}${String(report.wrong).padStart(8)}`,
  )
  for (const { form, index, differences: found } of report.failures) {
    const count = report.families.get(form.family)!.wrongForms.get(form.name)
    lines.push(`${form.family} / ${form.name}: ${count} of ${form.count} differ, first #${index}: ${found.join('; ')}`)
  }
  return lines.join('\n')
}
