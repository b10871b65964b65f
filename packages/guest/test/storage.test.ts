// The guest drives the storage provider of a real virtual machine: reads and writes, disks and controllers that come and go, sleep, several processors.

import { MemoryDisk } from '@partita/disk-images'
import { vmbusServerToken } from '@partita/interface'
import { storageDriver } from '@partita/synthetic-storage/vsc'
import { BlockUnit, StorageController, storageControlToken } from '@partita/synthetic-storage/vsp'
import { describe, expect, it } from 'vitest'
import { bootGuest, type Guest } from '../src/index.ts'

const SECTORS = 8192

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 9) + seed) & 0xff)
}

function control(guest: Guest) {
  const found = guest.vm.find(storageControlToken)
  if (found === undefined) throw new Error('no storage')
  return found
}

describe('a disk', () => {
  it('is read and written, from memory of the guest and from other memory', async () => {
    const disk0 = new MemoryDisk(SECTORS)
    await using guest = await bootGuest({ disks: { disk0 } })
    const controller = await guest.device(storageDriver)
    const disk = controller.disk(0)
    expect([disk.blockSize, disk.blockCount, disk.readOnly]).toEqual([512, SECTORS, false])
    expect(disk.description).toMatchObject({ vendor: 'Msft', product: 'Virtual Disk' })
    const data = pattern(1024 * 1024, 1)
    await disk.write(16, data, { durable: true })
    const host = new Uint8Array(512)
    await disk0.read(17, [host])
    expect(host).toEqual(data.slice(512, 1024))
    const own = controller.allocate(data.length)
    await disk.read(16, own.bytes)
    expect(Buffer.compare(own.bytes, data)).toBe(0)
    const back = new Uint8Array(4096)
    await disk.read(16, back)
    expect(Buffer.compare(back, data.subarray(0, 4096))).toBe(0)
    await disk.unmap(16, 8)
    await disk.read(16, back)
    // As before, or zeros.
    if (back[0] !== data[0]) expect(back.every((byte) => byte === 0)).toBe(true)
    else expect(Buffer.compare(back, data.subarray(0, 4096))).toBe(0)
    await expect(disk.read(SECTORS, back)).rejects.toMatchObject({ code: 'ERR_STORAGE_RANGE' })
  })

  it('has hundreds of requests under way at once', async () => {
    await using guest = await bootGuest({ disks: { disk0: new MemoryDisk(SECTORS) } })
    const disk = (await guest.device(storageDriver)).disk(0)
    const blocks = Array.from({ length: 600 }, (_, i) => i)
    await Promise.all(blocks.map((i) => disk.write(i * 8, pattern(512, i))))
    const sectors = await Promise.all(
      blocks.map(async (i) => {
        const sector = new Uint8Array(512)
        await disk.read(i * 8, sector)
        return sector
      }),
    )
    expect(sectors.every((sector, i) => Buffer.compare(sector, pattern(512, i)) === 0)).toBe(true)
  })

  it('comes and goes while the guest runs', async () => {
    await using guest = await bootGuest({ disks: { disk0: new MemoryDisk(64) } })
    const controller = await guest.device(storageDriver)
    const second = new MemoryDisk(128)
    expect(control(guest).attach(0, second, { serial: 'second' })).toBe(1)
    const disk = await controller.waitForDisk(1)
    expect(disk.blockCount).toBe(128)
    expect(guest.deviceTree()).toContain('lun1: Msft Virtual Disk, 0.0625 MiB')
    await disk.write(0, pattern(512, 9))
    await control(guest).detach(0, 1)
    await expect(disk.read(0, new Uint8Array(512))).rejects.toBeInstanceOf(Error)
    await guest.kernel.pnp.settled()
    await controller.rescan()
    expect(controller.disks.map(({ lun }) => lun)).toEqual([0])
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'ERR_STORAGE_CLOSED' })
    expect(guest.deviceTree()).not.toContain('lun1')
  })

  it('that fails tells the sense', async () => {
    const broken = new MemoryDisk(64)
    broken.read = () => Promise.reject(Object.assign(new Error('scratched'), { code: 'ERR_DISK_IO' }))
    await using guest = await bootGuest({ disks: { broken } })
    const disk = (await guest.device(storageDriver)).disk(0)
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({
      code: 'ERR_STORAGE_SCSI',
      data: { senseKey: 3, asc: 0x11, ascq: 0 },
    })
  })
})

