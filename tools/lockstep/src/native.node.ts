// Generated programs on the processor of this machine: compiles native/run-programs.c, feeds it, and compares what it says with a software processor.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { STATE } from '../../../packages/processor-x86/src/state-layout.ts'
import { makeProgram, memoryDifferences } from './compare.ts'
import { listing } from './listing.ts'
import { MAXIMUM_EXCEPTIONS } from './machine.ts'
import { modeOf } from './modes.ts'
import { image, vectors } from './program/generate.ts'
import { CODE, IMAGE_SIZE, PAGE } from './program/layout.ts'
import type { PlacedProgram, Program } from './program/unit.ts'
import type { Failure } from './programs.ts'
import { UserMachine } from './user-machine.ts'

const COMPILER = 'gcc'
const SOURCE: string = join(import.meta.dirname, '../native/run-programs.c')
const UNITS = 128
const FX_SIZE = 416
const STATE_SIZE: number = 18 * 8 + FX_SIZE
const AT_UNITS: number = STATE_SIZE
const AT_OFFSETS: number = AT_UNITS + 4
const AT_IMAGE: number = AT_OFFSETS + (UNITS + 1) * 4
const REQUEST_SIZE: number = roundUp(AT_IMAGE + IMAGE_SIZE)
const EXCEPTION_SIZE: number = 4 + 4 + 8 + 16 + 128
const RESULT_STATE: number = 8 + (MAXIMUM_EXCEPTIONS + 1) * EXCEPTION_SIZE
const RESULT_IMAGE: number = RESULT_STATE + STATE_SIZE
const RESULT_SIZE: number = roundUp(RESULT_IMAGE + IMAGE_SIZE)
const RUNAWAY = 0xfe
const KERNEL = 0xffff_8000_0000_0000n
/** Programs in one go. */
const BATCH = 200

/** Status flags without AF, which logical operations leave undefined, and DF, TF, NT, AC, ID. */
const FLAGS: number = 0x8c5 | 0x400 | 0x100 | 0x4000 | 0x40000 | 0x200000
/** C0 to C3 are undefined after most x87 instructions, and B repeats ES. */
const STATUS: number = ~0xc700 & 0xffff

function roundUp(n: number): number {
  return (n + 7) & ~7
}

export class NativeMachine implements Disposable {
  readonly #directory: string
  readonly #program: string

