// Local APICs on a bus of their own, with a clock and a TSC that tests move.

import { type Clock, DELIVERY_MODE, type InterruptMessage, type Timer } from '@partita/interface'
import { LocalApic } from '../src/local-apic.ts'

export const TSC_FREQUENCY = 2_000_000_000
export const PAGE = 0xfee0_0000

/** A clock that stands still until a test moves it. A local APIC makes no timers. */
export class BenchClock implements Clock {
  time = 0

  now(): number {
    return this.time
  }

  wallTime(): number {
    return this.time / 1e6
  }

  createTimer(): Timer {
    throw new Error('a local APIC has no timer of the clock')
  }
}

/** One local APIC of the bench and what it told its surroundings. */
export class BenchApic {
  readonly apic: LocalApic
  /** Vectors whose EOI was broadcast. */
  readonly ended: number[] = []
  changes = 0
  readonly #clock: BenchClock
  tscOffset = 0n

  constructor(
    clock: BenchClock,
    apicId: number,
    send: (message: InterruptMessage) => void,
    tscFrequency: number,
    endOfInterrupt?: (vector: number, level: boolean) => void,
  ) {
    this.#clock = clock
    this.apic = new LocalApic({
      apicId,
      bootProcessor: apicId === 0,
      clock,
      readTsc: () => this.readTsc(tscFrequency),
      tscFrequency,
      send,
      endOfInterrupt: (vector, level) => {
        this.ended.push(vector)
        endOfInterrupt?.(vector, level)
      },
      changed: () => {
        this.changes++
      },
    })
  }

  readTsc(tscFrequency: number = TSC_FREQUENCY): bigint {
    return BigInt.asUintN(64, BigInt(Math.floor((this.#clock.time * tscFrequency) / 1e9)) + this.tscOffset)
  }

  read(register: number): number {
    return this.apic.readMmio(PAGE + register, 4)
  }

  write(register: number, value: number): void {
    this.apic.writeMmio(PAGE + register, 4, value)
  }

  /** A fixed interrupt for this local APIC alone. */
  fixed(vector: number, level = false): boolean {
    return this.apic.receive({
      vector,
      deliveryMode: DELIVERY_MODE.FIXED,
      destination: this.apic.apicId,
      logical: false,
      level,
    })
  }

  /** Acknowledge and end whatever is pending; the vectors in their order. @throws Error when there is no end of them */
  drain(): number[] {
    const vectors: number[] = []
    while (this.apic.pendingVector() >= 0) {
      vectors.push(this.apic.acknowledge())
      this.apic.endOfInterrupt()
      if (vectors.length > 256) throw new Error('interrupts without end')
    }
    return vectors
  }

  enterX2Apic(): void {
    if (!this.apic.writeApicBase(this.apic.apicBase | 0x400n)) throw new Error('x2APIC mode was refused')
  }
}

export interface Bench {
  readonly clock: BenchClock
  readonly apics: readonly BenchApic[]
  readonly sent: readonly InterruptMessage[]
}

/** Local APICs with ids from 0, or the ids given, software-enabled. */
export function bench(ids: number | readonly number[] = 1, tscFrequency: number = TSC_FREQUENCY): Bench {
  const clock = new BenchClock()
  const sent: InterruptMessage[] = []
  const apics: BenchApic[] = []
  const send = (message: InterruptMessage): void => {
    sent.push(message)
    for (const { apic } of apics) {
      const taken = apic.receive(message)
      if (taken && message.deliveryMode === DELIVERY_MODE.LOWEST_PRIORITY) break
    }
  }
  const list = typeof ids === 'number' ? Array.from({ length: ids }, (_, i) => i) : ids
  for (const id of list) {
    const unit = new BenchApic(clock, id, send, tscFrequency)
    unit.write(0xf0, 0x1ff)
    apics.push(unit)
  }
  return { clock, apics, sent }
}

/** A bench of one. */
export function single(tscFrequency: number = TSC_FREQUENCY): { clock: BenchClock; unit: BenchApic; apic: LocalApic } {
  const { clock, apics } = bench(1, tscFrequency)
  return { clock, unit: apics[0], apic: apics[0].apic }
}
