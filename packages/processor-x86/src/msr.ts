// Model-specific registers (SDM vol. 4) that the processor itself has. Others are asked of the hypervisor.

import type { Clock } from '@partita/interface'
import type { Cpu } from './cpu.ts'
import { VECTOR } from './instruction/emitter.ts'
import { EFER } from './mmu.ts'
import { FILE, SEGMENT, STATE } from './state-layout.ts'

/** Addresses, by their names in the SDM. */
export const MSR = {
  IA32_TIME_STAMP_COUNTER: 0x10,
  IA32_PLATFORM_ID: 0x17,
  IA32_APIC_BASE: 0x1b,
  IA32_FEATURE_CONTROL: 0x3a,
  IA32_TSC_ADJUST: 0x3b,
  IA32_SPEC_CTRL: 0x48,
  IA32_PRED_CMD: 0x49,
  IA32_BIOS_UPDT_TRIG: 0x79,
  IA32_BIOS_SIGN_ID: 0x8b,
  MSR_PLATFORM_INFO: 0xce,
  IA32_MTRRCAP: 0xfe,
  IA32_ARCH_CAPABILITIES: 0x10a,
  IA32_FLUSH_CMD: 0x10b,
  IA32_SYSENTER_CS: 0x174,
  IA32_SYSENTER_ESP: 0x175,
  IA32_SYSENTER_EIP: 0x176,
  IA32_MCG_CAP: 0x179,
  IA32_MCG_STATUS: 0x17a,
  IA32_MISC_ENABLE: 0x1a0,
  IA32_MTRR_PHYSBASE0: 0x200,
  IA32_MTRR_PHYSMASK7: 0x20f,
  IA32_MTRR_FIX64K_00000: 0x250,
  IA32_MTRR_FIX16K_80000: 0x258,
  IA32_MTRR_FIX16K_A0000: 0x259,
  IA32_MTRR_FIX4K_C0000: 0x268,
  IA32_MTRR_FIX4K_F8000: 0x26f,
  IA32_PAT: 0x277,
  IA32_MTRR_DEF_TYPE: 0x2ff,
  IA32_TSC_DEADLINE: 0x6e0,
  IA32_EFER: 0xc0000080,
  IA32_STAR: 0xc0000081,
  IA32_LSTAR: 0xc0000082,
  IA32_CSTAR: 0xc0000083,
  IA32_FMASK: 0xc0000084,
  IA32_FS_BASE: 0xc0000100,
  IA32_GS_BASE: 0xc0000101,
  IA32_KERNEL_GS_BASE: 0xc0000102,
  IA32_TSC_AUX: 0xc0000103,
} as const

/** The time-stamp counter's frequency in Hz. */
export const TSC_FREQUENCY = 2_000_000_000

/**
 * IA32_ARCH_CAPABILITIES: this processor speculates nothing, so none of the known faults of speculation are its own (RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO,
 * IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO).
 */
const ARCH_CAPABILITIES =
  (1n << 0n) |
  (1n << 1n) |
  (1n << 3n) |
  (1n << 4n) |
  (1n << 5n) |
  (1n << 6n) |
  (1n << 8n) |
  (1n << 13n) |
  (1n << 14n) |
  (1n << 15n) |
  (1n << 20n) |
  (1n << 24n) |
  (1n << 26n) |
  (1n << 27n)

const MTRR_COUNT = 8
const PHYSICAL_BITS = 40n
const PHYSICAL_MASK = (1n << PHYSICAL_BITS) - 1n
const DEFAULT_PAT = 0x0007040600070406n

/** Memory types that PAT and MTRRs may hold. */
function memoryTypesValid(value: bigint, pat: boolean): boolean {
  for (let i = 0n; i < 64n; i += 8n) {
    const type = Number((value >> i) & 0xffn)
    if (!(type === 0 || type === 1 || type === 4 || type === 5 || type === 6 || (pat && type === 7))) return false
  }
  return true
}

export class ModelSpecificRegisters {
  readonly #cpu: Cpu
  readonly #clock: Clock
  tscAdjust = 0n
  pat: bigint = DEFAULT_PAT
  miscEnable = 1n
  specCtrl = 0n
  mtrrDefType = 0n
  /** Variable ranges, then the eleven fixed ones. */
  readonly mtrr: BigUint64Array = new BigUint64Array(MTRR_COUNT * 2 + 11)
  readonly #value: BigUint64Array = new BigUint64Array(1)

