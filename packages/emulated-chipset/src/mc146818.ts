// The Motorola MC146818 real-time clock with 128 bytes of CMOS RAM, as in a PC (ports 0x70 and 0x71, ISA interrupt 8). The time is the clock's wall time plus
// the offset that the guest has set. Flags of register C are computed when somebody looks; timers run only while an interrupt is enabled.

import type { Clock, InterruptLine, SavedState, Timer } from '@partita/interface'
import * as v from 'valibot'
import { ByteRegisters } from './byte-registers.ts'
import { bytes, checkState, unsigned } from './chipset-error.ts'
import { Oscillator } from './frequency.ts'
import {
  decodeAlarm,
  decodeHour,
  decodeNumber,
  encodeHour,
  encodeNumber,
  nextAlarm,
  RTC_REGISTER,
  type TimeFormat,
} from './mc146818-time.ts'

const A = { UIP: 0x80, DIVIDER: 0x70, RATE: 0x0f } as const
const DIVIDER_32768 = 0x20
/** Dividers 110 and 111 hold the divider chain in reset: the clock stands. */
const DIVIDER_RESET = 0x60
const B = { SET: 0x80, PIE: 0x40, AIE: 0x20, UIE: 0x10, SQWE: 0x08, BINARY: 0x04, HOURS_24: 0x02, DSE: 0x01 } as const
/** Flags have the positions of their enables in B. */
const C = { IRQF: 0x80, PF: 0x40, AF: 0x20, UF: 0x10 } as const
const D = { VRT: 0x80 } as const
/** UIP goes up 244 µs before the update, which takes 1,984 µs (data sheet, update cycle); milliseconds. */
const UPDATE_WINDOW = 2.228
const SIZE = 128
const NMI_DISABLE = 0x80
const NAME = '@partita/emulated-chipset/rtc'

const stateSchema: v.GenericSchema<
  unknown,
  {
    ram: Uint8Array
    index: number
    offset: number
    frozen: number | null
    flags: number
    seenSecond: number
    seenPeriod: number
  }
> = v.strictObject({
  ram: bytes(SIZE),
  index: unsigned(7),
  offset: v.pipe(v.number(), v.finite()),
  frozen: v.nullable(v.pipe(v.number(), v.finite())),
  flags: unsigned(7),
  seenSecond: v.pipe(v.number(), v.safeInteger()),
  seenPeriod: v.pipe(v.number(), v.safeInteger()),
})

/** The clock and its RAM. `initial` are the contents of the RAM at power-on; time registers in it are ignored. */
export class Mc146818 extends ByteRegisters {
  readonly #clock: Clock
  readonly #line: InterruptLine
  readonly #updateTimer: Timer
  readonly #periodTimer: Timer
  readonly #timeBase: Oscillator = new Oscillator(32_768)
  readonly #ram: Uint8Array
  #index = 0
  /** Guest's time minus the host's, milliseconds. */
  #offset = 0
  /** While the clock stands (SET, or the divider in reset): the guest's time, milliseconds; else null. */
  #frozen: number | null = null
  /** PF, AF and UF. */
  #flags = 0
  /** The second and the period of the periodic interrupt up to which the flags are up to date. */
  #seenSecond = 0
  #seenPeriod = 0

  constructor(clock: Clock, line: InterruptLine, initial: Uint8Array) {
    super()
    this.#clock = clock
    this.#line = line
    this.#ram = initial.slice(0, SIZE)
    this.#ram[RTC_REGISTER.A] = DIVIDER_32768 | 6
    this.#ram[RTC_REGISTER.B] = B.HOURS_24
    this.#updateTimer = clock.createTimer(() => this.#update())
    this.#periodTimer = clock.createTimer(() => this.#update())
    this.#seenSecond = this.#second()
  }

