// Exact conversion between the reference time in nanoseconds and the ticks of an oscillator. A product of nanoseconds and hertz passes
// 2^53 after seconds, so that whole seconds and the rest are converted apart.

const SECOND = 1_000_000_000

/** An oscillator of `hertz` (below 4 MHz) that started with the reference time. */
export class Oscillator {
  readonly hertz: number

  constructor(hertz: number) {
    this.hertz = hertz
  }

  /** Ticks that are complete at `nanoseconds`. */
  ticks(nanoseconds: number): number {
    const seconds = Math.floor(nanoseconds / SECOND)
    return seconds * this.hertz + Math.floor(((nanoseconds - seconds * SECOND) * this.hertz) / SECOND)
  }

  /** The first nanosecond at which `ticks` ticks are complete. */
  nanoseconds(ticks: number): number {
    const seconds = Math.floor(ticks / this.hertz)
    return seconds * SECOND + Math.ceil(((ticks - seconds * this.hertz) * SECOND) / this.hertz)
  }
}
