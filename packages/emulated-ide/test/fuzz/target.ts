// The controller as the target of the fuzzer.

import type { FuzzTarget } from '@partita/testkit/fuzz'
import { runInput } from './harness.ts'

export const target: FuzzTarget = { longest: 2048, run: runInput }
