// What the fuzzer runs: a guest behind the NAT.

import { type FuzzTarget, randomInput } from '@partita/testkit/fuzz'
import { runInput } from './harness.ts'

/** Small numbers, flags of TCP, protocols: what fields often hold. */
const LIKELY: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 20, 24, 25, 58, 64, 67, 80, 128, 133, 135, 255]

export const target: FuzzTarget = {
  // An input has one set of rules: short ones try many.
  create: (random) => randomInput(random, 20 + random.below(random.chance(2, 3) ? 300 : 4000), LIKELY),
  async run(input) {
    const { steps, answers, features } = await runInput(input)
    return { steps, features, counts: { frames: answers } }
  },
}
