// Processor identification and control (SDM vol. 2): CPUID, time stamps, MSRs, random numbers, HLT, fences and cache hints, undefined instructions.

import { ACTIVITY, type Cpu, CR4, FLAG } from '../cpu.ts'
import { cpuid } from '../cpuid.ts'
import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { f64, i32, i64, select, VECTOR } from '../instruction/emitter.ts'
import { system } from '../instruction/system.ts'
import { advance, leave, requireProtected, requireRing0, writeRegister } from '../instruction/system-operand.ts'
import { TSC_FREQUENCY } from '../msr.ts'
import { GPR, RECORD, STATE, STATUS } from '../state-layout.ts'

const hlt = system((cpu, record) => {
  requireRing0(cpu)
  cpu.activity = ACTIVITY.HALTED
  cpu.interruptShadow = false
  return leave(cpu, record)
})

/** A wait for another processor, which gets its turn at once: who holds a lock that others wait for, and releases it for an instant, would else take it again before they come. */
const pause = system((cpu, record) => {
  if (cpu.memory.processors === 1) return STATUS.NEXT
  cpu.turnOver = true
  cpu.requestExit()
  return advance(cpu, record)
})

const answer: Uint32Array = new Uint32Array(4)
const identify = system((cpu) => {
  const leaf = cpu.gpr32(GPR.RAX)
  const subleaf = cpu.gpr32(GPR.RCX)
  cpuid(cpu, leaf, subleaf, answer)
  cpu.intercepts.cpuid(cpu.index, leaf, subleaf, answer)
  cpu.setGpr32(GPR.RAX, answer[0] as number)
  cpu.setGpr32(GPR.RBX, answer[1] as number)
  cpu.setGpr32(GPR.RCX, answer[2] as number)
  cpu.setGpr32(GPR.RDX, answer[3] as number)
  return STATUS.NEXT
})

/** EDX:EAX. */
function setPair(cpu: Cpu, value: bigint): void {
  cpu.setGpr(GPR.RAX, value & 0xffffffffn)
  cpu.setGpr(GPR.RDX, value >> 32n)
}
const timeStamp =
  (withProcessor: boolean): Semantics =>
  (e) => {
    const forbidden = i32.and(e.stateI32(STATE.CR4), i32.const(CR4.TSD))
    e.raiseIf(select(e.stateI32(STATE.CPL), forbidden, i32.const(0)), VECTOR.GP)
    // as ModelSpecificRegisters.readTsc
    const ticks = i64.trunc_sat_f64_u(f64.mul(e.clock(), f64.const(TSC_FREQUENCY / 1e9)))
    const value = e.let(i64.add(ticks, e.stateI64(STATE.TSC_OFFSET)))
    e.setGpr(GPR.RAX, value, 4)
    e.setGpr(GPR.RDX, i64.shr_u(value, i64.const(32)))
    if (withProcessor) e.setGpr(GPR.RCX, e.stateI64(STATE.TSC_AUX))
  }
/** There is no performance counter to read. */
const rdpmc = system((cpu) => cpu.fault(VECTOR.GP, 0))

const rdmsr = system((cpu, record) => {
  requireRing0(cpu)
  setPair(cpu, cpu.msrs.read(cpu.gpr32(GPR.RCX)))
  // HV_X64_MSR_GUEST_IDLE halts
  return cpu.activity === ACTIVITY.RUNNING ? STATUS.NEXT : leave(cpu, record)
})
const wrmsr = system((cpu, record) => {
  requireRing0(cpu)
  cpu.msrs.write(cpu.gpr32(GPR.RCX), (BigInt(cpu.gpr32(GPR.RDX)) << 32n) | BigInt(cpu.gpr32(GPR.RAX)))
  return advance(cpu, record)
})

const randomPool: Uint32Array<ArrayBuffer> = new Uint32Array(256)
let randomLeft = 0
function random32(): number {
  if (randomLeft === 0) {
    crypto.getRandomValues(randomPool)
    randomLeft = randomPool.length
  }
  return randomPool[--randomLeft] as number
}
const random = system((cpu, record, form) => {
  const value = (BigInt(random32()) << 32n) | BigInt(random32())
  writeRegister(cpu, cpu.u8[record + RECORD.RM] as number, form.operandSize, value)
  cpu.setStatusFlags(FLAG.CF)
  return STATUS.NEXT
})

/** VMCALL and VMMCALL. */
const hypercall = system((cpu, record) => {
  requireProtected(cpu)
  if (cpu.cpl !== 0) cpu.fault(VECTOR.UD, 0)
  cpu.set64(STATE.RIP, cpu.ripOf(record))
  if (!cpu.intercepts.hypercall(cpu.index)) cpu.fault(VECTOR.UD, 0)
  return advance(cpu, record)
})

const undefinedInstruction: Semantics = (e) => e.raise(VECTOR.UD)
const nothing: Semantics = () => {
  // memory is coherent and in order, and there is no cache
}
/** The address is checked as a load's. */
const clflush: Semantics = (e) => {
  e.loadInteger(e.address(0, 1, 'read'), 1)
}

export const PROCESSOR_CONTROL: readonly InstructionDefinition[] = [
  instruction('HLT', 'F4', '', hlt),
  instruction('PAUSE', 'F3 90', '', pause),
  instruction('CPUID', '0F A2', '', identify),
  instruction('RDTSC', '0F 31', '', timeStamp(false)),
  instruction('RDTSCP', '0F 01 F9', '', timeStamp(true)),
  instruction('RDPMC', '0F 33', '', rdpmc),
  instruction('RDMSR', '0F 32', '', rdmsr),
  instruction('WRMSR', '0F 30', '', wrmsr),
  instruction('RDRAND', 'NP 0F C7 /6', 'Rv', random),
  instruction('RDRAND', '66 0F C7 /6', 'Rw', random),
  instruction('RDSEED', 'NP 0F C7 /7', 'Rv', random),
  instruction('RDSEED', '66 0F C7 /7', 'Rw', random),
  instruction('VMCALL', '0F 01 C1', '', hypercall),
  instruction('VMMCALL', '0F 01 D9', '', hypercall),
  instruction('UD0', '0F FF /r', 'Gv Ev', undefinedInstruction),
  instruction('UD1', '0F B9 /r', 'Gv Ev', undefinedInstruction),
  instruction('UD2', '0F 0B', '', undefinedInstruction),
  instruction('RSM', '0F AA', '', undefinedInstruction),
  instruction('CLFLUSH', 'NP 0F AE /7', 'Mb', clflush),
  instruction('LFENCE', 'NP 0F AE /5', 'Rd', nothing),
  instruction('MFENCE', 'NP 0F AE /6', 'Rd', nothing),
  instruction('SFENCE', 'NP 0F AE /7', 'Rd', nothing),
]
