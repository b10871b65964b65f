/**
 * A long run: `npm run fuzz -- [--steps 5000000] [--seed N]`. Inputs are random, or mutations of the corpus. One that fails is made small and written to
 * `test/corpus`, where the tests run it for ever; the program ends with 1 then.
 */
import { runFuzzer } from '@partita/testkit/fuzz/node'
import { target } from './target.ts'

await runFuzzer(target, { corpus: new URL('../corpus/', import.meta.url) })
