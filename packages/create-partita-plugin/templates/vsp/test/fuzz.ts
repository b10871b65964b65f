// A long run of guests that do anything: `npm run fuzz -- --steps 1000000 --seed 7`. One that hurts the provider is made small, and written to `test/corpus`.

import { vspFuzzTarget } from '@partita/testkit/fuzz'
import { runFuzzer } from '@partita/testkit/fuzz/node'
import { subject } from './subject.ts'

await runFuzzer(vspFuzzTarget(subject), { corpus: new URL('corpus/', import.meta.url) })
