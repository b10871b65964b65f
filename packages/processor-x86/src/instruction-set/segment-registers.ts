// Segment registers, descriptor tables and their checks (SDM vol. 3, 3.4–3.5 and 5.10; vol. 2: MOV Sreg, POP, LDS…LSS, ARPL, LAR, LSL, VERR, VERW, SLDT, STR, LLDT, LTR,
// SGDT, SIDT, LGDT, LIDT, RDFSBASE…WRGSBASE, SWAPGS).

import { type Cpu, CR4 } from '../cpu.ts'
import {
  type InstructionDefinition,
  type InstructionOptions,
  instruction,
  type Semantics,
} from '../instruction/definition.ts'
import { i32, i64, VECTOR } from '../instruction/emitter.ts'
import { system } from '../instruction/system.ts'
import {
  is64,
  isCanonical,
  readInteger,
  readWord,
  requireProtected,
  requireRing0,
  stackAddress,
  stackMask,
  writeRegister,
  writeWord,
} from '../instruction/system-operand.ts'
import {
  type Descriptor,
  findDescriptor,
  loadSegment,
  readDescriptor,
  TYPE,
  UNUSABLE,
  wideBase,
} from '../segmentation.ts'
import { FILE, GPR, RECORD, SEGMENT, STATE, STATUS } from '../state-layout.ts'
import { checkUmip } from './control-registers.ts'

const LEGACY: InstructionOptions = { mode: 'legacy', modal: true }
const DEFAULT64: InstructionOptions = { size: 'd64', modal: true }

// --- loads and stores

const movFromSegment: Semantics = (e) => {
  const segment = e.let(e.registerNumber(1))
  e.raiseIf(i32.gt_u(segment, i32.const(SEGMENT.GS)), VECTOR.UD)
  const selector = e.let(i64.load16_u(i32.shl(segment, i32.const(4)), e.stateOffset(STATE.SEGMENTS)))
  if (e.isMemory(0)) e.storeInteger(e.address(0, 2, 'write'), 2, selector)
  else e.write(0, selector)
}
const movToSegment = system((cpu, record, form) => {
  const segment = cpu.u8[record + RECORD.REG] as number
  if (segment > SEGMENT.GS || segment === SEGMENT.CS) cpu.fault(VECTOR.UD, 0)
  loadSegment(cpu, segment, readWord(cpu, record, form))
  if (segment === SEGMENT.SS) cpu.interruptShadow = true
  return STATUS.NEXT
})

const popSegment = (segment: number): ReturnType<typeof system> =>
  system((cpu, _record, form) => {
    const top = cpu.gpr(GPR.RSP)
    const mask = stackMask(cpu)
    const selector = cpu.readU16(stackAddress(cpu, top, form.operandSize, 'read'))
    loadSegment(cpu, segment, selector)
    cpu.setGpr(GPR.RSP, (top & ~mask & 0xffffffffffffffffn) | ((top + BigInt(form.operandSize)) & mask))
    if (segment === SEGMENT.SS) cpu.interruptShadow = true
    return STATUS.NEXT
  })

/** LDS, LES, LFS, LGS, LSS: offset into the register, selector into the segment register. */
const loadFarPointer = (segment: number): ReturnType<typeof system> =>
  system((cpu, record, form) => {
    const size = form.operandSize
    const at = cpu.linearAddress(record, size + 2, 'read')
    const offset = readInteger(cpu, at, size)
    const selector = cpu.readU16(BigInt.asUintN(64, at + BigInt(size)))
    loadSegment(cpu, segment, selector)
    writeRegister(cpu, cpu.u8[record + RECORD.REG] as number, size, offset)
    return STATUS.NEXT
  })

// --- checks of selectors

function setZero(cpu: Cpu, zero: boolean): void {
  cpu.set64(STATE.FLAG_ZERO, zero ? 0n : 1n)
}

