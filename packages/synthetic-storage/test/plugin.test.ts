// The plug-in: its options, its disks, and disks that come and go through its service.

import { MemoryDisk } from '@partita/disk-images'
import { type Disk, disksToken, type PluginInstance, silentLogger, vmbusServerToken } from '@partita/interface'
import { VmbusPair } from '@partita/vmbus/testing'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { run } from '../../scsi/test/scsi-initiator.ts'
import manifest from '../package.json' with { type: 'json' }
import plugin, {
  BlockUnit,
  DvdUnit,
  type StorageControl,
  type StorageOptions,
  storageControlToken,
} from '../src/vsp.ts'

function parse(input: unknown): StorageOptions {
  return v.parse(plugin.options as v.GenericSchema<unknown, StorageOptions>, input)
}

async function create(
  input: unknown,
  disks: Record<string, Disk> = {},
): Promise<{ instance: PluginInstance; control: StorageControl; pair: VmbusPair }> {
  const pair = new VmbusPair()
  const services: Record<string, unknown> = {
    [vmbusServerToken.name]: pair.server,
    [disksToken.name]: new Map(Object.entries(disks)),
  }
  const instance = await plugin.create({
    options: parse(input),
    logger: silentLogger,
    id: plugin.name,
    get: <T>(token: { name: string }) => services[token.name] as T,
    find: <T>(token: { name: string }) => services[token.name] as T | undefined,
  })
  return { instance, control: instance.services?.[storageControlToken.name] as StorageControl, pair }
}

const disk = (): MemoryDisk => new MemoryDisk(64)

/** The unit at a LUN, which has to be of a kind. */
function unitAt<T>(control: StorageControl, controller: number, lun: number, kind: new (...args: never[]) => T): T {
  const unit = control.controllers[controller]?.target.unit(lun)
  if (!(unit instanceof kind)) throw new Error(`LUN ${lun} of controller ${controller} is something else`)
  return unit
}

describe('fast paths to IDE disks', () => {
  it('are offered beside the controllers, and stand and go on with them', async () => {
    const disks = { root: disk(), ide: disk() }
    const ide = [{ channel: 0, device: 1, disk: 'ide', serial: 'fast' }]
    const { instance, control, pair } = await create({ controllers: [{ luns: [{ disk: 'root' }] }], ide }, disks)
    expect(control.controllers).toHaveLength(1)
    await pair.run(pair.client.connect())
    await pair.run(pair.client.requestOffers())
    expect(pair.client.offers.map(({ interfaceId }) => interfaceId.slice(0, 8)).sort()).toEqual([
      '32412632',
      'ba6163d9',
    ])
    const saved = instance.save?.()
    expect(saved?.data['controllers']).toHaveLength(2)
    const without = await create({ controllers: [{ luns: [{ disk: 'root' }] }] }, disks)
    expect(() => without.instance.restore?.(saved as never)).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_INVALID' }),
    )
  })

  it('name disks that there are, at places of their own', async () => {
    await expect(create({ ide: [{ channel: 0, device: 0, disk: 'none' }] })).rejects.toMatchObject({
      code: 'ERR_STORAGE_DISK_UNKNOWN',
    })
    for (const ide of [
      [{ channel: 2, device: 0, disk: 'a' }],
      [
        { channel: 1, device: 0, disk: 'a' },
        { channel: 1, device: 0, disk: 'b' },
      ],
    ])
      expect(() => parse({ ide })).toThrow()
  })
})

describe('units', () => {
  it('tell whoever asks first that they were switched on, once, and again after a reset of the machine', async () => {
    const disks = { disk: disk(), iso: new MemoryDisk(64, { readOnly: true }) }
    const { instance, control } = await create(
      { controllers: [{ luns: [{ disk: 'disk' }, { disk: 'iso', dvd: true }] }] },
      disks,
    )
    const { target } = control.controllers[0] as StorageControl['controllers'][number]
    const testUnitReady = async (lun: number, initiator = 0) =>
      (await run(target, '00 00 00 00 00 00', { lun, initiator })).sense
    for (const lun of [0, 1]) {
      // INQUIRY is answered all the same, and does not take the news away.
      expect((await run(target, '12 00 00 00 24 00', { lun })).status).toBe(0)
      expect([await testUnitReady(lun), await testUnitReady(lun)]).toEqual(['06/29/01', ''])
    }
    expect([await testUnitReady(0, 1), await testUnitReady(0, 1)]).toEqual(['06/29/01', ''])
    instance.reset?.()
    expect([await testUnitReady(0), await testUnitReady(0)]).toEqual(['06/29/01', ''])
    // A restored machine was not switched on.
    const saved = instance.save?.()
    instance.restore?.(saved as never)
    expect(await testUnitReady(0)).toBe('')
  })
})

