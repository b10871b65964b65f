// The real providers of disks and network adapters, on the bus with their drivers, when the plug-in behind them fails: what the guest sees of it.

import { type Disk, disksToken, type Network, networkToken, type Plugin, vmbusServerToken } from '@partita/interface'
import { NetworkClient } from '@partita/synthetic-network/vsc'
import network from '@partita/synthetic-network/vsp'
import { inquire, ScsiDisk, type ScsiInitiator, StorageClient } from '@partita/synthetic-storage/vsc'
import storage from '@partita/synthetic-storage/vsp'
import { VscDevice } from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import { describe, expect, it } from 'vitest'
import { device, machine } from './failing-machine.ts'

/** A machine with these plug-ins, and a guest on its bus. */
async function guestOf(devices: readonly Plugin[], options: Readonly<Record<string, unknown>> = {}) {
  const pair = new VmbusPair({ ramSize: 32 * 2 ** 20 })
  const { vm, messages } = await machine({
    devices,
    services: new Map([[vmbusServerToken.name, pair.server]]),
    configuration: {
      devices: ['power', ...devices.map(({ name }) => ({ plugin: name, options: options[name] ?? {} }))],
    },
  })
  const { client } = pair
  await pair.run(client.connect())
  const offers = await pair.run(client.requestOffers())
  const run = async <T>(request: Promise<T>): Promise<T> => {
    let over = false
    const end = (): void => void (over = true)
    request.then(end, end)
    while (!over) {
      await pair.settle()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return request
  }
  const open = (position: number): VscDevice =>
    new VscDevice({ client, transport: pair.transport, offer: offers[position] as (typeof offers)[number] })
  return { vm, messages, pair, run, open }
}

describe('a network that fails in a frame', () => {
  it('is a cable that somebody has pulled out; the driver is told, and goes on', async () => {
    let frames = 0
    const broken: Network = {
      connect: () => ({
        accepts: 0,
        mtu: 1500,
        linkUp: true,
        linkSpeed: 1e9,
        send: () => {
          if (++frames < 3) return true
          throw new TypeError('no such host')
        },
        sendEnd: () => {},
        resume: () => {},
        adapterChanged: () => {},
        async [Symbol.asyncDispose]() {},
      }),
    }
    const provider = device('net', [], () => ({ services: { [networkToken.name]: broken } }), {
      provides: [networkToken],
    })
    const { vm, messages, run, open, pair } = await guestOf([provider, network as Plugin])
    const nic = await run(NetworkClient.open(open(0), {}))
    const links: boolean[] = []
    nic.onLink = (up) => links.push(up)
    expect(await run(nic.linkUp())).toBe(true)
    for (let n = 0; n < 6; n++) nic.send(new Uint8Array(60))
    await pair.settle()
    expect(frames).toBe(3)
    expect(messages()).toEqual(['The plug-in net failed in a frame of the guest: no such host'])
    expect(links).toEqual([false])
    expect(await run(nic.linkUp())).toBe(false)
    nic.send(new Uint8Array(60))
    expect(nic.properties.macAddress).toBe('02:15:5d:50:54:01')
    expect(vm.plugins).toContain(network.name)
    expect(vm.plugins).not.toContain('net')
  })
})

describe('a store that fails in a request', () => {
  const disk = (more: Partial<Disk>): Disk => ({
    sectorSize: 512,
    physicalSectorSize: 512,
    sectorCount: 64,
    readOnly: false,
    read: async (_sector, segments) => {
      for (const segment of segments) segment.fill(7)
    },
    write: async () => {},
    flush: async () => {},
    async [Symbol.asyncDispose]() {},
    ...more,
  })

  /** SPC-4, 4.5.6: sense key MEDIUM ERROR. */
  const MEDIUM_ERROR = { code: 'ERR_STORAGE_SCSI', data: { senseKey: 3 } }

  it.each([
    [
      'at once',
      () => {
        throw new TypeError('no such disk')
      },
    ],
    ['in its promise', () => Promise.reject(new TypeError('no such disk'))],
  ])('%s gives I/O errors; disks and controllers are still there', async (_, write) => {
    const provider = device(
      'store',
      [],
      () => ({ services: { [disksToken.name]: new Map([['a', disk({ write })]]) } }),
      { provides: [disksToken] },
    )
    const { vm, messages, run, open } = await guestOf([provider, storage as Plugin], {
      [storage.name]: { controllers: [{ luns: [{ disk: 'a' }] }] },
    })
    const controller = open(0)
    const client = new StorageClient(await run(controller.open({ ringBytes: 16_384 })))
    const initiator: ScsiInitiator = {
      execute: (request) => client.execute(request),
      rangesOf: (bytes) => controller.rangesOf(bytes),
      allocate: (byteLength) => controller.allocate(byteLength),
    }
    const { maximumTransferBytes } = await run(client.connect())
    const description = await run(inquire(initiator, 0))
    if (description === undefined) throw new Error('no disk')
    const found = await run(ScsiDisk.open(initiator, 0, description, maximumTransferBytes))
    const sector = new Uint8Array(512)
    await run(found.read(0, sector))
    expect(sector).toEqual(new Uint8Array(512).fill(7))
    await expect(run(found.write(0, sector))).rejects.toMatchObject(MEDIUM_ERROR)
    await expect(run(found.read(0, sector))).rejects.toMatchObject(MEDIUM_ERROR)
    expect(messages()).toEqual(['The plug-in store failed in a write of the disk a: no such disk'])
    expect(await run(inquire(initiator, 0))).toEqual(description)
    expect(vm.plugins).toContain(storage.name)
  })
})