  constructor(cpu: Cpu, clock: Clock) {
    this.#cpu = cpu
    this.#clock = clock
  }

  // those that instructions use directly are in STATE
  /** Added to the clock's count. */
  get tscOffset(): bigint {
    return this.#cpu.get64(STATE.TSC_OFFSET)
  }
  set tscOffset(value: bigint) {
    this.#cpu.set64(STATE.TSC_OFFSET, value)
  }
  get star(): bigint {
    return this.#cpu.get64(STATE.STAR)
  }
  set star(value: bigint) {
    this.#cpu.set64(STATE.STAR, value)
  }
  get lstar(): bigint {
    return this.#cpu.get64(STATE.LSTAR)
  }
  set lstar(value: bigint) {
    this.#cpu.set64(STATE.LSTAR, value)
  }
  get cstar(): bigint {
    return this.#cpu.get64(STATE.CSTAR)
  }
  set cstar(value: bigint) {
    this.#cpu.set64(STATE.CSTAR, value)
  }
  get fmask(): bigint {
    return this.#cpu.get64(STATE.SFMASK)
  }
  set fmask(value: bigint) {
    this.#cpu.set64(STATE.SFMASK, value)
  }
  get kernelGsBase(): bigint {
    return this.#cpu.get64(STATE.KERNEL_GS_BASE)
  }
  set kernelGsBase(value: bigint) {
    this.#cpu.set64(STATE.KERNEL_GS_BASE, value)
  }
  get tscAux(): bigint {
    return this.#cpu.get64(STATE.TSC_AUX)
  }
  set tscAux(value: bigint) {
    this.#cpu.set64(STATE.TSC_AUX, value)
  }
  get sysenterCs(): bigint {
    return this.#cpu.get64(STATE.SYSENTER_CS)
  }
  set sysenterCs(value: bigint) {
    this.#cpu.set64(STATE.SYSENTER_CS, value)
  }
  get sysenterEsp(): bigint {
    return this.#cpu.get64(STATE.SYSENTER_ESP)
  }
  set sysenterEsp(value: bigint) {
    this.#cpu.set64(STATE.SYSENTER_ESP, value)
  }
  get sysenterEip(): bigint {
    return this.#cpu.get64(STATE.SYSENTER_EIP)
  }
  set sysenterEip(value: bigint) {
    this.#cpu.set64(STATE.SYSENTER_EIP, value)
  }

