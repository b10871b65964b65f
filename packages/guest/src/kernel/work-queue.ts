// A processor's work that came up outside of its slices: jobs wait here, and an interrupt that the kernel sends to itself gets the processor out of its halt.

import type { Cpu, Step } from '@partita/processor-typescript'

/** The idle loop of a processor, and what interrupts it. */
export class WorkQueue {
  readonly cpu: Cpu
  readonly #vector: number
  readonly #jobs: (() => void)[] = []

  constructor(cpu: Cpu, vector: number) {
    this.cpu = cpu
    this.#vector = vector
  }

  /** Run `job` in a slice: soon, in the order in which jobs come. */
  post(job: () => void): void {
    this.#jobs.push(job)
    if (!this.cpu.inSlice) this.cpu.wake(this.#vector)
  }

  /** For ever: work, then wait for an interrupt. */
  *run(): Generator<Step, void, void> {
    for (;;) {
      for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
        job()
        yield 'pause'
      }
      yield 'halt'
    }
  }
}
