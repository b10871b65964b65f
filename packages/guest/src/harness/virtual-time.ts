// Time that passes only when nothing else is to be done: a guest that sleeps an hour wakes at once, and a run has the same times whenever it is repeated.

import { type EventLoop, type HostTime, hostEventLoop } from '@partita/hypervisor'

/** Each look at the clock takes so many nanoseconds, so that who waits for a time by looking at it gets there. */
const LOOK = 10
/** Nanoseconds that a turn of the event loop takes. */
const TURN = 20_000
/** Turns of the event loop in which nothing happens before time goes on: what the host is at (a file that is read) may take as many. */
const QUIET_TURNS = 20
/** The scheduler's longest wait: there is nothing to wait for. */
const FOR_EVER = 0x3fff_ffff
/** 2025-01-01, milliseconds since 1970. */
const EPOCH = 1_735_689_600_000

/** The time and the event loop of one virtual machine. */
export class VirtualTime implements HostTime, EventLoop {
  /** Nanoseconds. */
  #now = 0

  now(): number {
    this.#now += LOOK
    return this.#now
  }

  wallTime(): number {
    return EPOCH + Math.floor(this.#now / 1e6)
  }

  async yield(): Promise<void> {
    await hostEventLoop.yield()
    this.#now += TURN
  }

  after(milliseconds: number, callback: () => void): () => void {
    if (milliseconds >= FOR_EVER) return () => {}
    const deadline = this.#now + milliseconds * 1e6
    let cancelled = false
    const wait = async (): Promise<void> => {
      for (let turn = 0; turn < QUIET_TURNS && !cancelled; turn++) await hostEventLoop.yield()
      if (cancelled) return
      this.#now = Math.max(this.#now, deadline)
      callback()
    }
    void wait()
    return () => {
      cancelled = true
    }
  }
}
