// The processor against the compliance suite.

import { processorCompliance } from '@partita/testkit/vitest'
import { createProcessor } from '../src/index.ts'

processorCompliance({ create: createProcessor })
