// Saving and restoring of x87 and SSE state (SDM vol. 1, 10.5 and chapter 13): FXSAVE, FXRSTOR, XSAVE, XRSTOR, XSAVEOPT, XGETBV, XSETBV. XCR0 has bits 0 and 1.

import type { Cpu } from '../cpu.ts'
import {
  type InstructionDefinition,
  type InstructionOptions,
  instruction,
  type Semantics,
} from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, VECTOR } from '../instruction/emitter.ts'
import { system } from '../instruction/system.ts'
import { advance, requireRing0 } from '../instruction/system-operand.ts'
import { GPR, STATE, STATUS } from '../state-layout.ts'
import {
  at,
  COMPONENT,
  componentsInUse,
  HEADER_SIZE,
  initialiseSse,
  initialiseX87,
  LEGACY_SIZE,
  loadMxcsr,
  MXCSR_MASK,
  restoreSse,
  restoreX87,
  saveMxcsr,
  saveSse,
  saveX87,
} from '../x87/save-area.ts'

const CR0_TS = 8
const CR4_OSXSAVE = 0x40000
const ALL: number = COMPONENT.X87 | COMPONENT.SSE

/** Linear address of the area; #GP(0) unless it is aligned. */
function area(e: InstructionEmitter, size: number, alignment: number, access: 'read' | 'write'): Expr {
  const address = e.address(0, size, access)
  e.raiseIf(i32.wrap_i64(i64.and(address, i64.const(alignment - 1))), VECTOR.GP)
  return address
}
/** Fault now if any of the area, which is on two pages at most, cannot be read. Processors try its last byte first. */
function probeRead(e: InstructionEmitter, address: Expr, size: number): void {
  e.loadInteger(at(address, size - 1), 1)
  e.loadInteger(address, 8)
}
function probeWrite(e: InstructionEmitter, address: Expr, size: number): void {
  e.probeWrite(e.let(at(address, size - 1)), 1)
  e.probeWrite(address, size)
}
function checkMxcsr(e: InstructionEmitter, value: Expr): void {
  e.raiseIf(i32.and(value, i32.const(~MXCSR_MASK)), VECTOR.GP)
}

// --- FXSAVE, FXRSTOR: the last 48 bytes of the area are the software's

const fxsave: Semantics = (e) => {
  const address = area(e, LEGACY_SIZE, 16, 'write')
  probeWrite(e, address, LEGACY_SIZE)
  saveX87(e, address)
  saveMxcsr(e, address)
  saveSse(e, address)
}

const fxrstor: Semantics = (e) => {
  const address = area(e, LEGACY_SIZE, 16, 'read')
  probeRead(e, address, LEGACY_SIZE)
  const mxcsr = loadMxcsr(e, address)
  checkMxcsr(e, mxcsr)
  restoreX87(e, address)
  e.setStateI32(STATE.MXCSR, mxcsr)
  restoreSse(e, address)
}

// --- XSAVE, XSAVEOPT, XRSTOR

function requireXsave(e: InstructionEmitter): void {
  e.raiseIf(i32.eqz(i32.and(e.stateI32(STATE.CR4), i32.const(CR4_OSXSAVE))), VECTOR.UD)
  e.raiseIf(i32.and(e.stateI32(STATE.CR0), i32.const(CR0_TS)), VECTOR.NM)
}
/** i32: RFBM, the components asked for in EDX:EAX as far as XCR0 has them. */
function requested(e: InstructionEmitter): Expr {
  return e.let(i32.and(i32.wrap_i64(i64.and(e.gpr(GPR.RAX), e.stateI64(STATE.XCR0))), i32.const(ALL)))
}
const has = (components: Expr, component: number): Expr => i32.and(components, i32.const(component))

