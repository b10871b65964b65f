// What a program can see of a processor, as words that can be compared: two processors that execute the same instructions must agree in all of it. Caches, lazy flags
// and whatever else is a matter of how instructions are executed is left out.

import { type Cpu, FLAG } from '../cpu.ts'
import { GPR, SEGMENT, STATE } from '../state-layout.ts'
import type { SoftwareVirtualProcessor } from '../virtual-processor.ts'

/** One word of the state. */
interface Field {
  readonly name: string
  readonly read: (cpu: Cpu) => bigint
}

const word = (name: string, field: number): Field => ({ name, read: (cpu) => cpu.get64(field) })
const half = (name: string, field: number): Field => ({ name, read: (cpu) => BigInt(cpu.get32(field) >>> 0) })

const LOW_HALVES = (field: number, n: number): number => field + n * 16

/** All words, the general registers first, then RIP and RFLAGS. */
const FIELDS: readonly Field[] = [
  ...Object.entries(GPR).map(([name, n]) => word(name, STATE.FILE + n * 8)),
  word('RIP', STATE.RIP),
  // RF is a matter of delivery: it is set in images of faults alone
  { name: 'RFLAGS', read: (cpu) => BigInt((cpu.flags & ~FLAG.RF) >>> 0) },
  half('CPL', STATE.CPL),
  word('CR0', STATE.CR0),
  word('CR2', STATE.CR2),
  word('CR3', STATE.CR3),
  word('CR4', STATE.CR4),
  { name: 'CR8', read: (cpu) => BigInt(cpu.apic.taskPriority) },
  word('EFER', STATE.EFER),
  word('XCR0', STATE.XCR0),
  ...[0, 1, 2, 3].map((n) => word(`DR${n}`, STATE.DR0 + n * 8)),
  word('DR6', STATE.DR6),
  word('DR7', STATE.DR7),
  ...Object.entries(SEGMENT).flatMap(([name, n]): Field[] => [
    { name, read: (cpu) => BigInt(cpu.segmentSelector(n)) },
    { name: `${name}.base`, read: (cpu) => cpu.segmentBase(n) },
    { name: `${name}.limit`, read: (cpu) => BigInt(cpu.segmentLimit(n)) },
    { name: `${name}.attributes`, read: (cpu) => BigInt(cpu.segmentAttributes(n)) },
  ]),
  word('GDTR.base', STATE.GDTR_BASE),
  half('GDTR.limit', STATE.GDTR_LIMIT),
  word('IDTR.base', STATE.IDTR_BASE),
  half('IDTR.limit', STATE.IDTR_LIMIT),
  half('MXCSR', STATE.MXCSR),
  half('x87 control', STATE.X87_CONTROL),
  half('x87 status', STATE.X87_STATUS),
  half('x87 top', STATE.X87_TOP),
  half('x87 tags', STATE.X87_TAGS),
  half('x87 opcode', STATE.X87_OPCODE),
  word('x87 instruction', STATE.X87_INSTRUCTION),
  word('x87 data', STATE.X87_DATA),
  ...Array.from({ length: 8 }, (_, n): Field[] => [
    word(`R${n} significand`, LOW_HALVES(STATE.X87, n)),
    {
      name: `R${n} exponent`,
      read: (cpu) => BigInt(cpu.view.getUint16(cpu.base + LOW_HALVES(STATE.X87, n) + 8, true)),
    },
  ]).flat(),
  ...Array.from({ length: 16 }, (_, n) => [
    word(`XMM${n} low`, LOW_HALVES(STATE.XMM, n)),
    word(`XMM${n} high`, LOW_HALVES(STATE.XMM, n) + 8),
  ]).flat(),
  word('KERNEL_GS_BASE', STATE.KERNEL_GS_BASE),
  word('STAR', STATE.STAR),
  word('LSTAR', STATE.LSTAR),
  word('CSTAR', STATE.CSTAR),
  word('SFMASK', STATE.SFMASK),
  word('SYSENTER_CS', STATE.SYSENTER_CS),
  word('SYSENTER_ESP', STATE.SYSENTER_ESP),
  word('SYSENTER_EIP', STATE.SYSENTER_EIP),
  word('TSC_AUX', STATE.TSC_AUX),
  { name: 'activity', read: (cpu) => BigInt(cpu.activity) },
]
const RIP: number = FIELDS.findIndex(({ name }) => name === 'RIP')

/** Words of {@link captureState}. */
export type ArchitecturalState = BigUint64Array

/** The present state. */
export function captureState({ cpu }: SoftwareVirtualProcessor): ArchitecturalState {
  return BigUint64Array.from(FIELDS, ({ read }) => read(cpu))
}

/** Whether two processors are in the same state. Quick to find out that they are not. */
export function sameState(a: SoftwareVirtualProcessor, b: SoftwareVirtualProcessor): boolean {
  if (FIELDS[RIP]?.read(a.cpu) !== FIELDS[RIP]?.read(b.cpu)) return false
  return FIELDS.every(({ read }) => read(a.cpu) === read(b.cpu))
}

/** What differs, a line each: name, value of the first, value of the second. */
export function stateDifferences(a: ArchitecturalState, b: ArchitecturalState): string[] {
  return FIELDS.flatMap(({ name }, n) =>
    a[n] === b[n] ? [] : [`${name}: ${(a[n] as bigint).toString(16)}, ${(b[n] as bigint).toString(16)}`],
  )
}
