// What the fuzzer runs: a guest of a SCSI controller.

import { type FuzzTarget, randomInput } from '@partita/testkit/fuzz'
import { runInput } from './harness.ts'

export const target: FuzzTarget = {
  /** The protocol is set up first, as a rule. */
  create(random) {
    const input = randomInput(random, 20 + random.below(2000))
    if (random.chance(4, 5)) input[0] = 30
    return input
  },
  async run(input) {
    const { steps, answers } = await runInput(input)
    return { steps, counts: { answers } }
  },
}
