// Synthetic cluster IPIs and the notification of long spins (TLFS, "Virtual Interrupt Controller" and "Guest Spinlocks").

import type { VirtualProcessor } from '@partita/interface'
import type { Hypercall, HypercallTable } from '../../hypercall-table.ts'
import { HV_STATUS } from '../status.ts'
import { eachInMask, eachInVpSet, VP_SET_SIZE } from '../vp-set.ts'

const CALL = { NOTIFY_LONG_SPIN_WAIT: 0x0008, SEND_IPI: 0x000b, SEND_IPI_EX: 0x0015 } as const

/** Offsets in the input. */
const VECTOR = 0
const TARGET_VTL = 4
const PROCESSORS = 8

const FIRST_VECTOR = 0x10
const LAST_VECTOR = 0xff

/** HV_INPUT_VTL: the level's number, and whether it counts. */
const VTL = { NUMBER: 0x0f, USE: 0x10, RESERVED: 0xe0 } as const

/** Whether an HV_INPUT_VTL names the only level that there is. */
export function isVtl0(value: number): boolean {
  return (value & VTL.RESERVED) === 0 && ((value & VTL.USE) === 0 || (value & VTL.NUMBER) === 0)
}

/** Register the calls. `raise` interrupts a processor with an edge-triggered vector. */
export function registerInterruptCalls(
  table: HypercallTable,
  processors: readonly VirtualProcessor[],
  raise: (vpIndex: number, vector: number) => void,
): void {
  let vector = 0
  const send = (vpIndex: number): void => raise(vpIndex, vector)
  const serve = (call: Hypercall, ex: boolean): number => {
    const { input } = call
    vector = input.getUint32(VECTOR, true)
    if (vector < FIRST_VECTOR || vector > LAST_VECTOR || !isVtl0(input.getUint8(TARGET_VTL)))
      return HV_STATUS.INVALID_PARAMETER
    if (!ex) eachInMask(input.getBigUint64(PROCESSORS, true), 0, processors.length, send)
    else if (!eachInVpSet(call, PROCESSORS, processors.length, send)) return HV_STATUS.INVALID_PARAMETER
    return HV_STATUS.SUCCESS
  }
  table.register(CALL.SEND_IPI, { inputSize: 16, call: (call) => serve(call, false) })
  table.register(CALL.SEND_IPI_EX, {
    inputSize: PROCESSORS + VP_SET_SIZE,
    variableHeader: true,
    call: (call) => serve(call, true),
  })
  table.register(CALL.NOTIFY_LONG_SPIN_WAIT, {
    inputSize: 8,
    call({ vp }): number {
      // The lock's holder may be waiting for this thread.
      if (processors.length > 1) vp.requestExit()
      return HV_STATUS.SUCCESS
    },
  })
}
