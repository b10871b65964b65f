// MSRs that are not the processor's own: the synthetic MSRs of the TLFS (0x40000000–0x400000FF) and whatever else a part of the partition
// registers. An MSR that nobody registered raises #GP(0).

import { HypervisorError } from './error.ts'

/** One MSR. Without `read` or `write` that access raises #GP(0). */
export interface MsrHandler {
  /** The value, or `undefined` for #GP(0). */
  read?(vpIndex: number): bigint | undefined
  /** False for #GP(0). */
  write?(vpIndex: number, value: bigint): boolean
}

/** The MSRs of a partition. */
export class MsrTable {
  readonly #handlers = new Map<number, MsrHandler>()

  /**
   * Serve MSR `index` from now on.
   * @throws HypervisorError `ERR_MSR_CONFLICT` when it is taken
   */
  register(index: number, handler: MsrHandler): Disposable {
    if (this.#handlers.has(index))
      throw new HypervisorError('ERR_MSR_CONFLICT', `MSR 0x${index.toString(16)} is already registered`, {
        data: { index },
      })
    const handlers = this.#handlers
    handlers.set(index, handler)
    return {
      [Symbol.dispose](): void {
        if (handlers.get(index) === handler) handlers.delete(index)
      },
    }
  }

  /** Whether MSR `index` is served. */
  has(index: number): boolean {
    return this.#handlers.has(index)
  }

  /** RDMSR: false for #GP(0), else the value is in `value[0]`. */
  read(vpIndex: number, index: number, value: BigUint64Array): boolean {
    const result = this.#handlers.get(index)?.read?.(vpIndex)
    if (result === undefined) return false
    value[0] = result
    return true
  }

  /** WRMSR: false for #GP(0). */
  write(vpIndex: number, index: number, value: bigint): boolean {
    return this.#handlers.get(index)?.write?.(vpIndex, value) ?? false
  }
}
