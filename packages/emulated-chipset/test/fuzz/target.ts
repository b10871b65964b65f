// The chipset as the target of the fuzzer: see pci-life.ts.

import type { FuzzTarget } from '@partita/testkit/fuzz'
import { runInput } from './pci-life.ts'

export const target: FuzzTarget = { longest: 2048, run: runInput }
