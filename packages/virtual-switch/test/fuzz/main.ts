/**
 * A long run: `npm run fuzz --workspace packages/virtual-switch -- [steps] [seed]`. Inputs are random, or mutations of the corpus. One that fails is printed as hex;
 * put it into `test/corpus`, where the tests run it for ever. Exits with 1 then.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { runInput } from './harness.ts'
import { generator, mutate, randomInput } from './random.ts'

const CORPUS = new URL('../corpus/', import.meta.url)
const wanted = Number(process.argv[2] ?? 5_000_000)
const seed = Number(process.argv[3] ?? Date.now() % 0x1_0000_0000)
const corpus = readdirSync(CORPUS).map((name) =>
  Uint8Array.from(Buffer.from(readFileSync(new URL(name, CORPUS), 'utf8').replace(/#.*|\s/g, ''), 'hex')),
)
const random = generator(seed)
let inputs = 0
let steps = 0
let answers = 0
while (steps < wanted) {
  const known = corpus[Math.floor(random() * corpus.length * 2)]
  const input = known === undefined ? randomInput(random, 20 + Math.floor(random() * 4000)) : mutate(random, known)
  try {
    const outcome = await runInput(input)
    inputs++
    steps += outcome.steps
    answers += outcome.answers
  } catch (error) {
    console.error(error)
    console.error(Buffer.from(input).toString('hex'))
    process.exitCode = 1
    break
  }
}
console.log(`seed ${seed}: ${inputs} inputs, ${steps} steps, ${answers} frames`)
