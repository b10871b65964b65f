// The driver against the provider, on an image file: probing, data that is the host's, durable writes, giving back, faults.

import { mkdtemp, readFile, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryDisk } from '@partita/disk-images'
import { createRawImage, openRawDisk } from '@partita/disk-images/node'
import { contiguousRange } from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { inquire, reportLuns, ScsiDisk, StorageClient } from '../src/vsc.ts'
import { BlockUnit, DvdUnit, StorageController } from '../src/vsp.ts'
import { INSTANCE } from './guest.ts'

const SCRATCH = 100 * 4096

/** Both ends, and something that keeps them going. */
class Both {
  readonly pair: VmbusPair = new VmbusPair({ ramSize: 16 * 1024 * 1024 })
  readonly controller: StorageController = new StorageController({ instanceId: INSTANCE, subChannels: 2 })
  client!: StorageClient
  readonly scratch: { memory: VmbusPair['memory']; gpa: number } = { memory: this.pair.memory, gpa: SCRATCH }

  async open(): Promise<this> {
    this.pair.server.offer(this.controller)
    this.pair.memory.allocatePages(200) // the scratch page is ours
    await this.pair.run(this.pair.client.connect())
    const [offer] = await this.pair.run(this.pair.client.requestOffers())
    if (offer === undefined) throw new Error('no offer')
    this.client = new StorageClient(await this.pair.run(this.pair.client.open(offer, this.pair.rings(4, 4))))
    return this
  }

