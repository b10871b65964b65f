// The driver against the provider, on an image file: probing, data that is the host's, durable writes, giving back, faults.

import { mkdtemp, readFile, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryDisk } from '@partita/disk-images'
import { createRawImage, openRawDisk } from '@partita/disk-images/node'
import { VscDevice } from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { inquire, reportLuns, ScsiDisk, type ScsiInitiator, StorageClient } from '../src/vsc.ts'
import { BlockUnit, DvdUnit, StorageController } from '../src/vsp.ts'
import { INSTANCE } from './guest.ts'

/** Both ends, and something that keeps them going. */
class Both {
  readonly pair: VmbusPair = new VmbusPair({ ramSize: 16 * 1024 * 1024 })
  readonly controller: StorageController = new StorageController({ instanceId: INSTANCE, subChannels: 2 })
  device!: VscDevice
  client!: StorageClient

  async open(): Promise<this> {
    const { client, transport, server } = this.pair
    server.offer(this.controller)
    await this.pair.run(client.connect())
    const [offer] = await this.pair.run(client.requestOffers())
    if (offer === undefined) throw new Error('no offer')
    this.device = new VscDevice({ client, transport, offer })
    this.client = new StorageClient(await this.pair.run(this.device.open({ ringBytes: 16_384 })))
    return this
  }

  /** What commands are executed by. */
  get initiator(): ScsiInitiator {
    return {
      execute: (request) => this.client.execute(request),
      rangesOf: (bytes) => this.device.rangesOf(bytes),
      allocate: (byteLength) => this.device.allocate(byteLength),
    }
  }

  async openDisk(lun = 0): Promise<ScsiDisk> {
    const { maximumTransferBytes } = await this.run(this.client.connect())
    const description = await this.run(inquire(this.initiator, lun))
    if (description === undefined) throw new Error('no disk')
    return await this.run(ScsiDisk.open(this.initiator, lun, description, maximumTransferBytes))
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
    expect(await both.run(reportLuns(both.initiator))).toEqual([2, 40])
    expect(await both.run(inquire(both.initiator, 40))).toEqual({
      deviceType: 5,
      removable: true,
      vendor: 'Msft',
      product: 'Virtual DVD-ROM',
      revision: '1.0',
    })
    expect(await both.run(inquire(both.initiator, 3))).toBeUndefined()
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
    const disk = await both.openDisk()
    await both.run(both.client.createSubChannels(2))
    for (const offer of both.pair.client.offers.filter(({ subChannelIndex }) => subChannelIndex > 0))
      both.client.addChannel(await both.pair.run(both.device.openSubChannel(offer)))
    const { bytes } = both.device.allocate(512)
    await both.run(Promise.all(Array.from({ length: 30 }, (_, i) => disk.read(i, bytes))))
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
    const disk = await both.openDisk()
    expect([disk.blockCount, disk.blockSize, disk.byteLength, disk.readOnly]).toEqual([16_384, 512, 8_388_608, false])
    const data = both.device.allocate(64 * 4096).bytes
    for (let i = 0; i < data.length; i++) data[i] = (i * 31 + (i >> 9)) & 0xff
    const page = (i: number): Uint8Array => data.subarray(i * 4096, i * 4096 + 4096)
    const original = data.slice()
    // 64 pages, to every second page of the disk, at once.
    const pages = Array.from({ length: 64 }, (_, i) => i)
    await both.run(Promise.all(pages.map((i) => disk.write(i * 16, page(i), { durable: i === 63 }))))
    await both.run(disk.flush())
    const file = await readFile(image)
    for (const i of pages) {
      expect(Buffer.compare(file.subarray(i * 8192, i * 8192 + 4096), page(i))).toBe(0)
      expect(file[i * 8192 + 4096]).toBe(0)
    }
    data.fill(0)
    await both.run(Promise.all(pages.map((i) => disk.read(i * 16, page(63 - i)))))
    for (const i of pages) expect(Buffer.compare(page(63 - i), original.subarray(i * 4096, i * 4096 + 4096))).toBe(0)
    const before = (await stat(image)).blocks
    if (disk.canUnmap) {
      await both.run(disk.unmap(0, 1024))
      expect((await stat(image)).blocks).toBeLessThan(before)
    }
  })

  it('copies buffers that are not in the partition, in requests of the size that the controller takes', async () => {
    const both = await new Both().open()
    await using raw = await openRawDisk(image)
    both.controller.target.attach(0, new BlockUnit(raw, { serial: 's' }))
    const disk = await both.openDisk()
    const data = Uint8Array.from({ length: 1_300_480 }, (_, i) => (i * 7 + (i >> 12)) & 0xff)
    await both.run(disk.write(3, data))
    const back = new Uint8Array(data.length)
    const before = both.pair.server.channels()[0]?.counters.packetsIn ?? 0
    await both.run(disk.read(3, back))
    expect((both.pair.server.channels()[0]?.counters.packetsIn ?? 0) - before).toBe(3)
    expect(Buffer.compare(back, data)).toBe(0)
    // The rings, and nothing else, is still in use.
    expect(both.pair.memory.allocations).toBe(1)
  })

  it('refuses what is not whole blocks of it', async () => {
    const both = await new Both().open()
    both.controller.target.attach(0, new BlockUnit(new MemoryDisk(64), { serial: 's' }))
    const disk = await both.openDisk()
    for (const [lba, length] of [
      [0, 100],
      [64, 512],
      [63, 1024],
      [-1, 512],
      [0.5, 512],
    ] as const)
      await expect(disk.read(lba, new Uint8Array(length))).rejects.toMatchObject({ code: 'ERR_STORAGE_RANGE' })
  })

  it('gives up a request, and keeps its copy until the host is done', async () => {
    const both = await new Both().open()
    const slow = new MemoryDisk(64)
    const held = Promise.withResolvers<void>()
    const read = slow.read.bind(slow)
    slow.read = async (...args) => {
      await held.promise
      await read(...args)
    }
    both.controller.target.attach(0, new BlockUnit(slow, { serial: 's' }))
    const disk = await both.openDisk()
    const over = new AbortController()
    const reading = disk.read(0, new Uint8Array(512), { signal: over.signal })
    await both.pair.settle()
    over.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
    expect([both.pair.memory.allocations, both.client.pending]).toEqual([2, 1])
    held.resolve()
    await both.run(both.client.drained())
    expect([both.pair.memory.allocations, both.client.pending]).toEqual([1, 0])
    await expect(disk.read(0, new Uint8Array(512), { signal: over.signal })).rejects.toThrow('enough')
    expect(both.pair.memory.allocations).toBe(1)
  })

  it('that is truncated under it fails reads and writes with the right sense, and stays as short', async () => {
    const both = await new Both().open()
    await using raw = await openRawDisk(image)
    both.controller.target.attach(0, new BlockUnit(raw, { serial: 's' }))
    const disk = await both.openDisk()
    await truncate(image, 4096)
    const { bytes } = both.device.allocate(4096)
    await both.run(disk.read(0, bytes))
    await expect(both.run(disk.read(8, bytes))).rejects.toMatchObject({
      code: 'ERR_STORAGE_SCSI',
      data: { senseKey: 3, asc: 0x11 },
    })
    await expect(both.run(disk.write(8, bytes))).rejects.toMatchObject({ data: { senseKey: 3, asc: 0x0c } })
    expect((await stat(image)).size).toBe(4096)
  })
})
