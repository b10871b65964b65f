/**
 * The compliance suites as tests of vitest: each function makes a `describe` with a test for each check. Whoever uses this entry point has vitest; the others of the
 * package need no test runner.
 *
 * @example
 * ```ts
 * import { vspCompliance } from '@partita/testkit/vitest'
 *
 * vspCompliance({ plugin, manifest: packageJson.partita })
 * ```
 * @packageDocumentation
 */
import { describe, it } from 'vitest'
import { type ComplianceCheck, complianceSeed } from './compliance/check.ts'
import { type DiskSubject, diskChecks } from './compliance/disk-compliance.ts'
import { emulatedDeviceChecks } from './compliance/emulated-device-compliance.ts'
import type { EmulatedDeviceSubject } from './compliance/emulated-device-subject.ts'
import { type ProcessorSubject, processorChecks } from './compliance/processor-compliance.ts'
import { vscChecks } from './compliance/vsc-compliance.ts'
import type { VscSubject } from './compliance/vsc-subject.ts'
import { vspChecks } from './compliance/vsp-compliance.ts'
import type { VspSubject } from './compliance/vsp-subject.ts'
import { type FuzzTarget, fuzz } from './fuzz/fuzzer.ts'

/** Milliseconds for a check, which is a matter of the host's load alone: time in a check is virtual. */
const TIMEOUT = 120_000

function suite(name: string, checks: readonly ComplianceCheck[]): void {
  describe(`${name} complies: it`, () => {
    for (const check of checks) it(check.name, check.run, TIMEOUT)
  })
}

/** Test a provider on the VMBus. */
export function vspCompliance(subject: VspSubject): void {
  suite(subject.plugin.name, vspChecks(subject))
}

/** Test an emulated device. */
export function emulatedDeviceCompliance(subject: EmulatedDeviceSubject): void {
  suite(subject.plugin.name, emulatedDeviceChecks(subject))
}

/** Test a driver on the VMBus. */
export function vscCompliance<Instance extends object>(subject: VscSubject<Instance>): void {
  suite(`the driver ${subject.driver.name}`, vscChecks(subject))
}

/** Test a disk. */
export function diskCompliance(subject: DiskSubject): void {
  suite(`the disk '${subject.name}'`, diskChecks(subject))
}

/** Test a processor of x86 machine code. */
export function processorCompliance(subject: ProcessorSubject): void {
  suite(`the processor '${subject.create().name}'`, processorChecks(subject))
}

/** What {@link fuzzing} runs. */
export interface FuzzingSubject {
  /** What is fuzzed, for the title. */
  readonly name: string
  /** What runs an input. It throws when the input does harm. */
  readonly target: FuzzTarget
  /** Known inputs, as `readCorpus` of `@partita/testkit/fuzz/node` reads them: a test for each, called `name`, that runs `input`. */
  readonly corpus: readonly { readonly name: string; readonly input: Uint8Array }[]
  /** Steps of the short run after them. Default: 5000. */
  readonly steps?: number
  /** What the short run is made from. Default: as the suites' seed. */
  readonly seed?: number
}

/** Run the corpus of a fuzzer, and a short run of new inputs. */
export function fuzzing({ name, target, corpus, steps = 5000, ...options }: FuzzingSubject): void {
  describe(`${name} is not hurt by`, () => {
    for (const entry of corpus) it(entry.name, async () => void (await target.run(entry.input)), TIMEOUT)
    const run = async (): Promise<void> => {
      const { seed } = complianceSeed(options)
      await fuzz(target, { corpus: corpus.map(({ input }) => input), steps, seed })
    }
    it('inputs that nobody has seen before', run, TIMEOUT)
  })
}
