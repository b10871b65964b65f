// What every provider has to do: opening and closing at any time, malformed packets, full rings, save and restore in every state, nothing left behind.

import { vspCompliance } from '@partita/testkit/vitest'
import { subject } from './subject.ts'

vspCompliance(subject)
