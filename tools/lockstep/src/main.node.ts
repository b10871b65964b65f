// `npm run lockstep -- programs [COUNT]`, `npm run lockstep -- boot`, `npm run lockstep -- native [COUNT]`: see the README. The exit status is 1 when something differs.

import { parseArgs } from 'node:util'
import type { Failure } from './programs.ts'

const USAGE = `npm run lockstep -- programs [COUNT]   random programs on two software processors
npm run lockstep -- system [COUNT]     random programs of a supervisor: page tables, control registers, interrupts
npm run lockstep -- native [COUNT]     random programs on a software processor and on this machine's
npm run lockstep -- show SEED          the program of a seed
npm run lockstep -- boot               the default guest on two software processors

  --first MODE, --second MODE   off (the interpreter), 1 (all code is translated before it is executed), step (an instruction a region), on, or a threshold
  --seed N                      of the first program
  --instructions N              of the boot, 200000000
  --memory MIB                  of the boot, 128
`

const { values, positionals } = parseArgs({
  options: {
    first: { type: 'string', default: 'off' },
    second: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    instructions: { type: 'string', default: '200000000' },
    slice: { type: 'string', default: '20000' },
    memory: { type: 'string', default: '128' },
    help: { type: 'boolean', default: false },
  },
  allowPositionals: true,
})
const [what, argument] = positionals
const seed = Number(values.seed)

function progress(): (done: number, failures: number) => void {
  let last = performance.now()
  return (done, failures) => {
    if (performance.now() - last < 5000) return
    last = performance.now()
    process.stderr.write(`${done} programs, ${failures} differ\n`)
  }
}
function conclude(text: string, failures: readonly Failure[]): void {
  for (const { report } of failures) console.log(`${report}\n`)
  console.log(`${text}, ${failures.length} differ`)
  process.exitCode = failures.length > 0 ? 1 : 0
}

if (values.help || what === undefined) console.log(USAGE)
else if (what === 'programs' || what === 'system') {
  const { runPrograms } = await import('./programs.ts')
  const count = Number(argument ?? 1000)
  const { first, second } = values
  const summary = runPrograms({ first, second, seed, count, progress: progress(), system: what === 'system' })
  const { programs, exceptions, instructions, failures } = summary
  conclude(
    `${programs} programs on ${first} and ${second}, ${instructions} instructions, ${exceptions} exceptions`,
    failures,
  )
} else if (what === 'native') {
  const { runNatively } = await import('./native.node.ts')
  const mode = values.first
  const { programs, exceptions, failures } = runNatively({
    mode,
    seed,
    count: Number(argument ?? 1000),
    progress: progress(),
  })
  conclude(`${programs} programs on ${mode} and on this machine's processor, ${exceptions} exceptions`, failures)
} else if (what === 'show') {
  const { makeProgram } = await import('./compare.ts')
  const { listing } = await import('./listing.ts')
  for (const defined of [true, false]) {
    const { program, placed } = makeProgram(Number(argument), { defined })
    console.log(
      `${defined ? 'for real processors, and every second one' : 'the others'}:\n${listing(program, placed)}\n`,
    )
  }
} else if (what === 'boot') {
  const { ensureDefaultGuest } = await import('../../../packages/cli/src/default-guest/index.ts')
  const { bootInLockStep } = await import('./boot.node.ts')
  let last = performance.now()
  const result = await bootInLockStep({
    guest: await ensureDefaultGuest(),
    memory: Number(values.memory) * 2 ** 20,
    first: values.first,
    second: values.second,
    slice: Number(values.slice),
    instructions: Number(values.instructions),
    progress(instructions) {
      if (performance.now() - last < 5000) return
      last = performance.now()
      process.stderr.write(`${(instructions / 1e6).toFixed(1)} million instructions\n`)
    },
  })
  if (result.console !== '') console.log(`The guest has printed:\n${result.console}`)
  if (result.report !== undefined) console.log(result.report)
  const ended = result.stopped === undefined ? '' : `, ${result.stopped}`
  console.log(
    `${(result.instructions / 1e6).toFixed(1)} million instructions in ${result.slices} slices on ${values.first} and ${values.second}, ${result.regions.join(' and ')} regions translated${ended}`,
  )
  // what drives the guests' devices never comes to an end by itself
  process.exit(result.stopped === undefined || result.stopped === 'idle' ? 0 : 1)
} else {
  console.error(`${USAGE}\nThere is no ${what}.`)
  process.exitCode = 2
}
