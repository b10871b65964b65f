/**
 * Fuzzes the server, its GPADLs and its rings with hostile guests and devices.
 *
 * Usage: `npm run fuzz -- [--steps 5000000] [--seed N] [--grow]`. With `--grow`, the corpus becomes the inputs that reach all that was reached. An input that hurts
 * the host is written to the corpus, and the program ends with 1; so it does when the process keeps more and more. Nine tenths of the steps are of guests that live short, the
 * rest of one that lives long.
 */
import { parseArgs } from 'node:util'
import { addToCorpus, readCorpus, replaceCorpus } from './corpus.ts'
import { FuzzFailure, fuzz, isForRing, minimise } from './fuzz.ts'
import { HeapGrowth } from './heap-growth.ts'
import { HostileGuest } from './hostile-guest.ts'
import { Random } from './input.ts'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '5000000' },
    seed: { type: 'string', default: '1' },
    grow: { type: 'boolean', default: false },
  },
})

/** Files are cheap to run, and a burden to a repository. */
const GUESTS = 110
const RINGS = 40

/** Bytes that may be kept more than after the first tenth: of all guests that were, besides the fuzzer's own inputs, and of one. */
const GROWTH = 16 * 2 ** 20
const GROWTH_OF_ONE = 2 * 2 ** 20
/** What a step takes of an input, more or less. */
const BYTES_OF_STEP = 15

const corpus = readCorpus()
const wanted = Number(values.steps)
const seed = Number(values.seed)
const start = performance.now()
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
const heap = (): string => mebibytes(process.memoryUsage().heapUsed)
try {
  const growth = new HeapGrowth(GROWTH)
  const result = await fuzz({
    corpus,
    steps: wanted * 0.9,
    seed,
    onProgress: (steps) => {
      process.stderr.write(`\r${steps} steps, ${heap()}   `)
      if (steps > wanted / 10) growth.sample()
    },
  })
  const one = new HeapGrowth(GROWTH_OF_ONE)
  const guest = new HostileGuest(new Random(seed).bytes(Math.ceil((wanted / 10) * BYTES_OF_STEP)), { stays: true })
  await guest.run(() => {
    process.stderr.write(`\r${result.steps + guest.steps} steps, ${heap()}   `)
    if (guest.steps > wanted / 100) one.sample()
  })
  const seconds = (performance.now() - start) / 1000
  process.stderr.write('\n')
  console.log(
    `${result.steps + guest.steps} steps in ${result.inputs + 1} inputs, ${result.features} features, ${seconds.toFixed(1)} s, ${heap()}, grown by ${mebibytes(growth.grown)}, and ${mebibytes(one.grown)} by one guest of ${guest.steps} steps: the host is not hurt`,
  )
  if (values.grow) {
    const { guests = [], rings = [] } = Object.groupBy(result.kept, (input) => (isForRing(input) ? 'rings' : 'guests'))
    const chosen = [...(await minimise(guests, GUESTS)), ...(await minimise(rings, RINGS))]
    replaceCorpus(chosen)
    console.log(`the corpus is ${chosen.length} inputs now`)
  }
} catch (error) {
  if (!(error instanceof FuzzFailure)) throw error
  process.stderr.write('\n')
  console.error(error.cause)
  console.error(`${error.message}: ${addToCorpus(error.input)}`)
  process.exitCode = 1
}
