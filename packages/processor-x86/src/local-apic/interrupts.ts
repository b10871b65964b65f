// Requested and serviced interrupts of a local APIC and their priorities (SDM vol. 3, 11.8.3 and 11.8.4): IRR, ISR, TMR, TPR, PPR, APR.

import { VectorSet } from './vector-set.ts'

/** Priority class of the highest vector of a set, in bits 7–4. */
function priorityClass(set: VectorSet): number {
  return set.highest < 0 ? 0 : set.highest & 0xf0
}

export class Interrupts {
  readonly isr: VectorSet = new VectorSet()
  readonly tmr: VectorSet = new VectorSet()
  readonly irr: VectorSet = new VectorSet()
  /** Highest requested vector that PPR lets through, or -1. */
  pending = -1
  readonly #autoEoi: VectorSet = new VectorSet()
  #tpr = 0
  #ppr = 0
  readonly #changed: () => void

  /** `changed` is called when another vector becomes {@link Interrupts.pending}. */
  constructor(changed: () => void) {
    this.#changed = changed
  }

  get tpr(): number {
    return this.#tpr
  }

  set tpr(value: number) {
    this.#tpr = value
    this.#refresh()
  }

  get ppr(): number {
    return this.#ppr
  }

  get apr(): number {
    const requested = priorityClass(this.irr)
    const inService = priorityClass(this.isr)
    const task = this.#tpr & 0xf0
    return task >= requested && task > inService ? this.#tpr : Math.max(task, requested, inService)
  }

  request(vector: number, level: boolean): void {
    this.irr.add(vector)
    if (level) this.tmr.add(vector)
    else this.tmr.remove(vector)
    this.#refresh()
  }

  /** Interrupts of `vector` end when they are delivered, from now on. */
  setAutoEoi(vector: number, automatic: boolean): void {
    if (automatic) this.#autoEoi.add(vector)
    else this.#autoEoi.remove(vector)
  }

  /** Move the pending vector, which there must be, from IRR to ISR, unless it ends at once. */
  acknowledge(): number {
    const vector = this.pending
    this.irr.remove(vector)
    if (!this.#autoEoi.has(vector) || this.tmr.has(vector)) this.isr.add(vector)
    this.#refresh()
    return vector
  }

  /** End the highest vector in service; returns it, or -1. */
  end(): number {
    const vector = this.isr.highest
    if (vector >= 0) {
      this.isr.remove(vector)
      this.#refresh()
    }
    return vector
  }

  reset(): void {
    this.isr.clear()
    this.tmr.clear()
    this.irr.clear()
    this.tpr = 0
  }

  restore(isr: ArrayLike<number>, tmr: ArrayLike<number>, irr: ArrayLike<number>, tpr: number): void {
    this.isr.assign(isr)
    this.tmr.assign(tmr)
    this.irr.assign(irr)
    this.tpr = tpr
  }

  #refresh(): void {
    const inService = priorityClass(this.isr)
    this.#ppr = (this.#tpr & 0xf0) >= inService ? this.#tpr : inService
    const before = this.pending
    this.pending = priorityClass(this.irr) > (this.#ppr & 0xf0) ? this.irr.highest : -1
    if (this.pending !== before && this.pending >= 0) this.#changed()
  }
}
