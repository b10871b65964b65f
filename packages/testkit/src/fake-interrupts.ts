// Interrupt wires and messages that remember what came over them.

import type { InterruptLine, InterruptLines, InterruptMessage, InterruptMessages } from '@partita/interface'

/** ISA and PCI interrupt wires. Each `line()` is one device's output; the wire is asserted while any of its devices asserts it. */
export class FakeInterruptLines implements InterruptLines {
  readonly #asserted: Map<number, number> = new Map()
  readonly #edges: Map<number, number> = new Map()

  line(gsi: number): InterruptLine {
    let asserted = false
    return {
      set: (next: boolean): void => {
        if (next === asserted) return
        asserted = next
        const before = this.#asserted.get(gsi) ?? 0
        const after = before + (next ? 1 : -1)
        this.#asserted.set(gsi, after)
        if (before === 0 && after === 1) this.#edges.set(gsi, (this.#edges.get(gsi) ?? 0) + 1)
      },
    }
  }

  /** Whether the wire is asserted now. */
  level(gsi: number): boolean {
    return (this.#asserted.get(gsi) ?? 0) > 0
  }

  /** Rising edges since the beginning. */
  edges(gsi: number): number {
    return this.#edges.get(gsi) ?? 0
  }

  /** Every wire that is asserted now. */
  get asserted(): readonly number[] {
    return [...this.#asserted].filter(([, count]) => count > 0).map(([gsi]) => gsi)
  }
}

/** The way to the local APICs. */
export class FakeInterruptMessages implements InterruptMessages {
  /** What was sent, oldest first. */
  readonly sent: InterruptMessage[] = []
  /** The INTR pin. */
  externalInterrupt = false
  #acknowledge: (() => number) | undefined
  readonly #endOfInterrupt: Set<(vector: number) => void> = new Set()

  send(message: InterruptMessage): void {
    this.sent.push({ ...message })
  }

  setExternalInterrupt(asserted: boolean): void {
    this.externalInterrupt = asserted
  }

  setAcknowledge(acknowledge: () => number): void {
    this.#acknowledge = acknowledge
  }

  onEndOfInterrupt(callback: (vector: number) => void): Disposable {
    this.#endOfInterrupt.add(callback)
    return { [Symbol.dispose]: () => void this.#endOfInterrupt.delete(callback) }
  }

  /** The processor's interrupt acknowledge cycle; returns the vector. */
  acknowledge(): number {
    if (this.#acknowledge === undefined) throw new Error('nobody answers the interrupt acknowledge cycle')
    return this.#acknowledge()
  }

  /** The processor's EOI of a level-triggered vector. */
  endOfInterrupt(vector: number): void {
    for (const callback of this.#endOfInterrupt) callback(vector)
  }

  /** How many devices listen to EOIs. */
  get listeners(): number {
    return this.#endOfInterrupt.size
  }
}
