// The synthetic interrupt controller of one processor (TLFS, "Inter-Partition Communication"): a page of message slots, a page of event flags, and sixteen sources of interrupts, of
// which this guest uses one, as every guest on the VMBus.

import type { Cpu } from '@partita/processor-typescript'
import { PAGE_SIZE } from '../boot/page-allocator.ts'
import { HV_MSR, PAGE_ENABLE } from './msr.ts'

/** The VMBus' source, by convention. */
const VMBUS_SINT = 2
const AUTO_EOI = 1n << 17n
const SCONTROL_ENABLE = 1n

/** Offsets in a message slot. */
const SLOT = { SIZE: 256, TYPE: 0, PAYLOAD_SIZE: 4, FLAGS: 5, PAYLOAD: 16 } as const
const MESSAGE_PENDING = 1
const PAYLOAD_MAXIMUM = 240
/** Bytes of the event flags of a source. */
const FLAGS_SIZE = 256

/** Who is told. */
export interface SynicEvents {
  message(messageType: number, payload: Uint8Array): void
  event(flag: number): void
}

/** One processor's SynIC. */
export class Synic {
  readonly #cpu: Cpu
  readonly #messages: number
  readonly #flags: number

  /** `pages` are two that nothing else uses. */
  constructor(cpu: Cpu, pages: number) {
    this.#cpu = cpu
    this.#messages = pages * PAGE_SIZE
    this.#flags = this.#messages + PAGE_SIZE
  }

  /** Have the pages placed, and interrupts of the VMBus' source come as `vector`. */
  enable(vector: number, autoEoi: boolean): void {
    const cpu = this.#cpu
    cpu.writeMsr(HV_MSR.SIMP, BigInt(this.#messages) | PAGE_ENABLE)
    cpu.writeMsr(HV_MSR.SIEFP, BigInt(this.#flags) | PAGE_ENABLE)
    cpu.writeMsr(HV_MSR.SINT0 + VMBUS_SINT, BigInt(vector) | (autoEoi ? AUTO_EOI : 0n))
    cpu.writeMsr(HV_MSR.SCONTROL, SCONTROL_ENABLE)
  }

  /** The interrupt's service: take the message, and every flag that is set. */
  interrupt(events: SynicEvents): void {
    this.#takeMessage(events)
    this.#takeFlags(events)
  }

  #takeMessage(events: SynicEvents): void {
    const { memory } = this.#cpu
    const slot = this.#messages + VMBUS_SINT * SLOT.SIZE
    const type = memory.readU32(slot + SLOT.TYPE) ?? 0
    if (type === 0) return
    const size = Math.min(memory.readU8(slot + SLOT.PAYLOAD_SIZE) ?? 0, PAYLOAD_MAXIMUM)
    const payload = new Uint8Array(size)
    memory.read(slot + SLOT.PAYLOAD, payload)
    // Free first, then look whether another one waits: it is delivered on the end of this message, unless it was already.
    memory.writeU32(slot + SLOT.TYPE, 0)
    if (((memory.readU8(slot + SLOT.FLAGS) ?? 0) & MESSAGE_PENDING) !== 0) this.#cpu.writeMsr(HV_MSR.EOM, 0n)
    events.message(type, payload)
  }

  #takeFlags(events: SynicEvents): void {
    const page = this.#cpu.memory.view(this.#flags + VMBUS_SINT * FLAGS_SIZE, FLAGS_SIZE, 'write')
    if (page === undefined) return
    const words = new Int32Array(page.buffer, page.byteOffset, FLAGS_SIZE / 4)
    for (let index = 0; index < words.length; index++) {
      for (let word = Atomics.exchange(words, index, 0); word !== 0; word &= word - 1)
        events.event(index * 32 + 31 - Math.clz32(word & -word))
    }
  }
}
