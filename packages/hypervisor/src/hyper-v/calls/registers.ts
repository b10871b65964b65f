// HvCallGetVpRegisters and HvCallSetVpRegisters (TLFS, "Virtual Processors") of the caller's own partition. Synthetic registers are the synthetic MSRs, with the
// same privileges. Control and segment registers can be read; a processor gets them as a whole from HvCallStartVirtualProcessor.

import type { VirtualProcessor } from '@partita/interface'
import type { CpuidValues } from '../../cpuid-table.ts'
import type { Hypercall, HypercallTable } from '../../hypercall-table.ts'
import type { MsrTable } from '../../msr-table.ts'
import { NAMED_REGISTERS, type NamedRegister } from '../register-names.ts'
import { HV_STATUS } from '../status.ts'
import { validFlags } from '../vp-context.ts'
import { isVtl0 } from './interrupts.ts'

const CALL = { GET: 0x0050, SET: 0x0051 } as const

export const PARTITION_ID_SELF = 0xffff_ffff_ffff_ffffn
const VP_INDEX_SELF = 0xfffffffe

/** Offsets in the input header, and its size. */
const HEADER = { PARTITION_ID: 0, VP_INDEX: 8, TARGET_VTL: 12, SIZE: 16 } as const
/** Elements: a name; a name, padding and a value. */
const GET_ELEMENT = { input: 4, output: 16 } as const
const SET_ELEMENT = { input: 32, output: 0 } as const
const SET_VALUE = 16

/** What the calls reach. */
export interface RegisterAccess {
  readonly processors: readonly VirtualProcessor[]
  readonly msrs: MsrTable
  readonly leaves: ReadonlyMap<number, CpuidValues>
}

/** The processor at `index`, which may be the caller's alias. */
function target(call: Hypercall, index: number, processors: readonly VirtualProcessor[]): VirtualProcessor | undefined {
  return index === VP_INDEX_SELF ? call.vp : processors[index]
}

/** Register the two calls. */
export function registerRegisterCalls(table: HypercallTable, access: RegisterAccess): void {
  const value = new BigUint64Array(1)
  const each = (
    call: Hypercall,
    elementSize: number,
    serve: (vp: VirtualProcessor, register: NamedRegister, index: number) => number,
  ): number => {
    const { input } = call
    if (input.getBigUint64(HEADER.PARTITION_ID, true) !== PARTITION_ID_SELF) return HV_STATUS.ACCESS_DENIED
    if (!isVtl0(input.getUint8(HEADER.TARGET_VTL))) return HV_STATUS.INVALID_PARAMETER
    const vp = target(call, input.getUint32(HEADER.VP_INDEX, true), access.processors)
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
        get(vp, register, call.output, index * GET_ELEMENT.output),
      ),
  })
  table.register(CALL.SET, {
    privilege: 'ACCESS_VP_REGISTERS',
    inputSize: HEADER.SIZE,
    element: SET_ELEMENT,
    call: (call) =>
      each(call, SET_ELEMENT.input, (vp, register, index) =>
        set(call, vp, register, call.headerSize + index * SET_ELEMENT.input + SET_VALUE),
      ),
  })

  function get(vp: VirtualProcessor, register: NamedRegister, output: DataView, at: number): number {
    switch (register.kind) {
      case 'general':
      case 'control':
        output.setBigUint64(at, vp.getRegister(register.name), true)
        break
      case 'xmm':
        vp.getXmm(register.index).forEach((byte, index) => {
          output.setUint8(at + index, byte)
        })
        break
      case 'segment': {
        const segment = vp.getSegment(register.name)
        output.setBigUint64(at, segment.base, true)
        output.setUint32(at + 8, segment.limit, true)
        output.setUint16(at + 12, segment.selector, true)
        output.setUint16(at + 14, segment.attributes, true)
        break
      }
      case 'msr':
        if (!access.msrs.read(vp.index, register.index, value)) return HV_STATUS.ACCESS_DENIED
        output.setBigUint64(at, value[0] as bigint, true)
        break
      case 'cpuid': {
        const { eax, ebx, ecx, edx } = access.leaves.get(register.leaf) ?? { eax: 0, ebx: 0, ecx: 0, edx: 0 }
        for (const [index, half] of [eax, ebx, ecx, edx].entries()) output.setUint32(at + index * 4, half, true)
        break
      }
      case 'time-stamp':
        output.setBigUint64(at, vp.timeStampCounter, true)
        break
      case 'apic-id':
        output.setUint32(at, vp.apicId, true)
        break
    }
    return HV_STATUS.SUCCESS
  }

  function set(call: Hypercall, vp: VirtualProcessor, register: NamedRegister, at: number): number {
    const { input } = call
    const low = input.getBigUint64(at, true)
    switch (register.kind) {
      case 'general':
        if (register.name === 'rip' || register.name === 'rflags') {
          // The caller goes on behind its hypercall.
          if (vp === call.vp) return HV_STATUS.INVALID_VP_STATE
          if (register.name === 'rflags' && !validFlags(low)) return HV_STATUS.INVALID_REGISTER_VALUE
        }
        if (register.name === 'cr8' && low > 15n) return HV_STATUS.INVALID_REGISTER_VALUE
        vp.setRegister(register.name, low)
        return HV_STATUS.SUCCESS
      case 'xmm':
        vp.setXmm(register.index, call.inputBytes.slice(at, at + 16))
        return HV_STATUS.SUCCESS
      case 'msr':
        if (!access.msrs.has(register.index)) return HV_STATUS.ACCESS_DENIED
        return access.msrs.write(vp.index, register.index, low) ? HV_STATUS.SUCCESS : HV_STATUS.INVALID_REGISTER_VALUE
      default:
        return HV_STATUS.INVALID_PARAMETER
    }
  }
}
