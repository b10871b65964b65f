// CPUID leaves that the hypervisor answers or changes. The processor gives its own answer first. The leaves 0x40000000–0x400000FF are the
// hypervisor's (TLFS, "Feature and Interface Discovery"); until something registers them they read as zero, as on plain hardware that has
// no such leaf, and leaf 1 ECX bit 31 (hypervisor present) is clear.

import { HypervisorError } from './error.ts'

/** A fixed answer of a leaf. */
export interface CpuidValues {
  /** What EAX holds after CPUID, unsigned 32 bits. */
  readonly eax: number
  /** What EBX holds. */
  readonly ebx: number
  /** What ECX holds. */
  readonly ecx: number
  /** What EDX holds. */
  readonly edx: number
}

/** Answers a leaf: `registers` (EAX, EBX, ECX, EDX) holds the processor's own answer and is changed in place. */
export type CpuidHandler = (vpIndex: number, subleaf: number, registers: Uint32Array) => void

const HYPERVISOR_LEAF_FIRST = 0x40000000
const HYPERVISOR_LEAF_LAST = 0x400000ff
const LEAF_1_ECX_HYPERVISOR_PRESENT = 0x80000000

/** The CPUID leaves of a partition. */
export class CpuidTable {
  readonly #handlers = new Map<number, CpuidHandler>()
  /** Leaf 1 ECX bit 31. */
  hypervisorPresent = false

  /**
   * Answer `leaf` from now on.
   * @throws HypervisorError `ERR_CPUID_CONFLICT` when the leaf is taken
   */
  set(leaf: number, answer: CpuidHandler | CpuidValues): Disposable {
    if (this.#handlers.has(leaf))
      throw new HypervisorError('ERR_CPUID_CONFLICT', `CPUID leaf 0x${leaf.toString(16)} is already answered`, {
        data: { leaf },
      })
    const handlers = this.#handlers
    const handler = typeof answer === 'function' ? answer : constantLeaf(answer)
    handlers.set(leaf, handler)
    return {
      [Symbol.dispose](): void {
        if (handlers.get(leaf) === handler) handlers.delete(leaf)
      },
    }
  }

  /** Complete the processor's answer in `registers`. */
  apply(vpIndex: number, leaf: number, subleaf: number, registers: Uint32Array): void {
    if (leaf >= HYPERVISOR_LEAF_FIRST && leaf <= HYPERVISOR_LEAF_LAST) registers.fill(0)
    else if (leaf === 1) {
      const ecx = (registers[2] as number) & ~LEAF_1_ECX_HYPERVISOR_PRESENT
      registers[2] = this.hypervisorPresent ? ecx | LEAF_1_ECX_HYPERVISOR_PRESENT : ecx
    }
    this.#handlers.get(leaf)?.(vpIndex, subleaf, registers)
  }
}

function constantLeaf(values: CpuidValues): CpuidHandler {
  return (_vpIndex, _subleaf, registers) => {
    registers[0] = values.eax
    registers[1] = values.ebx
    registers[2] = values.ecx
    registers[3] = values.edx
  }
}
