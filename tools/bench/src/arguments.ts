// The command line: `NAME [--runs N]`.

import { parseArgs } from 'node:util'

export interface Arguments {
  readonly name: string
  /** Undefined: the benchmark's own choice. */
  readonly runs: number | undefined
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
  let parsed: { readonly values: { readonly runs?: string; readonly help?: boolean }; readonly positionals: string[] }
  try {
    parsed = parseArgs({
      args: [...args],
      options: { runs: { type: 'string', short: 'n' }, help: { type: 'boolean', short: 'h' } },
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
  return { name, runs, help }
}
