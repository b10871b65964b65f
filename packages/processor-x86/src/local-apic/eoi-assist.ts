// The "No EOI required" bit of the virtual processor assist page (TLFS, "EOI Assist"): set while the interrupt in service may be ended without a word to the local
// APIC. The guest ends it by clearing the bit; that it has is found out when somebody next asks.

const NO_EOI_REQUIRED = 1

/** A page whose first double word is the EOI assist field. */
export interface AssistPage {
  readonly words: Int32Array
}

export class EoiAssist {
  #page: AssistPage | undefined
  #offered = false

  /** Whether the guest may have ended the interrupt that {@link EoiAssist.offer} was for. */
  get offered(): boolean {
    return this.#offered
  }

  /** Use another page, or none. Nothing is offered there. Take back what was offered before. */
  place(page: AssistPage | undefined): void {
    this.#page = page
    if (page !== undefined) Atomics.and(page.words, 0, ~NO_EOI_REQUIRED)
  }

  /** The highest interrupt in service may be ended without EOI. */
  offer(): void {
    const page = this.#page
    if (page === undefined) return
    Atomics.or(page.words, 0, NO_EOI_REQUIRED)
    this.#offered = true
  }

  /** From now on EOI is required. Returns whether the guest has ended the interrupt already. */
  takeBack(): boolean {
    if (!this.#offered) return false
    this.#offered = false
    const page = this.#page as AssistPage
    return (Atomics.and(page.words, 0, ~NO_EOI_REQUIRED) & NO_EOI_REQUIRED) === 0
  }
}