  /** @throws Error where there is no gcc, or the machine is no x86-64 Linux */
  constructor() {
    if (process.arch !== 'x64' || process.platform !== 'linux') throw new Error('this is no x86-64 Linux machine')
    this.#directory = mkdtempSync(join(tmpdir(), 'partita-lockstep-'))
    this.#program = join(this.#directory, 'run-programs')
    const flags = ['-O2', '-Wall', '-fno-stack-protector', '-fcf-protection=none']
    const gcc = spawnSync(COMPILER, [...flags, '-o', this.#program, SOURCE], { encoding: 'utf8' })
    if (gcc.status !== 0) {
      this[Symbol.dispose]()
      throw new Error(`gcc: ${gcc.error?.message ?? gcc.stderr}`)
    }
  }

  /** Results of requests. */
  run(requests: readonly Uint8Array[]): Uint8Array[] {
    const input = Buffer.alloc(4 + requests.length * REQUEST_SIZE)
    input.writeUInt32LE(requests.length, 0)
    requests.forEach((request, n) => {
      input.set(request, 4 + n * REQUEST_SIZE)
    })
    const done = spawnSync(this.#program, { input, maxBuffer: requests.length * RESULT_SIZE + 4096 })
    if (done.status !== 0 || done.stdout.length !== requests.length * RESULT_SIZE) {
      throw new Error(
        `run-programs: ${done.error?.message ?? done.signal ?? `status ${done.status}`} ${done.stderr}, ${done.stdout.length / RESULT_SIZE} of ${requests.length}`,
      )
    }
    return requests.map((_, n) => new Uint8Array(done.stdout.subarray(n * RESULT_SIZE, (n + 1) * RESULT_SIZE)))
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

function requestOf(program: Program, placed: PlacedProgram, contents: Uint8Array): Uint8Array {
  const out = new Uint8Array(REQUEST_SIZE)
  const view = new DataView(out.buffer)
  program.registers.forEach((value, n) => {
    view.setBigUint64(n * 8, value, true)
  })
  view.setBigUint64(128, CODE + BigInt(placed.offsets[0] as number), true)
  view.setBigUint64(136, BigInt(program.flags), true)
  view.setUint16(144, 0x37f, true)
  view.setUint8(148, 0xff)
  view.setUint32(144 + 24, program.mxcsr, true)
  const { xmm, st } = vectors(program)
  out.set(st, 144 + 32)
  out.set(xmm, 144 + 160)
  // the last offset is the end: not a unit to go on with
  view.setUint32(AT_UNITS, placed.offsets.length - 1, true)
  placed.offsets.forEach((offset, n) => {
    view.setUint32(AT_OFFSETS + n * 4, offset, true)
  })
  out.set(contents, AT_IMAGE)
  return out
}

/** Run a program on the software and compare it with a result of the real processor; undefined when they agree, or when it is a program that does not end. */
function compareWith(
  result: Uint8Array,
  program: Program,
  placed: PlacedProgram,
  contents: Uint8Array,
  machine: UserMachine,
): string[] | undefined {
  const view = new DataView(result.buffer, result.byteOffset, result.byteLength)
  const { cpu } = machine.machine.vp
  machine.load(program, placed, contents)
  const count = view.getUint32(0, true)
  for (let n = 0; ; n++) {
    const at = 8 + n * EXCEPTION_SIZE
    const nativeVector = view.getUint32(at, true)
    if (n < count && nativeVector === RUNAWAY) return undefined
    const stop = machine.run()
    if (stop.kind !== 'exception') return undefined
    if (n >= count) return [`natively there are ${count} exceptions, here one more: ${stop.vector}`]
    const out: string[] = []
    const expect = (name: string, here: number | bigint, native: number | bigint): void => {
      if (here !== native) out.push(`${name}: ${here.toString(16)}, natively ${native.toString(16)}`)
    }
    expect('vector', stop.vector, nativeVector)
    // the real kernel has pages in its half, which a program may not touch either
    const ignored = stop.vector === 14 && stop.address >= KERNEL ? 1 : 0
    expect('error code', stop.errorCode | ignored, view.getUint32(at + 4, true) | ignored)
    expect('RIP', cpu.get64(STATE.RIP), view.getBigUint64(at + 16, true))
    if (stop.vector === 14) expect('CR2', stop.address, view.getBigUint64(at + 8, true))
    expect('RFLAGS', cpu.flags & FLAGS, Number(view.getBigUint64(at + 24, true) & BigInt(FLAGS)))
    for (let r = 0; r < 16; r++) expect(`r${r}`, cpu.gpr(r), view.getBigUint64(at + 32 + r * 8, true))
    if (out.length > 0) return [`at exception ${n}:`, ...out]
    const goesOn = machine.resume(stop, placed) && n < MAXIMUM_EXCEPTIONS
    if (goesOn) continue
    if (n + 1 !== count) return [`natively there are ${count} exceptions, here ${n + 1}`]
    return finalDifferences(result, view, machine)
  }
}

function finalDifferences(result: Uint8Array, view: DataView, machine: UserMachine): string[] | undefined {
  const out: string[] = []
  const fx = RESULT_STATE + 144
  const state = machine.machine.get()
  const own = new DataView(state.x87.buffer)
  const expect = (name: string, here: number, native: number): void => {
    if (here !== native) out.push(`${name}: ${here.toString(16)}, natively ${native.toString(16)}`)
  }
  expect('MXCSR', state.mxcsr, view.getUint32(fx + 24, true))
  expect('x87 control', own.getUint16(0, true) | 0x40, view.getUint16(fx, true) | 0x40)
  expect('x87 status', own.getUint16(2, true) & STATUS, view.getUint16(fx + 2, true) & STATUS)
  const tags = view.getUint8(fx + 4)
  expect('x87 tags', own.getUint8(4), tags)
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  for (let i = 0; i < 8; i++) {
    const at = 32 + i * 16
    const [here, native] = [hex(state.x87.subarray(at, at + 10)), hex(result.subarray(fx + at, fx + at + 10))]
    if (here !== native) out.push(`ST(${i}): ${here}, natively ${native}`)
  }
  for (let i = 0; i < 16; i++) {
    const here = hex(state.xmm.subarray(i * 16, i * 16 + 16))
    const native = hex(result.subarray(fx + 160 + i * 16, fx + 176 + i * 16))
    if (here !== native) out.push(`XMM${i}: ${here}, natively ${native}`)
  }
  const native = machine.pages.map((_, n) => result.subarray(RESULT_IMAGE + n * PAGE, RESULT_IMAGE + (n + 1) * PAGE))
  out.push(...memoryDifferences(machine.pages, native, (page, offset) => machine.addressOf(page, offset)))
  return out.length > 0 ? out : undefined
}

export interface NativeOptions {
  readonly mode: string
  readonly seed: number
  readonly count: number
  readonly most?: number
  readonly progress?: (done: number, failures: number) => void
}

/** Run programs here and on a software processor. */
export function runNatively({ mode, seed, count, most = 5, progress }: NativeOptions): {
  programs: number
  exceptions: number
  failures: Failure[]
} {
  using native = new NativeMachine()
  let machine = new UserMachine(modeOf(mode))
  const failures: Failure[] = []
  let [done, exceptions] = [0, 0]
  for (let first = 0; first < count && failures.length < most; first += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, count - first) }, (_, n) => {
      const { program, placed } = makeProgram(seed + first + n, { defined: true })
      return { program, placed, contents: image(program, placed.bytes) }
    })
    const results = native.run(batch.map(({ program, placed, contents }) => requestOf(program, placed, contents)))
    for (const [n, { program, placed, contents }] of batch.entries()) {
      const result = results[n] as Uint8Array
      const difference = compareWith(result, program, placed, contents, machine)
      exceptions += new DataView(result.buffer).getUint32(0, true)
      done++
      if (difference === undefined) continue
      failures.push({
        seed: program.seed,
        report: `seed ${program.seed}:\n${difference.join('\n')}\n${listing(program, placed)}`,
      })
      machine = new UserMachine(modeOf(mode))
      if (failures.length >= most) break
    }
    progress?.(done, failures.length)
  }
  return { programs: done, exceptions, failures }
}
