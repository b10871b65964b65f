/**
 * The guest matrix: what takes too long for the usual tests, done with the real guest (the test image of tools/guest/README.md).
 *
 * Usage: `node --conditions=@partita/source tools/guest/matrix.ts [--list] [--keep] [--mebibytes N] [CASE …]`; without a case, all of them.
 *
 * The last line is `N passed, N failed`, and `, N skipped` where this host cannot run some. Exit status: 0 when something passed and nothing failed, 1
 * otherwise, 2 on misuse.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  createProgressReporter,
  type DefaultGuest,
  ensureDefaultGuest,
  type KernelFlavour,
} from '../../packages/cli/src/default-guest/index.ts'
import { type GuestCase, Skipped } from './matrix/case.ts'
import { CASES } from './matrix/cases/index.ts'
import { deadline } from './matrix/deadline.ts'
import { MatrixGuest } from './matrix/machine.ts'

const USAGE = 'Usage: matrix.ts [--list] [--keep] [--mebibytes N] [CASE …]'
const TIMEOUT = 600
/** What cases that move many bytes move, where neither they nor the command line say something else. */
const MEBIBYTES = 1024

interface Verdict {
  readonly verdict: 'passed' | 'failed' | 'skipped'
  readonly reason?: unknown
}

/** The test image with the kernel that a case asks for. */
async function imageOf(image: DefaultGuest, kernel: KernelFlavour = 'cloud'): Promise<DefaultGuest> {
  if (kernel === 'cloud') return image
  const reporter = createProgressReporter(process.stderr)
  return ensureDefaultGuest({ variant: 'test', kernel, progress: reporter.report }).finally(() => reporter.clear())
}

async function runCase(
  one: GuestCase,
  image: DefaultGuest,
  { keep, mebibytes }: { readonly keep: boolean; readonly mebibytes: number | undefined },
): Promise<Verdict> {
  const directory = mkdtempSync(join(tmpdir(), `partita-${one.name}-`))
  const guests: MatrixGuest[] = []
  const { timeout = TIMEOUT } = one
  using limit = deadline(timeout, () => `not done within ${timeout} s`)
  try {
    const boot: Parameters<GuestCase['run']>[0]['boot'] = async (options) => {
      const guest = await MatrixGuest.boot(await imageOf(image, options?.kernel), options)
      guests.push(guest)
      return guest
    }
    await Promise.race([one.run({ directory, mebibytes: mebibytes ?? one.mebibytes ?? MEBIBYTES, boot }), limit.late])
    return { verdict: 'passed' }
  } catch (reason) {
    if (reason instanceof Skipped) return { verdict: 'skipped', reason }
    const guest = guests.at(-1)
    if (guest !== undefined) console.log(`  the console of ${one.name} ends with\n${guest.lastLines()}`)
    return { verdict: 'failed', reason }
  } finally {
    for (const guest of guests) await guest[Symbol.asyncDispose]()
    if (keep) console.log(`  images are in ${directory}`)
    else rmSync(directory, { recursive: true, force: true })
  }
}

async function main(): Promise<number> {
  let values: { list?: boolean; keep?: boolean; mebibytes?: string }
  let names: string[]
  try {
    ;({ values, positionals: names } = parseArgs({
      options: { list: { type: 'boolean' }, keep: { type: 'boolean' }, mebibytes: { type: 'string' } },
      allowPositionals: true,
    }))
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`)
    return 2
  }
  const mebibytes = values.mebibytes === undefined ? undefined : Number(values.mebibytes)
  if (mebibytes !== undefined && !(Number.isInteger(mebibytes) && mebibytes >= 1 && mebibytes <= 65_536)) {
    console.error(`--mebibytes takes a whole number from 1 to 65536\n${USAGE}`)
    return 2
  }
  const unknown = names.filter((name) => !CASES.some((one) => one.name === name))
  if (unknown.length > 0) {
    console.error(`There is no case ${unknown.join(', ')}.\n${USAGE}`)
    return 2
  }
  const cases = CASES.filter(({ name }) => names.length === 0 || names.includes(name))
  if (values.list === true) {
    for (const { name, description } of cases) console.log(`${name.padEnd(20)} ${description}`)
    return 0
  }
  const reporter = createProgressReporter(process.stderr)
  const image = await ensureDefaultGuest({ variant: 'test', progress: reporter.report }).finally(() => reporter.clear())
  console.log(`Linux ${image.version}`)
  const counts = { passed: 0, failed: 0, skipped: 0 }
  for (const one of cases) {
    const start = performance.now()
    const { verdict, reason } = await runCase(one, image, { keep: values.keep === true, mebibytes })
    counts[verdict]++
    console.log(
      `${verdict === 'failed' ? 'FAILED' : verdict} ${one.name} (${((performance.now() - start) / 1000).toFixed(0)} s)`,
    )
    if (reason !== undefined) {
      const text = verdict === 'failed' && reason instanceof Error ? reason.stack : String(reason)
      console.log(`  ${(text ?? '').replaceAll('\n', '\n  ')}`)
    }
  }
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
  console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`)
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1
}

process.exitCode = await main()
