// Flushes of the virtual TLB (TLFS, "Virtual MMU"): HvCallFlushVirtualAddressSpace and HvCallFlushVirtualAddressList, plain and Ex. A processor drops all of
// its translations in each case, which is more than was asked for, and allowed.

import type { VirtualProcessor } from '@partita/interface'
import type { Hypercall, HypercallTable } from '../../hypercall-table.ts'
import { HV_STATUS } from '../status.ts'
import { eachInMask, eachInVpSet, VP_SET_SIZE } from '../vp-set.ts'

const CALL = { SPACE: 0x0002, LIST: 0x0003, SPACE_EX: 0x0013, LIST_EX: 0x0014 } as const

/** HV_FLUSH_FLAGS. */
const FLAG = { ALL_PROCESSORS: 1n, ALL_ADDRESS_SPACES: 2n, NON_GLOBAL_ONLY: 4n } as const
const SPACE_FLAGS = FLAG.ALL_PROCESSORS | FLAG.ALL_ADDRESS_SPACES | FLAG.NON_GLOBAL_ONLY
const LIST_FLAGS = FLAG.ALL_PROCESSORS | FLAG.ALL_ADDRESS_SPACES

/** Offsets in the input. */
const FLAGS = 8
const PROCESSORS = 16

/** Register the flushes for `processors`. */
export function registerFlushes(table: HypercallTable, processors: readonly VirtualProcessor[]): void {
  const flush = (vpIndex: number): void => processors[vpIndex]?.flushTranslations()
  const serve = (call: Hypercall, allowed: bigint, ex: boolean): number => {
    const { input } = call
    const flags = input.getBigUint64(FLAGS, true)
    if ((flags & ~allowed) !== 0n) return HV_STATUS.INVALID_PARAMETER
    if ((flags & FLAG.ALL_PROCESSORS) !== 0n) for (let index = 0; index < processors.length; index++) flush(index)
    else if (!ex) eachInMask(input.getBigUint64(PROCESSORS, true), 0, processors.length, flush)
    else if (!eachInVpSet(call, PROCESSORS, processors.length, flush)) return HV_STATUS.INVALID_PARAMETER
    call.repsCompleted = call.repCount
    return HV_STATUS.SUCCESS
  }
  const element = { input: 8, output: 0 } as const
  table.register(CALL.SPACE, { inputSize: 24, call: (call) => serve(call, SPACE_FLAGS, false) })
  table.register(CALL.LIST, { inputSize: 24, element, call: (call) => serve(call, LIST_FLAGS, false) })
  const inputSize = PROCESSORS + VP_SET_SIZE
  table.register(CALL.SPACE_EX, { inputSize, variableHeader: true, call: (call) => serve(call, SPACE_FLAGS, true) })
  table.register(CALL.LIST_EX, {
    inputSize,
    variableHeader: true,
    element,
    call: (call) => serve(call, LIST_FLAGS, true),
  })
}
