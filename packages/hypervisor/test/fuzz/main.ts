/**
 * Fuzzes the Hyper-V interface with hostile guests.
 *
 * Usage: `npm run fuzz -- [--steps 5000000] [--seed N] [--grow]`. With `--grow`, the corpus becomes the inputs that reach all that was reached. An input that hurts
 * the host is named, and the program ends with 1.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { corpusPath, fuzz, readCorpus } from './fuzz.ts'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '5000000' },
    seed: { type: 'string', default: '1' },
    grow: { type: 'boolean', default: false },
  },
})
const heap = (): string => `${(process.memoryUsage().heapUsed / 2 ** 20).toFixed(0)} MiB`
const start = performance.now()
try {
  const { steps, kept, features } = fuzz({
    corpus: readCorpus(),
    steps: Number(values.steps),
    seed: Number(values.seed),
    onProgress: (done) => process.stderr.write(`\r${done} steps, ${heap()}   `),
  })
  process.stderr.write('\n')
  const seconds = (performance.now() - start) / 1000
  console.log(`${steps} steps, ${features} features, ${seconds.toFixed(1)} s, ${heap()}: the host is not hurt`)
  if (values.grow) {
    writeFileSync(corpusPath(), `${JSON.stringify(kept)}\n`)
    console.log(`the corpus is ${kept.length} inputs now`)
  }
} catch (error) {
  process.stderr.write('\n')
  console.error(error)
  process.exitCode = 1
}
