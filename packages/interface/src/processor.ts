// The contract between the hypervisor and a logical processor: software, KVM, WHP or the browser's. The processor executes, and
// calls its Intercepts for what it does not do itself. Names follow the TLFS (chapters 7 and 8).

import type { Clock } from './clock.ts'
import type { InterruptMessage } from './device.ts'
import type { Logger } from './logger.ts'
import type { Saveable } from './saved-state.ts'

/**
 * Rights of a mapping in the GPA map (TLFS HV_MAP_GPA_FLAGS). A write without WRITE is an intercept, or with PROTECTED and without WRITE raises #GP(0), as for the
 * hypervisor's own pages.
 */
export const GPA_ACCESS = { READ: 1, WRITE: 2, EXECUTE: 4, ALL: 7, PROTECTED: 16 } as const

/** The store behind a partition's RAM, made by the processor, which decides where it lives. */
export interface PartitionMemory {
  /** The store; RAM is a part of it. */
  readonly buffer: ArrayBufferLike
  /** Byte offset of the first byte of RAM in {@link PartitionMemory.buffer}; page-aligned. */
  readonly ramOffset: number
  /** Bytes of RAM. */
  readonly ramSize: number
  /** End of the guest physical address space: 2 to the power of the address bits that CPUID tells. */
  readonly gpaEnd: number
  /** Back `pages` pages from page number `gpaPage` with the store's bytes from `offset` (page-aligned); `access` of {@link GPA_ACCESS}. */
  map(gpaPage: number, pages: number, offset: number, access: number): void
  /** Accesses to these pages are intercepts from now on. */
  unmap(gpaPage: number, pages: number): void
  /** Byte offset in the store for a GPA and whether all the `access` asked for is granted; -1 when not mapped so. */
  translate(gpa: number, access: number): number
  /** Extra store for overlay pages outside RAM, each of which can be mapped anywhere below {@link PartitionMemory.gpaEnd}; returns its byte offset. @throws PartitaError `ERR_PROCESSOR_MEMORY` when none is left */
  allocateOverlay(): number
  /** The host stored into guest memory: translated code there is dropped. */
  written(gpa: number, length: number): void
}

/**
 * What a processor asks of the hypervisor. Each call is synchronous. Port and MMIO values are unsigned 32-bit numbers; wider accesses are split.
 */
export interface Intercepts {
  /** IN: `port` 0–0xFFFF; the answer has `size` bytes. */
  portRead(vpIndex: number, port: number, size: 1 | 2 | 4): number
  /** OUT. */
  portWrite(vpIndex: number, port: number, size: 1 | 2 | 4, value: number): void
  /** A read where no memory is mapped; the answer has `size` bytes. `gpa` is in bytes, the access aligned to its size. */
  mmioRead(vpIndex: number, gpa: number, size: 1 | 2 | 4): number
  /** A write where no writable memory is mapped. */
  mmioWrite(vpIndex: number, gpa: number, size: 1 | 2 | 4, value: number): void
  /** CPUID: `registers` (EAX, EBX, ECX, EDX) holds the processor's own answer and may be changed. */
  cpuid(vpIndex: number, leaf: number, subleaf: number, registers: Uint32Array): void
  /** An MSR that is not the processor's: write its value to `value[0]` and return true, or false for #GP(0). */
  msrRead(vpIndex: number, index: number, value: BigUint64Array): boolean
  /** WRMSR of an MSR that is not the processor's: true, or false for #GP(0). */
  msrWrite(vpIndex: number, index: number, value: bigint): boolean
  /** VMCALL or VMMCALL in protected mode with CPL 0, with the registers as the guest left them and RIP at the instruction. False raises #UD. */
  hypercall(vpIndex: number): boolean
  /** The interrupt acknowledge cycle for an interrupt from the INTR pin; returns the vector. */
  acknowledgeInterrupt(vpIndex: number): number
  /** EOI of a level-triggered interrupt, or of an edge-triggered one that {@link VirtualLocalApic.setEoiNotify} names. */
  endOfInterrupt(vpIndex: number, vector: number, level: boolean): void
  /** A message that this processor's local APIC sends (ICR). The hypervisor delivers it, to the sender too. */
  sendInterrupt(vpIndex: number, message: InterruptMessage): void
  /** The guest set its time-stamp counter. */
  timeStampWritten?(vpIndex: number): void
}

