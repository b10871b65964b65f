// Values of registers as HvCallGetVpRegisters and HvCallSetVpRegisters carry them (TLFS, HV_REGISTER_VALUE): 128 bits each, zero-extended.

import type { VirtualProcessor } from '@partita/interface'
import type { CpuidValues } from '../cpuid-table.ts'
import type { MsrTable } from '../msr-table.ts'
import type { NamedRegister } from './register-names.ts'
import { segmentAttributes, validSegment, validValue } from './register-values.ts'
import { HV_STATUS } from './status.ts'

/** Bytes of a value. */
export const REGISTER_VALUE_SIZE = 16

const KILO = 1000n
/** Offsets in HV_X64_SEGMENT_REGISTER and in HV_X64_TABLE_REGISTER. */
const SEGMENT = { BASE: 0, LIMIT: 8, SELECTOR: 12, ATTRIBUTES: 14 } as const
const TABLE = { LIMIT: 6, BASE: 8 } as const
/** Offsets in FXSAVE64's layout, whose first two parts of 16 bytes are the control registers' values as they are. */
const FLOAT = { DATA: 16, MXCSR: 24, REGISTERS: 32 } as const
/** Bytes of an x87 register that hold something. */
const FLOAT_REGISTER_SIZE = 10

/** What is behind the names. */
export interface RegisterAccess {
  readonly processors: readonly VirtualProcessor[]
  readonly msrs: MsrTable
  readonly leaves: ReadonlyMap<number, CpuidValues>
}

const synthetic = new BigUint64Array(1)

/** Put a register's value into `output`, which is zero there, at `at`. Returns an HV_STATUS. */
export function getRegister(
  { msrs, leaves }: RegisterAccess,
  vp: VirtualProcessor,
  register: NamedRegister,
  output: DataView,
  at: number,
): number {
  const copy = (bytes: Uint8Array, length: number): void => {
    for (let index = 0; index < length; index++) output.setUint8(at + index, bytes[index] as number)
  }
  switch (register.kind) {
    case 'register':
      output.setBigUint64(at, vp.getRegister(register.name), true)
      break
    case 'xmm':
      copy(vp.getXmm(register.index), REGISTER_VALUE_SIZE)
      break
    case 'float':
      copy(vp.getFloatState().subarray(FLOAT.REGISTERS + register.index * REGISTER_VALUE_SIZE), FLOAT_REGISTER_SIZE)
      break
    case 'float-control':
      copy(vp.getFloatState(), REGISTER_VALUE_SIZE)
      break
    case 'xmm-control':
      copy(vp.getFloatState().subarray(FLOAT.DATA), REGISTER_VALUE_SIZE)
      break
    case 'segment': {
      const segment = vp.getSegment(register.name)
      output.setBigUint64(at + SEGMENT.BASE, segment.base, true)
      output.setUint32(at + SEGMENT.LIMIT, segment.limit, true)
      output.setUint16(at + SEGMENT.SELECTOR, segment.selector, true)
      output.setUint16(at + SEGMENT.ATTRIBUTES, segment.attributes, true)
      break
    }
    case 'table': {
      const { base, limit } = vp.getDescriptorTable(register.name)
      output.setUint16(at + TABLE.LIMIT, limit, true)
      output.setBigUint64(at + TABLE.BASE, base, true)
      break
    }
    case 'synthetic':
    case 'frequency':
      if (!msrs.read(vp.index, register.index, synthetic)) return HV_STATUS.ACCESS_DENIED
      output.setBigUint64(at, (synthetic[0] as bigint) / (register.kind === 'frequency' ? KILO : 1n), true)
      break
    case 'msr': {
      const value = vp.readMsr(register.index)
      if (value === undefined) return HV_STATUS.INVALID_PARAMETER
      output.setBigUint64(at, value, true)
      break
    }
    case 'cpuid': {
      const { eax, ebx, ecx, edx } = leaves.get(register.leaf) ?? { eax: 0, ebx: 0, ecx: 0, edx: 0 }
      for (const [index, half] of [eax, ebx, ecx, edx].entries()) output.setUint32(at + index * 4, half, true)
      break
    }
    case 'apic-id':
      output.setUint32(at, vp.apicId, true)
      break
  }
  return HV_STATUS.SUCCESS
}