const arpl = system((cpu, record, form) => {
  requireProtected(cpu)
  const requested = cpu.get32(STATE.FILE + (cpu.u8[record + RECORD.REG] as number)) & 3
  const at = form.memory ? cpu.linearAddress(record, 2, 'write') : 0n
  if (form.memory) cpu.probeWrite(at, 2)
  const old = form.memory ? cpu.readU16(at) : readWord(cpu, record, form)
  const adjust = (old & 3) < requested
  if (adjust) {
    const value = (old & ~3) | requested
    if (form.memory) cpu.writeU16(at, value)
    else writeRegister(cpu, cpu.u8[record + RECORD.RM] as number, 2, BigInt(value))
  }
  setZero(cpu, adjust)
  return STATUS.NEXT
})

/** A descriptor that the running program may see: it exists, and neither CPL nor RPL is above its DPL unless it is conforming code. */
function visibleDescriptor(cpu: Cpu, selector: number): Descriptor | undefined {
  const d = findDescriptor(cpu, selector)
  if (!d) return undefined
  if (d.code && d.type & 4) return d
  return d.dpl < cpu.cpl || d.dpl < (selector & 3) ? undefined : d
}

const bit = (n: number): number => 1 << n
/** System descriptor types with rights or a limit to tell (SDM vol. 2, tables 3-52 and 3-54). */
const LAR_TYPES = bit(1) | bit(2) | bit(3) | bit(4) | bit(5) | bit(9) | bit(11) | bit(12)
const LAR_TYPES_LONG = bit(2) | bit(9) | bit(11) | bit(12)
const LSL_TYPES = bit(1) | bit(2) | bit(3) | bit(9) | bit(11)
const LSL_TYPES_LONG = bit(2) | bit(9) | bit(11)

const loadAccess = (limit: boolean): ReturnType<typeof system> =>
  system((cpu, record, form) => {
    requireProtected(cpu)
    const d = visibleDescriptor(cpu, readWord(cpu, record, form))
    const types = limit ? (cpu.longMode ? LSL_TYPES_LONG : LSL_TYPES) : cpu.longMode ? LAR_TYPES_LONG : LAR_TYPES
    const valid = d !== undefined && (d.segment || (types & bit(d.type)) !== 0)
    if (valid) {
      const value = limit ? d.limit : (d.high & 0x00f0ff00) >>> 0
      writeRegister(cpu, cpu.u8[record + RECORD.REG] as number, form.operandSize, BigInt(value))
    }
    setZero(cpu, valid)
    return STATUS.NEXT
  })

const verify = (write: boolean): ReturnType<typeof system> =>
  system((cpu, record, form) => {
    requireProtected(cpu)
    const d = visibleDescriptor(cpu, readWord(cpu, record, form))
    setZero(cpu, d?.segment === true && (write ? !d.code && (d.type & 2) !== 0 : !d.code || (d.type & 2) !== 0))
    return STATUS.NEXT
  })

// --- LDT and task register

const storeSystemSegment = (segment: number): ReturnType<typeof system> =>
  system((cpu, record, form) => {
    requireProtected(cpu)
    checkUmip(cpu)
    writeWord(cpu, record, form, cpu.segmentSelector(segment))
    return STATUS.NEXT
  })