/** The local APIC of a virtual processor as the synthetic interrupt controller extends it (TLFS, "Virtual Interrupt Controller"). */
export interface VirtualLocalApic {
  /** A write to the EOI register. */
  endOfInterrupt(): void
  /** ICR, its high half in bits 63–32. A write sends. */
  icr: bigint
  /** TPR, 8 bits. */
  tpr: number
  /** Interrupts of `vector` end when they are delivered. */
  setAutoEoi(vector: number, automatic: boolean): void
  /** Tell {@link Intercepts.endOfInterrupt} of edge-triggered interrupts of `vector` too. */
  setEoiNotify(vector: number, notify: boolean): void
  /**
   * The virtual processor assist page, or none: bit 0 of its first word, `words[0]`, tells the guest that it may end the interrupt in service by clearing the bit (TLFS, "EOI Assist").
   * It is clear, and EOI required, after this, after a reset and after {@link VirtualProcessor.save}.
   */
  setEoiAssist(page: { readonly words: Int32Array } | undefined): void
}

/** Why {@link VirtualProcessor.run} returned. */
export type RunExit =
  /** The budget is used up, or {@link VirtualProcessor.requestExit} was called. */
  | 'budget'
  /** HLT: nothing to do until an interrupt. */
  | 'halt'
  /** Triple fault (shutdown state, Intel SDM vol. 3, 6.15 #DF). */
  | 'shutdown'
  /** Waiting for a startup IPI. */
  | 'wait-for-sipi'

/** A segment register with its hidden part (Intel SDM vol. 3, 3.4.3). */
export interface SegmentRegister {
  /** The visible part, 16 bits. */
  selector: number
  /** Linear address of the segment's first byte. In 64-bit mode only those of FS, GS, LDTR and TR count. */
  base: bigint
  /** Offset of the segment's last byte, 32 bits, in bytes whatever the granularity. */
  limit: number
  /** The descriptor's access byte and flags, as in VMX: bits 0–7 access byte, 12 AVL, 13 L, 14 D/B, 15 G, 16 unusable. */
  attributes: number
}

/** Names of the 64-bit registers that {@link VirtualProcessor} reads and writes. */
export type RegisterName =
  | 'rax'
  | 'rcx'
  | 'rdx'
  | 'rbx'
  | 'rsp'
  | 'rbp'
  | 'rsi'
  | 'rdi'
  | 'r8'
  | 'r9'
  | 'r10'
  | 'r11'
  | 'r12'
  | 'r13'
  | 'r14'
  | 'r15'
  | 'rip'
  | 'rflags'
  | 'cr0'
  | 'cr2'
  | 'cr3'
  | 'cr4'
  | 'cr8'
  | 'efer'
  | 'pat'
  | 'dr0'
  | 'dr1'
  | 'dr2'
  | 'dr3'
  | 'dr6'
  | 'dr7'
  | 'xcr0'
/** The general registers in the order of their numbers. */
export const GENERAL_REGISTERS: readonly RegisterName[] = [
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
]
/** Names of the segment registers. */
export type SegmentName = 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs' | 'ldtr' | 'tr'

