// Hypercall dispatch (TLFS, "Hypercall Interface"): takes the hypercall input value apart, checks call code, privilege and form, brings the input
// parameters in from memory or registers, and the result value and output parameters back. Disabled, VMCALL raises #UD as on plain hardware.

import type { GuestMemory, RegisterName, VirtualProcessor } from '@partita/interface'
import { HypervisorError } from './error.ts'
import { PAGE_SIZE } from './gpa-map.ts'
import { HV_STATUS } from './hyper-v/status.ts'
import type { PartitionPrivileges, PrivilegeName } from './privileges.ts'

/** A hypercall in progress. The object and its buffers are used again for the next call. */
export interface Hypercall {
  /** Who makes the call. */
  readonly vp: VirtualProcessor
  /** Which hypercall: bits 15–0 of the input value. */
  readonly callCode: number
  /** Parameters are in registers rather than in memory. */
  readonly fast: boolean
  /** A private copy of the input: fixed header, variable header, list. Little-endian. */
  readonly input: DataView
  /** The same bytes. */
  readonly inputBytes: Uint8Array
  /** Bytes of fixed and variable header: the list's offset in the input. */
  readonly headerSize: number
  /** Bytes of the variable header. */
  readonly variableHeaderSize: number
  /** Rep hypercalls: elements of the whole list, 1–4,095; 0 for simple ones. */
  readonly repCount: number
  /** Rep hypercalls: the first element to be done now. Those before it were done in earlier calls. */
  readonly repStartIndex: number
  /** Where the output goes: the output parameters, or the output list. */
  readonly output: DataView
  /** Rep hypercalls: how many elements of the whole list are done. The handler counts it up from {@link Hypercall.repStartIndex}. */
  repsCompleted: number
}

/** One hypercall's shape and service. */
export interface HypercallHandler {
  /** What the caller must hold, or gets HV_STATUS_ACCESS_DENIED. Default: nothing. */
  readonly privilege?: PrivilegeName
  /** Bytes of the fixed input header. */
  readonly inputSize: number
  /** Whether the caller may give a variable input header. */
  readonly variableHeader?: boolean
  /** Bytes of the output parameters. */
  readonly outputSize?: number
  /**
   * A rep hypercall: bytes of an element of the `input` list and of the `output` list, 0 where there is no such list. Missing for a simple hypercall.
   */
  readonly element?: { readonly input: number; readonly output: number }
  /** Returns an HV_STATUS. Output is copied to the guest when it is SUCCESS; output elements as far as they are completed in any case. */
  call(call: Hypercall): number
}

/** Reserved bits of the hypercall input value, and "is nested": there is no hypervisor below that could serve it. */
const RESERVED_LOW = 0xf8000000
const RESERVED_HIGH = 0xf000f000
/** RDX, R8, and XMM0 to XMM5: input from the first on, output behind it, each in whole units of 16 bytes. */
const FAST_SIZE = 112
const FAST_UNIT = 16
/** What a hypercall raises instead of giving a result. */
const UNDEFINED = -1

/** High half first. */
const REGISTERS_32 = { value: ['rdx', 'rax'], input: ['rbx', 'rcx'], output: ['rdi', 'rsi'] } as const
const MASK_32 = 0xffffffffn

