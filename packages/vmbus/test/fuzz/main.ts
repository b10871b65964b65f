/**
 * Fuzzes the server, its GPADLs and its rings with hostile guests and devices.
 *
 * Usage: `npm run fuzz -- [--steps 5000000] [--seed N] [--grow]`. With `--grow`, the corpus becomes the inputs that reach all that was reached. An input that hurts
 * the host is written to the corpus, and the program ends with 1.
 */
import { parseArgs } from 'node:util'
import { addToCorpus, readCorpus, replaceCorpus } from './corpus.ts'
import { FuzzFailure, fuzz, isForRing, minimise } from './fuzz.ts'

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

const corpus = readCorpus()
const start = performance.now()
const heap = (): string => `${(process.memoryUsage().heapUsed / 2 ** 20).toFixed(0)} MiB`
try {
  const result = await fuzz({
    corpus,
    steps: Number(values.steps),
    seed: Number(values.seed),
    onProgress: (steps) => process.stderr.write(`\r${steps} steps, ${heap()}   `),
  })
  const seconds = (performance.now() - start) / 1000
  process.stderr.write('\n')
  console.log(
    `${result.steps} steps in ${result.inputs} inputs, ${result.features} features, ${seconds.toFixed(1)} s, ${heap()}: the host is not hurt`,
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
