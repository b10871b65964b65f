// What a virtual machine counts of itself.

import type { VmbusChannelInfo } from '@partita/interface'

/** Counts since the start; of a span of time, the difference of two. */
export interface Activity {
  /** Intercepts: the processor left the guest's code for something that it does not do itself. */
  readonly portExits: number
  readonly mmioExits: number
  readonly msrExits: number
  readonly hypercallExits: number
  /** CPUID, interrupt acknowledge cycles and ends of interrupts that a device wants to know of. */
  readonly otherExits: number
  /** The processor found nothing to do. */
  readonly halts: number
  readonly instructions: number
  /** Of all VMBus channels. */
  readonly packetsFromGuest: number
  readonly packetsToGuest: number
  readonly signalsFromGuest: number
  readonly signalsToGuest: number
  readonly signalsSpared: number
}

/** `end` − `begin`. */
export function activityBetween<A extends Activity>(begin: A, end: A): A {
  const names = Object.keys(end) as (keyof A)[]
  return Object.fromEntries(names.map((name) => [name, Number(end[name]) - Number(begin[name])])) as unknown as A
}

/** All intercepts. */
export function exitsOf({ portExits, mmioExits, msrExits, hypercallExits, otherExits }: Activity): number {
  return portExits + mmioExits + msrExits + hypercallExits + otherExits
}

/** The sums of the channels' counters. */
export function channelActivity(
  channels: readonly VmbusChannelInfo[],
): Pick<Activity, 'packetsFromGuest' | 'packetsToGuest' | 'signalsFromGuest' | 'signalsToGuest' | 'signalsSpared'> {
  const sum = (count: (channel: VmbusChannelInfo) => number): number =>
    channels.reduce((total, channel) => total + count(channel), 0)
  return {
    packetsFromGuest: sum(({ counters }) => counters.packetsIn),
    packetsToGuest: sum(({ counters }) => counters.packetsOut),
    signalsFromGuest: sum(({ counters }) => counters.signalsIn),
    signalsToGuest: sum(({ counters }) => counters.signalsOut),
    signalsSpared: sum(({ counters }) => counters.signalsSpared),
  }
}
