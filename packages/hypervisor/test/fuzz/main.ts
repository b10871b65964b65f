/**
 * Fuzzes the Hyper-V interface with hostile guests.
 *
 * Usage: `npm run fuzz -- [--steps 5000000] [--seed N] [--grow]`. With `--grow`, the corpus becomes the inputs that reach all that was reached. An input that hurts
 * the host is named, and the program ends with 1; so it does when the process keeps more and more. Nine tenths of the steps are of guests that live short, the rest of one
 * that lives long.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { HeapGrowth } from '@partita/testkit/fuzz/node'
import { corpusPath, fuzz, readCorpus } from './fuzz.ts'
import { HostileGuest } from './hostile-guest.ts'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '5000000' },
    seed: { type: 'string', default: '1' },
    grow: { type: 'boolean', default: false },
  },
})
/** Bytes that may be kept more than after the first tenth: of all guests that were, and of one. */
const GROWTH = 8 * 2 ** 20
const GROWTH_OF_ONE = 2 * 2 ** 20

const wanted = Number(values.steps)
const seed = Number(values.seed)
const heap = (): string => `${(process.memoryUsage().heapUsed / 2 ** 20).toFixed(0)} MiB`
const start = performance.now()
try {
  const growth = new HeapGrowth({ bound: GROWTH })
  const { steps, kept, features } = fuzz({
    corpus: readCorpus(),
    steps: wanted * 0.9,
    seed,
    onProgress: (done) => {
      process.stderr.write(`\r${done} steps, ${heap()}   `)
      if (done > wanted / 10) growth.sample()
    },
  })
  const one = new HeapGrowth({ bound: GROWTH_OF_ONE })
  const guest = new HostileGuest(seed)
  guest.run(Math.ceil(wanted / 10), () => {
    process.stderr.write(`\r${steps + guest.steps} steps, ${heap()}   `)
    if (guest.steps > wanted / 100) one.sample()
  })
  process.stderr.write('\n')
  const seconds = (performance.now() - start) / 1000
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
  console.log(
    `${steps + guest.steps} steps, ${features} features, ${seconds.toFixed(1)} s, ${heap()}, grown by ${mebibytes(growth.grown)}, and ${mebibytes(one.grown)} by one guest: the host is not hurt`,
  )
  if (values.grow) {
    writeFileSync(corpusPath(), `${JSON.stringify(kept)}\n`)
    console.log(`the corpus is ${kept.length} inputs now`)
  }
} catch (error) {
  process.stderr.write('\n')
  console.error(error)
  process.exitCode = 1
}
