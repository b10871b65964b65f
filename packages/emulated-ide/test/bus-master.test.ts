// The walk through a table of descriptors, at its edges: facts of the bus-master programming interface, revision 1.0.

import { FakeGuestMemory } from '@partita/testkit'
import { expect, it } from 'vitest'
import { BusMaster } from '../src/bus-master.ts'

it('is inactive, without an error, after it has been asked for nothing: who asks in vain does not ask again', () => {
  const memory = new FakeGuestMemory(0x1_0000)
  memory.writeU32(0x1000, 0x8000)
  memory.writeU32(0x1004, 0x8000_0200)
  const master = new BusMaster(memory, { started: () => {}, masterAbort: () => {}, mayTransfer: () => true })
  master.write(4, 4, 0x1000)
  master.write(0, 1, 0x09)
  expect(master.started).toBe(true)
  expect(master.take(0, 512, true)).toMatchObject({ bytes: 0, segments: [] })
  expect([master.started, master.read(2, 1) & 7]).toEqual([false, 0])
  // The table is as it was.
  master.write(0, 1, 0x08)
  master.write(0, 1, 0x09)
  expect(master.take(512, 512, true)).toMatchObject({ bytes: 512, addresses: [0x8000] })
  expect(master.read(2, 1) & 7).toBe(1)
})
