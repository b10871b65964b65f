// A program on two processors: from exception to exception, with all registers and all memory compared at each.

import {
  captureState,
  sameState,
  stateDifferences,
} from '../../../packages/processor-x86/src/testing/architectural-state.ts'
import type { ProgramMachine, Stop } from './machine.ts'
import { MAXIMUM_EXCEPTIONS } from './machine.ts'
import { type GenerateOptions, generate, image } from './program/generate.ts'
import { type PlacedProgram, type Program, place, without } from './program/unit.ts'

/** What differs, a line each. */
type Difference = readonly string[]

/** How far a program came. */
export interface Outcome {
  readonly exceptions: number
  readonly instructions: number
  readonly difference: Difference | undefined
}

function describeStop(stop: Stop): string {
  if (stop.kind !== 'exception') return stop.kind
  return `exception ${stop.vector} (${stop.errorCode.toString(16)}) at ${stop.address.toString(16)}`
}

/** Words of pages that differ, at most `most` lines; `addressOf` names them. */
export function memoryDifferences(
  a: readonly Uint8Array[],
  b: readonly Uint8Array[],
  addressOf: (page: number, offset: number) => string,
  most = 8,
): string[] {
  const out: string[] = []
  for (const [page, bytes] of a.entries()) {
    for (let at = 0; at < bytes.length && out.length < most; at += 8) {
      const [x, y] = [bytes.subarray(at, at + 8), (b[page] as Uint8Array).subarray(at, at + 8)]
      if (Buffer.compare(x, y) === 0) continue
      const show = (word: Uint8Array): string => Buffer.from(word).toString('hex')
      out.push(`memory ${addressOf(page, at)}: ${show(x)}, ${show(y)}`)
    }
  }
  return out
}

function sameMemory(a: ProgramMachine, b: ProgramMachine): boolean {
  return a.pages.every((page, n) => Buffer.compare(page, b.pages[n] as Uint8Array) === 0)
}

/** Run a program on both. */
export function compare(program: Program, placed: PlacedProgram, a: ProgramMachine, b: ProgramMachine): Outcome {
  const contents = image(program, placed.bytes)
  a.load(program, placed, contents)
  b.load(program, placed, contents)
  const before = a.vp.instructionCount
  let exceptions = 0
  const outcome = (difference?: Difference): Outcome => ({
    exceptions,
    instructions: a.vp.instructionCount - before,
    difference,
  })
  for (;;) {
    const [stopA, stopB] = [a.run(), b.run()]
    // where an endless program is looked at is no matter of the program's
    if (stopA.kind === 'runaway' && stopB.kind === 'runaway') return outcome()
    const [textA, textB] = [describeStop(stopA), describeStop(stopB)]
    const same = textA === textB && sameState(a.vp, b.vp) && sameMemory(a, b)
    if (!same) {
      const difference = [
        `after ${exceptions} exceptions: ${textA}${textA === textB ? '' : ` | ${textB}`}`,
        ...stateDifferences(captureState(a.vp), captureState(b.vp)),
        ...memoryDifferences(a.pages, b.pages, (page, offset) => a.addressOf(page, offset)),
      ]
      return outcome(difference)
    }
    if (++exceptions > MAXIMUM_EXCEPTIONS) return outcome()
    const [goesA, goesB] = [a.resume(stopA, placed), b.resume(stopB, placed)]
    if (goesA !== goesB) throw new Error('one of two equal programs has ended')
    if (!goesA) return outcome()
  }
}

/** A program of a seed; one that is too long for its room is followed by a shorter one of the same seed. */
export function makeProgram(
  seed: number,
  options: GenerateOptions,
): { readonly program: Program; readonly placed: PlacedProgram } {
  for (let units = options.units ?? 60; ; units = Math.floor(units / 2)) {
    const program = generate(seed, { ...options, units })
    const placed = place(program)
    if (placed !== undefined) return { program, placed }
  }
}

/** The smallest program found that still `fails`, by taking units out. */
export function shrink(program: Program, fails: (program: Program, placed: PlacedProgram) => boolean): Program {
  let best = program
  for (let size = Math.max(1, best.units.length >> 1); size >= 1; ) {
    let progress = false
    for (let from = 0; from + size <= best.units.length && best.units.length > 1; ) {
      const smaller = without(best, from, from + size)
      const placed = place(smaller)
      if (placed !== undefined && fails(smaller, placed)) {
        best = smaller
        progress = true
      } else from += size
    }
    if (!progress || size > 1) size = size > 1 ? size >> 1 : progress ? 1 : 0
  }
  return best
}
