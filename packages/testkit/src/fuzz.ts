/**
 * A fuzzer for what plugs into Partita: inputs are bytes, taken as decisions; those that reach something new are kept and changed; one that fails is made small. For providers on the VMBus there is a
 * target that needs no more than the compliance suite does. `./fuzz/node` keeps a corpus in files, and is the program around it.
 *
 * @example
 * ```ts
 * import { fuzz, vspFuzzTarget } from '@partita/testkit/fuzz'
 *
 * await fuzz(vspFuzzTarget({ plugin, manifest: packageJson.partita }), { steps: 10_000, seed: 7 })
 * ```
 * @packageDocumentation
 */
export { FuzzInput } from './fuzz/fuzz-input.ts'
export {
  chooseInputs,
  FuzzError,
  type FuzzOptions,
  type FuzzOutcome,
  type FuzzResult,
  type FuzzTarget,
  fuzz,
  type KeptInput,
  shrinkInput,
  toHex,
} from './fuzz/fuzzer.ts'
export { mutateInput, randomInput } from './fuzz/mutation.ts'
export { vspFuzzTarget } from './fuzz/vsp-target.ts'
