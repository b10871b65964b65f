/**
 * The full run: measures every form on this machine and replays the vectors on the software processor.
 *
 *     npm run vectors:full -- [--count N] [--seed N] [--family TEXT] [--form TEXT] [--keep N] [--verbose] [--save FILE]
 *
 * `--count` is the number of vectors a form (128, which makes more than 600,000), `--family` and `--form` choose by a part of the name,
 * `--keep` shows that many differences of a form, `--verbose` the whole input of each, `--save` writes the vectors to a file.
 * The exit status is 1 when something differs.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { describe } from './compare.ts'
import { VectorReader } from './format.ts'
import { allForms } from './forms/index.ts'
import { measure, NativeProcessor } from './native.node.ts'
import { type Machine, type Report, replay, summary } from './replay.ts'

/** Forms that are measured and replayed together. */
const CHUNK = 64
const MACHINE: URL = new URL('../../../packages/processor-x86/src/testing/single-step.ts', import.meta.url)

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '128' },
    seed: { type: 'string', default: '1' },
    family: { type: 'string', default: '' },
    form: { type: 'string', default: '' },
    keep: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
    save: { type: 'string' },
  },
})

function merge(into: Report, from: Report): void {
  into.vectors += from.vectors
  into.wrong += from.wrong
  into.failures.push(...from.failures)
  for (const [name, family] of from.families) {
    const total = into.families.get(name)
    if (!total) {
      into.families.set(name, family)
      continue
    }
    total.forms += family.forms
    total.vectors += family.vectors
    total.wrong += family.wrong
    for (const [form, count] of family.wrongForms) total.wrongForms.set(form, count)
  }
}

const count = Number(values.count)
const seed = Number(values.seed)
const forms = allForms().filter((form) => form.family.includes(values.family) && form.name.includes(values.form))
if (!forms.length || !(count > 0)) {
  console.error('no such forms')
  process.exit(2)
}
using processor = new NativeProcessor()
if (values.save) writeFileSync(values.save, gzipSync(measure(processor, forms, count, seed)))

const { SingleStepMachine } = (await import(MACHINE.href)) as { SingleStepMachine: { create(): Promise<Machine> } }
const machine = await SingleStepMachine.create()
const total: Report = { families: new Map(), failures: [], vectors: 0, wrong: 0 }
const started = performance.now()
let said = started
for (let first = 0; first < forms.length; first += CHUNK) {
  const chunk = forms.slice(first, first + CHUNK)
  merge(total, replay(new VectorReader(measure(processor, chunk, count, seed)), machine, { keep: Number(values.keep) }))
  const now = performance.now()
  const last = first + CHUNK >= forms.length
  if (now - said < 2000 && !last) continue
  said = now
  const percent = Math.floor((total.vectors / (forms.length * count)) * 100)
  console.error(
    `${String(percent).padStart(3)} %  ${chunk[0]!.family.padEnd(12)} ${total.vectors} vectors, ${total.wrong} differ, ${((now - started) / 1000).toFixed(0)} s`,
  )
}
if (values.verbose)
  for (const failure of total.failures)
    console.log(
      `${failure.form.name} #${failure.index}\n${describe(failure.request)}\n${failure.differences.join('\n')}\n`,
    )
console.log(summary(total))
process.exitCode = total.wrong ? 1 : 0
