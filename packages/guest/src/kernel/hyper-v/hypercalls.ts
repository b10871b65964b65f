// The hypercall page, and the two hypercalls that a guest on the VMBus cannot do without (TLFS, "Hypercall Interface", "Inter-Partition Communication").

import type { Cpu } from '@partita/processor-typescript'
import { PAGE_SIZE } from '../boot/page-allocator.ts'
import { GuestError } from '../guest-error.ts'
import { HV_MSR, PAGE_ENABLE } from './msr.ts'

/** Bit 63: an open source operating system; its type in bits 62–56, of which 8 to 127 are nobody's. Version and build below. */
const GUEST_OS_ID: bigint = (1n << 63n) | (0x7fn << 56n) | (1n << 16n)

const CALL = { POST_MESSAGE: 0x5cn, SIGNAL_EVENT: 0x5dn } as const
/** Input in registers. */
const FAST = 1n << 16n
const STATUS_MASK = 0xffffn
/** Offsets in HvCallPostMessage's input. */
const POST = { CONNECTION_ID: 0, MESSAGE_TYPE: 8, PAYLOAD_SIZE: 12, PAYLOAD: 16, SIZE: 256 } as const

/** The interface, once it is enabled. */
export class Hypercalls {
  /** Page of the hypercall page, and one for input. */
  readonly #code: number
  readonly #input: number

  /** `pages` are two that nothing else uses. */
  constructor(pages: number) {
    this.#code = pages * PAGE_SIZE
    this.#input = this.#code + PAGE_SIZE
  }

  /** Say who this is, and have the hypercall page placed. @throws GuestError `ERR_GUEST_HYPERVISOR` */
  enable(cpu: Cpu): void {
    cpu.writeMsr(HV_MSR.GUEST_OS_ID, GUEST_OS_ID)
    cpu.writeMsr(HV_MSR.HYPERCALL, BigInt(this.#code) | PAGE_ENABLE)
    // Whoever did not say who he is gets no page.
    if ((cpu.readMsr(HV_MSR.HYPERCALL) & PAGE_ENABLE) === 0n)
      throw new GuestError('ERR_GUEST_HYPERVISOR', 'The hypervisor gives no hypercall page')
  }

  /** Post a message to a port of the root partition. Returns an HV_STATUS. `payload` has at most 240 bytes. */
  postMessage(cpu: Cpu, connectionId: number, messageType: number, payload: Uint8Array): number {
    const { memory } = cpu
    const input = this.#input
    memory.fill(input, POST.SIZE, 0)
    memory.writeU32(input + POST.CONNECTION_ID, connectionId)
    memory.writeU32(input + POST.MESSAGE_TYPE, messageType)
    memory.writeU32(input + POST.PAYLOAD_SIZE, payload.length)
    memory.write(input + POST.PAYLOAD, payload)
    return Number(cpu.call(this.#code, CALL.POST_MESSAGE, BigInt(input), 0n) & STATUS_MASK)
  }

  /** Signal a port of the root partition, with flag 0. Returns an HV_STATUS. */
  signalEvent(cpu: Cpu, connectionId: number): number {
    return Number(cpu.call(this.#code, CALL.SIGNAL_EVENT | FAST, BigInt(connectionId), 0n) & STATUS_MASK)
  }
}
