/**
 * The fuzzer as a program of Node, and its corpus: files whose content is an input as hex, with spaces, lines and comments after `#` as one likes.
 *
 * @example
 * ```ts
 * // test/fuzz.ts: `node test/fuzz.ts --steps 5000000 --seed 7`
 * import { vspFuzzTarget } from '@partita/testkit/fuzz'
 * import { runFuzzer } from '@partita/testkit/fuzz/node'
 *
 * await runFuzzer(vspFuzzTarget({ plugin, manifest: packageJson.partita }), { corpus: new URL('corpus/', import.meta.url) })
 * ```
 * @packageDocumentation
 */

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { PartitaError } from '@partita/interface'
import { messageOf } from './compliance/check.ts'
import { chooseInputs, FuzzError, type FuzzTarget, fuzz, shrinkInput, toHex } from './fuzz/fuzzer.ts'
import { HeapGrowth } from './fuzz/heap-growth.node.ts'

export { HeapGrowth, type HeapGrowthOptions } from './fuzz/heap-growth.node.ts'

/** An input of the corpus. */
export interface CorpusEntry {
  /** Of its file. */
  readonly name: string
  /** What the file has in hex. */
  readonly input: Uint8Array
}

/** Options of {@link runFuzzer}. */
export interface RunFuzzerOptions {
  /** The directory of the corpus; made when something is put into it. */
  readonly corpus: URL | string
  /** Words of the command line. Default: the program's. */
  readonly args?: readonly string[]
  /** Files that `--grow` leaves of what was reached. They are cheap to run, and a burden to a repository. Default: 40. */
  readonly files?: number
  /** Bytes that the process may keep more than after the first tenth of its steps. Default: 64 MiB. */
  readonly growth?: number
  /** Where lines go. Default: the console. */
  readonly log?: (line: string) => void
}

const EXTENSION = '.hex'
const FILES = 40
const STEPS = 5_000_000
/** Parts of a run after which memory is measured: after the first two it has warmed up. */
const PARTS = 20
const WARM = 2
/** Of files that `--grow` makes, and replaces. */
const REACHED = 'reached-'

function pathOf(directory: URL | string): string {
  return directory instanceof URL ? fileURLToPath(directory) : directory
}

/**
 * The inputs of a corpus, by name. A directory that is not there has none.
 * @throws PartitaError `ERR_FUZZ_CORPUS` when a file is no hex
 */
export function readCorpus(directory: URL | string): CorpusEntry[] {
  const path = pathOf(directory)
  let names: string[]
  try {
    names = readdirSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  return names
    .filter((name) => name.endsWith(EXTENSION))
    .sort()
    .map((name) => ({ name, input: parseHex(readFileSync(join(path, name), 'utf8'), name) }))
}

function parseHex(text: string, name: string): Uint8Array {
  const digits = text.replace(/#.*|\s/g, '')
  if (!/^([0-9a-f]{2})*$/i.test(digits))
    throw new PartitaError('ERR_FUZZ_CORPUS', `${name} is no hex`, {
      hint: 'A file has pairs of hexadecimal digits, and comments after #.',
      data: { name },
    })
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

/** Put an input into a corpus; `comment` says what it is there for. Returns the name of its file. */
export function addToCorpus(directory: URL | string, name: string, input: Uint8Array, comment?: string): string {
  const path = pathOf(directory)
  mkdirSync(path, { recursive: true })
  const file = `${name}${EXTENSION}`
  const lines = toHex(input).match(/.{1,96}/g) ?? []
  const remark = comment === undefined ? [] : [`# ${comment.replaceAll('\n', ' ')}`]
  writeFileSync(join(path, file), `${[...remark, ...lines].join('\n')}\n`)
  return file
}

/**
 * The program: `[--steps 5000000] [--seed N] [--grow]`. Runs the corpus and then new inputs, and says what came of it. An input that fails is made small and put into the corpus, where tests
 * run it from then on; the exit status becomes 1. With `--grow`, the files `reached-…` of the corpus become inputs that reach all that was reached.
 */
export async function runFuzzer(target: FuzzTarget, options: RunFuzzerOptions): Promise<void> {
  const { corpus, args = process.argv.slice(2), files = FILES, log = console.log } = options
  const { values } = parseArgs({
    args: [...args],
    options: {
      steps: { type: 'string', default: String(STEPS) },
      seed: { type: 'string', default: '1' },
      grow: { type: 'boolean', default: false },
    },
  })
  const [steps, seed] = [numberOf('steps', values.steps), numberOf('seed', values.seed)]
  const entries = readCorpus(corpus)
  const growth = new HeapGrowth(options.growth === undefined ? {} : { bound: options.growth })
  let part = WARM
  const start = performance.now()
  try {
    const result = await fuzz(target, {
      corpus: entries.map(({ input }) => input),
      steps,
      seed,
      onProgress: (done, features) => {
        if (process.stderr.isTTY) process.stderr.write(`\r${done} steps, ${features} features, ${heap()}   `)
        if (done * PARTS < steps * part) return
        growth.sample()
        part = Math.floor((done * PARTS) / steps) + 1
      },
    })
    growth.sample()
    const counts = Object.entries(result.counts).map(([name, count]) => `${count} ${name}, `)
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    const { size } = result.features
    const features = size === 0 ? '' : `${size} features, `
    log(
      `seed ${seed}: ${result.steps} steps in ${result.inputs} inputs, ${features}${counts.join('')}${seconds} s, ${heap()}, grown by ${Math.round(growth.grown / 2 ** 20)} MiB`,
    )
    if (!values.grow) return
    if (size === 0) {
      log('nothing tells what inputs reach: the corpus stays as it is')
      return
    }
    const chosen = chooseInputs(result.kept, files)
    for (const { name } of entries) if (name.startsWith(REACHED)) rmSync(join(pathOf(corpus), name))
    for (const [index, input] of chosen.entries())
      addToCorpus(corpus, `${REACHED}${String(index + 1).padStart(2, '0')}`, input)
    log(`${chosen.length} inputs of the corpus reach what was reached`)
  } catch (error) {
    if (isGrowth(error)) {
      log(error.message)
      process.exitCode = 1
      return
    }
    if (!(error instanceof FuzzError)) throw error
    const small = await shrinkInput(target, error.input)
    const file = addToCorpus(corpus, `failure-${hashOf(small)}`, small, messageOf(error.cause).split('\n')[0])
    log(`${error.message}\n${error.cause instanceof Error ? error.cause.stack : ''}`)
    log(`${small.length} of its ${error.input.length} bytes are enough: ${file} of the corpus`)
    process.exitCode = 1
  }
}

function isGrowth(error: unknown): error is PartitaError {
  return error instanceof PartitaError && error.code === 'ERR_FUZZ_GROWTH'
}

function heap(): string {
  return `heap ${Math.round(process.memoryUsage().heapUsed / 2 ** 20)} MiB`
}

function numberOf(option: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new PartitaError('ERR_USAGE', `--${option} ${text} is no number`, { data: { option } })
}

/** A name for an input (FNV-1a). */
function hashOf(input: Uint8Array): string {
  let hash = 0x811c_9dc5
  for (const byte of input) hash = Math.imul(hash ^ byte, 0x0100_0193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}