  /** Let both ends go on until `request` is done. */
  async run<T>(request: Promise<T>): Promise<T> {
    let done = false
    const finish = (): void => void (done = true)
    request.then(finish, finish)
    while (!done) {
      await this.pair.settle()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return await request
  }
}

describe('the driver', () => {
  it('agrees on the newest version that both have', async () => {
    const both = await new Both().open()
    expect(await both.run(both.client.connect())).toEqual({
      version: 0x0602,
      maximumSubChannels: 2,
      maximumTransferBytes: 524_288,
    })
    const older = await new Both().open()
    expect((await older.run(older.client.connect([0x0700, 0x0402]))).version).toBe(0x0402)
    const none = await new Both().open()
    await expect(none.run(none.client.connect([0x0700]))).rejects.toMatchObject({ code: 'ERR_STORAGE_PROTOCOL' })
  })

  it('finds units', async () => {
    const both = await new Both().open()
    both.controller.target.attach(2, new BlockUnit(new MemoryDisk(64), { serial: 's' }))
    both.controller.target.attach(40, new DvdUnit({ serial: 'd' }))
    await both.run(both.client.connect())
    expect(await both.run(reportLuns(both.client, both.scratch))).toEqual([2, 40])
    expect(await both.run(inquire(both.client, 40, both.scratch))).toEqual({
      deviceType: 5,
      removable: true,
      vendor: 'Msft',
      product: 'Virtual DVD-ROM',
      revision: '1.0',
    })
    expect(await both.run(inquire(both.client, 3, both.scratch))).toBeUndefined()
  })

  it('hears of units that come and go', async () => {
    const both = await new Both().open()
    let changes = 0
    both.client.onBusChange = () => void changes++
    await both.run(both.client.connect())
    both.controller.target.attach(0, new BlockUnit(new MemoryDisk(64), { serial: 's' }))
    await both.pair.settle()
    expect(changes).toBe(1)
  })

  it('spreads requests over sub-channels', async () => {
    const both = await new Both().open()
    both.controller.target.attach(0, new BlockUnit(new MemoryDisk(64), { serial: 's' }))
    await both.run(both.client.connect())
    await both.run(both.client.createSubChannels(2))
    for (const offer of both.pair.client.offers.filter(({ subChannelIndex }) => subChannelIndex > 0))
      both.client.addChannel(await both.pair.run(both.pair.client.open(offer, both.pair.rings(2, 2))))
    const disk = await both.run(ScsiDisk.open(both.client, 0, both.scratch))
    const ranges = [contiguousRange(150 * 4096, 512)]
    await both.run(Promise.all(Array.from({ length: 30 }, (_, i) => disk.read(i, 1, ranges))))
    for (const { counters } of both.pair.server.channels()) expect(counters.packetsIn).toBeGreaterThanOrEqual(10)
    await expect(both.run(both.client.createSubChannels(3))).rejects.toMatchObject({ code: 'ERR_STORAGE_PROTOCOL' })
  })

  it('fails what waits when it is closed', async () => {
    const both = await new Both().open()
    await both.run(both.client.connect())
    const waiting = both.client.execute({ lun: 0, cdb: new Uint8Array(6) })
    const closing = both.client.close()
    await expect(both.run(waiting)).rejects.toMatchObject({ code: 'ERR_STORAGE_CLOSED' })
    await both.run(closing)
    await expect(both.client.execute({ lun: 0, cdb: new Uint8Array(6) })).rejects.toMatchObject({
      code: 'ERR_STORAGE_CLOSED',
    })
  })
})

describe('a disk on an image file', () => {
  let directory: string
  let image: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'partita-vsc-'))
    image = join(directory, 'disk.img')
    await createRawImage(image, 8 * 1024 * 1024)
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  it('has what the guest wrote, many requests at a time', async () => {
    const both = await new Both().open()
    await using raw = await openRawDisk(image)
    both.controller.target.attach(0, new BlockUnit(raw, { serial: 's' }))
    await both.run(both.client.connect())
    const disk = await both.run(ScsiDisk.open(both.client, 0, both.scratch))
    expect([disk.blocks, disk.blockSize, disk.readOnly]).toEqual([16_384, 512, false])
    const { memory } = both.pair
    const data = Uint8Array.from({ length: 64 * 4096 }, (_, i) => (i * 31 + (i >> 9)) & 0xff)
    memory.write(1000 * 4096, data)
    // 64 pages, to every second page of the disk, at once.
    const pages = Array.from({ length: 64 }, (_, i) => i)
    await both.run(
      Promise.all(pages.map((i) => disk.write(i * 16, 8, [contiguousRange((1000 + i) * 4096, 4096)], i === 63))),
    )
    await both.run(disk.flush())
    const file = await readFile(image)
    for (const i of pages) {
      expect(Buffer.compare(file.subarray(i * 8192, i * 8192 + 4096), data.subarray(i * 4096, i * 4096 + 4096))).toBe(0)
      expect(file[i * 8192 + 4096]).toBe(0)
    }
    memory.fill(1000 * 4096, data.length, 0)
    await both.run(
      Promise.all(pages.map((i) => disk.read(i * 16, 8, [{ byteOffset: 0, byteCount: 4096, pages: [1063 - i] }]))),
    )
    const back = new Uint8Array(4096)
    for (const i of pages) {
      memory.read((1063 - i) * 4096, back)
      expect(Buffer.compare(back, data.subarray(i * 4096, i * 4096 + 4096))).toBe(0)
    }
    const before = (await stat(image)).blocks
    if (disk.unmaps) {
      await both.run(disk.unmap(0, 1024))
      expect((await stat(image)).blocks).toBeLessThan(before)
    }
  })

  it('that is truncated under it fails reads and writes with the right sense, and stays as short', async () => {
    const both = await new Both().open()
    await using raw = await openRawDisk(image)
    both.controller.target.attach(0, new BlockUnit(raw, { serial: 's' }))
    await both.run(both.client.connect())
    const disk = await both.run(ScsiDisk.open(both.client, 0, both.scratch))
    await truncate(image, 4096)
    const ranges = [contiguousRange(1000 * 4096, 4096)]
    await both.run(disk.read(0, 8, ranges))
    await expect(both.run(disk.read(8, 8, ranges))).rejects.toMatchObject({
      code: 'ERR_STORAGE_SCSI',
      data: { senseKey: 3, asc: 0x11 },
    })
    await expect(both.run(disk.write(8, 8, ranges))).rejects.toMatchObject({ data: { senseKey: 3, asc: 0x0c } })
    expect((await stat(image)).size).toBe(4096)
  })
})
