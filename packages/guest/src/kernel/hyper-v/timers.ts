// Whatever waits for a time waits on one synthetic timer (TLFS, "Timers"), in direct mode: its expiration is an interrupt, and no message.

import type { Cpu } from '@partita/processor-typescript'
import { HV_MSR } from './msr.ts'

/** HV_X64_MSR_STIMER0_CONFIG. Writing the count enables the timer. */
const STIMER = { AUTO_ENABLE: 1n << 3n, VECTOR_SHIFT: 4n, DIRECT: 1n << 12n } as const
const UNITS_PER_MILLISECOND = 10_000

interface Sleeper {
  /** Units of 100 ns. */
  readonly deadline: bigint
  readonly settle: PromiseWithResolvers<void>
}

/** The timers of the kernel. */
export class Timers {
  readonly #cpu: Cpu
  readonly #now: () => bigint
  /** Have `job` run in a slice of the processor. */
  readonly #post: (job: () => void) => void
  /** In the order of their deadlines. */
  readonly #sleepers: Sleeper[] = []

  constructor(cpu: Cpu, now: () => bigint, post: (job: () => void) => void) {
    this.#cpu = cpu
    this.#now = now
    this.#post = post
  }

  enable(vector: number): void {
    this.#cpu.writeMsr(
      HV_MSR.STIMER0_CONFIG,
      STIMER.AUTO_ENABLE | STIMER.DIRECT | (BigInt(vector) << STIMER.VECTOR_SHIFT),
    )
  }

  /** Resolves after `milliseconds` of the partition's time. @throws the signal's reason */
  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const settle = Promise.withResolvers<void>()
    const deadline = this.#now() + BigInt(Math.ceil(milliseconds * UNITS_PER_MILLISECOND))
    const sleeper: Sleeper = { deadline, settle }
    const at = this.#sleepers.findIndex((other) => other.deadline > deadline)
    this.#sleepers.splice(at < 0 ? this.#sleepers.length : at, 0, sleeper)
    const abort = (): void => {
      const index = this.#sleepers.indexOf(sleeper)
      if (index >= 0) this.#sleepers.splice(index, 1)
      settle.reject(signal?.reason)
    }
    signal?.addEventListener('abort', abort, { once: true })
    if (this.#sleepers[0] === sleeper) this.#post(() => this.#arm())
    try {
      await settle.promise
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** The timer's interrupt. */
  interrupt(): void {
    const now = this.#now()
    while ((this.#sleepers[0]?.deadline ?? now + 1n) <= now) this.#sleepers.shift()?.settle.resolve()
    this.#arm()
  }

  /** Nobody will be woken any more. */
  end(reason: Error): void {
    for (const { settle } of this.#sleepers.splice(0)) settle.reject(reason)
  }

  /** A one-shot timer takes the time at which it is to expire; 0 stops it. */
  #arm(): void {
    this.#cpu.writeMsr(HV_MSR.STIMER0_COUNT, this.#sleepers[0]?.deadline ?? 0n)
  }
}
