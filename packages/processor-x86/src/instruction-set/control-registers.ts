// Control and debug registers, and what invalidates translations (SDM vol. 3, 2.5, 4.10.4 and chapter 17; vol. 2: MOV CRn, MOV DRn, LMSW, SMSW, CLTS, INVLPG, INVPCID, WBINVD).

import { type Cpu, CR0, CR4, EFER } from '../cpu.ts'
import { type InstructionDefinition, type InstructionForm, instruction } from '../instruction/definition.ts'
import { VECTOR } from '../instruction/emitter.ts'
import { system } from '../instruction/system.ts'
import {
  advance,
  is64,
  isCanonical,
  leave,
  reg64,
  requireRing0,
  rm64,
  writeRegister,
} from '../instruction/system-operand.ts'
import { RECORD, SEGMENT, STATE, STATUS } from '../state-layout.ts'

const CR0_WRITABLE = CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG
const CR4_VALID =
  CR4.TSD |
  CR4.DE |
  CR4.PSE |
  CR4.PAE |
  CR4.MCE |
  CR4.PGE |
  CR4.PCE |
  CR4.OSFXSR |
  CR4.OSXMMEXCPT |
  CR4.UMIP |
  CR4.FSGSBASE |
  CR4.PCIDE |
  CR4.OSXSAVE |
  CR4.SMEP |
  CR4.SMAP
/** Bits whose change makes translations stale (SDM vol. 3, 4.10.4.1). */
const CR4_FLUSH = CR4.PSE | CR4.PAE | CR4.PGE | CR4.PCIDE | CR4.SMEP | CR4.SMAP
/** CR3 bits above the 40 of a physical address; bit 63 is apart. */
const CR3_RESERVED = 0x7fffff0000000000n
const CR3_NO_FLUSH = 1n << 63n

/** DR6: BS, BD, BT and B0–B3 can be written; the rest reads as ones but for bit 12. */
const DR6_WRITABLE = 0xe00fn
const DR6_FIXED = 0xffff0ff0n
const DR6_BD = 0x2000n
const DR7_WRITABLE = 0xffff23ffn
const DR7_FIXED = 0x400n
const DR7_GD = 0x2000n

/** #GP(0) when one of the four PDPTEs at `cr3` has a reserved bit set (SDM vol. 3, 4.4.1). */
function checkPdptes(cpu: Cpu, cr3: number): void {
  const at = cpu.memory.translate((cr3 & ~0x1f) >>> 0, 1)
  if (at < 0) return
  for (let i = 0; i < 4; i++) {
    const low = cpu.u32[(at >>> 2) + i * 2] as number
    const high = cpu.u32[(at >>> 2) + i * 2 + 1] as number
    if (low & 1 && (low & 0x1e6 || high & 0xffffff00)) cpu.fault(VECTOR.GP, 0)
  }
}

/** Write CR0 as MOV and LMSW do; faults come before any change. */
function writeCr0(cpu: Cpu, value: number): void {
  const old = cpu.get32(STATE.CR0)
  const next = (value & CR0_WRITABLE) | CR0.ET
  const changed = old ^ next
  if (next & CR0.PG && !(next & CR0.PE)) cpu.fault(VECTOR.GP, 0)
  if (next & CR0.NW && !(next & CR0.CD)) cpu.fault(VECTOR.GP, 0)
  const efer = cpu.get32(STATE.EFER)
  const cr4 = cpu.get32(STATE.CR4)
  let newEfer = efer
  if (changed & CR0.PG) {
    if (next & CR0.PG) {
      if (efer & EFER.LME) {
        if (!(cr4 & CR4.PAE) || cpu.segmentAttributes(SEGMENT.CS) & 0x2000) cpu.fault(VECTOR.GP, 0)
        newEfer |= EFER.LMA
      }
    } else {
      if (is64(cpu) || cr4 & CR4.PCIDE) cpu.fault(VECTOR.GP, 0)
      newEfer &= ~EFER.LMA
    }
  }
  if (next & CR0.PG && cr4 & CR4.PAE && !(newEfer & EFER.LMA) && changed & (CR0.PG | CR0.CD | CR0.NW)) {
    checkPdptes(cpu, cpu.get32(STATE.CR3))
  }
  cpu.set64(STATE.CR0, BigInt(next >>> 0))
  cpu.updateUnits()
  if (newEfer !== efer) cpu.set64(STATE.EFER, BigInt(newEfer))
  if (changed & (CR0.PG | CR0.PE | CR0.WP)) cpu.mmu.flush(true)
  if (changed & (CR0.PG | CR0.PE)) cpu.updateMode()
}

