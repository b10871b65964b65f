/**
 * The root side of synthetic networking: network adapters on the VMBus, as a plug-in (the default export) and as a class.
 *
 * @example
 * ```ts
 * import network from '@partita/synthetic-network/vsp'
 *
 * const adapters = { plugin: network.name, options: { adapters: [{ macAddress: '02:15:5d:00:00:01' }] } }
 * ```
 * @packageDocumentation
 */

import { isMulticast, parseMacAddress } from '@partita/ethernet'
import {
  clockToken,
  definePlugin,
  networkToken,
  type Plugin,
  type PluginInstance,
  type SavedState,
  type ServiceToken,
  serviceToken,
  vmbusServerToken,
} from '@partita/interface'
import * as v from 'valibot'
import { NetworkError } from './network-error.ts'
import { NVSP_VERSION } from './protocol/nvsp.ts'
import { NetworkDevice } from './vsp/network-device.ts'

export { NetworkError } from './network-error.ts'
export type { LinkView } from './vsp/adapter-state.ts'
export { NetworkDevice, type NetworkDeviceOptions } from './vsp/network-device.ts'
export type { NetworkStatistics, Traffic } from './vsp/statistics.ts'

/** An adapter in the options of the plug-in. */
export interface AdapterOptions {
  /** Default: one that is made from its position; give adapters of several VMs on one network different ones. */
  readonly macAddress?: string | undefined
  /** Name of the network, where there are several. */
  readonly network?: string | undefined
  /** Settings of the port, for the network. */
  readonly port?: Readonly<Record<string, unknown>> | undefined
  /** What the guest shows as the adapter's name. Default: Network Adapter. */
  readonly name?: string | undefined
  /** GUID of the adapter. Default: one that is made from its position. */
  readonly instanceId?: string | undefined
  /** The cable is plugged in. Default: true, where there is a network. */
  readonly connected?: boolean | undefined
}

/** A version of NVSP, as options name it. */
export type NvspVersionName = '1' | '2' | '4' | '5' | '6' | '6.1'

const VERSIONS: Readonly<Record<NvspVersionName, number>> = {
  '1': NVSP_VERSION.V1,
  '2': NVSP_VERSION.V2,
  '4': NVSP_VERSION.V4,
  '5': NVSP_VERSION.V5,
  '6': NVSP_VERSION.V6,
  '6.1': NVSP_VERSION.V61,
}

/** Options of `@partita/synthetic-network/vsp`. */
export interface NetworkOptions {
  /** Default: one. */
  readonly adapters: readonly AdapterOptions[]
  /** Receive queues of each adapter: a channel for each that the guest has a processor for. Default: 8. */
  readonly queues: number
  /** Compute and check TCP, UDP and IP checksums for the guest. Default: true. */
  readonly checksumOffload: boolean
  /** Cut large TCP packets of the guest. Default: true. */
  readonly largeSendOffload: boolean
  /** Give large TCP packets to guests that can take them. Default: true. */
  readonly receiveCoalescing: boolean
  /** The guest may change its MAC address. Default: true. */
  readonly macAddressChange: boolean
  /** The newest version of NVSP to agree on. Default: 6.1. */
  readonly maximumVersion: NvspVersionName
}

/** The adapters of a VM, for counters. */
export interface NetworkControl {
  /** In the order of the options. */
  readonly adapters: readonly NetworkDevice[]
}

/** The service by which adapters are looked at. */
export const networkControlToken: ServiceToken<NetworkControl> = serviceToken('partita/network-control')

const flag = (fallback: boolean): v.OptionalSchema<v.BooleanSchema<undefined>, boolean> =>
  v.optional(v.boolean(), fallback)

const macAddress = v.pipe(
  v.string(),
  v.check((text) => {
    const address = parseMacAddress(text)
    return address !== undefined && address !== 0 && !isMulticast(address)
  }, 'must be the MAC address of one adapter, as 02:15:5d:00:00:01'),
)

