// Registers that HvCallGetVpRegisters and HvCallSetVpRegisters know (TLFS, "HV_REGISTER_NAME").

import { GENERAL_REGISTERS, type RegisterName, type SegmentName } from '@partita/interface'
import { HV_MSR } from './msr.ts'

/** What a register name stands for. */
export type NamedRegister =
  /** A register of 64 bits. */
  | { readonly kind: 'register'; readonly name: RegisterName }
  | { readonly kind: 'xmm'; readonly index: number }
  /** ST0 to ST7, which are MM0 to MM7 as well while TOP is 0. */
  | { readonly kind: 'float'; readonly index: number }
  | { readonly kind: 'float-control' }
  | { readonly kind: 'xmm-control' }
  | { readonly kind: 'segment'; readonly name: SegmentName }
  | { readonly kind: 'table'; readonly name: 'gdtr' | 'idtr' }
  /** A synthetic MSR, with its privilege. */
  | { readonly kind: 'synthetic'; readonly index: number }
  /** A frequency, which the register has in kHz and the synthetic MSR in Hz. */
  | { readonly kind: 'frequency'; readonly index: number }
  /** A model-specific register of the processor. */
  | { readonly kind: 'msr'; readonly index: number }
  | { readonly kind: 'cpuid'; readonly leaf: number }
  | { readonly kind: 'apic-id' }

const SEGMENTS: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr']
const DEBUG: readonly RegisterName[] = ['dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7']
const CONTROL: readonly RegisterName[] = ['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'xcr0']

/** Processor MSRs (Intel SDM vol. 4) from 0x00080000 on; those without a number have names of their own above. */
const TSC = 0x10
const APIC_BASE = 0x1b
const SYSENTER_CS = 0x174
const SYSENTER_ESP = 0x175
const SYSENTER_EIP = 0x176
const KERNEL_GS_BASE = 0xc0000102
const MTRR_CAP = 0xfe
const MTRR_DEF_TYPE = 0x2ff
const MTRR_PHYS_BASE0 = 0x200
const MTRR_COUNT = 16
const MTRR_FIXED = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f] as const
const TSC_AUX = 0xc0000103
const SPEC_CTRL = 0x48
const PRED_CMD = 0x49
const TSC_DEADLINE = 0x6e0
const TSC_ADJUST = 0x3b
const MISC_ENABLE = 0x1a0
const FEATURE_CONTROL = 0x3a
const STAR = 0xc0000081
/** The local APIC's, as x2APIC mode has them: it alone has these MSRs. */
const APIC_ID = 0x802
const APIC_REGISTERS = 0x3e

const register = (name: RegisterName): NamedRegister => ({ kind: 'register', name })
const synthetic = (index: number): NamedRegister => ({ kind: 'synthetic', index })
const msr = (index: number): NamedRegister => ({ kind: 'msr', index })
const cpuid = (leaf: number): NamedRegister => ({ kind: 'cpuid', leaf })
const range = (first: number, count: number, make: (index: number) => NamedRegister): [number, NamedRegister][] =>
  Array.from({ length: count }, (_, index) => [first + index, make(index)])
const list = (first: number, names: readonly RegisterName[]): [number, NamedRegister][] =>
  range(first, names.length, (index) => register(names[index] as RegisterName))

/** Registers by HV_REGISTER_NAME. */
export const NAMED_REGISTERS: ReadonlyMap<number, NamedRegister> = new Map<number, NamedRegister>([
  [0x00000100, cpuid(0x40000002)],
  ...range(0x00000200, 9, (index) => cpuid(0x40000003 + index)),
  ...range(0x00000210, 6, (index) => synthetic(HV_MSR.CRASH_P0 + index)),
  [0x00000240, { kind: 'frequency', index: HV_MSR.TSC_FREQUENCY }],
  [0x00000241, { kind: 'frequency', index: HV_MSR.APIC_FREQUENCY }],
  ...list(0x00020000, GENERAL_REGISTERS),
  ...list(0x00020010, ['rip', 'rflags']),
  ...range(0x00030000, 16, (index) => ({ kind: 'xmm', index })),
  ...range(0x00030010, 8, (index) => ({ kind: 'float', index })),
  [0x00030018, { kind: 'float-control' }],
  [0x00030019, { kind: 'xmm-control' }],
  ...list(0x00040000, CONTROL),
  ...list(0x00050000, DEBUG),
  ...range(0x00060000, SEGMENTS.length, (index) => ({ kind: 'segment', name: SEGMENTS[index] as SegmentName })),
  [0x00070000, { kind: 'table', name: 'idtr' }],
  [0x00070001, { kind: 'table', name: 'gdtr' }],
  [0x00080000, msr(TSC)],
  [0x00080001, register('efer')],
  [0x00080002, msr(KERNEL_GS_BASE)],
  [0x00080003, msr(APIC_BASE)],
  [0x00080004, register('pat')],
  [0x00080005, msr(SYSENTER_CS)],
  [0x00080006, msr(SYSENTER_EIP)],
  [0x00080007, msr(SYSENTER_ESP)],
  // STAR, LSTAR, CSTAR, SFMASK
  ...range(0x00080008, 4, (index) => msr(STAR + index)),
  [0x0008000c, { kind: 'apic-id' }],
  [0x0008000d, msr(MTRR_CAP)],
  [0x0008000e, msr(MTRR_DEF_TYPE)],
  ...range(0x00080010, MTRR_COUNT, (index) => msr(MTRR_PHYS_BASE0 + 2 * index)),
  ...range(0x00080040, MTRR_COUNT, (index) => msr(MTRR_PHYS_BASE0 + 2 * index + 1)),
  ...range(0x00080070, MTRR_FIXED.length, (index) => msr(MTRR_FIXED[index] as number)),
  [0x0008007b, msr(TSC_AUX)],
  [0x00080084, msr(SPEC_CTRL)],
  [0x00080085, msr(PRED_CMD)],
  [0x00080095, msr(TSC_DEADLINE)],
  [0x00080096, msr(TSC_ADJUST)],
  [0x000800a0, msr(MISC_ENABLE)],
  [0x000800a1, msr(FEATURE_CONTROL)],
  ...range(0x00084802, APIC_REGISTERS, (index) => msr(APIC_ID + index)),
  [0x00090000, synthetic(HV_MSR.VP_RUNTIME)],
  [0x00090001, synthetic(HV_MSR.HYPERCALL)],
  [0x00090002, synthetic(HV_MSR.GUEST_OS_ID)],
  [0x00090003, synthetic(HV_MSR.VP_INDEX)],
  [0x00090004, synthetic(HV_MSR.TIME_REF_COUNT)],
  [0x00090010, synthetic(HV_MSR.EOI)],
  [0x00090011, synthetic(HV_MSR.ICR)],
  [0x00090012, synthetic(HV_MSR.TPR)],
  [0x00090013, synthetic(HV_MSR.VP_ASSIST_PAGE)],
  [0x00090017, synthetic(HV_MSR.REFERENCE_TSC)],
  ...range(0x000a0000, 16, (index) => synthetic(HV_MSR.SINT0 + index)),
  ...range(0x000a0010, 5, (index) => synthetic(HV_MSR.SCONTROL + index)),
  ...range(0x000b0000, 8, (index) => synthetic(HV_MSR.STIMER0_CONFIG + index)),
])
