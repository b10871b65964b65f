// Random programs on two processors, many of them.

import { compare, makeProgram, type Outcome, shrink } from './compare.ts'
import { listing } from './listing.ts'
import type { ProgramMachine } from './machine.ts'
import { modeOf } from './modes.ts'
import { type PlacedProgram, type Program, place } from './program/unit.ts'
import { SystemMachine } from './system-machine.ts'
import { UserMachine } from './user-machine.ts'

/** Programs of a machine: translated code of old ones must not pile up, nor hide what fresh ones show. */
const PROGRAMS_OF_A_MACHINE = 5000

export interface Failure {
  readonly seed: number
  /** For people: the smallest program, and what differs. */
  readonly report: string
}
export interface Summary {
  readonly programs: number
  readonly exceptions: number
  readonly instructions: number
  readonly failures: readonly Failure[]
}

export interface RunOptions {
  /** User programs, or a supervisor's. */
  readonly system?: boolean
  readonly first: string
  readonly second: string
  readonly seed: number
  readonly count: number
  /** Failures after which to stop. */
  readonly most?: number
  readonly progress?: (done: number, failures: number) => void
}

/** Run programs of the seeds `seed` to `seed + count - 1` in both modes. */
export function runPrograms(options: RunOptions): Summary {
  const { seed, count, most = 5, progress, system = false } = options
  const failures: Failure[] = []
  let [exceptions, instructions, done] = [0, 0, 0]
  let pair = makePair(options)
  for (let n = 0; n < count && failures.length < most; n++) {
    if (n % PROGRAMS_OF_A_MACHINE === PROGRAMS_OF_A_MACHINE - 1) pair = makePair(options)
    // every second one sees what is undefined, too: two software processors must agree in that
    const { program, placed } = makeProgram(seed + n, { defined: n % 2 === 0, system })
    const outcome = attempt(program, placed, pair)
    exceptions += outcome.exceptions
    instructions += outcome.instructions
    done++
    if (outcome.difference !== undefined) {
      failures.push(explain(program, outcome, options))
      pair = makePair(options)
    }
    progress?.(done, failures.length)
  }
  return { programs: done, exceptions, instructions, failures }
}

type Pair = readonly [ProgramMachine, ProgramMachine]
function makePair({ first, second, system }: RunOptions): Pair {
  const make = (mode: string): ProgramMachine =>
    system === true ? new SystemMachine(modeOf(mode)) : new UserMachine(modeOf(mode))
  return [make(first), make(second)]
}

/** An exception of the host is a difference too. */
function attempt(program: Program, placed: PlacedProgram, [a, b]: Pair): Outcome {
  try {
    return compare(program, placed, a, b)
  } catch (error) {
    return { exceptions: 0, instructions: 0, difference: [`the host failed: ${(error as Error).stack}`] }
  }
}

function explain(program: Program, outcome: Outcome, options: RunOptions): Failure {
  const { first, second } = options
  const { seed } = program
  const fresh = (smaller: Program, placed: PlacedProgram): Outcome => attempt(smaller, placed, makePair(options))
  const alone = place(program)
  if (alone === undefined || fresh(program, alone).difference === undefined) {
    const text = ['It fails only after the programs before it.', ...(outcome.difference ?? [])].join('\n')
    return {
      seed,
      report: `seed ${seed}, ${first} and ${second}:\n${text}\n${listing(program, alone as PlacedProgram)}`,
    }
  }
  const small = shrink(program, (smaller, placed) => fresh(smaller, placed).difference !== undefined)
  const placed = place(small) as PlacedProgram
  const { difference = [] } = fresh(small, placed)
  return { seed, report: `seed ${seed}, ${first} and ${second}:\n${difference.join('\n')}\n${listing(small, placed)}` }
}
