// Fast system calls (SDM vol. 3, 5.8.7 and 5.8.8): SYSCALL, SYSRET, SYSENTER, SYSEXIT. Segments are not read from the descriptor tables: they get fixed contents.

import { type Cpu, CR0, EFER, FLAG, REST_FLAGS } from '../cpu.ts'
import { MODE } from '../decoder/mode.ts'
import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select, VECTOR } from '../instruction/emitter.ts'
import { system } from '../instruction/system.ts'
import { is64, isCanonical, requireRing0 } from '../instruction/system-operand.ts'
import { CACHES, FILE, GPR, RECORD, SEGMENT, STATE, STATE_AREA, STATUS } from '../state-layout.ts'

/** Attributes of the flat segments: granularity, D/B or L, access byte. */
const CODE64 = 0xa09b
const CODE32 = 0xc09b
const DATA = 0xc093
const DPL3 = 0x60

/** Flags that SYSRET takes from R11. */
const SYSRET_FLAGS = 0x3c7fd7

function setFlatSegments(cpu: Cpu, codeSelector: number, code: number, stackSelector: number, cpl: number): void {
  const dpl = cpl === 3 ? DPL3 : 0
  cpu.setSegment(SEGMENT.CS, codeSelector, 0n, 0xffffffff, code | dpl)
  cpu.setSegment(SEGMENT.SS, stackSelector, 0n, 0xffffffff, DATA | dpl)
  cpu.set32(STATE.CPL, cpl)
  cpu.updateMode()
}

/** Intel's rule: only in 64-bit mode. */
function requireSyscall(cpu: Cpu): void {
  if (!is64(cpu) || !(cpu.get32(STATE.EFER) & EFER.SCE)) cpu.fault(VECTOR.UD, 0)
}

// --- the usual case, emitted: 64-bit code on both sides, and nothing that the run loop has to see

/** i32: whether the present code and its flags are usual. */
function isUsual(e: InstructionEmitter, rest: Expr): Expr {
  const enabled = i32.and(e.stateI32(STATE.EFER), i32.const(EFER.SCE))
  const strange = i32.or(i32.ne(e.stateI32(STATE.MODE), i32.const(MODE.LONG)), i32.and(rest, i32.const(FLAG.TF)))
  const based = i64.ne(e.stateI64(STATE.FILE + FILE.SEGMENT_BASE + SEGMENT.CS * 8), i64.const(0))
  return e.let(select(enabled, i32.eqz(i32.or(strange, based)), i32.const(0)))
}
/** Load flags that have neither RF nor VM. */
function setFlags(e: InstructionEmitter, image: Expr): void {
  e.setStatusFlags(image)
  e.setStateI32(STATE.DIRECTION, i32.and(i32.shr_u(image, i32.const(10)), i32.const(1)))
  e.setStateI32(STATE.FLAGS_REST, i32.and(image, i32.const(REST_FLAGS)))
}
/** Selectors without their privilege level. */
function setSegments(e: InstructionEmitter, codeSelector: Expr, stackSelector: Expr, cpl: number): void {
  const load = (segment: number, selector: Expr, attributes: number): void => {
    const at = STATE.SEGMENTS + segment * 16
    e.setStateI32(at, i32.or(i32.and(selector, i32.const(0xffff)), i32.const(cpl)))
    e.setStateI32(at + 4, i32.const(attributes | (cpl === 3 ? DPL3 : 0)))
    e.setStateI32(at + 8, i32.const(-1))
  }
  load(SEGMENT.CS, codeSelector, CODE64)
  load(SEGMENT.SS, stackSelector, DATA)
  e.setStateI64(STATE.FILE + FILE.SEGMENT_BASE + SEGMENT.SS * 8, i64.const(0))
  e.setStateI32(STATE.STACK_MASK, i32.const(-1))
  e.setStateI32(STATE.CPL, i32.const(cpl))
}

const usualSyscall: Semantics = (e) => {
  const rest = e.stateI32(STATE.FLAGS_REST)
  e.if(isUsual(e, rest), () => {
    const image = e.let(
      i32.or(
        i32.or(i32.and(rest, i32.const(~FLAG.RF)), i32.const(FLAG.FIXED)),
        i32.or(e.statusFlags(), i32.shl(e.stateI32(STATE.DIRECTION), i32.const(10))),
      ),
    )
    e.setGpr(GPR.RCX, e.nextRip())
    e.setGpr(GPR.R11, i64.extend_i32_u(image))
    const masked = e.let(i32.and(image, i32.xor(e.stateI32(STATE.SFMASK), i32.const(-1))))
    setFlags(e, masked)
    const selector = e.let(i32.and(e.stateI32(STATE.STAR + 4), i32.const(0xfffc)))
    setSegments(e, selector, i32.add(selector, i32.const(8)), 0)
    const caches = e.stateOffset(STATE_AREA)
    e.selectCaches(
      select(
        i32.and(masked, i32.const(FLAG.AC)),
        e.stateI32(STATE.CONTEXT_ACCESS),
        i32.const(caches + CACHES.SUPERVISOR),
      ),
      i32.const(caches + CACHES.SUPERVISOR_JUMPS),
    )
    e.jump(e.stateI64(STATE.LSTAR))
  })
}