describe('a controller', () => {
  const INSTANCE = '2d0b7f5e-0000-4000-8000-000000000001'

  it('is added, used and taken away while requests are under way', async () => {
    await using guest = await bootGuest()
    await expect(guest.device(storageDriver)).rejects.toMatchObject({ code: 'ERR_GUEST_DRIVER' })
    const waiting = guest.device(storageDriver, { wait: true })
    const held = Promise.withResolvers<void>()
    const slow = new MemoryDisk(64)
    slow.write = () => held.promise
    const provider = new StorageController({ instanceId: INSTANCE })
    provider.target.attach(0, new BlockUnit(slow, { serial: 's' }))
    const free = guest.kernel.freePages
    const offered = guest.offer(provider)
    const disk = (await waiting).disk(0)
    const writing = Promise.allSettled([disk.write(0, new Uint8Array(512)), disk.write(1, new Uint8Array(512))])
    await guest.sleep(1)
    const gone = offered[Symbol.asyncDispose]()
    for (const { status } of await writing) expect(status).toBe('rejected')
    await expect(disk.flush()).rejects.toMatchObject({ code: 'ERR_STORAGE_CLOSED' })
    // Its memory is the host's until the host has let go of it.
    expect(guest.kernel.freePages).toBeLessThan(free)
    held.resolve()
    await gone
    await guest.kernel.pnp.settled()
    expect(guest.kernel.freePages).toBe(free)
    await guest.sleep(1)
    expect(guest.deviceTree()).not.toContain('SCSI')
    expect(guest.vm.find(vmbusServerToken)?.channels()).toEqual([])
  })

  it('sleeps and wakes: disks stay what they are, and what comes meanwhile waits', async () => {
    await using guest = await bootGuest({ disks: { disk0: new MemoryDisk(64) } })
    const controller = await guest.device(storageDriver)
    const disk = controller.disk(0)
    await disk.write(3, pattern(512, 5))
    await guest.suspend()
    expect(guest.deviceTree()).toContain('(suspended)')
    expect(
      guest.vm
        .find(vmbusServerToken)
        ?.channels()
        .every(({ state }) => state === 'closed'),
    ).toBe(true)
    const sector = new Uint8Array(512)
    let done = false
    const reading = disk.read(3, sector).then(() => void (done = true))
    control(guest).attach(0, new MemoryDisk(64), { serial: 'late' })
    await guest.sleep(1000)
    expect(done).toBe(false)
    await guest.resume()
    await reading
    expect(sector).toEqual(pattern(512, 5))
    expect(await guest.device(storageDriver)).toBe(controller)
    expect(controller.disks.map(({ lun }) => lun)).toEqual([0, 1])
  })

  it('spreads requests over a channel for each processor', async () => {
    await using guest = await bootGuest({ disks: { disk0: new MemoryDisk(SECTORS) }, processors: 4 })
    const controller = await guest.device(storageDriver)
    while (controller.channelCount < 4) await guest.sleep(1)
    const disk = controller.disk(0)
    await Promise.all(Array.from({ length: 80 }, (_, i) => disk.write(i, pattern(512, i))))
    const sector = new Uint8Array(512)
    await disk.read(79, sector)
    expect(sector).toEqual(pattern(512, 79))
    const channels = guest.vm.find(vmbusServerToken)?.channels() ?? []
    expect(channels.map(({ subChannelIndex }) => subChannelIndex)).toEqual([0, 1, 2, 3])
    for (const { counters } of channels) expect(counters.packetsIn).toBeGreaterThanOrEqual(20)
    await guest.suspend()
    await guest.resume()
    while (controller.channelCount < 4) await guest.sleep(1)
    await disk.read(79, sector)
    expect(sector).toEqual(pattern(512, 79))
  })
})
