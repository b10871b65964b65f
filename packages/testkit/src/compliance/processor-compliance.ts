// The compliance suite that every processor of x86 machine code runs: what the hypervisor and a guest may expect of an implementation of the contract of
// `@partita/interface` (Intel SDM; TLFS, chapters 7 and 8).

import type { Processor } from '@partita/interface'
import { type ComplianceCheck, type ComplianceOptions, expectEqual, plainCheck, randomCheck } from './check.ts'
import { ProcessorBench } from './processor-bench.ts'
import { processorEventChecks } from './processor-event-checks.ts'
import { processorInterceptChecks } from './processor-intercept-checks.ts'
import { KNOWN_PROGRAMS, randomProgram } from './processor-programs.ts'
import { processorStateChecks } from './processor-state-checks.ts'

/** A processor under test. */
export interface ProcessorSubject extends ComplianceOptions {
  /** A fresh processor, which makes its memory and virtual processors itself. */
  readonly create: () => Processor
  /** Runs of each random check. Default: 4. */
  readonly runs?: number
}

/**
 * The checks of a processor, for any test runner. `processorCompliance` of `@partita/testkit/vitest` makes tests of them.
 *
 * @example
 * ```ts
 * import { processorChecks } from '@partita/testkit'
 *
 * for (const check of processorChecks({ create: createProcessor })) test(check.name, check.run)
 * ```
 */
export function processorChecks(subject: ProcessorSubject): readonly ComplianceCheck[] {
  const runs = subject.runs ?? 4
  return [
    plainCheck('computes what programs with known outcomes compute, in code of 16, 32 and 64 bits', () => {
      const processor = subject.create()
      using long = new ProcessorBench(processor)
      using protectedMode = new ProcessorBench(processor, 'protected')
      using real = new ProcessorBench(processor, 'real')
      for (const { name, bits, write, registers } of KNOWN_PROGRAMS) {
        const bench = bits === 64 ? long : bits === 32 ? protectedMode : real
        if (bits === 16) {
          // Real mode has its code in the first 64 KiB.
          bench.load(0x7c00, 16, (a) => {
            write(a)
            ProcessorBench.end(a)
          })
          bench.set('rsp', 0x7000)
          expectEqual(bench.go(0x7c00), 'ok', name)
        } else expectEqual(bench.kernel(write, bits), 'ok', name)
        for (const [register, value] of Object.entries(registers))
          expectEqual(bench.get(register as 'rax'), value, `${name}: ${register}`)
      }
    }),
    randomCheck('computes what a model computes, for random programs', subject, runs, (random) => {
      const processor = subject.create()
      using bench = new ProcessorBench(processor)
      for (let program = 0; program < 10; program++) {
        const { write, registers } = randomProgram(random, 60)
        expectEqual(bench.kernel(write), 'ok', 'the end of the program')
        for (const [register, value] of registers) expectEqual(bench.get(register), value, register)
      }
    }),
    ...processorInterceptChecks(subject),
    ...processorEventChecks(subject),
    ...processorStateChecks(subject, runs),
  ]
}
