// What the fuzzer runs: a keyboard, a mouse, their controller, and somebody in front of them.

import { type FuzzTarget, randomInput } from '@partita/testkit/fuzz'
import { runInput } from './harness.ts'

/** Commands of the controller and of its devices, so that random bytes are often one. */
const LIKELY: readonly number[] = [
  0x20, 0x60, 0x47, 0xa4, 0xa5, 0xa6, 0xa8, 0xaa, 0xae, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xe6, 0xe7, 0xe8, 0xe9, 0xea,
  0xeb, 0xed, 0xee, 0xf0, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xfb, 0xfe, 0xff, 0, 1, 2, 3, 80, 100, 200,
]

export const target: FuzzTarget = {
  create: (random) => randomInput(random, 20 + random.below(4000), LIKELY),
  run(input) {
    const { steps, answers } = runInput(input)
    return { steps, counts: { 'bytes read': answers } }
  },
}
