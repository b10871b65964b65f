// The partition's reference time: monotonic nanoseconds since power-on, stopped while the partition does not run, and its timers in a binary heap.
// Where the time comes from is injected.

import type { Clock, Timer } from '@partita/interface'

/** The host's time. */
export interface HostTime {
  /** Monotonic, nanoseconds from any origin. */
  now(): number
  /** Milliseconds since 1970 (UTC). */
  wallTime(): number
}

/** The time of the JavaScript host. */
export const hostTime: HostTime = {
  now(): number {
    return performance.now() * 1e6
  },
  wallTime(): number {
    return Date.now()
  },
}

/** Timers that one call of {@link ReferenceClock.runDue} fires at most: a guest may ask for a period shorter than its service takes. */
const DUE_LIMIT = 4096

const UNARMED = -1

/** A pausable {@link Clock}. It is created stopped, at time 0. */
export class ReferenceClock implements Clock {
  readonly #host: HostTime
  readonly #heap: HeapTimer[] = []
  /** Reference time while stopped; host time minus reference time while running. */
  #base = 0
  #running = false
  /** Called when a timer is armed that is now the next to fire. */
  onEarlierDeadline: ((deadline: number) => void) | undefined

  constructor(host: HostTime = hostTime) {
    this.#host = host
  }

  now(): number {
    return this.#running ? Math.floor(this.#host.now() - this.#base) : this.#base
  }

  wallTime(): number {
    return this.#host.wallTime()
  }

  /** A timer that is not armed; it fires in {@link ReferenceClock.runDue}. */
  createTimer(callback: () => void): Timer {
    return new HeapTimer(this.#heap, callback, this)
  }

  /** Time goes on. */
  start(): void {
    if (this.#running) return
    this.#base = this.#host.now() - this.#base
    this.#running = true
  }

  /** Time stands still. */
  stop(): void {
    if (!this.#running) return
    this.#base = this.now()
    this.#running = false
  }

  /** Set the reference time of a stopped clock, to 0 for a reset or to a saved state's. Timers keep their deadlines. */
  set(now: number): void {
    const running = this.#running
    this.#base = now
    this.#running = false
    if (running) this.start()
  }

  /** Reference time at which the next timer fires, or `Infinity`. */
  get nextDeadline(): number {
    return this.#heap[0]?.deadline ?? Infinity
  }

  /** Fire the timers whose deadline has passed. */
  runDue(): void {
    const heap = this.#heap
    if (heap.length === 0) return
    const now = this.now()
    for (let fired = 0; fired < DUE_LIMIT; fired++) {
      const timer = heap[0]
      if (timer === undefined || timer.deadline > now) return
      timer.cancel()
      timer.callback()
    }
  }
}

/** A timer and its place in the heap. */
class HeapTimer implements Timer {
  readonly callback: () => void
  readonly #heap: HeapTimer[]
  readonly #clock: ReferenceClock
  #index = UNARMED
  #deadline = Infinity

  constructor(heap: HeapTimer[], callback: () => void, clock: ReferenceClock) {
    this.#heap = heap
    this.callback = callback
    this.#clock = clock
  }

  get deadline(): number {
    return this.#deadline
  }

  arm(deadline: number): void {
    if (!(deadline < Infinity)) {
      this.cancel()
      return
    }
    const earlier = deadline < this.#deadline
    this.#deadline = deadline
    if (this.#index === UNARMED) {
      this.#index = this.#heap.length
      this.#heap.push(this)
      this.#up()
    } else if (earlier) this.#up()
    else this.#down()
    if (this.#index === 0) this.#clock.onEarlierDeadline?.(deadline)
  }

  cancel(): void {
    if (this.#index === UNARMED) return
    const heap = this.#heap
    const last = heap.pop() as HeapTimer
    if (last !== this) {
      heap[this.#index] = last
      last.#index = this.#index
      last.#up()
      last.#down()
    }
    this.#index = UNARMED
    this.#deadline = Infinity
  }

  #up(): void {
    const heap = this.#heap
    let index = this.#index
    while (index > 0) {
      const parentIndex = (index - 1) >> 1
      const parent = heap[parentIndex] as HeapTimer
      if (parent.#deadline <= this.#deadline) break
      heap[index] = parent
      parent.#index = index
      index = parentIndex
    }
    heap[index] = this
    this.#index = index
  }

  #down(): void {
    const heap = this.#heap
    let index = this.#index
    for (;;) {
      let childIndex = 2 * index + 1
      if (childIndex >= heap.length) break
      const right = heap[childIndex + 1]
      if (right !== undefined && right.#deadline < (heap[childIndex] as HeapTimer).#deadline) childIndex++
      const child = heap[childIndex] as HeapTimer
      if (child.#deadline >= this.#deadline) break
      heap[index] = child
      child.#index = index
      index = childIndex
    }
    heap[index] = this
    this.#index = index
  }
}
