// The kernel as its drivers see it: memory, pages, messages and signals. Drivers run behind `await`s, where no hypercall can be made: what they ask for then is done in the next slice.

import type { Cpu } from '@partita/processor-typescript'
import type { DmaBuffer, VmbusTransport } from '@partita/vmbus/client'
import { PAGE_SIZE, type PageAllocator } from './boot/page-allocator.ts'
import type { Hypercalls } from './hyper-v/hypercalls.ts'

/** The type of all messages on the VMBus. */
export const VMBUS_MESSAGE_TYPE = 1
const HV_STATUS_INSUFFICIENT_BUFFERS = 0x13
/** How long the host is left alone when it has no buffers. */
const RETRY_MS = 1

/** What the transport stands on. */
export interface ChildTransportOptions {
  readonly memory: Cpu['memory']
  readonly pages: PageAllocator
  readonly hypercalls: Hypercalls
  /** The processor that is amid a slice; `undefined` behind an `await`. */
  running(): Cpu | undefined
  /** Have `job` run in a slice. */
  post(job: () => void): void
  sleep(milliseconds: number): Promise<void>
  processorCount(): number
}

/** The guest's own transport. */
export class ChildTransport implements VmbusTransport {
  readonly memory: Cpu['memory']
  /** Called in a slice when messages that were refused can be posted again. */
  onRetry: (() => void) | undefined
  readonly #options: ChildTransportOptions
  readonly #signals = new Set<number>()
  #waiting = false

  constructor(options: ChildTransportOptions) {
    this.#options = options
    this.memory = options.memory
  }

  get processorCount(): number {
    return this.#options.processorCount()
  }

  allocate(byteLength: number): DmaBuffer {
    const { pages } = this.#options
    const count = Math.max(1, Math.ceil(byteLength / PAGE_SIZE))
    const page = pages.allocate(count)
    const gpa = page * PAGE_SIZE
    this.memory.fill(gpa, count * PAGE_SIZE, 0)
    return this.adopt(gpa, byteLength)
  }

  adopt(gpa: number, byteLength: number): DmaBuffer {
    const { pages } = this.#options
    let owned = true
    return {
      gpa,
      // What the allocator has is RAM, one page after the other.
      bytes: this.memory.view(gpa, byteLength, 'write') as Uint8Array,
      [Symbol.dispose]: () => {
        if (owned) pages.free(gpa / PAGE_SIZE, Math.max(1, Math.ceil(byteLength / PAGE_SIZE)))
        owned = false
      },
    }
  }

  addressOf(bytes: Uint8Array): number | undefined {
    return this.memory.addressOf(bytes)
  }

  postMessage(connectionId: number, payload: Uint8Array): number {
    const cpu = this.#options.running()
    if (cpu === undefined) {
      this.#retryWith((retry) => this.#options.post(retry))
      return HV_STATUS_INSUFFICIENT_BUFFERS
    }
    const status = this.#options.hypercalls.postMessage(cpu, connectionId, VMBUS_MESSAGE_TYPE, payload)
    if (status === HV_STATUS_INSUFFICIENT_BUFFERS)
      this.#retryWith(
        (retry) =>
          void this.#options.sleep(RETRY_MS).then(
            () => this.#options.post(retry),
            () => undefined,
          ),
      )
    return status
  }

  signalEvent(connectionId: number): void {
    const { running, hypercalls, post } = this.#options
    const cpu = running()
    if (cpu !== undefined) {
      hypercalls.signalEvent(cpu, connectionId)
      return
    }
    this.#signals.add(connectionId)
    if (this.#signals.size > 1) return
    post(() => {
      const signals = [...this.#signals]
      this.#signals.clear()
      for (const id of signals) this.signalEvent(id)
    })
  }

  #retryWith(schedule: (retry: () => void) => void): void {
    if (this.#waiting) return
    this.#waiting = true
    schedule(() => {
      this.#waiting = false
      this.onRetry?.()
    })
  }
}
