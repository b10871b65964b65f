// What the suite for clients (VSCs) needs to know of one, and what checks do with it again and again.

import type { VmbusDevice } from '@partita/interface'
import { PartitaError } from '@partita/interface'
import type { VscDevice, VscDriver, VscInstance } from '@partita/vmbus/client'
import type { FakeClock } from '../fake-clock.ts'
import { FakeHost } from '../fake-host.ts'
import { type ComplianceOptions, fail, messageOf } from './check.ts'
import type { SeededRandom } from './seeded-random.ts'

/** A driver under test. */
export interface VscSubject<Instance extends object> extends ComplianceOptions {
  /** The driver, which is bound to a device anew in each check. */
  readonly driver: VscDriver<Instance>
  /**
   * What stands at the other end: a fresh device that answers right, each time. The provider of the pair, or one that `scriptedHost` makes of a function. Each call stands for
   * the same device, so it has the same GUIDs, and what the driver stored before.
   */
  readonly host: (clock: FakeClock) => VmbusDevice
  /**
   * The `n`-th thing, from 0, that a program does with the driver. Resolves when it is done; throws a plain Error when the result is not what the host has to have
   * answered. Operations of different `n` must not disturb each other.
   */
  readonly operate: (instance: Instance & VscInstance, n: number, device: VscDevice) => Promise<void>
  /** Operations at a time, where there are many. Default: 24. */
  readonly concurrency?: number
  /** Operations that fill the ring to the host. Default: 400. */
  readonly burst?: number
  /** Virtual processors of the guest, which a driver may open so many channels for. Default: 1. */
  readonly processorCount?: number
  /** Runs of each random check. Default: 10. */
  readonly runs?: number
}

/** An operation under way. */
export interface Running {
  readonly n: number
  /** `undefined` while it is under way. */
  outcome: { readonly error: unknown } | 'done' | undefined
}

/** Errors of the language: a program did not expect what it got. */
const BLUNDERS = [TypeError, RangeError, ReferenceError, SyntaxError, EvalError, URIError]

/** A subject at work. */
export class VscBench<Instance extends object> {
  readonly subject: VscSubject<Instance>
  readonly runs: number
  readonly concurrency: number

  constructor(subject: VscSubject<Instance>) {
    this.subject = subject
    this.runs = subject.runs ?? 10
    this.concurrency = subject.concurrency ?? 24
  }

  boot(random?: SeededRandom): Promise<FakeHost> {
    return FakeHost.boot(this.subject.host, { random, processorCount: this.subject.processorCount })
  }

  /** A driver that has started. */
  async bound(random?: SeededRandom): Promise<{ host: FakeHost; instance: Instance & VscInstance } & AsyncDisposable> {
    const host = await this.boot(random)
    const instance = await host.bind(this.subject.driver)
    return { host, instance, [Symbol.asyncDispose]: () => host[Symbol.asyncDispose]() }
  }

  /** Begin operations. */
  begin(host: FakeHost, instance: Instance & VscInstance, first: number, count: number): Running[] {
    const device = host.device ?? fail('the driver has no device')
    return Array.from({ length: count }, (_, index): Running => {
      const running: Running = { n: first + index, outcome: undefined }
      const operation = (async () => this.subject.operate(instance, running.n, device))()
      operation.then(
        () => {
          running.outcome = 'done'
        },
        (error: unknown) => {
          running.outcome = { error }
        },
      )
      return running
    })
  }

  /** Wait for operations that have to succeed. */
  async succeed(host: FakeHost, operations: readonly Running[]): Promise<void> {
    await this.ended(host, operations)
    for (const { n, outcome } of operations)
      if (typeof outcome === 'object') fail(`operation ${n} failed: ${messageOf(outcome.error)}`, outcome.error)
  }

  /** Wait for operations that have to end, well or not, but not by a blunder. */
  async ended(host: FakeHost, operations: readonly Running[]): Promise<void> {
    await host.until(() => operations.every(({ outcome }) => outcome !== undefined))
    host.expectNoError()
    const open = operations.filter(({ outcome }) => outcome === undefined)
    if (open.length > 0) fail(`${open.length} of ${operations.length} operations never end`)
    for (const { n, outcome } of operations)
      if (typeof outcome === 'object') expectNoBlunder(outcome.error, `operation ${n}`)
  }

  /** Do a few things one after the other. */
  async works(host: FakeHost, instance: Instance & VscInstance, count = 5): Promise<void> {
    for (let n = 0; n < count; n++) await this.succeed(host, this.begin(host, instance, n, 1))
  }
}

/** @throws ComplianceError when `error` is one of the language, or no error at all */
export function expectNoBlunder(error: unknown, what: string): void {
  if (error instanceof PartitaError) return
  if (!(error instanceof Error)) fail(`${what} throws what is no error: ${String(error)}`, error)
  if (BLUNDERS.some((blunder) => error instanceof blunder)) fail(`${what} fails with ${messageOf(error)}`, error)
}