/** The descriptor for LLDT or LTR; 16 bytes long in IA-32e mode. */
function systemDescriptor(
  cpu: Cpu,
  selector: number,
  accepts: (type: number) => boolean,
): { descriptor: Descriptor; base: bigint } {
  const error = selector & 0xfffc
  if (selector & 4) cpu.fault(VECTOR.GP, error)
  const descriptor = readDescriptor(cpu, selector)
  if (descriptor.segment || !accepts(descriptor.type)) cpu.fault(VECTOR.GP, error)
  if (cpu.longMode && (selector | 7) + 8 > cpu.get32(STATE.GDTR_LIMIT)) cpu.fault(VECTOR.GP, error)
  if (!descriptor.present) cpu.fault(VECTOR.NP, error)
  const base = cpu.longMode ? wideBase(cpu, descriptor) : descriptor.base
  if (!isCanonical(base)) cpu.fault(VECTOR.GP, error)
  return { descriptor, base }
}
const lldt = system((cpu, record, form) => {
  requireProtected(cpu)
  requireRing0(cpu)
  const selector = readWord(cpu, record, form)
  if ((selector & 0xfffc) === 0) {
    cpu.setSegment(SEGMENT.LDTR, selector, 0n, 0, UNUSABLE)
    return STATUS.NEXT
  }
  const { descriptor, base } = systemDescriptor(cpu, selector, (type) => type === TYPE.LDT)
  cpu.setSegment(SEGMENT.LDTR, selector, base, descriptor.limit, descriptor.attributes)
  return STATUS.NEXT
})
const ltr = system((cpu, record, form) => {
  requireProtected(cpu)
  requireRing0(cpu)
  const selector = readWord(cpu, record, form)
  if ((selector & 0xfffc) === 0) cpu.fault(VECTOR.GP, 0)
  const { descriptor, base } = systemDescriptor(
    cpu,
    selector,
    (type) => type === TYPE.TSS32 || (!cpu.longMode && type === TYPE.TSS16),
  )
  cpu.writeU8(descriptor.address + 5n, ((descriptor.high >>> 8) & 0xff) | 2, true)
  cpu.setSegment(SEGMENT.TR, selector, base, descriptor.limit, descriptor.attributes | 2)
  return STATUS.NEXT
})

// --- descriptor tables

const storeTable = (baseField: number, limitField: number): ReturnType<typeof system> =>
  system((cpu, record) => {
    checkUmip(cpu)
    const bytes = is64(cpu) ? 10 : 6
    const at = cpu.linearAddress(record, bytes, 'write')
    const second = BigInt.asUintN(64, at + 2n)
    // A word and double words: what is checked for alignment is an address behind an odd word (SDM vol. 3, 3.5.1).
    cpu.probeWrite(at, 2)
    for (let done = 2; done < bytes; done += 4) cpu.probeWrite(BigInt.asUintN(64, at + BigInt(done)), 4)
    cpu.writeU16(at, cpu.get32(limitField))
    cpu.writeU32(second, cpu.get32(baseField))
    if (bytes === 10) cpu.writeU32(BigInt.asUintN(64, at + 6n), cpu.get32(baseField + 4))
    return STATUS.NEXT
  })
const loadTable = (baseField: number, limitField: number): ReturnType<typeof system> =>
  system((cpu, record, form) => {
    requireRing0(cpu)
    const bytes = is64(cpu) ? 10 : 6
    const at = cpu.linearAddress(record, bytes, 'read')
    const limit = cpu.readU16(at)
    const second = BigInt.asUintN(64, at + 2n)
    let base = bytes === 10 ? cpu.readU64(second) : BigInt(cpu.readU32(second))
    if (bytes === 6 && form.operandSize === 2) base &= 0xffffffn
    if (!isCanonical(base)) cpu.fault(VECTOR.GP, 0)
    cpu.set64(baseField, base)
    cpu.set32(limitField, limit)
    return STATUS.NEXT
  })

// --- bases of FS and GS

/** #UD unless CR4.FSGSBASE. */
function requireFsGsBase(e: Parameters<Semantics>[0]): void {
  e.raiseIf(i32.eqz(i32.and(e.stateI32(STATE.CR4), i32.const(CR4.FSGSBASE))), VECTOR.UD)
}
const baseField = (segment: number): number => STATE.FILE + FILE.SEGMENT_BASE + segment * 8

const readBase =
  (segment: number): Semantics =>
  (e) => {
    requireFsGsBase(e)
    e.write(0, e.stateI64(baseField(segment)))
  }
const writeBase =
  (segment: number): Semantics =>
  (e) => {
    requireFsGsBase(e)
    const value = e.read(0)
    if (e.size(0) === 8) e.raiseIf(i64.ne(i64.shr_s(i64.shl(value, i64.const(16)), i64.const(16)), value), VECTOR.GP, 0)
    e.setStateI64(baseField(segment), value)
  }
