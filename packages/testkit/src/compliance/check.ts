// What a suite is made of: named checks that any test runner can run, and the seed that repeats a failure.

import { PartitaError } from '@partita/interface'
import { SeededRandom } from './seeded-random.ts'

/** A test of a suite. */
export interface ComplianceCheck {
  /** What a compliant subject does, as a sentence without its subject. */
  readonly name: string
  /** @throws ComplianceError `ERR_COMPLIANCE` when the subject does not */
  run(): Promise<void>
}

/** Options that all suites share. */
export interface ComplianceOptions {
  /** What all that is random is made from. Default: the environment variable `PARTITA_SEED` (a number, `number:run`, or `random`), or 1. */
  readonly seed?: number
  /** Runs of each check that is random. `PARTITA_RUNS` multiplies it. */
  readonly runs?: number
}

/**
 * Thrown by a check: code `ERR_COMPLIANCE`; `data` has the check's name and, where it was random, `seed` and `run`.
 */
export class ComplianceError extends PartitaError {}

/** @throws ComplianceError always */
export function fail(message: string, cause?: unknown): never {
  throw new ComplianceError('ERR_COMPLIANCE', message, cause === undefined ? {} : { cause })
}

/** @throws ComplianceError when `condition` does not hold */
export function expectThat(condition: boolean, message: string): void {
  if (!condition) fail(message)
}

/** Whether two pieces of plain data are the same. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Uint8Array && b instanceof Uint8Array)
    return a.length === b.length && a.every((byte, at) => byte === b[at])
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  const [left, right] = [Object.entries(a), new Map(Object.entries(b))]
  return left.length === right.size && left.every(([key, value]) => right.has(key) && same(value, right.get(key)))
}

/** @throws ComplianceError when the two are not the same plain data */
export function expectEqual(actual: unknown, expected: unknown, what: string): void {
  if (!same(actual, expected)) fail(`${what}: ${inspect(actual)} instead of ${inspect(expected)}`)
}

/** Plain data as one line of text, not too long. */
export function inspect(value: unknown): string {
  const text =
    JSON.stringify(value, (_key, item) =>
      typeof item === 'bigint' ? `${item}n` : item instanceof Uint8Array ? `<${hex(item)}>` : item,
    ) ?? String(value)
  return text.length > 600 ? `${text.slice(0, 600)}… (${text.length} characters)` : text
}

function hex(bytes: Uint8Array): string {
  const shown = Array.from(bytes.subarray(0, 32), (byte) => byte.toString(16).padStart(2, '0')).join('')
  return bytes.length > 32 ? `${shown}… ${bytes.length} bytes` : shown
}

/** What was thrown, as text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name === 'Error' ? '' : `${error.name}: `}${error.message}` : String(error)
}

/** A check without anything random. */
export function plainCheck(name: string, body: () => void | Promise<void>): ComplianceCheck {
  return {
    name,
    run: async () => {
      try {
        await body()
      } catch (error) {
        throw named(error, name, {}, '')
      }
    },
  }
}

/**
 * A check that is run `runs` times, each with a random source of its own.
 */
export function randomCheck(
  name: string,
  options: ComplianceOptions,
  runs: number,
  body: (random: SeededRandom, run: number) => void | Promise<void>,
): ComplianceCheck {
  return {
    name,
    run: async () => {
      const { seed, only } = complianceSeed(options)
      const count = Math.max(1, Math.ceil(runs * multiplier()))
      for (let run = only ?? 0; run < (only === undefined ? count : only + 1); run++) {
        try {
          await body(new SeededRandom(seed, name, run), run)
        } catch (error) {
          throw named(
            error,
            name,
            { seed, run },
            `\nRun ${run} of seed ${seed}; PARTITA_SEED=${seed}:${run} repeats it.`,
          )
        }
      }
    },
  }
}

function named(error: unknown, check: string, data: Record<string, unknown>, where: string): ComplianceError {
  return new ComplianceError('ERR_COMPLIANCE', `${messageOf(error).replace(/^ComplianceError: /, '')}${where}`, {
    data: { check, ...data },
    cause: error instanceof ComplianceError ? (error.cause ?? error) : error,
  })
}

/** The seed of this process for `PARTITA_SEED=random`. */
let fresh: number | undefined

/**
 * The `seed` that suites use: the option's, or that of the environment variable `PARTITA_SEED`, or 1. `only` is set where the variable names one run.
 * @throws ComplianceError `ERR_COMPLIANCE` when the variable is nothing of that
 */
export function complianceSeed(options: ComplianceOptions = {}): {
  readonly seed: number
  readonly only: number | undefined
} {
  const text = environment('PARTITA_SEED')
  if (options.seed !== undefined || text === undefined) return { seed: options.seed ?? 1, only: undefined }
  if (text === 'random') {
    fresh ??= Math.floor(Math.random() * 0x7fff_ffff)
    return { seed: fresh, only: undefined }
  }
  const match = /^(\d{1,10})(?::(\d{1,6}))?$/.exec(text)
  if (match === null) fail(`PARTITA_SEED is ${text}: it is a number, number:run, or random`)
  return { seed: Number(match[1]), only: match[2] === undefined ? undefined : Number(match[2]) }
}

/** What the environment variable `PARTITA_RUNS` multiplies runs by; 1 without it. */
export function multiplier(): number {
  const factor = Number(environment('PARTITA_RUNS') ?? 1)
  return Number.isFinite(factor) && factor > 0 ? factor : fail('PARTITA_RUNS is no positive number')
}

/** Where there is no environment, as in a browser, nothing is set. */
function environment(name: string): string | undefined {
  const value = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name]
  return value === '' ? undefined : value
}
