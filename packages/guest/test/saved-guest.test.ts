// A guest that is saved with its virtual machine, and goes on in another one.

import { MemoryDisk } from '@partita/disk-images'
import { vmbusServerToken } from '@partita/interface'
import { storageDriver } from '@partita/synthetic-storage/vsc'
import { describe, expect, it } from 'vitest'
import { bootGuest, type Guest } from '../src/index.ts'
import { echoDriver, echoProvider } from './echo.ts'

const MIB = 2 ** 20

async function saved(guest: Guest): Promise<ReturnType<Guest['vm']['save']>> {
  await guest.vm.pause()
  return structuredClone(guest.vm.save())
}

describe('a saved guest', () => {
  it('goes on with its disks in another virtual machine', async () => {
    const disk = new MemoryDisk(8192)
    const options = { disks: { disk }, memory: 8 * MIB }
    const pattern = Uint8Array.from({ length: 64 * 1024 }, (_, i) => i >> 3)
    let state: Awaited<ReturnType<typeof saved>>
    {
      await using guest = await bootGuest(options)
      await (await guest.device(storageDriver)).disk(0).write(8, pattern)
      state = await saved(guest)
    }
    await using guest = await bootGuest({ ...options, restore: state })
    const controller = await guest.device(storageDriver)
    const back = new Uint8Array(pattern.length)
    await controller.disk(0).read(8, back)
    expect(Buffer.compare(back, pattern)).toBe(0)
    // The channel was not opened again: the root partition has it from the saved state.
    expect(
      guest.vm
        .find(vmbusServerToken)
        ?.channels()
        .map(({ counters }) => counters.opens),
    ).toEqual([1])
    expect(guest.deviceTree()).toContain('lun0: Msft Virtual Disk, 4 MiB')
    await guest.suspend()
    await guest.resume()
    await controller.disk(0).read(8, back)
    expect(Buffer.compare(back, pattern)).toBe(0)
  })

  it('goes on amid its requests, and gives back what they had', async () => {
    const disk = new MemoryDisk(8192)
    const options = { disks: { disk }, memory: 8 * MIB, processors: 2 }
    let state: Awaited<ReturnType<typeof saved>>
    let free = 0
    {
      await using guest = await bootGuest(options)
      const controller = await guest.device(storageDriver)
      while (controller.channelCount < 2) await guest.sleep(1)
      free = guest.kernel.freePages
      const writes = Array.from({ length: 100 }, (_, i) =>
        controller.disk(0).write(i * 8, new Uint8Array(4096).fill(i)),
      )
      const ended = Promise.allSettled(writes)
      state = await saved(guest)
      await guest[Symbol.asyncDispose]()
      await ended
    }
    await using guest = await bootGuest({ ...options, restore: state })
    const controller = await guest.device(storageDriver)
    expect(controller.channelCount).toBe(2)
    const block = new Uint8Array(4096)
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => controller.disk(0).write(i * 8, new Uint8Array(4096).fill(i + 1))),
    )
    await controller.disk(0).read(99 * 8, block)
    expect(block).toEqual(new Uint8Array(4096).fill(100))
    await guest.suspend()
    await guest.resume()
    while (controller.channelCount < 2) await guest.sleep(1)
    expect(guest.kernel.freePages).toBe(free)
  })

  it('does nothing while the machine is paused, and all of it afterwards', async () => {
    const disk = new MemoryDisk(8192)
    const options = { disks: { disk }, memory: 8 * MIB }
    await using guest = await bootGuest(options)
    const controller = await guest.device(storageDriver)
    await guest.vm.pause()
    const steps = guest.vm.partition.virtualProcessors[0]?.instructionCount
    let done = false
    const writing = controller
      .disk(0)
      .write(3, new Uint8Array(512).fill(3))
      .then(() => void (done = true))
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(done).toBe(false)
    expect(guest.vm.partition.virtualProcessors[0]?.instructionCount).toBe(steps)
    const state = structuredClone(guest.vm.save())
    guest.vm.resume()
    await writing
    // In the saved machine the packet is in the ring, and nobody waits for its answer.
    await disk.write(3, [new Uint8Array(512)])
    await using later = await bootGuest({ ...options, restore: state })
    const sector = new Uint8Array(512)
    await (await later.device(storageDriver)).disk(0).read(3, sector)
    expect(sector[0]).toBe(3)
  })

  it('starts drivers anew that cannot go on, and connects anew when it was saved on the way', async () => {
    const options = { providers: [echoProvider], drivers: [echoDriver] }
    const guest = await bootGuest(options)
    await (await guest.device(echoDriver)).echo(Uint8Array.of(1))
    const warm = await saved(guest)
    guest.vm.resume()
    const sleeping = guest.suspend()
    const cold = await saved(guest)
    guest.vm.resume()
    await sleeping
    const asleep = await saved(guest)
    await guest[Symbol.asyncDispose]()
    for (const restore of [warm, cold, asleep]) {
      await using later = await bootGuest({ ...options, restore })
      const echo = await later.device(echoDriver)
      expect((await echo.echo(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)))[7]).toBe(8)
    }
  })
})