/** One virtual processor. Not re-entrant. */
export interface VirtualProcessor extends Saveable, Disposable {
  /** 0 for the boot processor; what {@link Intercepts} call `vpIndex`. */
  readonly index: number
  /** Id of the local APIC, by which {@link InterruptMessage.destination} means it. */
  readonly apicId: number
  /** Run for about `budget` basic blocks. */
  run(budget: number): RunExit
  /** Ask a `run` in progress (from an intercept) to return soon. */
  requestExit(): void
  /** A register as the guest sees it, unsigned. */
  getRegister(name: RegisterName): bigint
  /** Set a register; a change of CR0, CR3, CR4 or EFER changes mode and translations as the guest's own would. */
  setRegister(name: RegisterName, value: bigint): void
  /** A segment register, a copy. */
  getSegment(name: SegmentName): SegmentRegister
  /** Load a segment register and its hidden part, without any check. */
  setSegment(name: SegmentName, value: SegmentRegister): void
  /** GDTR or IDTR: `base` is a linear address, `limit` the offset of the table's last byte. */
  getDescriptorTable(name: 'gdtr' | 'idtr'): { base: bigint; limit: number }
  /** Load GDTR or IDTR. */
  setDescriptorTable(name: 'gdtr' | 'idtr', base: bigint, limit: number): void
  /** A model-specific register as RDMSR reads it, or `undefined` where RDMSR raises #GP. */
  readMsr(index: number): bigint | undefined
  /** Set a model-specific register as WRMSR does; false where WRMSR raises #GP. */
  writeMsr(index: number, value: bigint): boolean
  /** x87 state and MXCSR: the first 160 bytes of FXSAVE64's layout (Intel SDM vol. 1, table 10-2), ST0 first. */
  getFloatState(): Uint8Array
  /** Set the x87 and SSE state, in the format of FXSAVE. */
  setFloatState(state: Uint8Array): void
  /** 16 bytes of XMM register `index`. */
  getXmm(index: number): Uint8Array
  /** Set the 16 bytes of XMM register `index`. */
  setXmm(index: number, value: Uint8Array): void
  /** What the processor has to tell of its work, as lines for people, if it has anything. `symbol` names a linear address of the guest. */
  describe?(symbol?: (address: bigint) => string | undefined): readonly string[]
  /** Power-on or INIT state (Intel SDM vol. 3, table 9-1). */
  reset(kind: 'power-on' | 'init'): void
  /** Accept a message at the local APIC, if this processor is among its destinations. Returns whether it was. The object is the caller's: it may change afterwards. */
  receiveInterrupt(message: InterruptMessage): boolean
  /** The INTR pin. */
  setExternalInterrupt(asserted: boolean): void
  /** The A20M# pin: while not connected, bit 20 of every physical address is 0. Left out by a processor that has no such pin. */
  setAddressLine20?(connected: boolean): void
  /** Reference time in nanoseconds at which the local APIC's timer fires next; `Infinity` when none. */
  readonly nextDeadline: number
  /** Instructions executed since power-on. */
  readonly instructionCount: number
  /** The local APIC, for the hypervisor's own registers of it. */
  readonly localApic: VirtualLocalApic
  /** The time-stamp counter as the guest reads it now. */
  readonly timeStampCounter: bigint
  /** EFER.LMA and CS.L are set. */
  readonly is64Bit: boolean
  /** Invalidate every cached translation, global ones too. */
  flushTranslations(): void
  /** Halt after the instruction in progress until an interrupt is pending, whether RFLAGS.IF lets it in or not (TLFS, "Virtual Processor Idle Sleep State"). */
  idle(): void
  /** Whether the processor waits for a startup IPI. */
  readonly waitingForStartup: boolean
  /** End the wait for a startup IPI with the registers as they are. */
  start(): void
  /** Linear to guest physical address with the present page tables, for debuggers; -1 when not mapped. */
  translateLinear(linear: bigint): number
}

/** What a processor needs to make a virtual processor. */
export interface VirtualProcessorOptions {
  /** 0 for the boot processor, the only one that does not wait for a startup IPI at power-on. */
  readonly index: number
  /** Id of its local APIC, unlike any other's. */
  readonly apicId: number
  /** The partition's memory, made by {@link Processor.createMemory} of the same processor. */
  readonly memory: PartitionMemory
  /** Whom it asks for what is not its own. */
  readonly intercepts: Intercepts
  /** Reference time, which its time-stamp counter and its local APIC's timer count. */
  readonly clock: Clock
  /** For what people should know of the processor's work. */
  readonly logger: Logger
}

/** A kind of processor: the service that a `processor` plug-in provides. */
export interface Processor {
  /** For people: which kind of processor it is, `software-x86-64` for example. */
  readonly name: string
  /** Largest RAM in bytes that {@link Processor.createMemory} can make. */
  readonly maximumRam: number
  /** Hz at which time-stamp counters count; constant. */
  readonly timeStampFrequency: number
  /** Hz at which local APIC timers count with a divider of 1. */
  readonly apicTimerFrequency: number
  /** @throws PartitaError `ERR_PROCESSOR_MEMORY` when the host cannot give that much */
  createMemory(ramSize: number): PartitionMemory
  /** @throws PartitaError `ERR_PROCESSOR_MEMORY` when the memory has no room for one more, or is another processor's */
  createVirtualProcessor(options: VirtualProcessorOptions): VirtualProcessor
}
