// Provider and driver in a virtual machine: the TypeScript guest boots, finds the adapter, and its frames come back from the loop-back network.

import { bootGuest } from '@partita/guest'
import { expect, it } from 'vitest'
import loopback from '../src/loopback.ts'
import { PACKET_FILTER } from '../src/protocol.ts'
import { networkDriver } from '../src/vsc.ts'
import vsp from '../src/vsp.ts'

it('a guest sends frames, and gets them back', async () => {
  await using guest = await bootGuest({ providers: [loopback, vsp], drivers: [networkDriver], processors: 2 })
  const nic = await guest.device(networkDriver)
  expect(nic.properties).toMatchObject({ version: 0x60001, macAddress: '02:15:5d:50:54:01', mtu: 1500 })
  const lengths: number[] = []
  const all = Promise.withResolvers<void>()
  nic.onReceive = (frame) => {
    lengths.push(frame.end - frame.start)
    if (lengths.length === 20) all.resolve()
  }
  await nic.setPacketFilter(PACKET_FILTER.PROMISCUOUS)
  expect(await nic.linkUp()).toBe(true)
  const expected = Array.from({ length: 20 }, (_, n) => 60 + n * 70)
  for (const length of expected) nic.send(new Uint8Array(length).fill(length))
  await all.promise
  expect(lengths).toEqual(expected)
})