function writeCr3(cpu: Cpu, value: bigint): void {
  const cr4 = cpu.get32(STATE.CR4)
  let next = value
  let keep = false
  if (cr4 & CR4.PCIDE && value & CR3_NO_FLUSH) {
    keep = true
    next ^= CR3_NO_FLUSH
  }
  if (next & (CR3_RESERVED | CR3_NO_FLUSH)) cpu.fault(VECTOR.GP, 0)
  if (cr4 & CR4.PAE && cpu.get32(STATE.CR0) & CR0.PG && !cpu.longMode) checkPdptes(cpu, Number(next & 0xffffffffn))
  cpu.set64(STATE.CR3, next)
  cpu.mmu.switchContext(cr4 & CR4.PCIDE ? cpu.get32(STATE.CR3) & 0xfff : 0, keep)
}

function writeCr4(cpu: Cpu, value: bigint): void {
  const next = Number(value & 0xffffffffn)
  if (value >> 32n || next & ~CR4_VALID) cpu.fault(VECTOR.GP, 0)
  const old = cpu.get32(STATE.CR4)
  const changed = old ^ next
  if (cpu.longMode && !(next & CR4.PAE)) cpu.fault(VECTOR.GP, 0)
  if (changed & next & CR4.PCIDE && (!cpu.longMode || cpu.get32(STATE.CR3) & 0xfff)) cpu.fault(VECTOR.GP, 0)
  if (
    next & CR4.PAE &&
    changed & (CR4.PAE | CR4.PSE | CR4.PGE | CR4.SMEP) &&
    cpu.get32(STATE.CR0) & CR0.PG &&
    !cpu.longMode
  ) {
    checkPdptes(cpu, cpu.get32(STATE.CR3))
  }
  cpu.set64(STATE.CR4, BigInt(next))
  cpu.updateUnits()
  if (changed & CR4_FLUSH) cpu.mmu.flush(true)
  cpu.updateContext()
}

const readControl = system((cpu, record) => {
  requireRing0(cpu)
  let value: bigint
  switch (cpu.u8[record + RECORD.REG] as number) {
    case 0:
      value = cpu.get64(STATE.CR0)
      break
    case 2:
      value = cpu.get64(STATE.CR2)
      break
    case 3:
      value = cpu.get64(STATE.CR3)
      break
    case 4:
      value = cpu.get64(STATE.CR4)
      break
    case 8:
      value = BigInt(cpu.apic.taskPriority)
      if (!is64(cpu)) cpu.fault(VECTOR.UD, 0)
      break
    default:
      return cpu.fault(VECTOR.UD, 0)
  }
  writeRegister(cpu, cpu.u8[record + RECORD.RM] as number, is64(cpu) ? 8 : 4, value)
  return STATUS.NEXT
})

const writeControl = system((cpu, record) => {
  requireRing0(cpu)
  const value = is64(cpu) ? rm64(cpu, record) : rm64(cpu, record) & 0xffffffffn
  switch (cpu.u8[record + RECORD.REG] as number) {
    case 0:
      if (value >> 32n) cpu.fault(VECTOR.GP, 0)
      writeCr0(cpu, Number(value) | 0)
      return advance(cpu, record)
    case 2:
      cpu.set64(STATE.CR2, value)
      return STATUS.NEXT
    case 3:
      writeCr3(cpu, value)
      return advance(cpu, record)
    case 4:
      writeCr4(cpu, value)
      return advance(cpu, record)
    case 8:
      if (value > 15n) cpu.fault(VECTOR.GP, 0)
      cpu.apic.taskPriority = Number(value)
      return STATUS.NEXT
    default:
      return cpu.fault(VECTOR.UD, 0)
  }
})

/** The debug register that MOV names: DR4 and DR5 are DR6 and DR7 unless CR4.DE. #DB when DR7.GD guards them. */
function debugRegister(cpu: Cpu, record: number): number {
  let number = cpu.u8[record + RECORD.REG] as number
  if (number > 7) cpu.fault(VECTOR.UD, 0)
  if (number === 4 || number === 5) {
    if (cpu.get32(STATE.CR4) & CR4.DE) cpu.fault(VECTOR.UD, 0)
    number += 2
  }
  requireRing0(cpu)
  if (cpu.get64(STATE.DR7) & DR7_GD) cpu.fault(VECTOR.DB, 0, DR6_BD)
  return number
}
function debugField(number: number): number {
  return number < 4 ? STATE.DR0 + number * 8 : number === 6 ? STATE.DR6 : STATE.DR7
}

const readDebug = system((cpu, record) => {
  const value = cpu.get64(debugField(debugRegister(cpu, record)))
  writeRegister(cpu, cpu.u8[record + RECORD.RM] as number, is64(cpu) ? 8 : 4, value)
  return STATUS.NEXT
})
const writeDebug = system((cpu, record) => {
  const number = debugRegister(cpu, record)
  const value = is64(cpu) ? rm64(cpu, record) : rm64(cpu, record) & 0xffffffffn
  if (number >= 6 && value >> 32n) cpu.fault(VECTOR.GP, 0)
  cpu.set64(
    debugField(number),
    number === 6 ? (value & DR6_WRITABLE) | DR6_FIXED : number === 7 ? (value & DR7_WRITABLE) | DR7_FIXED : value,
  )
  // breakpoints are watched by who calls `run`; no shadow of an earlier instruction may hide the first
  cpu.interruptShadow = false
  return leave(cpu, record)
})