describe('options', () => {
  it('name disks by controller', async () => {
    const disks = { root: disk(), data: disk(), iso: new MemoryDisk(64, { readOnly: true }) }
    const { control, pair } = await create(
      {
        controllers: [
          { luns: [{ disk: 'data' }, { disk: 'root', lun: 0 }, { disk: 'iso', dvd: true, lun: 5 }] },
          { luns: [{ disk: null, dvd: true }], instanceId: '01234567-89AB-cdef-0123-456789abcdef' },
        ],
      },
      disks,
    )
    const [first, second] = control.controllers
    expect(first?.target.luns()).toEqual([0, 1, 5])
    expect(unitAt(control, 0, 0, BlockUnit).disk).toBe(disks.root)
    expect(unitAt(control, 0, 5, DvdUnit).medium).toBe(disks.iso)
    expect(unitAt(control, 1, 0, DvdUnit).medium).toBeUndefined()
    expect(second?.offer.instanceId).toBe('01234567-89ab-cdef-0123-456789abcdef')
    await pair.run(pair.client.connect())
    expect((await pair.run(pair.client.requestOffers())).length).toBe(2)
  })

  it('have defaults, and are checked', async () => {
    expect(parse({})).toEqual({ controllers: [{ luns: [] }], ide: [], subChannels: 4, maximumTransferBytes: 524_288 })
    for (const wrong of [
      { controllers: [{ luns: [{ disk: null }] }] },
      { controllers: [{ luns: [{ disk: 'a', lun: 64 }] }] },
      { controllers: [{ luns: [], instanceId: 'x' }] },
      { maximumTransferBytes: 100_000 },
      { other: 1 },
    ])
      expect(() => parse(wrong)).toThrow()
  })

  it('with disks that are not there, or used twice, are refused', async () => {
    await expect(create({ controllers: [{ luns: [{ disk: 'a' }] }] }, { b: disk() })).rejects.toMatchObject({
      code: 'ERR_STORAGE_DISK_UNKNOWN',
      hint: 'Known disks: b.',
    })
    const twice = { controllers: [{ luns: [{ disk: 'a' }, { disk: 'a' }] }] }
    await expect(create(twice, { a: disk() })).rejects.toMatchObject({ code: 'ERR_STORAGE_DISK' })
    await create(twice, { a: new MemoryDisk(64, { readOnly: true }) })
    const taken = {
      controllers: [
        {
          luns: [
            { disk: 'a', lun: 1 },
            { disk: 'b', lun: 1 },
          ],
        },
      ],
    }
    await expect(create(taken, { a: disk(), b: disk() })).rejects.toMatchObject({ code: 'ERR_STORAGE_LUN' })
  })

  it('read-only is so for the guest alone', async () => {
    const { control } = await create({ controllers: [{ luns: [{ disk: 'a', readOnly: true }] }] }, { a: disk() })
    const unit = unitAt(control, 0, 0, BlockUnit)
    expect([unit.readOnly, unit.disk.readOnly]).toEqual([true, false])
  })
})

describe('the service', () => {
  it('attaches and detaches disks', async () => {
    const { control } = await create({})
    const added = disk()
    expect(control.attach(0, added, { serial: 'new' })).toBe(0)
    expect(control.attach(0, disk(), { serial: 'other', lun: 9 })).toBe(9)
    expect(() => control.attach(0, added, { serial: 'again' })).toThrow(
      expect.objectContaining({ code: 'ERR_STORAGE_DISK' }),
    )
    expect(() => control.attach(1, disk(), { serial: 'x' })).toThrow(
      expect.objectContaining({ code: 'ERR_STORAGE_LUN' }),
    )
    const unit = await control.detach(0, 0)
    expect((unit as BlockUnit).disk).toBe(added)
    expect(control.attach(0, added, { serial: 'new' })).toBe(0)
    expect(control.attach(0, disk(), { serial: 'dvd', lun: 3, dvd: true })).toBe(3)
    const medium = unitAt(control, 0, 3, DvdUnit).medium
    await control.detach(0, 3)
    if (medium === undefined) throw new Error('no medium')
    expect(control.attach(0, medium, { serial: 'again', lun: 3 })).toBe(3)
    await expect(control.detach(0, 1)).rejects.toMatchObject({ code: 'ERR_STORAGE_LUN' })
  })
})

describe('an instance', () => {
  it('saves and restores its controllers', async () => {
    const input = { controllers: [{ luns: [{ disk: 'a' }] }] }
    const first = await create(input, { a: disk() })
    unitAt(first.control, 0, 0, BlockUnit).writeCache = false
    await first.instance.stop?.()
    const state = structuredClone(first.instance.save?.())
    if (state === undefined) throw new Error('no state')
    const second = await create(input, { a: disk() })
    second.instance.restore?.(state)
    expect(unitAt(second.control, 0, 0, BlockUnit).writeCache).toBe(false)
    const other = await create({ controllers: [] })
    expect(() => other.instance.restore?.(state)).toThrow(expect.objectContaining({ code: 'ERR_STATE_INVALID' }))
  })

  it('takes its offers back', async () => {
    const { instance, pair } = await create({})
    await pair.run(pair.client.connect())
    await pair.run(pair.client.requestOffers())
    const rescinded: string[] = []
    pair.client.onRescind = (offer) => {
      rescinded.push(offer.interfaceId)
      pair.client.release(offer.relid)
    }
    await pair.run(Promise.resolve(instance[Symbol.asyncDispose]()))
    expect(rescinded).toEqual(['ba6163d9-04a1-4d29-b605-72e2ffb1dc7f'])
  })
})

it('is what the manifest says', () => {
  const { name, kind, contract, description } = plugin
  expect(manifest.partita.plugins).toMatchObject([{ name, kind, contract, description, export: './vsp' }])
})