  get #format(): TimeFormat {
    const b = this.#register(RTC_REGISTER.B)
    return { binary: (b & B.BINARY) !== 0, hours24: (b & B.HOURS_24) !== 0 }
  }

  #register(index: number): number {
    return this.#ram[index] ?? 0
  }

  /** The guest's time in milliseconds since 1970. */
  #time(): number {
    return this.#frozen ?? this.#clock.wallTime() + this.#offset
  }

  #second(): number {
    return Math.floor(this.#time() / 1000)
  }

  /** Ticks of the 32,768 Hz time base in a period of the periodic interrupt, 0 when it is off (data sheet, periodic interrupt rate). */
  get #periodTicks(): number {
    const rate = this.#register(RTC_REGISTER.A) & A.RATE
    if (rate === 0 || (this.#register(RTC_REGISTER.A) & A.DIVIDER) !== DIVIDER_32768) return 0
    return 1 << (rate <= 2 ? rate + 6 : rate - 1)
  }

  #alarmAfter(second: number): number {
    return nextAlarm(
      decodeAlarm(
        this.#register(RTC_REGISTER.SECONDS_ALARM),
        this.#register(RTC_REGISTER.MINUTES_ALARM),
        this.#register(RTC_REGISTER.HOURS_ALARM),
        this.#format,
      ),
      second,
    )
  }

  /** Bring the flags up to date, drive the interrupt, arrange for the next event that has an enabled interrupt. */
  #update(): void {
    if (this.#frozen === null) {
      const second = this.#second()
      if (second !== this.#seenSecond) {
        // A host whose wall time steps back has updates too, but no alarms.
        if (second > this.#seenSecond && this.#alarmAfter(this.#seenSecond) <= second) this.#flags |= C.AF
        this.#flags |= C.UF
        this.#seenSecond = second
      }
    }
    const ticks = this.#periodTicks
    if (ticks !== 0) {
      const period = Math.floor(this.#timeBase.ticks(this.#clock.now()) / ticks)
      if (period !== this.#seenPeriod) {
        this.#seenPeriod = period
        this.#flags |= C.PF
      }
    }
    this.#drive()
    this.#arm()
  }

  #drive(): void {
    this.#line.set((this.#flags & this.#register(RTC_REGISTER.B)) !== 0)
  }

  #arm(): void {
    const b = this.#register(RTC_REGISTER.B)
    const now = this.#clock.now()
    const ticks = this.#periodTicks
    // An interrupt that is asserted already has nothing to add until register C is read.
    if ((b & B.PIE) !== 0 && ticks !== 0 && (this.#flags & C.PF) === 0) {
      this.#periodTimer.arm(this.#timeBase.nanoseconds((this.#seenPeriod + 1) * ticks))
    } else this.#periodTimer.cancel()

    let second = Number.POSITIVE_INFINITY
    if (this.#frozen === null) {
      if ((b & B.UIE) !== 0 && (this.#flags & C.UF) === 0) second = this.#seenSecond + 1
      else if ((b & B.AIE) !== 0 && (this.#flags & C.AF) === 0) second = this.#alarmAfter(this.#seenSecond)
    }
    if (second === Number.POSITIVE_INFINITY) this.#updateTimer.cancel()
    // Not further than a minute ahead: the host's wall time may be set meanwhile.
    else this.#updateTimer.arm(now + Math.ceil(Math.min(Math.max(second * 1000 - this.#time(), 0.1), 60_000) * 1e6))
  }

  protected override readByte(offset: number): number {
    // The index register is write-only.
    return offset === 0 ? 0xff : this.#readRegister(this.#index)
  }

  protected override writeByte(offset: number, value: number): void {
    if (offset === 0) this.#index = value & ~NMI_DISABLE
    else this.#writeRegister(this.#index, value)
  }

  #readRegister(index: number): number {
    switch (index) {
      case RTC_REGISTER.SECONDS:
      case RTC_REGISTER.MINUTES:
      case RTC_REGISTER.HOURS:
      case RTC_REGISTER.DAY_OF_WEEK:
      case RTC_REGISTER.DAY_OF_MONTH:
      case RTC_REGISTER.MONTH:
      case RTC_REGISTER.YEAR:
      case RTC_REGISTER.CENTURY:
        // While the clock stands the registers hold whatever was written.
        return this.#frozen === null ? this.#calendar(index, this.#time()) : this.#register(index)
      case RTC_REGISTER.A: {
        const late = ((this.#time() % 1000) + 1000) % 1000
        return this.#register(RTC_REGISTER.A) | (this.#frozen === null && late >= 1000 - UPDATE_WINDOW ? A.UIP : 0)
      }
      case RTC_REGISTER.C: {
        this.#update()
        const enabled = (this.#flags & this.#register(RTC_REGISTER.B)) !== 0
        const value = this.#flags | (enabled ? C.IRQF : 0)
        this.#flags = 0
        this.#drive()
        this.#arm()
        return value
      }
      case RTC_REGISTER.D:
        return D.VRT
      default:
        return this.#register(index)
    }
  }

  #calendar(index: number, time: number): number {
    const { binary, hours24 } = this.#format
    const date = new Date(time)
    switch (index) {
      case RTC_REGISTER.SECONDS:
        return encodeNumber(date.getUTCSeconds(), binary)
      case RTC_REGISTER.MINUTES:
        return encodeNumber(date.getUTCMinutes(), binary)
      case RTC_REGISTER.HOURS:
        return encodeHour(date.getUTCHours(), { binary, hours24 })
      case RTC_REGISTER.DAY_OF_WEEK:
        return date.getUTCDay() + 1
      case RTC_REGISTER.DAY_OF_MONTH:
        return encodeNumber(date.getUTCDate(), binary)
      case RTC_REGISTER.MONTH:
        return encodeNumber(date.getUTCMonth() + 1, binary)
      case RTC_REGISTER.YEAR:
        return encodeNumber(date.getUTCFullYear() % 100, binary)
      default:
        return encodeNumber(Math.floor(date.getUTCFullYear() / 100), binary)
    }
  }

  #writeRegister(index: number, value: number): void {
    switch (index) {
      case RTC_REGISTER.SECONDS:
      case RTC_REGISTER.MINUTES:
      case RTC_REGISTER.HOURS:
      case RTC_REGISTER.DAY_OF_WEEK:
      case RTC_REGISTER.DAY_OF_MONTH:
      case RTC_REGISTER.MONTH:
      case RTC_REGISTER.YEAR:
      case RTC_REGISTER.CENTURY:
        this.#writeCalendar(index, value)
        break
      case RTC_REGISTER.A:
        this.#update()
        this.#ram[RTC_REGISTER.A] = value & (A.DIVIDER | A.RATE)
        this.#changeStanding()
        this.#restartPeriod()
        this.#arm()
        break
      case RTC_REGISTER.B:
        this.#update()
        // SET clears UIE (data sheet, "Register B").
        this.#ram[RTC_REGISTER.B] = (value & B.SET) !== 0 ? value & ~B.UIE : value
        this.#changeStanding()
        this.#drive()
        this.#arm()
        break
      case RTC_REGISTER.C:
      case RTC_REGISTER.D:
        break
      case RTC_REGISTER.SECONDS_ALARM:
      case RTC_REGISTER.MINUTES_ALARM:
      case RTC_REGISTER.HOURS_ALARM:
        this.#update()
        this.#ram[index] = value
        this.#arm()
        break
      default:
        this.#ram[index] = value
        break
    }
  }

  #restartPeriod(): void {
    const ticks = this.#periodTicks
    if (ticks !== 0) this.#seenPeriod = Math.floor(this.#timeBase.ticks(this.#clock.now()) / ticks)
  }

  /** A guest may write the time without SET; then the one register changes and the others go on. */
  #writeCalendar(index: number, value: number): void {
    if (this.#frozen !== null) {
      this.#ram[index] = value
      return
    }
    this.#update()
    this.#storeCalendar()
    const within = ((this.#time() % 1000) + 1000) % 1000
    this.#ram[index] = value
    this.#setTime(this.#loadCalendar() + within)
    this.#arm()
  }

  #storeCalendar(): void {
    const time = this.#time()
    for (const index of CALENDAR) this.#ram[index] = this.#calendar(index, time)
  }

  /** The time in the registers, milliseconds since 1970. */
  #loadCalendar(): number {
    const { binary, hours24 } = this.#format
    const number = (index: number): number => decodeNumber(this.#register(index), binary)
    const year = number(RTC_REGISTER.CENTURY) * 100 + number(RTC_REGISTER.YEAR)
    const date = new Date(0)
    date.setUTCFullYear(year, number(RTC_REGISTER.MONTH) - 1, number(RTC_REGISTER.DAY_OF_MONTH))
    return date.setUTCHours(
      decodeHour(this.#register(RTC_REGISTER.HOURS), { binary, hours24 }),
      number(RTC_REGISTER.MINUTES),
      number(RTC_REGISTER.SECONDS),
    )
  }

  #setTime(time: number): void {
    this.#offset = time - this.#clock.wallTime()
    this.#seenSecond = this.#second()
  }

  /** The clock stands while SET is on or the divider is held in reset; half a second after it goes on comes the first update. */
  #changeStanding(): void {
    const stands =
      (this.#register(RTC_REGISTER.B) & B.SET) !== 0 ||
      (this.#register(RTC_REGISTER.A) & DIVIDER_RESET) === DIVIDER_RESET
    if (stands && this.#frozen === null) {
      this.#storeCalendar()
      this.#frozen = this.#time()
    } else if (!stands && this.#frozen !== null) {
      this.#frozen = null
      this.#setTime(this.#loadCalendar() + 500)
    }
  }

  /** RESET: interrupts off, flags cleared (data sheet, "RESET"). The battery keeps time and RAM. */
  reset(): void {
    this.#ram[RTC_REGISTER.B] = this.#register(RTC_REGISTER.B) & ~(B.PIE | B.AIE | B.UIE | B.SQWE)
    this.#flags = 0
    this.#index = 0
    this.#drive()
    this.#arm()
  }

  /** Power is gone: no timer, no interrupt. */
  stop(): void {
    this.#updateTimer.cancel()
    this.#periodTimer.cancel()
    this.#line.set(false)
  }

  save(): SavedState {
    return {
      version: 1,
      data: {
        ram: this.#ram.slice(),
        index: this.#index,
        offset: this.#offset,
        frozen: this.#frozen,
        flags: this.#flags,
        seenSecond: this.#seenSecond,
        seenPeriod: this.#seenPeriod,
      },
    }
  }

  restore(state: SavedState): void {
    const data = checkState(NAME, state, 1, stateSchema)
    this.#ram.set(data.ram)
    this.#index = data.index
    this.#offset = data.offset
    this.#frozen = data.frozen
    this.#flags = data.flags & (C.PF | C.AF | C.UF)
    this.#seenSecond = data.seenSecond
    this.#seenPeriod = data.seenPeriod
    this.#drive()
    this.#arm()
  }
}

const CALENDAR: readonly number[] = [
  RTC_REGISTER.SECONDS,
  RTC_REGISTER.MINUTES,
  RTC_REGISTER.HOURS,
  RTC_REGISTER.DAY_OF_WEEK,
  RTC_REGISTER.DAY_OF_MONTH,
  RTC_REGISTER.MONTH,
  RTC_REGISTER.YEAR,
  RTC_REGISTER.CENTURY,
]
