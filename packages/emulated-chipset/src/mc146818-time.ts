// Time in the registers of an MC146818 (Motorola data sheet, time, calendar and alarm data modes): binary or BCD, 24 hours or 12 with PM in bit 7; and when an alarm matches next.

/** Indices of the time, calendar and alarm registers. */
export const RTC_REGISTER = {
  SECONDS: 0x00,
  SECONDS_ALARM: 0x01,
  MINUTES: 0x02,
  MINUTES_ALARM: 0x03,
  HOURS: 0x04,
  HOURS_ALARM: 0x05,
  DAY_OF_WEEK: 0x06,
  DAY_OF_MONTH: 0x07,
  MONTH: 0x08,
  YEAR: 0x09,
  A: 0x0a,
  B: 0x0b,
  C: 0x0c,
  D: 0x0d,
  CENTURY: 0x32,
} as const

/** How register B says that time is represented. */
export interface TimeFormat {
  readonly binary: boolean
  readonly hours24: boolean
}

const PM = 0x80
/** Alarm registers with the two highest bits set match always (data sheet, "don't care" codes C0–FF). */
const DONT_CARE = 0xc0
const DAY = 86_400

/** A number below 100 as it stands in a register. */
export function encodeNumber(value: number, binary: boolean): number {
  return binary ? value : (Math.floor(value / 10) << 4) | (value % 10)
}

/** The number in a register. Nonsense in BCD (a digit above 9) gives a number all the same. */
export function decodeNumber(register: number, binary: boolean): number {
  return binary ? register : (register >> 4) * 10 + (register & 0xf)
}

/** An hour, 0–23, as it stands in a register. */
export function encodeHour(hour: number, format: TimeFormat): number {
  if (format.hours24) return encodeNumber(hour, format.binary)
  const twelve = hour % 12 === 0 ? 12 : hour % 12
  return encodeNumber(twelve, format.binary) | (hour >= 12 ? PM : 0)
}

/** The hour in a register, 0–23 where the register makes sense. */
export function decodeHour(register: number, format: TimeFormat): number {
  if (format.hours24) return decodeNumber(register, format.binary)
  const twelve = decodeNumber(register & ~PM, format.binary)
  return (twelve % 12) + ((register & PM) !== 0 ? 12 : 0)
}

/** An alarm: seconds, minutes and hours to match, -1 for any. */
export interface Alarm {
  readonly seconds: number
  readonly minutes: number
  readonly hours: number
}

/** The alarm in its three registers. */
export function decodeAlarm(seconds: number, minutes: number, hours: number, format: TimeFormat): Alarm {
  return {
    seconds: seconds >= DONT_CARE ? -1 : decodeNumber(seconds, format.binary),
    minutes: minutes >= DONT_CARE ? -1 : decodeNumber(minutes, format.binary),
    hours: hours >= DONT_CARE ? -1 : decodeHour(hours, format),
  }
}

/** The first second (since any midnight) after `after` at which `alarm` matches, or Infinity when there is no such time of day. */
export function nextAlarm(alarm: Alarm, after: number): number {
  if (alarm.seconds > 59 || alarm.minutes > 59 || alarm.hours > 23) return Number.POSITIVE_INFINITY
  let time = after + 1
  // Each round moves to the next value of one field; no more than a few are needed.
  for (let round = 0; round < 16; round++) {
    const ofDay = ((time % DAY) + DAY) % DAY
    const hour = Math.floor(ofDay / 3600)
    const minute = Math.floor(ofDay / 60) % 60
    const second = ofDay % 60
    if (alarm.hours >= 0 && hour !== alarm.hours) time += ((alarm.hours - hour + 24) % 24) * 3600 - minute * 60 - second
    else if (alarm.minutes >= 0 && minute !== alarm.minutes) time += ((alarm.minutes - minute + 60) % 60) * 60 - second
    else if (alarm.seconds >= 0 && second !== alarm.seconds) time += (alarm.seconds - second + 60) % 60
    else return time
  }
  return Number.POSITIVE_INFINITY
}
