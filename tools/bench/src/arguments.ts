// The command line: `NAME [--runs N] [--only TEXT] [--minutes N] [--json FILE] [--mode MODE]`.

import { parseArgs } from 'node:util'

export interface Arguments {
  readonly name: string
  /** Undefined: the benchmark's own choice. */
  readonly runs: number | undefined
  /** What the benchmark shall do of itself: names and groups by comma. Undefined: all. */
  readonly only: readonly string[] | undefined
  /** How long a benchmark takes that goes on as long as one likes. */
  readonly minutes: number | undefined
  /** File for the results as JSON. */
  readonly json: string | undefined
  /** How the processor executes: `off`, `on`, `here` or a threshold. Undefined: as `partita run` has it. */
  readonly mode: string | undefined
  readonly help: boolean
}

/** A command line that cannot be understood. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/**
 * @param names of the benchmarks that there are
 * @throws UsageError
 */
export function parseArguments(args: readonly string[], names: readonly string[]): Arguments {
  let parsed: {
    readonly values: {
      readonly runs?: string
      readonly only?: string
      readonly minutes?: string
      readonly json?: string
      readonly mode?: string
      readonly help?: boolean
    }
    readonly positionals: string[]
  }
  try {
    parsed = parseArgs({
      args: [...args],
      options: {
        runs: { type: 'string', short: 'n' },
        only: { type: 'string' },
        minutes: { type: 'string' },
        json: { type: 'string' },
        mode: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
      allowPositionals: true,
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  const { values, positionals } = parsed
  const [name = '', ...rest] = positionals
  const help = values.help === true
  if (!help) {
    if (name === '') throw new UsageError(`Name a benchmark: ${names.join(', ')}`)
    if (!names.includes(name)) throw new UsageError(`There is no benchmark ${name}, only ${names.join(', ')}`)
    if (rest.length > 0) throw new UsageError(`One benchmark at a time, not also ${rest.join(' ')}`)
  }
  const runs = values.runs === undefined ? undefined : Number(values.runs)
  if (runs !== undefined && !(Number.isInteger(runs) && runs >= 1 && runs <= 1000)) {
    throw new UsageError(`--runs takes a whole number from 1 to 1000, not ${values.runs}`)
  }
  const minutes = values.minutes === undefined ? undefined : Number(values.minutes)
  if (minutes !== undefined && !(minutes > 0 && minutes <= 10_000)) {
    throw new UsageError(`--minutes takes a number above 0, not ${values.minutes}`)
  }
  const { json, mode } = values
  if (mode !== undefined && !/^(off|on|here|[1-9]\d*)$/.test(mode)) {
    throw new UsageError(`--mode takes off, on, here or a threshold, not ${mode}`)
  }
  return { name, runs, only: values.only?.split(','), minutes, json, mode, help }
}