/** #GP(0) for SGDT, SIDT, SLDT, STR and SMSW outside ring 0 when CR4.UMIP forbids them. */
export function checkUmip(cpu: Cpu): void {
  if (cpu.cpl !== 0 && cpu.get32(STATE.CR4) & CR4.UMIP) cpu.fault(VECTOR.GP, 0)
}

const smsw = system((cpu, record, form: InstructionForm) => {
  checkUmip(cpu)
  if (form.memory) cpu.writeU16(cpu.linearAddress(record, 2, 'write'), cpu.get32(STATE.CR0) & 0xffff)
  else writeRegister(cpu, cpu.u8[record + RECORD.RM] as number, form.operandSize, cpu.get64(STATE.CR0))
  return STATUS.NEXT
})
const lmsw = system((cpu, record, form) => {
  requireRing0(cpu)
  const source = form.memory ? cpu.readU16(cpu.linearAddress(record, 2, 'read')) : Number(rm64(cpu, record) & 0xffffn)
  // PE can be set, not cleared
  writeCr0(cpu, (cpu.get32(STATE.CR0) & ~(CR0.MP | CR0.EM | CR0.TS)) | (source & (CR0.PE | CR0.MP | CR0.EM | CR0.TS)))
  return advance(cpu, record)
})
const clts = system((cpu) => {
  requireRing0(cpu)
  cpu.set32(STATE.CR0, cpu.get32(STATE.CR0) & ~CR0.TS)
  cpu.updateUnits()
  return STATUS.NEXT
})

const invlpg = system((cpu, record) => {
  requireRing0(cpu)
  const segment = cpu.segmentOf(record)
  let address = cpu.effectiveAddress(record)
  if (!is64(cpu)) address = (address + cpu.segmentBase(segment)) & 0xffffffffn
  else if (segment >= SEGMENT.FS) address = BigInt.asUintN(64, address + cpu.segmentBase(segment))
  if (isCanonical(address)) cpu.mmu.invalidatePage(Number(address & 0xffffffffn) | 0, Number(address >> 32n) | 0)
  return advance(cpu, record)
})

/** Types: 0 one address, 1 one PCID, 2 all with global pages, 3 all but global ones. */
const invpcid = system((cpu, record) => {
  if (cpu.protectedMode && cpu.virtual8086) cpu.fault(VECTOR.GP, 0)
  requireRing0(cpu)
  const type = is64(cpu) ? reg64(cpu, record) : reg64(cpu, record) & 0xffffffffn
  const at = cpu.linearAddress(record, 16, 'read')
  const pcid = cpu.readU64(at)
  const address = cpu.readU64(BigInt.asUintN(64, at + 8n))
  if (type > 3n || pcid >> 12n) cpu.fault(VECTOR.GP, 0)
  if (type < 2n && !(cpu.get32(STATE.CR4) & CR4.PCIDE) && pcid !== 0n) cpu.fault(VECTOR.GP, 0)
  if (type === 0n && !isCanonical(address)) cpu.fault(VECTOR.GP, 0)
  if (type === 0n) {
    cpu.mmu.invalidatePage(Number(address & 0xffffffffn) | 0, Number(address >> 32n) | 0, Number(pcid))
  } else if (type === 1n) cpu.mmu.flushContext(Number(pcid))
  else cpu.mmu.flush(type === 2n)
  return advance(cpu, record)
})

/** There is no cache to write back. */
const cacheControl = system((cpu) => {
  requireRing0(cpu)
  return STATUS.NEXT
})

export const CONTROL_REGISTERS: readonly InstructionDefinition[] = [
  instruction('MOV', '0F 20 /r', 'Rq Cq', readControl),
  instruction('MOV', '0F 22 /r', 'Cq Rq', writeControl),
  instruction('MOV', '0F 21 /r', 'Rq Dq', readDebug),
  instruction('MOV', '0F 23 /r', 'Dq Rq', writeDebug),
  instruction('SMSW', '0F 01 /4', 'Ev', smsw),
  instruction('LMSW', '0F 01 /6', 'Ew', lmsw),
  instruction('CLTS', '0F 06', '', clts),
  instruction('INVLPG', '0F 01 /7', 'Mb', invlpg),
  instruction('INVPCID', '66 0F 38 82 /r', 'Gy Mdq', invpcid),
  instruction('INVD', '0F 08', '', cacheControl),
  instruction('WBINVD', '0F 09', '', cacheControl),
]
