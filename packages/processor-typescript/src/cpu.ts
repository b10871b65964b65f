// The processor as its program sees it: what an operating system has under its hands in ring 0. There are the registers that calling conventions use, CPUID, MSRs, ports, memory
// and interrupts, and nothing of the host.

import type { Intercepts, RegisterName } from '@partita/interface'
import { CpuException, EXCEPTION } from './exception.ts'
import { identify } from './identification.ts'
import type { TypeScriptMemory } from './memory.ts'
import { ProcessorError } from './processor-error.ts'

/** What CPUID answers. */
export interface CpuidAnswer {
  /** EAX, unsigned. */
  readonly eax: number
  /** EBX, unsigned. */
  readonly ebx: number
  /** ECX, unsigned. */
  readonly ecx: number
  /** EDX, unsigned. */
  readonly edx: number
}

/** What a processor gives its Cpu. */
export interface CpuHost {
  readonly index: number
  readonly apicId: number
  readonly memory: TypeScriptMemory
  readonly intercepts: Intercepts
  readonly registers: Map<RegisterName, bigint>
  readonly timeStampCounter: bigint
  interruptsEnabled: boolean
  /** RDMSR; `undefined` for a general protection fault. */
  readMsr(index: number): bigint | undefined
  /** WRMSR; false for a general protection fault. */
  writeMsr(index: number, value: bigint): boolean
  /** Whether the processor is amid a slice of this program. */
  readonly inSlice: boolean
  /** A device of the host's failed: it is no affair of the program. */
  failed(error: unknown): void
}

/** Vectors 0 to 31 are exceptions. */
const FIRST_INTERRUPT = 32

/**
 * One processor. All but {@link Cpu.memory}, {@link Cpu.timeStampCounter}, {@link Cpu.inSlice} and {@link Cpu.wake} can be used in a slice of the program alone, and throws a
 * ProcessorError `ERR_PROCESSOR_STATE` elsewhere (behind an `await`): no instruction is executed there.
 */
export class Cpu {
  /** Guest physical memory. Always there. */
  readonly memory: TypeScriptMemory
  readonly #host: CpuHost
  readonly #handlers = new Map<number, () => void>()
  readonly #cpuid = new Uint32Array(4)
  #stopped = false

  constructor(host: CpuHost) {
    this.#host = host
    this.memory = host.memory
  }

  /** Whether the program may use its processor now. */
  get inSlice(): boolean {
    return !this.#stopped && this.#host.inSlice
  }

  /** RFLAGS.IF. */
  get interruptsEnabled(): boolean {
    return this.#host.interruptsEnabled
  }

  /** STI or CLI. */
  set interruptsEnabled(enabled: boolean) {
    this.#inSlice()
    this.#host.interruptsEnabled = enabled
  }

  /** RDTSC. */
  get timeStampCounter(): bigint {
    return this.#host.timeStampCounter
  }

  /** A general register, as firmware left it, or as a hypercall did. */
  register(name: RegisterName): bigint {
    return this.#host.registers.get(name) ?? 0n
  }

  /** An entry of the IDT: `handler` runs with interrupts disabled, and returns by IRET. Without one, an interrupt of that vector shuts the processor down. */
  setInterruptHandler(vector: number, handler: (() => void) | undefined): void {
    if (handler === undefined) this.#handlers.delete(vector)
    else this.#handlers.set(vector, handler)
  }

  /** @internal */
  handler(vector: number): (() => void) | undefined {
    return this.#handlers.get(vector)
  }

