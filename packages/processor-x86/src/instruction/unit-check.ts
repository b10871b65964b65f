// #UD and #NM by CR0 and CR4 before instructions of a unit (SDM vol. 3, 2.5 and table 13-1).

import { checkPending } from '../instruction-set/x87-common.ts'
import { STATE } from '../state-layout.ts'
import type { InstructionOptions } from './definition.ts'
import { type InstructionEmitter, i32, VECTOR } from './emitter.ts'

const CR0_EM = 4
const CR0_TS = 8

export function emitUnitCheck(e: InstructionEmitter, unit: NonNullable<InstructionOptions['unit']>): void {
  if (unit === 'sse') {
    const vector = e.stateI32(STATE.SSE_FAULT)
    e.if(vector, () => e.raise(vector), undefined, false)
    return
  }
  const cr0 = e.stateI32(STATE.CR0)
  if (unit === 'mmx') {
    e.raiseIf(i32.and(cr0, i32.const(CR0_EM)), VECTOR.UD)
    e.raiseIf(i32.and(cr0, i32.const(CR0_TS)), VECTOR.NM)
    checkPending(e)
  } else {
    e.raiseIf(i32.and(cr0, i32.const(CR0_EM | CR0_TS)), VECTOR.NM)
  }
}
