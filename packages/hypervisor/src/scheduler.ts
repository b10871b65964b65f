// Runs the virtual processors of a partition on one thread: in slices of about a millisecond, timers in between, a breath for the event loop every
// few milliseconds, and a wait in the event loop while all of them are halted.

import type { VirtualProcessor } from '@partita/interface'
import type { EventLoop } from './event-loop.ts'
import type { ReferenceClock } from './reference-clock.ts'

/** Nanoseconds that one slice aims at. */
const SLICE = 1e6
/** A slice is not shorter than this, however near the next deadline is. */
const SLICE_MINIMUM = 20e3
/** Nanoseconds of running after which the event loop gets its turn. */
const YIELD_INTERVAL = 8e6
/** Up to this wait (nanoseconds) the host's timers are too coarse, and the scheduler looks again after each turn of the event loop. */
const SPIN_LIMIT = 2e6
/** Spinning is paid from a credit: a share of the time that the guest computes, a small one of the time that it sleeps. */
const SPIN_SHARE_RUNNING = 0.25
const SPIN_SHARE_IDLE = 0.004
const SPIN_CREDIT_MAXIMUM = 50e6
const BUDGET_MINIMUM = 32
const BUDGET_MAXIMUM = 1 << 26
/** Basic blocks a nanosecond before anything is measured. */
const INITIAL_RATE = 0.001
/** Turns of promises that are waited for before the event loop: what a signal of the guest began, and is done already, ends in them. */
const PROMISE_TURNS = 8
/** Longest host timer in milliseconds. */
const TIMER_MAXIMUM = 0x3fffffff

/** Why {@link Scheduler.run} came to an end. `vpIndex` is the processor that is in the shutdown state. */
export type SchedulerStop<Reason> = Reason | { readonly type: 'triple-fault'; readonly vpIndex: number }

interface Runnable {
  readonly vp: VirtualProcessor
  /** Not halted, as far as the scheduler knows. */
  ready: boolean
  /** Nanoseconds in which it ran. */
  runTime: number
}

/** The run loop of a partition. `Reason` is what the owner stops it with. */
export class Scheduler<Reason> {
  readonly #clock: ReferenceClock
  readonly #eventLoop: EventLoop
  readonly #runnables: Runnable[] = []
  #rate = INITIAL_RATE
  #spinCredit = 0
  #running: VirtualProcessor | undefined
  /** Beginning of the slice in progress, reference time. */
  #sliceStart = 0
  /** End of the slice in progress, reference time. */
  #sliceEnd = 0
  #cutShort = false
  #stop: { reason: Reason } | undefined
  #active = false
  #wake: (() => void) | undefined

