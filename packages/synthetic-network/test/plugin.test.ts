// The plug-in: its options, its network, and its place in the life of a VM.

import {
  type Network,
  networkToken,
  PartitaError,
  type PluginContext,
  silentLogger,
  vmbusServerToken,
} from '@partita/interface'
import { VmbusPair } from '@partita/vmbus/testing'
import { describe, expect, it } from 'vitest'
import loopback from '../src/loopback.ts'
import plugin, { type NetworkControl, type NetworkOptions, networkControlToken } from '../src/vsp.ts'
import { TestNetwork } from './test-network.ts'

async function optionsOf(input: unknown): Promise<NetworkOptions> {
  const result = await plugin.options['~standard'].validate(input)
  if (result.issues !== undefined) throw new Error(result.issues[0]?.message)
  return result.value
}

async function create(input: unknown, network?: Network) {
  const pair = new VmbusPair()
  const services = new Map<string, unknown>([[vmbusServerToken.name, pair.server]])
  if (network !== undefined) services.set(networkToken.name, network)
  const context: PluginContext<NetworkOptions> = {
    options: await optionsOf(input),
    logger: silentLogger,
    id: 'nic',
    get: (token) => services.get(token.name) as never,
    find: (token) => services.get(token.name) as never,
  }
  const instance = await plugin.create(context)
  return { pair, instance, control: instance.services?.[networkControlToken.name] as NetworkControl }
}

describe('the plug-in', () => {
  it('offers one adapter where nothing is said, without a cable where there is no network', async () => {
    const { pair, instance, control } = await create({})
    expect(pair.server.channels()).toHaveLength(1)
    expect(control.adapters).toHaveLength(1)
    expect(control.adapters[0]).toMatchObject({ linkUp: false, macAddress: '02:15:5d:50:54:01' })
    await instance[Symbol.asyncDispose]()
    expect(pair.server.channels()).toHaveLength(0)
  })

  it('connects each adapter to its network, and lets go of it', async () => {
    const network = new TestNetwork()
    const { control, instance } = await create(
      {
        adapters: [
          { macAddress: '02-00-00-00-00-0A', network: 'lan', port: { vlan: 7 } },
          { connected: false, instanceId: 'AAAAAAAA-0000-4000-8000-000000000000' },
        ],
        queues: 2,
      },
      network,
    )
    expect(network.connection).toEqual({ network: 'lan', port: { vlan: 7 } })
    expect(network.adapter).toMatchObject({ name: 'nic/0', macAddress: '02:00:00:00:00:0a' })
    expect(control.adapters.map(({ linkUp }) => linkUp)).toEqual([true, false])
    expect(control.adapters[1]?.offer.instanceId).toBe('aaaaaaaa-0000-4000-8000-000000000000')
    instance.start?.()
    instance.stop?.()
    const state = instance.save?.()
    expect(state).toBeDefined()
    instance.restore?.(structuredClone(state as NonNullable<typeof state>))
    instance.reset?.()
    expect(() => instance.restore?.({ version: 1, data: { adapters: [] } })).toThrow(PartitaError)
    await instance[Symbol.asyncDispose]()
    expect(network.disposed).toBe(true)
  })

  it('refuses options that make no sense', async () => {
    for (const input of [
      { queues: 0 },
      { queues: 65 },
      { adapters: [{ macAddress: '01:00:00:00:00:00' }] },
      { adapters: [{ macAddress: 'none' }] },
      { maximumVersion: '7' },
      { other: 1 },
      { adapters: new Array(9).fill({}) },
    ])
      await expect(optionsOf(input)).rejects.toThrow()
    await expect(
      create({ adapters: [{ macAddress: '02:00:00:00:00:01' }, { macAddress: '020000000001' }] }),
    ).rejects.toMatchObject({
      code: 'ERR_NETWORK_ADDRESS',
    })
  })

  it('passes on what the network says of a port', async () => {
    const network: Network = {
      connect: () => {
        throw new PartitaError('ERR_NETWORK_UNKNOWN', 'there is no such network')
      },
    }
    await expect(create({}, network)).rejects.toMatchObject({ code: 'ERR_NETWORK_UNKNOWN' })
  })

  it('has a loop-back plug beside it', async () => {
    const result = await loopback.options['~standard'].validate({ mtu: 9000 })
    expect(result).toMatchObject({ value: { mtu: 9000, linkSpeed: 10e9 } })
    expect((await loopback.options['~standard'].validate({ mtu: 100 })).issues).toBeDefined()
    expect(loopback.provides).toEqual([networkToken])
  })
})
