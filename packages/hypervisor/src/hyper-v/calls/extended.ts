// Extended hypercalls (TLFS, "Extended Hypercall Interface"): the query of which there are. There are none yet.

import type { HypercallTable } from '../../hypercall-table.ts'
import { HV_STATUS } from '../status.ts'

const QUERY_CAPABILITIES = 0x8001

/** Register HvExtCallQueryCapabilities. */
export function registerExtendedCalls(table: HypercallTable): void {
  table.register(QUERY_CAPABILITIES, {
    privilege: 'ENABLE_EXTENDED_HYPERCALLS',
    inputSize: 0,
    outputSize: 8,
    call({ output }): number {
      output.setBigUint64(0, 0n, true)
      return HV_STATUS.SUCCESS
    },
  })
}