  /**
   * Interrupt this processor from behind an `await`, where no instruction can be executed: the way for a promise that is settled to get its coroutine going again. It is an
   * edge-triggered interrupt like a device's.
   */
  wake(vector: number): void {
    if (this.#stopped) return
    if (vector < FIRST_INTERRUPT || vector > 255) throw new ProcessorError('ERR_PROCESSOR_STATE', `vector ${vector}`)
    const { intercepts, index, apicId } = this.#host
    intercepts.sendInterrupt(index, { vector, deliveryMode: 0, destination: apicId, logical: false, level: false })
  }

  /** CPUID. */
  cpuid(leaf: number, subleaf = 0): CpuidAnswer {
    const registers = this.#cpuid
    const { index, apicId } = this.#host
    identify(leaf, apicId, registers)
    this.#intercept((intercepts) => intercepts.cpuid(index, leaf, subleaf, registers))
    const [eax = 0, ebx = 0, ecx = 0, edx = 0] = registers
    return { eax, ebx, ecx, edx }
  }

  /** RDMSR. @throws CpuException general protection, when there is no such MSR */
  readMsr(index: number): bigint {
    const value = this.#intercept(() => this.#host.readMsr(index))
    if (value === undefined) throw new CpuException(EXCEPTION.GENERAL_PROTECTION, `RDMSR 0x${index.toString(16)}`)
    return value
  }

  /** WRMSR. @throws CpuException general protection, when there is no such MSR or it cannot hold the value */
  writeMsr(index: number, value: bigint): void {
    if (!this.#intercept(() => this.#host.writeMsr(index, BigInt.asUintN(64, value))))
      throw new CpuException(EXCEPTION.GENERAL_PROTECTION, `WRMSR 0x${index.toString(16)}`)
  }

  /** IN. */
  portRead(port: number, size: 1 | 2 | 4): number {
    return this.#intercept((intercepts) => intercepts.portRead(this.#host.index, port, size))
  }

  /** OUT. */
  portWrite(port: number, size: 1 | 2 | 4, value: number): void {
    this.#intercept((intercepts) => intercepts.portWrite(this.#host.index, port, size, value >>> 0))
  }

  /** A load from where no memory is: a device's register. The address is aligned to `size`. */
  mmioRead(gpa: number, size: 1 | 2 | 4): number {
    return this.#intercept((intercepts) => intercepts.mmioRead(this.#host.index, gpa, size))
  }

  /** A store to a device's register. */
  mmioWrite(gpa: number, size: 1 | 2 | 4, value: number): void {
    this.#intercept((intercepts) => intercepts.mmioWrite(this.#host.index, gpa, size, value >>> 0))
  }

  /**
   * CALL of machine code at `gpa`, with RCX, RDX and R8 as given; returns RAX. The processor knows exactly the code of a hypercall page: VMCALL or VMMCALL, NOP and RET.
   * @throws CpuException page fault, or invalid opcode for any other code and for hypercalls that are not enabled
   */
  call(gpa: number, rcx: bigint, rdx: bigint, r8: bigint): bigint {
    const { registers } = this.#host
    this.#inSlice()
    registers.set('rcx', rcx)
    registers.set('rdx', rdx)
    registers.set('r8', r8)
    for (let at = gpa; ; ) {
      const code = executable(this.memory, at)
      if (code === 0xc3) return this.register('rax')
      const length = code === 0x90 ? 1 : 3
      if (length === 3) {
        const third = executable(this.memory, at + 2)
        const isCall = code === 0x0f && executable(this.memory, at + 1) === 0x01 && (third === 0xc1 || third === 0xd9)
        registers.set('rip', BigInt(at))
        if (!isCall || !this.#intercept((intercepts) => intercepts.hypercall(this.#host.index)))
          throw new CpuException(
            EXCEPTION.INVALID_OPCODE,
            `No code that this processor knows is at 0x${at.toString(16)}`,
          )
      }
      at += length
    }
  }

  /** @internal The program does not run any more: what it left behind an `await` can do no harm. */
  stop(): void {
    this.#stopped = true
    this.#handlers.clear()
  }

  #inSlice(): void {
    if (this.inSlice) return
    throw new ProcessorError('ERR_PROCESSOR_STATE', 'A program uses its processor outside of a slice', {
      hint: 'Behind an `await`, hand a function to the program and wake() its processor.',
    })
  }

  #intercept<T>(call: (intercepts: Intercepts) => T): T {
    this.#inSlice()
    try {
      return call(this.#host.intercepts)
    } catch (error) {
      this.#host.failed(error)
      throw error
    }
  }
}

/** A byte of code. */
function executable(memory: TypeScriptMemory, gpa: number): number {
  const EXECUTE = 4
  const code = memory.translate(gpa, EXECUTE) < 0 ? undefined : memory.readU8(gpa)
  if (code === undefined) throw new CpuException(EXCEPTION.PAGE_FAULT, `No code is at 0x${gpa.toString(16)}`)
  return code
}
