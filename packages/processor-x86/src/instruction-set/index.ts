// All instructions.

import type { InstructionDefinition } from '../instruction/definition.ts'
import { DATA_TRANSFER } from './data-transfer.ts'
import { SSE_INTEGER } from './sse-integer.ts'
import { SSE_MOVE } from './sse-move.ts'
import { SSE_SHUFFLE } from './sse-shuffle.ts'

/** The rows of all families; decoder, interpreter and translator are made from them. */
export const INSTRUCTION_SET: readonly InstructionDefinition[] = [
  ...DATA_TRANSFER,
  ...SSE_INTEGER,
  ...SSE_MOVE,
  ...SSE_SHUFFLE,
]
