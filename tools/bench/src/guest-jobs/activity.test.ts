import type { VmbusChannelInfo } from '@partita/interface'
import { expect, test } from 'vitest'
import { channelActivity } from './activity.ts'

const channel = (first: number): VmbusChannelInfo =>
  ({
    counters: {
      packetsIn: first,
      packetsOut: first + 1,
      signalsIn: first + 2,
      signalsOut: first + 3,
      signalsSpared: first + 4,
    },
  }) as unknown as VmbusChannelInfo

test('packets and signals are counted in both directions, of all channels', () => {
  expect(channelActivity([channel(10), channel(100)])).toEqual({
    packetsFromGuest: 110,
    packetsToGuest: 112,
    signalsFromGuest: 114,
    signalsToGuest: 116,
    signalsSpared: 118,
  })
})
