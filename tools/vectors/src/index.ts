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
export type { Form } from './form.ts'
export { FORMAT_VERSION, type FormVectors, VectorReader, VectorWriter, type Visitor } from './format.ts'
export {
  type Failure,
  type FamilyReport,
  type Machine,
  type MachineState,
  Player,
  type ReplayOptions,
  type Report,
  replay,
  summary,
} from './replay.ts'
