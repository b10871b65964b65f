/**
 * A long run: random guests, and mutations of the corpus.
 *
 * Usage: `npm run fuzz -- [--steps 5000000] [--seed N] [--grow]`. With `--grow` the corpus becomes the inputs that reach all that was reached. An input that fails is
 * written to the corpus, where the tests run it for ever, and the program ends with 1.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { runInput } from './harness.ts'
import { generator, mutate, randomInput } from './random.ts'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '5000000' },
    seed: { type: 'string', default: '1' },
    grow: { type: 'boolean', default: false },
  },
})
const CORPUS = new URL('../corpus/', import.meta.url)
/** Files are cheap to run, and a burden to a repository. */
const FILES = 40

const names = readdirSync(CORPUS)
const corpus: Uint8Array[] = names.map((name) =>
  Uint8Array.from(Buffer.from(readFileSync(new URL(name, CORPUS), 'utf8').replace(/#.*|\s/g, ''), 'hex')),
)
const random = generator(Number(values.seed))
const limit = Number(values.steps)
const reached: Set<string> = new Set()
const kept: { input: Uint8Array; features: ReadonlySet<string> }[] = []
const start = performance.now()
let inputs = 0
let steps = 0
while (steps < limit) {
  const index = Math.floor(random() * corpus.length * 2)
  const known = inputs < corpus.length ? undefined : corpus[index]
  const input =
    inputs < corpus.length
      ? (corpus[inputs] as Uint8Array)
      : known === undefined
        ? randomInput(random, 20 + Math.floor(random() * 3000))
        : mutate(random, known)
  inputs++
  try {
    const outcome = runInput(input)
    steps += outcome.steps
    if ([...outcome.features].some((feature) => !reached.has(feature))) {
      for (const feature of outcome.features) reached.add(feature)
      kept.push({ input, features: outcome.features })
      if (corpus.length < 500) corpus.push(input)
    }
  } catch (error) {
    console.error(error)
    const name = `failure-${Date.now().toString(36)}.hex`
    writeFileSync(new URL(name, CORPUS), `${Buffer.from(input).toString('hex')}\n`)
    console.error(`seed ${values.seed}, input ${inputs}: ${name}`)
    process.exitCode = 1
    break
  }
  if (inputs % 500 === 0) process.stderr.write(`\r${steps} steps, ${reached.size} features   `)
}
process.stderr.write('\n')
const seconds = ((performance.now() - start) / 1000).toFixed(1)
const heap = Math.round(process.memoryUsage().heapUsed / 2 ** 20)
console.log(
  `seed ${values.seed}: ${steps} steps in ${inputs} inputs, ${reached.size} features, ${seconds} s, heap ${heap} MiB`,
)

if (values.grow && process.exitCode !== 1) {
  // Greedily: the input that adds most, again and again.
  const missing = new Set(reached)
  const chosen: Uint8Array[] = []
  while (missing.size > 0 && chosen.length < FILES) {
    let best: (typeof kept)[number] | undefined
    let most = 0
    for (const each of kept) {
      const adds = [...each.features].filter((feature) => missing.has(feature)).length
      if (adds > most || (adds === most && best !== undefined && each.input.length < best.input.length)) {
        best = each
        most = adds
      }
    }
    if (best === undefined || most === 0) break
    for (const feature of best.features) missing.delete(feature)
    chosen.push(best.input)
  }
  for (const name of names) if (name.startsWith('reached-')) rmSync(new URL(name, CORPUS))
  for (const [index, input] of chosen.entries())
    writeFileSync(
      new URL(`reached-${String(index + 1).padStart(2, '0')}.hex`, CORPUS),
      `${Buffer.from(input).toString('hex')}\n`,
    )
  console.log(`the corpus has ${chosen.length} inputs that reach ${reached.size - missing.size} features`)
}
