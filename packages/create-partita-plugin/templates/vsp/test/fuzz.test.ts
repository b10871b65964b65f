// What the fuzzer has found, and a short run of it.

import { vspFuzzTarget } from '@partita/testkit/fuzz'
import { readCorpus } from '@partita/testkit/fuzz/node'
import { fuzzing } from '@partita/testkit/vitest'
import { subject } from './subject.ts'

fuzzing({
  name: 'my-device',
  target: vspFuzzTarget(subject),
  corpus: readCorpus(new URL('corpus/', import.meta.url)),
  steps: 1000,
})