/** The hypercalls of a partition. */
export class HypercallTable {
  readonly #handlers = new Map<number, HypercallHandler>()
  readonly #restricted = new Map<number, PrivilegeName>()
  readonly #privileges: PartitionPrivileges
  readonly #memory: GuestMemory
  readonly #gpaEnd: number
  readonly #inputBytes = new Uint8Array(PAGE_SIZE)
  readonly #outputBytes = new Uint8Array(PAGE_SIZE)
  readonly #unit = new Uint8Array(FAST_UNIT)
  readonly #unitView = new DataView(this.#unit.buffer)
  readonly #call: { -readonly [K in keyof Hypercall]: Hypercall[K] } = {
    vp: undefined as unknown as VirtualProcessor,
    callCode: 0,
    fast: false,
    input: new DataView(this.#inputBytes.buffer),
    inputBytes: this.#inputBytes,
    headerSize: 0,
    variableHeaderSize: 0,
    repCount: 0,
    repStartIndex: 0,
    output: new DataView(this.#outputBytes.buffer),
    repsCompleted: 0,
  }
  /** Whether the guest has enabled the interface; without it VMCALL raises #UD. */
  enabled = false

  /** `gpaEnd`: the end of the guest physical address space. */
  constructor(privileges: PartitionPrivileges, memory: GuestMemory, gpaEnd: number) {
    this.#privileges = privileges
    this.#memory = memory
    this.#gpaEnd = gpaEnd
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

  /** Deny `callCode`, which nobody serves, to who has not got the privilege. */
  restrict(callCode: number, privilege: PrivilegeName): void {
    this.#restricted.set(callCode, privilege)
  }

  /** Serve the call that `vp` makes. False raises #UD. */
  dispatch(vp: VirtualProcessor): boolean {
    if (!this.enabled) return false
    const wide = vp.is64Bit
    const value = wide ? vp.getRegister('rcx') : pair(vp, REGISTERS_32.value)
    const call = this.#call
    const status = this.#serve(vp, value, wide)
    if (status === UNDEFINED) return false
    const result = BigInt(status) | (BigInt(call.repsCompleted) << 32n)
    if (wide) {
      vp.setRegister('rax', result)
      if (call.repCount !== 0)
        vp.setRegister('rcx', (value & ~(0xfffn << 48n)) | (BigInt(call.repsCompleted & 0xfff) << 48n))
    } else {
      vp.setRegister('rax', result & MASK_32)
      vp.setRegister('rdx', result >> 32n)
    }
    return true
  }

  #serve(vp: VirtualProcessor, value: bigint, wide: boolean): number {
    const low = Number(value & MASK_32)
    const high = Number(value >> 32n)
    const call = this.#call
    call.vp = vp
    call.callCode = low & 0xffff
    call.fast = (low & 0x10000) !== 0
    call.variableHeaderSize = ((low >>> 17) & 0x3ff) * 8
    call.repCount = 0
    call.repsCompleted = 0
    const repCount = high & 0xfff
    const repStartIndex = (high >>> 16) & 0xfff
    const handler = this.#handlers.get(call.callCode)
    const privilege = handler === undefined ? this.#restricted.get(call.callCode) : handler.privilege
    if (privilege !== undefined && !this.#privileges.has(privilege)) return HV_STATUS.ACCESS_DENIED
    if (handler === undefined) return HV_STATUS.INVALID_HYPERCALL_CODE
    if ((low & RESERVED_LOW) !== 0 || (high & RESERVED_HIGH) !== 0) return HV_STATUS.INVALID_HYPERCALL_INPUT
    const { element } = handler
    if (element === undefined ? repCount !== 0 || repStartIndex !== 0 : repStartIndex >= repCount)
      return HV_STATUS.INVALID_HYPERCALL_INPUT
    if (call.variableHeaderSize !== 0 && handler.variableHeader !== true) return HV_STATUS.INVALID_HYPERCALL_INPUT

    call.headerSize = handler.inputSize + call.variableHeaderSize
    const inputSize = call.headerSize + repCount * (element?.input ?? 0)
    const outputSize = (handler.outputSize ?? 0) + repCount * (element?.output ?? 0)
    if (call.fast) {
      if (outputSize > 0 && !this.#privileges.has('FAST_HYPERCALL_OUTPUT')) return UNDEFINED
      // Outside of 64-bit mode registers carry no output.
      if (units(inputSize) + units(outputSize) > FAST_SIZE || (outputSize > 0 && !wide))
        return HV_STATUS.INVALID_HYPERCALL_INPUT
      this.#fetchRegisters(vp, wide, inputSize)
    }
    const input = call.fast || inputSize === 0 ? HV_STATUS.SUCCESS : this.#fetch(vp, wide, inputSize)
    if (input !== HV_STATUS.SUCCESS) return input
    let outputGpa = 0
    if (outputSize > 0) {
      if (!call.fast) {
        outputGpa = address(wide ? vp.getRegister('r8') : pair(vp, REGISTERS_32.output))
        if (!this.#fits(outputGpa, outputSize)) return HV_STATUS.INVALID_ALIGNMENT
        if (this.#memory.view(outputGpa, outputSize, 'write') === undefined) return HV_STATUS.INVALID_HYPERCALL_INPUT
      }
      this.#outputBytes.fill(0, 0, units(outputSize))
    }
    call.repCount = repCount
    call.repStartIndex = repStartIndex
    call.repsCompleted = repStartIndex
    const status = handler.call(call)
    if (outputSize > 0) {
      const first = repStartIndex * (element?.output ?? 0)
      const end =
        element !== undefined ? call.repsCompleted * element.output : status === HV_STATUS.SUCCESS ? outputSize : 0
      if (end > first && call.fast) this.#storeRegisters(vp, units(inputSize), first, end)
      else if (end > first) this.#memory.write(outputGpa + first, this.#outputBytes.subarray(first, end))
    }
    return status
  }

  /** Copy the input from memory to {@link HypercallTable.#inputBytes}. */
  #fetch(vp: VirtualProcessor, wide: boolean, size: number): number {
    const gpa = address(wide ? vp.getRegister('rdx') : pair(vp, REGISTERS_32.input))
    if (!this.#fits(gpa, size)) return HV_STATUS.INVALID_ALIGNMENT
    // Hyper-V tells the parent partition, which has an intercept; nobody is there who could put memory in place.
    return this.#memory.read(gpa, this.#inputBytes.subarray(0, size))
      ? HV_STATUS.SUCCESS
      : HV_STATUS.INVALID_HYPERCALL_INPUT
  }

  /** Copy fast input. */
  #fetchRegisters(vp: VirtualProcessor, wide: boolean, size: number): void {
    for (let at = 0; at < Math.max(size, FAST_UNIT); at += FAST_UNIT)
      this.#fetchUnit(vp, wide, at / FAST_UNIT, this.#call.input, at)
  }

  /** Bytes `[first, end)` of the output go to the registers from `base` on. What an earlier part of a list left in a register stays. */
  #storeRegisters(vp: VirtualProcessor, base: number, first: number, end: number): void {
    const value = this.#unit
    for (let at = first - (first % FAST_UNIT); at < end; at += FAST_UNIT) {
      const unit = (base + at) / FAST_UNIT
      const from = Math.max(at, first)
      if (from > at) this.#fetchUnit(vp, true, unit, this.#unitView, 0)
      else value.fill(0)
      value.set(this.#outputBytes.subarray(from, Math.min(end, at + FAST_UNIT)), from - at)
      if (unit > 0) vp.setXmm(unit - 1, value)
      else {
        vp.setRegister('rdx', this.#unitView.getBigUint64(0, true))
        vp.setRegister('r8', this.#unitView.getBigUint64(8, true))
      }
    }
  }

  /** Copy a unit of fast registers to `at` of `target`. */
  #fetchUnit(vp: VirtualProcessor, wide: boolean, unit: number, target: DataView, at: number): void {
    if (unit > 0) {
      new Uint8Array(target.buffer, target.byteOffset + at, FAST_UNIT).set(vp.getXmm(unit - 1))
      return
    }
    target.setBigUint64(at, wide ? vp.getRegister('rdx') : pair(vp, REGISTERS_32.input), true)
    target.setBigUint64(at + 8, wide ? vp.getRegister('r8') : pair(vp, REGISTERS_32.output), true)
  }

  /** Parameters are in the address space, 8-byte aligned, and do not cross a page. */
  #fits(gpa: number, size: number): boolean {
    return gpa < this.#gpaEnd && gpa % 8 === 0 && (gpa % PAGE_SIZE) + size <= PAGE_SIZE
  }
}

/** Bytes of whole units of registers. */
function units(size: number): number {
  return Math.ceil(size / FAST_UNIT) * FAST_UNIT
}

/** A GPA as a number; one beyond what a number holds exactly is no memory's, and stays so. */
function address(gpa: bigint): number {
  return gpa > BigInt(Number.MAX_SAFE_INTEGER) ? Number.NaN : Number(gpa)
}

/** Two 32-bit registers, the high half first. */
function pair(vp: VirtualProcessor, names: readonly [RegisterName, RegisterName]): bigint {
  return ((vp.getRegister(names[0]) & MASK_32) << 32n) | (vp.getRegister(names[1]) & MASK_32)
}