  constructor(clock: ReferenceClock, eventLoop: EventLoop) {
    this.#clock = clock
    this.#eventLoop = eventLoop
    clock.onEarlierDeadline = (deadline) => {
      if (this.#running === undefined) this.#wake?.()
      else if (deadline < this.#sliceEnd) this.#interruptSlice()
    }
  }

  /** One more processor; its index is the number of those before it. */
  add(vp: VirtualProcessor): void {
    this.#runnables.push({ vp, ready: true, runTime: 0 })
  }

  /** Something happened that may end the halt of processor `vpIndex`. */
  ready(vpIndex: number): void {
    const runnable = this.#runnables[vpIndex]
    if (runnable === undefined) return
    runnable.ready = true
    this.#wake?.()
  }

  /** Look at every processor again (after a reset or a restore). */
  readyAll(): void {
    for (const runnable of this.#runnables) runnable.ready = true
    this.#wake?.()
  }

  /** Nanoseconds that processor `vpIndex` has run since it was added. */
  runTime(vpIndex: number): number {
    const runnable = this.#runnables[vpIndex]
    if (runnable === undefined) return 0
    return runnable.runTime + (this.#running === runnable.vp ? Math.max(0, this.#clock.now() - this.#sliceStart) : 0)
  }

  /** End {@link Scheduler.run} with `reason` at the end of the instruction in progress. The first reason wins. */
  stop(reason: Reason): void {
    if (this.#stop !== undefined) return
    this.#stop = { reason }
    this.#interruptSlice()
    this.#wake?.()
  }

  /** Take back a stop that has not taken effect yet. */
  clearStop(): void {
    this.#stop = undefined
  }

  /** Whether {@link Scheduler.run} is in progress. */
  get active(): boolean {
    return this.#active
  }

  /** Run until {@link Scheduler.stop}, or until a processor shuts down. An exception of a device or the processor comes through. */
  async run(): Promise<SchedulerStop<Reason>> {
    const clock = this.#clock
    this.#active = true
    clock.start()
    try {
      let lastYield = clock.now()
      for (;;) {
        clock.runDue()
        let ran = false
        let now = clock.now()
        for (const runnable of this.#runnables) {
          if (this.#stop !== undefined) break
          if (!runnable.ready && runnable.vp.nextDeadline > now) continue
          ran = true
          if (this.#slice(runnable, now) === 'shutdown') return { type: 'triple-fault', vpIndex: runnable.vp.index }
          now = clock.now()
        }
        const stop = this.#stop
        if (stop !== undefined) {
          this.#stop = undefined
          return stop.reason
        }
        for (let turn = ran ? 1 : PROMISE_TURNS; turn > 0 && (ran || !this.#wanted); turn--) await undefined
        if (!(ran || this.#wanted)) await this.#idle(now)
        else if (now - lastYield < YIELD_INTERVAL) continue
        else await this.#eventLoop.yield()
        lastYield = clock.now()
      }
    } finally {
      this.#active = false
      clock.stop()
    }
  }

  /** There is something to do. */
  get #wanted(): boolean {
    if (this.#stop !== undefined) return true
    for (const { ready } of this.#runnables) if (ready) return true
    return false
  }

  #slice(runnable: Runnable, now: number): string {
    const vp = runnable.vp
    const end = Math.min(now + SLICE, this.#clock.nextDeadline, vp.nextDeadline > now ? vp.nextDeadline : Infinity)
    const span = Math.max(end - now, SLICE_MINIMUM)
    const budget = Math.min(Math.max(Math.floor(span * this.#rate), BUDGET_MINIMUM), BUDGET_MAXIMUM)
    this.#sliceStart = now
    this.#sliceEnd = now + span
    this.#cutShort = false
    this.#running = vp
    let exit: string
    try {
      exit = vp.run(budget)
    } finally {
      this.#running = undefined
    }
    runnable.ready = exit === 'budget'
    const elapsed = Math.max(this.#clock.now() - now, 1)
    runnable.runTime += elapsed
    this.#spinCredit = Math.min(this.#spinCredit + elapsed * SPIN_SHARE_RUNNING, SPIN_CREDIT_MAXIMUM)
    if (exit === 'budget' && !this.#cutShort) {
      const measured = budget / elapsed
      // Too long is corrected at once, too short by and by: a block that spins says little of the next.
      this.#rate =
        measured < this.#rate
          ? (this.#rate + measured) / 2
          : Math.min(this.#rate * 0.75 + measured * 0.25, this.#rate * 2)
    }
    return exit
  }

  #interruptSlice(): void {
    const vp = this.#running
    if (vp === undefined) return
    this.#cutShort = true
    vp.requestExit()
  }

  async #idle(now: number): Promise<void> {
    let deadline = this.#clock.nextDeadline
    for (const { vp } of this.#runnables) deadline = Math.min(deadline, vp.nextDeadline)
    const wait = deadline - now
    if (wait <= 0) return
    if (wait < SPIN_LIMIT && this.#spinCredit > 0) {
      await this.#eventLoop.yield()
      this.#spinCredit -= this.#clock.now() - now
      return
    }
    const milliseconds = Math.min(Math.ceil(wait / 1e6), TIMER_MAXIMUM)
    const woken = await new Promise<boolean>((resolve) => {
      const cancel = this.#eventLoop.after(milliseconds, () => resolve(false))
      this.#wake = () => {
        cancel()
        resolve(true)
      }
    })
    this.#wake = undefined
    // A device that raises an interrupt amid an asynchronous function gets to its end before the guest answers.
    if (woken) await this.#eventLoop.yield()
    this.#spinCredit = Math.min(this.#spinCredit + (this.#clock.now() - now) * SPIN_SHARE_IDLE, SPIN_CREDIT_MAXIMUM)
  }
}
