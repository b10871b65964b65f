// EXECUTE DEVICE DIAGNOSTIC, which both drives of a channel take and which selects drive 0 (ATA/ATAPI-7 volume 1, section 6.13), while one of them or both are in the middle of something else, and do not take it.

import { MemoryDisk } from '@partita/disk-images'
import { expect, it } from 'vitest'
import { CONTROL, DEVICE, ERROR, type Host, pattern, STATUS, started } from './host.ts'

const DIAGNOSTIC = 0x90
const FIRST = 0xa0
const SECOND = 0xb0

const twoDisks = (): Promise<Host> => started({ one: new MemoryDisk(1000), two: new MemoryDisk(1000) })

it('shows the interrupt of a drive 0 that waits with data, as a machine that goes on from here does', async () => {
  const drives = ['disk', { disk: null, dvd: true }]
  const host = await started({ disk: new MemoryDisk(1000) }, drives)
  const { ports, lines } = host
  host.command(0xec)
  expect(lines.level(14)).toBe(true)
  // A packet device that waits for its packet: data, and no interrupt.
  ports.write(DEVICE, SECOND)
  ports.write(STATUS, 0xa0)
  expect([ports.read(CONTROL), lines.level(14)]).toEqual([0x58, false])
  ports.write(STATUS, DIAGNOSTIC)
  expect([ports.read(DEVICE) & 0x10, ports.read(CONTROL), lines.level(14)]).toEqual([0, 0x58, true])
  const next = await started({ disk: new MemoryDisk(1000) }, drives)
  next.instance.restore!(structuredClone(host.instance.save!()))
  expect([next.ports.read(CONTROL), next.lines.level(14)]).toEqual([0x58, true])
})

it('leaves a drive 1 in the middle of a transfer its interrupt', async () => {
  const host = await twoDisks()
  const { ports, lines } = host
  host.command(0xec, 0, 0, SECOND)
  ports.write(STATUS, DIAGNOSTIC)
  expect(lines.level(14)).toBe(true)
  expect([ports.read(STATUS), ports.read(ERROR)]).toEqual([0x50, 0x01])
  expect(lines.level(14)).toBe(false)
  ports.write(DEVICE, SECOND)
  expect([ports.read(CONTROL), lines.level(14)]).toEqual([0x58, true])
  expect(host.readBlock(256)[0]).toBe(0x40)
})

it('takes the interrupt of a drive 1 that takes it: drive 0 reports for both', async () => {
  const { ports, lines } = await twoDisks()
  ports.write(STATUS, DIAGNOSTIC)
  expect(lines.level(14)).toBe(true)
  ports.read(STATUS)
  ports.write(DEVICE, SECOND)
  expect([ports.read(ERROR), lines.level(14)]).toEqual([0x01, false])
})

it('lets a drive 0 that waits for the bus master go on', async () => {
  const disk = new MemoryDisk(1000)
  await disk.write(9, [pattern(9)])
  const host = await started({ disk, other: new MemoryDisk(1000) })
  const { ports, machine } = host
  host.prepareDma(0x1000, [[0x8000, 512]], true)
  host.command(0xc8, 9, 1)
  host.command(0xec, 0, 0, SECOND)
  host.startDma(true)
  await host.settle()
  expect(machine.memory.bytes[0x8001]).toBe(0)
  ports.write(STATUS, DIAGNOSTIC)
  await host.settle()
  expect(machine.memory.bytes.slice(0x8000, 0x8200)).toEqual(pattern(9))
  ports.write(DEVICE, FIRST)
  expect(ports.read(STATUS)).toBe(0x50)
})
