// HvCallGetVpRegisters and HvCallSetVpRegisters (TLFS, "Virtual Processors") of the caller's own partition. Synthetic registers are the synthetic MSRs, with the
// same privileges.

import type { VirtualProcessor } from '@partita/interface'
import type { Hypercall, HypercallTable } from '../../hypercall-table.ts'
import { NAMED_REGISTERS, type NamedRegister } from '../register-names.ts'
import { HV_STATUS } from '../status.ts'
import { getRegister, REGISTER_VALUE_SIZE, type RegisterAccess, setRegister } from '../vp-registers.ts'
import { isVtl0 } from './interrupts.ts'

const CALL = { GET: 0x0050, SET: 0x0051 } as const

export const PARTITION_ID_SELF = 0xffff_ffff_ffff_ffffn
const VP_INDEX_SELF = 0xfffffffe

/** Offsets in the input header, and its size. */
const HEADER = { PARTITION_ID: 0, VP_INDEX: 8, TARGET_VTL: 12, SIZE: 16 } as const
/** Elements: a name; a name, padding and a value. */
const GET_ELEMENT = { input: 4, output: REGISTER_VALUE_SIZE } as const
const SET_ELEMENT = { input: 32, output: 0 } as const
const SET_VALUE = 16

/** Register the two calls. */
export function registerRegisterCalls(table: HypercallTable, access: RegisterAccess): void {
  const { processors } = access
  const each = (
    call: Hypercall,
    elementSize: number,
    serve: (vp: VirtualProcessor, register: NamedRegister, index: number) => number,
  ): number => {
    const { input } = call
    // The caller has no children.
    if (input.getBigUint64(HEADER.PARTITION_ID, true) !== PARTITION_ID_SELF) return HV_STATUS.ACCESS_DENIED
    if (!isVtl0(input.getUint8(HEADER.TARGET_VTL))) return HV_STATUS.INVALID_PARAMETER
    const vpIndex = input.getUint32(HEADER.VP_INDEX, true)
    const vp = vpIndex === VP_INDEX_SELF ? call.vp : processors[vpIndex]
    if (vp === undefined) return HV_STATUS.INVALID_VP_INDEX
    for (let index = call.repStartIndex; index < call.repCount; index++) {
      const register = NAMED_REGISTERS.get(input.getUint32(call.headerSize + index * elementSize, true))
      if (register === undefined) return HV_STATUS.INVALID_PARAMETER
      const status = serve(vp, register, index)
      if (status !== HV_STATUS.SUCCESS) return status
      call.repsCompleted = index + 1
    }
    return HV_STATUS.SUCCESS
  }

  table.register(CALL.GET, {
    privilege: 'ACCESS_VP_REGISTERS',
    inputSize: HEADER.SIZE,
    element: GET_ELEMENT,
    call: (call) =>
      each(call, GET_ELEMENT.input, (vp, register, index) =>
        getRegister(access, vp, register, call.output, index * GET_ELEMENT.output),
      ),
  })
  table.register(CALL.SET, {
    privilege: 'ACCESS_VP_REGISTERS',
    inputSize: HEADER.SIZE,
    element: SET_ELEMENT,
    call: (call) =>
      each(call, SET_ELEMENT.input, (vp, register, index) =>
        setRegister(
          access,
          vp,
          register,
          call.input,
          call.headerSize + index * SET_ELEMENT.input + SET_VALUE,
          vp === call.vp,
        ),
      ),
  })
}
