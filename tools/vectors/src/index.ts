/**
 * Test vectors of x86-64 instructions, measured on a real processor.
 *
 * @example
 * ```ts
 * const reader = new VectorReader(gunzipSync(readFileSync('sample.vectors.gz')))
 * console.log(summary(replay(reader, machine)))
 * ```
 */
export { describe, differences } from './compare.ts'
export { FORMAT_VERSION, VectorReader, VectorWriter, type FormVectors, type Visitor } from './format.ts'
export type { Form } from './form.ts'
export { replay, summary, Player, type Failure, type FamilyReport, type Machine, type MachineState, type ReplayOptions, type Report } from './replay.ts'