  /** The time-stamp counter. */
  readTsc(): bigint {
    return BigInt.asUintN(64, BigInt(Math.floor(this.#clock.now() * (TSC_FREQUENCY / 1e9))) + this.tscOffset)
  }
  #writeTsc(value: bigint): void {
    const delta = BigInt.asUintN(64, value - this.readTsc())
    this.tscOffset = BigInt.asUintN(64, this.tscOffset + delta)
    this.tscAdjust = BigInt.asUintN(64, this.tscAdjust + delta)
    this.#tscChanged()
  }
  #tscChanged(): void {
    this.#cpu.apic.tscChanged()
    this.#cpu.intercepts.timeStampWritten?.(this.#cpu.index)
  }

  reset(): void {
    this.star = this.lstar = this.cstar = this.fmask = this.kernelGsBase = this.tscAux = 0n
    this.sysenterCs = this.sysenterEsp = this.sysenterEip = 0n
    this.pat = DEFAULT_PAT
    this.miscEnable = 1n
    this.specCtrl = 0n
    this.mtrrDefType = 0n
    this.mtrr.fill(0n)
    this.tscAdjust = 0n
    this.tscOffset = BigInt.asUintN(64, -BigInt(Math.floor(this.#clock.now() * (TSC_FREQUENCY / 1e9))))
  }

  #fixedMtrr(index: number): number {
    if (index === MSR.IA32_MTRR_FIX64K_00000) return 0
    if (index === MSR.IA32_MTRR_FIX16K_80000 || index === MSR.IA32_MTRR_FIX16K_A0000)
      return index - MSR.IA32_MTRR_FIX16K_80000 + 1
    if (index >= MSR.IA32_MTRR_FIX4K_C0000 && index <= MSR.IA32_MTRR_FIX4K_F8000)
      return index - MSR.IA32_MTRR_FIX4K_C0000 + 3
    return -1
  }

  /** @throws the guest's #GP(0) for an MSR that does not exist */
  read(index: number): bigint {
    const cpu = this.#cpu
    if (index >= 0x800 && index <= 0x8ff) return cpu.apic.readMsr(index) ?? cpu.fault(VECTOR.GP, 0)
    switch (index) {
      case MSR.IA32_TIME_STAMP_COUNTER:
        return this.readTsc()
      case MSR.IA32_PLATFORM_ID:
        return 0n
      case MSR.IA32_APIC_BASE:
        return cpu.apic.apicBase
      case MSR.IA32_FEATURE_CONTROL:
        return 1n
      case MSR.IA32_TSC_ADJUST:
        return this.tscAdjust
      case MSR.IA32_SPEC_CTRL:
        return this.specCtrl
      case MSR.IA32_BIOS_SIGN_ID:
        return 1n << 32n
      // maximum non-turbo ratio in units of 100 MHz
      case MSR.MSR_PLATFORM_INFO:
        return BigInt(TSC_FREQUENCY / 1e8) << 8n
      case MSR.IA32_MTRRCAP:
        return 0x500n | BigInt(MTRR_COUNT)
      case MSR.IA32_ARCH_CAPABILITIES:
        return ARCH_CAPABILITIES
      case MSR.IA32_SYSENTER_CS:
        return this.sysenterCs
      case MSR.IA32_SYSENTER_ESP:
        return this.sysenterEsp
      case MSR.IA32_SYSENTER_EIP:
        return this.sysenterEip
      case MSR.IA32_MCG_CAP:
      case MSR.IA32_MCG_STATUS:
        return 0n
      case MSR.IA32_MISC_ENABLE:
        return this.miscEnable
      case MSR.IA32_PAT:
        return this.pat
      case MSR.IA32_MTRR_DEF_TYPE:
        return this.mtrrDefType
      case MSR.IA32_TSC_DEADLINE:
        return cpu.apic.readTscDeadline()
      case MSR.IA32_EFER:
        return cpu.get64(STATE.EFER)
      case MSR.IA32_STAR:
        return this.star
      case MSR.IA32_LSTAR:
        return this.lstar
      case MSR.IA32_CSTAR:
        return this.cstar
      case MSR.IA32_FMASK:
        return this.fmask
      case MSR.IA32_FS_BASE:
        return cpu.get64(STATE.FILE + FILE.SEGMENT_BASE + SEGMENT.FS * 8)
      case MSR.IA32_GS_BASE:
        return cpu.get64(STATE.FILE + FILE.SEGMENT_BASE + SEGMENT.GS * 8)
      case MSR.IA32_KERNEL_GS_BASE:
        return this.kernelGsBase
      case MSR.IA32_TSC_AUX:
        return this.tscAux
    }
    if (index >= MSR.IA32_MTRR_PHYSBASE0 && index <= MSR.IA32_MTRR_PHYSMASK7) {
      return this.mtrr[index - MSR.IA32_MTRR_PHYSBASE0] as bigint
    }
    const fixed = this.#fixedMtrr(index)
    if (fixed >= 0) return this.mtrr[MTRR_COUNT * 2 + fixed] as bigint
    if (cpu.intercepts.msrRead(cpu.index, index, this.#value)) return this.#value[0] as bigint
    return cpu.fault(VECTOR.GP, 0)
  }

  /** @throws the guest's #GP(0) for an MSR that does not exist or a value that it cannot hold */
  write(index: number, value: bigint): void {
    const cpu = this.#cpu
    const require = (valid: boolean): void => {
      if (!valid) cpu.fault(VECTOR.GP, 0)
    }
    const canonicalValue = (): bigint => {
      require(BigInt.asUintN(64, BigInt.asIntN(48, value)) === value)
      return value
    }
    if (index >= 0x800 && index <= 0x8ff) {
      require(cpu.apic.writeMsr(index, value))
      return
    }
    switch (index) {
      case MSR.IA32_TIME_STAMP_COUNTER:
        this.#writeTsc(value)
        return
      case MSR.IA32_APIC_BASE:
        require(cpu.apic.writeApicBase(value))
        return
      case MSR.IA32_TSC_ADJUST:
        this.tscOffset = BigInt.asUintN(64, this.tscOffset + value - this.tscAdjust)
        this.tscAdjust = value
        this.#tscChanged()
        return
      case MSR.IA32_SPEC_CTRL:
        require((value & ~7n) === 0n)
        this.specCtrl = value
        return
      case MSR.IA32_PRED_CMD:
        require((value & ~1n) === 0n)
        return
      case MSR.IA32_FLUSH_CMD:
      case MSR.IA32_BIOS_UPDT_TRIG:
        return
      case MSR.IA32_BIOS_SIGN_ID:
        require(value === 0n)
        return
      case MSR.IA32_SYSENTER_CS:
        this.sysenterCs = value
        return
      case MSR.IA32_SYSENTER_ESP:
        this.sysenterEsp = canonicalValue()
        return
      case MSR.IA32_SYSENTER_EIP:
        this.sysenterEip = canonicalValue()
        return
      case MSR.IA32_MCG_STATUS:
        require(value === 0n)
        return
      case MSR.IA32_MISC_ENABLE:
        this.miscEnable = value
        return
      case MSR.IA32_PAT:
        require(memoryTypesValid(value, true))
        this.pat = value
        return
      case MSR.IA32_MTRR_DEF_TYPE:
        require((value & ~0xcffn) === 0n && memoryTypesValid(value & 0xffn, false))
        this.mtrrDefType = value
        return
      case MSR.IA32_TSC_DEADLINE:
        cpu.apic.writeTscDeadline(value)
        return
      case MSR.IA32_EFER:
        this.#writeEfer(value)
        return
      case MSR.IA32_STAR:
        this.star = value
        return
      case MSR.IA32_LSTAR:
        this.lstar = canonicalValue()
        return
      case MSR.IA32_CSTAR:
        this.cstar = canonicalValue()
        return
      case MSR.IA32_FMASK:
        this.fmask = value & 0xffffffffn
        return
      case MSR.IA32_FS_BASE:
        cpu.set64(STATE.FILE + FILE.SEGMENT_BASE + SEGMENT.FS * 8, canonicalValue())
        return
      case MSR.IA32_GS_BASE:
        cpu.set64(STATE.FILE + FILE.SEGMENT_BASE + SEGMENT.GS * 8, canonicalValue())
        return
      case MSR.IA32_KERNEL_GS_BASE:
        this.kernelGsBase = canonicalValue()
        return
      case MSR.IA32_TSC_AUX:
        require(value <= 0xffffffffn)
        this.tscAux = value
        return
    }
    if (index >= MSR.IA32_MTRR_PHYSBASE0 && index <= MSR.IA32_MTRR_PHYSMASK7) {
      const mask = (index & 1) === 1
      require(
        (value & ~PHYSICAL_MASK) === 0n &&
          (mask ? (value & 0x7ffn) === 0n : (value & 0xf00n) === 0n && memoryTypesValid(value & 0xffn, false)),
      )
      this.mtrr[index - MSR.IA32_MTRR_PHYSBASE0] = value
      return
    }
    const fixed = this.#fixedMtrr(index)
    if (fixed >= 0) {
      require(memoryTypesValid(value, false))
      this.mtrr[MTRR_COUNT * 2 + fixed] = value
      return
    }
    require(cpu.intercepts.msrWrite(cpu.index, index, value))
  }

  #writeEfer(value: bigint): void {
    const cpu = this.#cpu
    const old = cpu.get64(STATE.EFER)
    const allowed = BigInt(EFER.SCE | EFER.LME | EFER.NXE | EFER.LMA)
    if (value & ~allowed) cpu.fault(VECTOR.GP, 0)
    const paging = (cpu.get32(STATE.CR0) & 0x80000000) !== 0
    if (paging && (old ^ value) & BigInt(EFER.LME)) cpu.fault(VECTOR.GP, 0)
    // LMA is read-only
    cpu.set64(STATE.EFER, (value & ~BigInt(EFER.LMA)) | (old & BigInt(EFER.LMA)))
    if ((old ^ value) & BigInt(EFER.NXE)) cpu.mmu.flush(true)
  }
}
