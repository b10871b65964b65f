// The way of interrupt messages to the local APICs (Intel SDM vol. 3, 11.6.2: destination mode, broadcast, lowest priority), and of the 8259A
// pair's INTR pin to the boot processor. Each local APIC decides whether it is among a message's destinations.

import { DELIVERY_MODE, type InterruptMessage, type InterruptMessages, type VirtualProcessor } from '@partita/interface'

/** The vector that an 8259A gives when nothing asked: IRQ 7 of a controller at its usual base is the guest's affair, so the processor's default. */
const SPURIOUS_VECTOR = 0xff

/** Routes interrupts to a partition's virtual processors. */
export class InterruptRouter implements InterruptMessages {
  readonly #processors: readonly VirtualProcessor[]
  readonly #ready: (vpIndex: number) => void
  readonly #endOfInterrupt: ((vector: number) => void)[] = []
  readonly #edge: { -readonly [K in keyof InterruptMessage]: InterruptMessage[K] } = {
    vector: 0,
    deliveryMode: DELIVERY_MODE.FIXED,
    destination: 0,
    logical: false,
    level: false,
  }
  #acknowledge: () => number = () => SPURIOUS_VECTOR
  /** Where the search for the taker of the next lowest-priority message starts, so that equals take turns. */
  #turn = 0

  /** `processors` may grow; `ready` is told of each processor that took something. */
  constructor(processors: readonly VirtualProcessor[], ready: (vpIndex: number) => void) {
    this.#processors = processors
    this.#ready = ready
  }

  /** Deliver to every local APIC that the message is for; a lowest-priority one to a single one, in turn. */
  send(message: InterruptMessage): void {
    const processors = this.#processors
    const count = processors.length
    if (message.deliveryMode === DELIVERY_MODE.LOWEST_PRIORITY) {
      for (let step = 0; step < count; step++) {
        const index = (this.#turn + step) % count
        if (!(processors[index] as VirtualProcessor).receiveInterrupt(message)) continue
        this.#turn = (index + 1) % count
        this.#ready(index)
        return
      }
      return
    }
    for (let index = 0; index < count; index++) {
      if ((processors[index] as VirtualProcessor).receiveInterrupt(message)) this.#ready(index)
    }
  }

  /** An edge-triggered interrupt of one processor. */
  raise(vpIndex: number, vector: number): void {
    const vp = this.#processors[vpIndex]
    if (vp === undefined) return
    const message = this.#edge
    message.vector = vector
    message.destination = vp.apicId
    if (vp.receiveInterrupt(message)) this.#ready(vpIndex)
  }

  setExternalInterrupt(asserted: boolean): void {
    this.#processors[0]?.setExternalInterrupt(asserted)
    if (asserted) this.#ready(0)
  }

  setAcknowledge(acknowledge: () => number): void {
    this.#acknowledge = acknowledge
  }

  onEndOfInterrupt(callback: (vector: number) => void): Disposable {
    const callbacks = this.#endOfInterrupt
    callbacks.push(callback)
    return {
      [Symbol.dispose](): void {
        const index = callbacks.indexOf(callback)
        if (index >= 0) callbacks.splice(index, 1)
      },
    }
  }

  /** The processor's interrupt acknowledge cycle. */
  acknowledge(): number {
    return this.#acknowledge()
  }

  /** The processor's EOI of a level-triggered vector. */
  endOfInterrupt(vector: number): void {
    for (const callback of this.#endOfInterrupt) callback(vector)
  }
}
