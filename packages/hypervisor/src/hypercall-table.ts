// Hypercall dispatch (TLFS, "Hypercall Interface"): the hypercall input value in RCX is taken apart, call code, form and privilege are checked,
// and the result value goes to RAX. Nothing is registered yet and the interface is disabled, so that VMCALL raises #UD as on plain hardware.

import type { VirtualProcessor } from '@partita/interface'
import { HypervisorError } from './error.ts'
import type { PartitionPrivileges, PrivilegeName } from './privileges.ts'

/** Hypercall status codes (TLFS, appendix "Hypercall Status Codes"). */
export const HV_STATUS = {
  SUCCESS: 0x0000,
  INVALID_HYPERCALL_CODE: 0x0002,
  INVALID_HYPERCALL_INPUT: 0x0003,
  INVALID_ALIGNMENT: 0x0004,
  INVALID_PARAMETER: 0x0005,
  ACCESS_DENIED: 0x0006,
} as const

/** The hypercall input value, taken apart. The object is used again for the next call. */
export interface HypercallInput {
  readonly vpIndex: number
  readonly callCode: number
  /** Parameters are in registers rather than in memory. */
  readonly fast: boolean
  /** In units of 8 bytes. */
  readonly variableHeaderSize: number
  readonly repCount: number
  readonly repStartIndex: number
}

/** One hypercall. */
export interface HypercallHandler {
  /** A rep hypercall takes a list; a simple one must have neither rep count nor rep start index. */
  readonly rep: boolean
  readonly privilege?: PrivilegeName
  /** Returns the hypercall result value without its reserved bits: status in bits 0–15, reps complete in bits 32–43. */
  call(vp: VirtualProcessor, input: HypercallInput): bigint
}

/** The hypercalls of a partition. */
export class HypercallTable {
  readonly #handlers = new Map<number, HypercallHandler>()
  readonly #privileges: PartitionPrivileges
  readonly #input: { -readonly [K in keyof HypercallInput]: HypercallInput[K] } = {
    vpIndex: 0,
    callCode: 0,
    fast: false,
    variableHeaderSize: 0,
    repCount: 0,
    repStartIndex: 0,
  }
  /** Whether the guest has enabled the interface; without it VMCALL raises #UD. */
  enabled = false

  constructor(privileges: PartitionPrivileges) {
    this.#privileges = privileges
  }

  /**
   * Serve `callCode` from now on.
   * @throws HypervisorError `ERR_HYPERCALL_CONFLICT` when it is taken
   */
  register(callCode: number, handler: HypercallHandler): Disposable {
    if (this.#handlers.has(callCode)) {
      throw new HypervisorError(
        'ERR_HYPERCALL_CONFLICT',
        `Hypercall 0x${callCode.toString(16)} is already registered`,
        { data: { callCode } },
      )
    }
    const handlers = this.#handlers
    handlers.set(callCode, handler)
    return {
      [Symbol.dispose](): void {
        if (handlers.get(callCode) === handler) handlers.delete(callCode)
      },
    }
  }

  /** Serve the call that `vp` makes. False raises #UD. */
  dispatch(vp: VirtualProcessor): boolean {
    if (!this.enabled) return false
    vp.setRegister('rax', this.#call(vp, vp.getRegister('rcx')))
    return true
  }

  #call(vp: VirtualProcessor, value: bigint): bigint {
    const low = Number(value & 0xffffffffn)
    const high = Number(value >> 32n)
    const input = this.#input
    input.vpIndex = vp.index
    input.callCode = low & 0xffff
    input.fast = (low & 0x10000) !== 0
    input.variableHeaderSize = (low >>> 17) & 0x3ff
    input.repCount = high & 0xfff
    input.repStartIndex = (high >>> 16) & 0xfff
    const handler = this.#handlers.get(input.callCode)
    if (handler === undefined) return BigInt(HV_STATUS.INVALID_HYPERCALL_CODE)
    // Bits 27–31 (bit 31: nested), 44–47 and 60–63 are reserved.
    if ((low & 0xf8000000) !== 0 || (high & 0xf000f000) !== 0) return BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT)
    const list = input.repCount !== 0
    if (list !== handler.rep || input.repStartIndex >= Math.max(1, input.repCount))
      return BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT)
    if (handler.privilege !== undefined && !this.#privileges.has(handler.privilege))
      return BigInt(HV_STATUS.ACCESS_DENIED)
    return handler.call(vp, input)
  }
}
