// Regions are compiled as they are found to be hot, a few to a module. A module has pages of code, tables and an instance of its own, so that a guest whose hot code is large spends much of its time on
// fetching those. Once hardly anything new becomes hot, the regions that are executed are compiled anew, many to a module.

/** New regions of a period in which hardly anything new became hot. */
const CALM = 64
/** Fewer regions are not worth it. */
const ENOUGH = 64

/** When regions are compiled anew, and how many together. */
export interface ConsolidationOptions {
  /** Most regions of a module. */
  readonly regions: number
  /** Instructions of a period: it happens when in one hardly anything became hot, and in the next neither. */
  readonly period: number
}

/** Regions in small modules. */
export interface ScatteredRegions<Region> {
  /** Look for what is executed from now on. */
  watch(): void
  /** What was executed since, those that lie near each other in the guest next to each other. */
  executed(): Region[]
}

/** Decides when regions are compiled anew, and which. */
export class Consolidation<Region> {
  readonly #scattered: ScatteredRegions<Region>
  readonly #options: ConsolidationOptions
  #end: number
  #ordered = 0
  #watching = false
  #waiting: Region[] = []

  constructor(scattered: ScatteredRegions<Region>, options: ConsolidationOptions) {
    this.#scattered = scattered
    this.#options = options
    this.#end = options.period
  }

  /** So many regions were found to be hot. */
  ordered(count: number): void {
    this.#ordered += count
  }

  /** What to compile anew in one module; mostly nothing. `now`: instructions executed so far. */
  next(now: number): Region[] {
    if (this.#waiting.length === 0) {
      if (now < this.#end) return []
      this.#period(now)
    }
    return this.#waiting.splice(0, this.#options.regions)
  }

  /** A period is over. */
  #period(now: number): void {
    const calm = this.#ordered <= CALM
    this.#ordered = 0
    this.#end = now + this.#options.period
    if (calm && this.#watching) {
      const executed = this.#scattered.executed()
      if (executed.length >= ENOUGH) this.#waiting = executed
    }
    this.#watching = calm && this.#waiting.length === 0
    if (this.#watching) this.#scattered.watch()
  }

  /** All regions are gone. */
  reset(): void {
    this.#waiting = []
    this.#watching = false
  }
}
