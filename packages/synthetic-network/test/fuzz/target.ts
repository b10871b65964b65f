// What the fuzzer runs: a guest of a network adapter.

import { type FuzzTarget, randomInput } from '@partita/testkit/fuzz'
import { everyOid } from './every-oid.ts'
import { runInput } from './harness.ts'

export const target: FuzzTarget = {
  longest: 4000,
  /** The protocol is set up first, as a rule. */
  create(random) {
    if (random.chance(1, 50)) return everyOid()
    const input = randomInput(random, 20 + random.below(3000))
    if (random.chance(9, 10)) input[0] = 0
    return input
  },
  run: runInput,
}