/** `optimised`: components in their initial state are not written. */
const xsave =
  (optimised: boolean): Semantics =>
  (e) => {
    requireXsave(e)
    const size = LEGACY_SIZE + HEADER_SIZE
    const address = area(e, size, 64, 'write')
    probeWrite(e, address, size)
    const mask = requested(e)
    const used = e.let(i32.and(mask, e.helper(componentsInUse, i32.const(e.form.mode64 ? 16 : 8))))
    const written = optimised ? used : mask
    e.if(has(written, COMPONENT.X87), () => saveX87(e, address))
    e.if(has(written, COMPONENT.SSE), () => saveSse(e, address))
    e.if(has(mask, COMPONENT.SSE), () => saveMxcsr(e, address))
    // Of the header only XSTATE_BV is written, and of that the bits asked for.
    const header = e.let(at(address, LEGACY_SIZE))
    const others = i64.and(e.loadInteger(header, 8), i64.xor(i64.extend_i32_u(mask), i64.const(-1)))
    e.storeInteger(header, 8, i64.or(others, i64.extend_i32_u(used)))
  }

const xrstor: Semantics = (e) => {
  requireXsave(e)
  const size = LEGACY_SIZE + HEADER_SIZE
  const address = area(e, size, 64, 'read')
  probeRead(e, address, size)
  const word = (offset: number): Expr => e.loadInteger(at(address, LEGACY_SIZE + offset), 8)
  const present = word(0)
  const beyond = i64.and(present, i64.xor(e.stateI64(STATE.XCR0), i64.const(-1)))
  // XCOMP_BV and the 8 bytes after it must be 0.
  const reserved = e.let(i64.or(word(8), word(16)))
  e.raiseIf(i64.ne(i64.or(beyond, reserved), i64.const(0)), VECTOR.GP)
  const mask = requested(e)
  const mxcsr = loadMxcsr(e, address)
  e.if(has(mask, COMPONENT.SSE), () => checkMxcsr(e, mxcsr))
  const components = e.let(i32.wrap_i64(present))
  e.if(has(mask, COMPONENT.X87), () =>
    e.if(
      has(components, COMPONENT.X87),
      () => restoreX87(e, address),
      () => initialiseX87(e),
    ),
  )
  e.if(has(mask, COMPONENT.SSE), () => {
    // MXCSR comes from memory even when the XMM registers are initialised.
    e.setStateI32(STATE.MXCSR, mxcsr)
    e.if(
      has(components, COMPONENT.SSE),
      () => restoreSse(e, address),
      () => initialiseSse(e),
    )
  })
}

// --- XCR0

function requireEnabled(cpu: Cpu): void {
  if (!(cpu.get32(STATE.CR4) & CR4_OSXSAVE)) cpu.fault(VECTOR.UD)
}

const xgetbv = system((cpu) => {
  requireEnabled(cpu)
  if (cpu.gpr32(GPR.RCX) !== 0) cpu.fault(VECTOR.GP)
  const value = cpu.get64(STATE.XCR0)
  cpu.setGpr(GPR.RAX, value & 0xffffffffn)
  cpu.setGpr(GPR.RDX, value >> 32n)
  return STATUS.NEXT
})

const xsetbv = system((cpu, record) => {
  requireEnabled(cpu)
  requireRing0(cpu)
  if (cpu.gpr32(GPR.RCX) !== 0) cpu.fault(VECTOR.GP)
  const value = (BigInt(cpu.gpr32(GPR.RDX)) << 32n) | BigInt(cpu.gpr32(GPR.RAX))
  // x87 state cannot be disabled.
  if (value & ~BigInt(ALL) || !(value & BigInt(COMPONENT.X87))) cpu.fault(VECTOR.GP)
  cpu.set64(STATE.XCR0, value)
  return advance(cpu, record)
})

const AREA: InstructionOptions = { modal: true }

export const STATE_SAVE: readonly InstructionDefinition[] = [
  instruction('FXSAVE', 'NP 0F AE /0', 'M', fxsave, { ...AREA, unit: 'x87' }),
  instruction('FXRSTOR', 'NP 0F AE /1', 'M', fxrstor, { ...AREA, unit: 'x87' }),
  instruction('XSAVE', 'NP 0F AE /4', 'M', xsave(false), AREA),
  instruction('XRSTOR', 'NP 0F AE /5', 'M', xrstor, AREA),
  instruction('XSAVEOPT', 'NP 0F AE /6', 'M', xsave(true), AREA),
  instruction('XGETBV', 'NP 0F 01 D0', '', xgetbv),
  instruction('XSETBV', 'NP 0F 01 D1', '', xsetbv),
]