/** Set a register to the value at `at` of `input`. `own`: the caller sets its own. Returns an HV_STATUS, with nothing changed unless it is SUCCESS. */
export function setRegister(
  { msrs }: RegisterAccess,
  vp: VirtualProcessor,
  register: NamedRegister,
  input: DataView,
  at: number,
  own: boolean,
): number {
  const low = input.getBigUint64(at, true)
  const value = (): Uint8Array => new Uint8Array(input.buffer, input.byteOffset + at, REGISTER_VALUE_SIZE)
  const setFloat = (offset: number, length: number): void => {
    const state = vp.getFloatState()
    state.set(value().subarray(0, length), offset)
    vp.setFloatState(state)
  }
  switch (register.kind) {
    case 'register':
      // The caller goes on behind its hypercall.
      if (own && (register.name === 'rip' || register.name === 'rflags')) return HV_STATUS.INVALID_VP_STATE
      if (!validValue(register.name, low)) return HV_STATUS.INVALID_REGISTER_VALUE
      vp.setRegister(register.name, low)
      break
    case 'xmm':
      vp.setXmm(register.index, value().slice())
      break
    case 'float':
      setFloat(FLOAT.REGISTERS + register.index * REGISTER_VALUE_SIZE, FLOAT_REGISTER_SIZE)
      break
    case 'float-control':
      setFloat(0, REGISTER_VALUE_SIZE)
      break
    case 'xmm-control': {
      // The mask behind MXCSR is the processor's.
      const mask = new DataView(vp.getFloatState().buffer).getUint32(FLOAT.MXCSR + 4, true)
      if ((input.getUint32(at + FLOAT.MXCSR - FLOAT.DATA, true) & ~mask) !== 0) return HV_STATUS.INVALID_REGISTER_VALUE
      setFloat(FLOAT.DATA, FLOAT.MXCSR + 4 - FLOAT.DATA)
      break
    }
    case 'segment': {
      const attributes = input.getUint16(at + SEGMENT.ATTRIBUTES, true)
      const limit = input.getUint32(at + SEGMENT.LIMIT, true)
      if (!validSegment(attributes, limit)) return HV_STATUS.INVALID_REGISTER_VALUE
      const selector = input.getUint16(at + SEGMENT.SELECTOR, true)
      vp.setSegment(register.name, { selector, base: low, limit, attributes: segmentAttributes(attributes) })
      break
    }
    case 'table':
      vp.setDescriptorTable(
        register.name,
        input.getBigUint64(at + TABLE.BASE, true),
        input.getUint16(at + TABLE.LIMIT, true),
      )
      break
    case 'synthetic':
      if (!msrs.has(register.index)) return HV_STATUS.ACCESS_DENIED
      return msrs.write(vp.index, register.index, low) ? HV_STATUS.SUCCESS : HV_STATUS.INVALID_REGISTER_VALUE
    case 'msr':
      if (vp.readMsr(register.index) === undefined && !WRITE_ONLY.has(register.index))
        return HV_STATUS.INVALID_PARAMETER
      return vp.writeMsr(register.index, low) ? HV_STATUS.SUCCESS : HV_STATUS.INVALID_REGISTER_VALUE
    default:
      // Read-only.
      return HV_STATUS.INVALID_PARAMETER
  }
  return HV_STATUS.SUCCESS
}

/** IA32_PRED_CMD and x2APIC's EOI: there, though they cannot be read. */
const WRITE_ONLY: ReadonlySet<number> = new Set([0x49, 0x80b])