const usualSysret: Semantics = (e) => {
  if (e.form.operandSize !== 8) return
  const image = e.let(i32.and(i32.wrap_i64(e.gpr(GPR.R11)), i32.const(SYSRET_FLAGS)))
  const target = e.gpr(GPR.RCX)
  const canonical = i64.eq(i64.shr_s(i64.shl(target, i64.const(16)), i64.const(16)), target)
  const strange = i32.or(e.stateI32(STATE.CPL), i32.and(image, i32.const(FLAG.TF | FLAG.AC)))
  const interrupted = select(i32.and(image, i32.const(FLAG.IF)), e.stateI32(STATE.INTERRUPT_WAITING), i32.const(0))
  const usual = select(i32.or(strange, interrupted), i32.const(0), canonical)
  e.if(i32.and(isUsual(e, e.stateI32(STATE.FLAGS_REST)), usual), () => {
    setFlags(e, image)
    const selector = e.let(i32.shr_u(e.stateI32(STATE.STAR + 4), i32.const(16)))
    setSegments(e, i32.add(selector, i32.const(16)), i32.add(selector, i32.const(8)), 3)
    e.selectCaches(e.stateI32(STATE.CONTEXT_USER), e.stateI32(STATE.JUMPS_USER))
    e.jump(target)
  })
}

const syscall = system((cpu, record) => {
  requireSyscall(cpu)
  // RCX = RIP of the next instruction, by way of STATE.RIP
  cpu.setRip(record, cpu.u8[record + RECORD.LENGTH] as number)
  copy(cpu, STATE.RIP, STATE.FILE + GPR.RCX * 8)
  const flags = cpu.flags & ~FLAG.RF
  cpu.setGpr32(GPR.R11, flags)
  cpu.flags = flags & ~cpu.get32(STATE.SFMASK)
  cpu.trapSuppressed = (cpu.get32(STATE.FLAGS_REST) & FLAG.TF) === 0
  const selector = cpu.get32(STATE.STAR + 4) & 0xfffc
  setFlatSegments(cpu, selector, CODE64, selector + 8, 0)
  copy(cpu, STATE.LSTAR, STATE.RIP)
  return STATUS.JUMP
}, usualSyscall)

const sysret = system((cpu, _record, form) => {
  requireSyscall(cpu)
  requireRing0(cpu)
  const wide = form.operandSize === 8
  const high = cpu.get32(STATE.FILE + GPR.RCX * 8 + 4)
  if (wide && (high << 16) >> 16 !== high) cpu.fault(VECTOR.GP, 0)
  const selector = cpu.get32(STATE.STAR + 4) >>> 16
  cpu.flags = cpu.gpr32(GPR.R11) & SYSRET_FLAGS
  setFlatSegments(
    cpu,
    ((selector + (wide ? 16 : 0)) & 0xffff) | 3,
    wide ? CODE64 : CODE32,
    ((selector + 8) & 0xffff) | 3,
    3,
  )
  copy(cpu, STATE.FILE + GPR.RCX * 8, STATE.RIP)
  if (!wide) cpu.set32(STATE.RIP + 4, 0)
  return STATUS.JUMP
}, usualSysret)

/** Copy a 64-bit field. */
function copy(cpu: Cpu, from: number, to: number): void {
  cpu.set32(to, cpu.get32(from))
  cpu.set32(to + 4, cpu.get32(from + 4))
}

/** #GP(0) in real-address mode, and when IA32_SYSENTER_CS is null. */
function sysenterSelector(cpu: Cpu): number {
  const selector = cpu.get32(STATE.SYSENTER_CS) & 0xfffc
  if (!(cpu.get32(STATE.CR0) & CR0.PE) || selector === 0) cpu.fault(VECTOR.GP, 0)
  return selector
}
const sysenter = system((cpu) => {
  const selector = sysenterSelector(cpu)
  const { longMode } = cpu
  cpu.set32(STATE.FLAGS_REST, cpu.get32(STATE.FLAGS_REST) & ~(FLAG.VM | FLAG.IF | FLAG.RF))
  setFlatSegments(cpu, selector, longMode ? CODE64 : CODE32, selector + 8, 0)
  const mask = longMode ? 0xffffffffffffffffn : 0xffffffffn
  cpu.setGpr(GPR.RSP, cpu.get64(STATE.SYSENTER_ESP) & mask)
  return cpu.jump(cpu.get64(STATE.SYSENTER_EIP) & mask)
})
const sysexit = system((cpu, _record, form) => {
  const selector = sysenterSelector(cpu)
  requireRing0(cpu)
  const wide = form.operandSize === 8
  const mask = wide ? 0xffffffffffffffffn : 0xffffffffn
  const rip = cpu.gpr(GPR.RDX) & mask
  const rsp = cpu.gpr(GPR.RCX) & mask
  if (wide && (!isCanonical(rip) || !isCanonical(rsp))) cpu.fault(VECTOR.GP, 0)
  const code = selector + (wide ? 32 : 16)
  setFlatSegments(cpu, code | 3, wide ? CODE64 : CODE32, (code + 8) | 3, 3)
  cpu.setGpr(GPR.RSP, rsp)
  return cpu.jump(rip)
})

export const SYSTEM_CALL: readonly InstructionDefinition[] = [
  instruction('SYSCALL', '0F 05', '', syscall, { ends: true }),
  instruction('SYSRET', '0F 07', '', sysret, { ends: true }),
  instruction('SYSENTER', '0F 34', '', sysenter, { ends: true }),
  instruction('SYSEXIT', '0F 35', '', sysexit, { ends: true }),
]
