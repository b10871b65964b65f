// HvCallStartVirtualProcessor and HvCallGetVpIndexFromApicId (TLFS).

import type { VirtualProcessor } from '@partita/interface'
import type { HypercallTable } from '../../hypercall-table.ts'
import { HV_STATUS } from '../status.ts'
import { applyContext, VP_CONTEXT_SIZE } from '../vp-context.ts'
import { PARTITION_ID_SELF } from './registers.ts'

const CALL = { START: 0x0099, VP_INDEX_FROM_APIC_ID: 0x009a } as const

/** Offsets in HvCallStartVirtualProcessor's input. */
const START = { PARTITION_ID: 0, VP_INDEX: 8, TARGET_VTL: 12, CONTEXT: 16 } as const
/** Offsets in HvCallGetVpIndexFromApicId's input header, its size, and its elements: an APIC id in, an index out. */
const LOOKUP = { PARTITION_ID: 0, TARGET_VTL: 8, SIZE: 16 } as const
const ELEMENT = { input: 4, output: 4 } as const

/** Register the two calls. `ready` is told of a started processor. */
export function registerStartCalls(
  table: HypercallTable,
  processors: readonly VirtualProcessor[],
  ready: (vpIndex: number) => void,
): void {
  table.register(CALL.START, {
    privilege: 'START_VIRTUAL_PROCESSOR',
    inputSize: START.CONTEXT + VP_CONTEXT_SIZE,
    call({ input }): number {
      if (input.getBigUint64(START.PARTITION_ID, true) !== PARTITION_ID_SELF) return HV_STATUS.INVALID_PARTITION_ID
      const vp = processors[input.getUint32(START.VP_INDEX, true)]
      if (vp === undefined) return HV_STATUS.INVALID_VP_INDEX
      if (input.getUint8(START.TARGET_VTL) !== 0) return HV_STATUS.INVALID_VTL_STATE
      if (!vp.waitingForStartup) return HV_STATUS.INVALID_VP_STATE
      if (!applyContext(vp, input, START.CONTEXT)) return HV_STATUS.INVALID_REGISTER_VALUE
      vp.start()
      ready(vp.index)
      return HV_STATUS.SUCCESS
    },
  })
  table.register(CALL.VP_INDEX_FROM_APIC_ID, {
    privilege: 'START_VIRTUAL_PROCESSOR',
    inputSize: LOOKUP.SIZE,
    element: ELEMENT,
    call(call): number {
      const { input, output } = call
      if (input.getBigUint64(LOOKUP.PARTITION_ID, true) !== PARTITION_ID_SELF) return HV_STATUS.INVALID_PARTITION_ID
      if (input.getUint8(LOOKUP.TARGET_VTL) !== 0) return HV_STATUS.INVALID_VTL_STATE
      for (let index = call.repStartIndex; index < call.repCount; index++) {
        const apicId = input.getUint32(call.headerSize + index * ELEMENT.input, true)
        const vp = processors.find((candidate) => candidate.apicId === apicId)
        if (vp === undefined) return HV_STATUS.INVALID_PARAMETER
        output.setUint32(index * ELEMENT.output, vp.index, true)
        call.repsCompleted = index + 1
      }
      return HV_STATUS.SUCCESS
    },
  })
}
