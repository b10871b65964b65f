// Registers that HvCallGetVpRegisters and HvCallSetVpRegisters know (TLFS, "HV_REGISTER_NAME").

import type { RegisterName, SegmentName } from '@partita/interface'
import { HV_MSR } from './msr.ts'

/** What a register name stands for. */
export type NamedRegister =
  | { readonly kind: 'general'; readonly name: RegisterName }
  | { readonly kind: 'control'; readonly name: RegisterName }
  | { readonly kind: 'xmm'; readonly index: number }
  | { readonly kind: 'segment'; readonly name: SegmentName }
  | { readonly kind: 'msr'; readonly index: number }
  | { readonly kind: 'cpuid'; readonly leaf: number }
  | { readonly kind: 'time-stamp' }
  | { readonly kind: 'apic-id' }

const GENERAL: readonly RegisterName[] = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'rip',
  'rflags',
]
const SEGMENTS: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr']

const general = (name: RegisterName): NamedRegister => ({ kind: 'general', name })
const control = (name: RegisterName): NamedRegister => ({ kind: 'control', name })
const msr = (index: number): NamedRegister => ({ kind: 'msr', index })
const cpuid = (leaf: number): NamedRegister => ({ kind: 'cpuid', leaf })
const range = (first: number, count: number, make: (index: number) => NamedRegister): [number, NamedRegister][] =>
  Array.from({ length: count }, (_, index) => [first + index, make(index)])

/** Registers by HV_REGISTER_NAME. */
export const NAMED_REGISTERS: ReadonlyMap<number, NamedRegister> = new Map<number, NamedRegister>([
  [0x00000100, cpuid(0x40000002)],
  ...range(0x00000200, 4, (index) => cpuid(0x40000003 + index)),
  ...range(0x00000210, 6, (index) => msr(HV_MSR.CRASH_P0 + index)),
  ...range(0x00020000, GENERAL.length, (index) => general(GENERAL[index] as RegisterName)),
  ...range(0x00030000, 16, (index) => ({ kind: 'xmm', index })),
  [0x00040000, control('cr0')],
  [0x00040001, general('cr2')],
  [0x00040002, control('cr3')],
  [0x00040003, control('cr4')],
  [0x00040004, general('cr8')],
  ...range(0x00060000, SEGMENTS.length, (index) => ({ kind: 'segment', name: SEGMENTS[index] as SegmentName })),
  [0x00080000, { kind: 'time-stamp' }],
  [0x00080001, control('efer')],
  [0x00080004, control('pat')],
  [0x0008000c, { kind: 'apic-id' }],
  [0x00090000, msr(HV_MSR.VP_RUNTIME)],
  [0x00090001, msr(HV_MSR.HYPERCALL)],
  [0x00090002, msr(HV_MSR.GUEST_OS_ID)],
  [0x00090003, msr(HV_MSR.VP_INDEX)],
  [0x00090004, msr(HV_MSR.TIME_REF_COUNT)],
  [0x00090010, msr(HV_MSR.EOI)],
  [0x00090011, msr(HV_MSR.ICR)],
  [0x00090012, msr(HV_MSR.TPR)],
  [0x00090013, msr(HV_MSR.VP_ASSIST_PAGE)],
  [0x00090017, msr(HV_MSR.REFERENCE_TSC)],
  ...range(0x000a0000, 16, (index) => msr(HV_MSR.SINT0 + index)),
  ...range(0x000a0010, 5, (index) => msr(HV_MSR.SCONTROL + index)),
  ...range(0x000b0000, 8, (index) => msr(HV_MSR.STIMER0_CONFIG + index)),
])
