// `loops`: guest MIPS of the interpreter's hot loops, next to the same machine code on the host's processor and under QEMU TCG.

import { arithmeticMean, harmonicMean, median } from '../statistics.ts'
import { table } from '../table.ts'
import { type LoopRunner, UnavailableError } from './loop-runner.ts'
import { NativeRunner } from './native-runner.ts'
import { PartitaRunner } from './partita-runner.ts'
import { LOOP_PROGRAMS } from './programs.ts'
import { QemuRunner } from './qemu-runner.ts'

/** Guest MIPS, arithmetic mean over the loops. */
const TARGET = 200
const WARM_UP_ROUNDS = 3

export async function loops(runs: number): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const partita = stack.use(await PartitaRunner.create())
  const runners: LoopRunner[] = [partita]
  for (const create of [() => QemuRunner.create(LOOP_PROGRAMS), () => NativeRunner.create(LOOP_PROGRAMS)]) {
    try {
      runners.push(stack.use(await create()))
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error
      console.log(error.message)
    }
  }
  const expected = new Map(LOOP_PROGRAMS.map(({ name, checksum }) => [name, checksum()]))
  // WebAssembly is compiled once more, and better, while the loops run for the first times.
  for (let round = 0; round < WARM_UP_ROUNDS; round++) await partita.run(LOOP_PROGRAMS)
  const times = new Map<string, number[]>()
  for (let run = 0; run < runs; run++) {
    for (const runner of runners) {
      for (const { name, seconds, checksum } of await runner.run(LOOP_PROGRAMS)) {
        if (checksum !== expected.get(name)) {
          throw new Error(`${runner.label} computes ${checksum} in ${name}, not ${expected.get(name)}`)
        }
        const key = `${runner.label} ${name}`
        times.set(key, [...(times.get(key) ?? []), seconds])
      }
    }
  }
  const mips = (runner: LoopRunner, name: string): number =>
    (partita.instructions.get(name) as number) / 1e6 / median(times.get(`${runner.label} ${name}`) as number[])
  const rates = runners.map((runner) => LOOP_PROGRAMS.map(({ name }) => mips(runner, name)))
  const line = (name: string, million: string, values: readonly number[]): string[] => [
    name,
    million,
    ...values.map((value) => value.toFixed(0)),
    ...values.slice(1).map((value) => (value / (values[0] as number)).toFixed(1)),
  ]
  console.log(
    `Guest MIPS by processor time, medians of ${runs} alternating runs; the ratios say how many times faster the peer is`,
  )
  console.log(
    table([
      [
        'loop',
        '10⁶ instr.',
        ...runners.map(({ label }) => label),
        ...runners.slice(1).map(({ label }) => `${label}/Partita`),
      ],
      ...LOOP_PROGRAMS.map(({ name }, i) =>
        line(
          name,
          ((partita.instructions.get(name) as number) / 1e6).toFixed(1),
          rates.map((r) => r[i] as number),
        ),
      ),
      line('arithmetic', '', rates.map(arithmeticMean)),
      line('harmonic', '', rates.map(harmonicMean)),
    ]),
  )
  const average = arithmeticMean(rates[0] as number[])
  console.log(
    `target: ${TARGET} MIPS on average; measured ${average.toFixed(0)}: ${average >= TARGET ? 'met' : 'missed'}`,
  )
}
