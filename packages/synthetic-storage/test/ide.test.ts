// The fast path to a disk of an emulated IDE controller, as Linux' storvsc_probe finds and uses it.

import { MemoryDisk } from '@partita/disk-images'
import { expect, it } from 'vitest'
import { IDE_INTERFACE_ID } from '../src/protocol.ts'
import { BlockUnit, StorageController } from '../src/vsp.ts'
import { Guest, srbPacket, vstorPacket } from './guest.ts'

const READ = [0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0]

it('is offered under the interface of IDE, with its place in the GUID', () => {
  const offers = [
    { channel: 0, device: 0 },
    { channel: 1, device: 1 },
  ].map((ide) => new StorageController({ ide }).offer)
  expect(offers).toEqual([
    { interfaceId: IDE_INTERFACE_ID, instanceId: '00000000-0000-8899-0000-000000000000', order: 0 },
    { interfaceId: IDE_INTERFACE_ID, instanceId: '00000001-0001-8899-0000-000000000000', order: 0 },
  ])
  // target = dev_instance.b[5] << 8 | dev_instance.b[4]: the second group of the GUID, little-endian.
  expect(Number.parseInt(offers[1]?.instanceId.split('-')[1] as string, 16)).toBe(1)
})

it('is one disk, wherever it is looked for, without sub-channels', async () => {
  const guest = await new Guest({ ide: { channel: 1, device: 1 } }).open()
  const contents = new Uint8Array(1024).fill(7)
  guest.controller.target.attach(0, new BlockUnit(new MemoryDisk(64, { contents }), { serial: 'disk' }))
  for (const packet of [vstorPacket(7), vstorPacket(9, (view) => view.setUint16(12, 0x0602, true))])
    expect((await guest.ask(packet)).status).toBe(0)
  const properties = (await guest.ask(vstorPacket(10))).view
  expect(properties.getUint16(16, true)).toBe(0)
  expect(properties.getUint32(20, true)).toBe(0x2)
  expect(properties.getUint32(24, true)).toBe(0x8_0000)
  expect((await guest.ask(vstorPacket(13, (view) => view.setUint16(12, 1, true)))).status).not.toBe(0)
  expect((await guest.ask(vstorPacket(8))).status).toBe(0)
  for (const { path, target } of [
    { path: 0, target: 1 },
    { path: 1, target: 1 },
    { path: 0, target: 0 },
  ]) {
    const { srb, data } = await guest.scsi(READ, { path, target, room: 512 })
    expect([srb, data[0], data[511]]).toEqual([1, 7, 7])
  }
  // INVALID_LUN, and INQUIRY says that nothing is there.
  expect((await guest.ask(srbPacket([0, 0, 0, 0, 0, 0], { target: 1, lun: 1 }))).view.getUint8(14)).toBe(0x20)
  expect((await guest.scsi([0x12, 0, 0, 0, 36, 0], { target: 1, lun: 1, room: 36 })).data[0]).toBe(0x7f)
})