const swapgs: Semantics = (e) => {
  e.raiseIf(e.stateI32(STATE.CPL), VECTOR.GP, 0)
  const old = e.stateI64(baseField(SEGMENT.GS))
  e.setStateI64(baseField(SEGMENT.GS), e.stateI64(STATE.KERNEL_GS_BASE))
  e.setStateI64(STATE.KERNEL_GS_BASE, old)
}

export const SEGMENT_REGISTERS: readonly InstructionDefinition[] = [
  instruction('MOV', '8C /r', 'Ev Sw', movFromSegment),
  instruction('MOV', '8E /r', 'Sw Ew', movToSegment),
  instruction('POP', '07', '', popSegment(SEGMENT.ES), LEGACY),
  instruction('POP', '17', '', popSegment(SEGMENT.SS), LEGACY),
  instruction('POP', '1F', '', popSegment(SEGMENT.DS), LEGACY),
  instruction('POP', '0F A1', '', popSegment(SEGMENT.FS), DEFAULT64),
  instruction('POP', '0F A9', '', popSegment(SEGMENT.GS), DEFAULT64),
  instruction('LES', 'C4 /r', 'Gv Mp', loadFarPointer(SEGMENT.ES), { mode: 'legacy' }),
  instruction('LDS', 'C5 /r', 'Gv Mp', loadFarPointer(SEGMENT.DS), { mode: 'legacy' }),
  instruction('LSS', '0F B2 /r', 'Gv Mp', loadFarPointer(SEGMENT.SS)),
  instruction('LFS', '0F B4 /r', 'Gv Mp', loadFarPointer(SEGMENT.FS)),
  instruction('LGS', '0F B5 /r', 'Gv Mp', loadFarPointer(SEGMENT.GS)),
  instruction('ARPL', '63 /r', 'Ew Gw', arpl, { mode: 'legacy' }),
  instruction('LAR', '0F 02 /r', 'Gv Ew', loadAccess(false)),
  instruction('LSL', '0F 03 /r', 'Gv Ew', loadAccess(true)),
  instruction('SLDT', '0F 00 /0', 'Ev', storeSystemSegment(SEGMENT.LDTR)),
  instruction('STR', '0F 00 /1', 'Ev', storeSystemSegment(SEGMENT.TR)),
  instruction('LLDT', '0F 00 /2', 'Ew', lldt),
  instruction('LTR', '0F 00 /3', 'Ew', ltr),
  instruction('VERR', '0F 00 /4', 'Ew', verify(false)),
  instruction('VERW', '0F 00 /5', 'Ew', verify(true)),
  instruction('SGDT', '0F 01 /0', 'Ms', storeTable(STATE.GDTR_BASE, STATE.GDTR_LIMIT)),
  instruction('SIDT', '0F 01 /1', 'Ms', storeTable(STATE.IDTR_BASE, STATE.IDTR_LIMIT)),
  instruction('LGDT', '0F 01 /2', 'Ms', loadTable(STATE.GDTR_BASE, STATE.GDTR_LIMIT)),
  instruction('LIDT', '0F 01 /3', 'Ms', loadTable(STATE.IDTR_BASE, STATE.IDTR_LIMIT)),
  instruction('RDFSBASE', 'F3 0F AE /0', 'Ry', readBase(SEGMENT.FS), { mode: '64' }),
  instruction('RDGSBASE', 'F3 0F AE /1', 'Ry', readBase(SEGMENT.GS), { mode: '64' }),
  instruction('WRFSBASE', 'F3 0F AE /2', 'Ry', writeBase(SEGMENT.FS), { mode: '64' }),
  instruction('WRGSBASE', 'F3 0F AE /3', 'Ry', writeBase(SEGMENT.GS), { mode: '64' }),
  instruction('SWAPGS', '0F 01 F8', '', swapgs, { mode: '64' }),
]