const options: v.GenericSchema<unknown, NetworkOptions> = v.strictObject({
  adapters: v.optional(
    v.pipe(
      v.array(
        v.strictObject({
          macAddress: v.optional(macAddress),
          network: v.optional(v.pipe(v.string(), v.nonEmpty())),
          port: v.optional(v.record(v.string(), v.unknown())),
          name: v.optional(v.pipe(v.string(), v.maxLength(255))),
          instanceId: v.optional(v.pipe(v.string(), v.uuid(), v.toLowerCase())),
          connected: v.optional(v.boolean()),
        }),
      ),
      v.maxLength(8, 'there can be 8 adapters'),
    ),
    [{}],
  ),
  queues: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(64)), 8),
  checksumOffload: flag(true),
  largeSendOffload: flag(true),
  receiveCoalescing: flag(true),
  macAddressChange: flag(true),
  maximumVersion: v.optional(v.picklist(Object.keys(VERSIONS) as NvspVersionName[]), '6.1'),
})

/** Addresses and GUIDs of adapters that have none of their own: the first address is administered locally. */
const FIRST_ADDRESS = 0x0215_5d50_5401
function instanceIdOf(position: number): string {
  return `c7e1a2d4-0b5f-4f0e-9a3d-3f6b21d0${position.toString(16).padStart(4, '0')}`
}

/** @throws NetworkError `ERR_NETWORK_ADDRESS` */
function addressesOf(adapters: readonly AdapterOptions[]): number[] {
  const addresses = adapters.map(
    ({ macAddress: text }, position) =>
      (text === undefined ? undefined : parseMacAddress(text)) ?? FIRST_ADDRESS + position,
  )
  const twice = addresses.find((address, position) => addresses.indexOf(address) !== position)
  if (twice !== undefined) {
    throw new NetworkError('ERR_NETWORK_ADDRESS', 'two adapters have the same MAC address', {
      hint: 'Give each adapter an address of its own.',
      data: { address: twice },
    })
  }
  return addresses
}

/** The plug-in: synthetic network adapters. */
const plugin: Plugin<NetworkOptions> = definePlugin<NetworkOptions>({
  name: '@partita/synthetic-network/vsp',
  kind: 'vsp',
  contract: 1,
  description: 'Synthetic network adapters',
  options,
  needs: [vmbusServerToken],
  uses: [networkToken, clockToken],
  provides: [networkControlToken],
  create: async (context): Promise<PluginInstance> => {
    const vmbus = context.get(vmbusServerToken)
    const network = context.find(networkToken)
    const clock = context.find(clockToken)
    const { adapters, queues, checksumOffload, largeSendOffload, receiveCoalescing, macAddressChange } = context.options
    const addresses = addressesOf(adapters)
    const devices = adapters.map(
      (adapter, order) =>
        new NetworkDevice({
          instanceId: adapter.instanceId ?? instanceIdOf(order),
          order,
          name: adapters.length === 1 ? context.id : `${context.id}/${order}`,
          permanentAddress: addresses[order] as number,
          addressChange: macAddressChange,
          friendlyName: adapter.name ?? 'Network Adapter',
          checksumOffload,
          largeSendOffload,
          receiveCoalescing,
          queues,
          maximumVersion: VERSIONS[context.options.maximumVersion],
          clock,
        }),
    )
    await using stack = new AsyncDisposableStack()
    for (const [order, device] of devices.entries()) {
      const { network: name, port, connected = true } = adapters[order] as AdapterOptions
      stack.use(device)
      if (connected && network !== undefined) device.connect(network, { network: name, port })
    }
    for (const device of devices) stack.use(vmbus.offer(device))
    const owned = stack.move()
    return {
      services: { [networkControlToken.name]: { adapters: devices } satisfies NetworkControl },
      start: () => {
        for (const device of devices) device.start()
      },
      stop: () => {
        for (const device of devices) device.stop()
      },
      reset: () => {
        for (const device of devices) device.reset()
      },
      save: () => ({
        version: 1,
        data: {
          adapters: devices.map((device) => {
            const { version, data } = device.save()
            return { version, data }
          }),
        },
      }),
      restore: (state) => restoreDevices(devices, state),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  },
})

/** @throws NetworkError `ERR_STATE_INVALID` */
function restoreDevices(devices: readonly NetworkDevice[], state: SavedState): void {
  const saved = state.data['adapters']
  if (state.version !== 1 || !Array.isArray(saved) || saved.length !== devices.length) {
    throw new NetworkError('ERR_STATE_INVALID', 'the adapters are not those of the saved state', {
      data: { version: state.version, adapters: devices.length },
    })
  }
  devices.forEach((device, position) => {
    device.restore(saved[position] as SavedState)
  })
}

export default plugin
