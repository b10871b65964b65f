// The driver of the VMBus itself: connects, enumerates, and tells the Plug and Play manager of devices that come and go. To ACPI the whole bus is one device.

import type { SavedValue } from '@partita/interface'
import { type ClientOffer, VmbusClient, type VmbusTransport, VscDevice, type VscInstance } from '@partita/vmbus/client'
import { interfaceName } from './interface-names.ts'
import type { DeviceDescription, DeviceNode } from './pnp/device-node.ts'
import { type Driver, vmbusHardwareId } from './pnp/driver.ts'
import type { PnpManager } from './pnp/pnp-manager.ts'

/** What the bus needs of its kernel. */
export interface VmbusBusOptions {
  readonly transport: VmbusTransport
  readonly pnp: PnpManager
  /** The bus takes messages and events from here on; `undefined`: no more. */
  attach(bus: VmbusBus | undefined): void
}

/** The driver, for the device that ACPI names. */
export function vmbusDriver(options: VmbusBusOptions): Driver {
  return {
    name: 'vmbus',
    hardwareIds: ['acpi:VMBUS'],
    async start(_device, node) {
      const bus = new VmbusBus(options, node)
      await bus.connect()
      return bus
    },
    async restore(_device, saved, node) {
      const bus = new VmbusBus(options, node)
      options.attach(bus)
      bus.restore(saved)
      return bus
    },
  }
}

/** The bus, once its driver is bound. */
export class VmbusBus implements VscInstance {
  readonly client: VmbusClient
  readonly #options: VmbusBusOptions
  readonly #node: DeviceNode
  /** The devices by the number of each of their channels. */
  readonly #devices = new Map<number, { readonly device: VscDevice; readonly node: DeviceNode }>()
  /** Offers of devices that are there already: they count when those are gone. */
  readonly #again: ClientOffer[] = []

  constructor(options: VmbusBusOptions, node: DeviceNode) {
    this.#options = options
    this.#node = node
    this.client = new VmbusClient(options.transport)
    this.client.onOffer = (offer) => this.#offered(offer)
    this.client.onRescind = (offer) => void this.#rescinded(offer)
  }

  /** Agree on a version, and find all devices. @throws VmbusError `ERR_VMBUS_CLIENT` */
  async connect(): Promise<void> {
    this.#options.attach(this)
    await this.client.connect()
    await this.client.requestOffers()
  }

  /** A message of the host. */
  message(payload: Uint8Array): void {
    this.client.receiveMessage(payload)
  }

  /** The host signals a channel. */
  event(flag: number): void {
    const found = this.#devices.get(flag)
    if (found !== undefined) this.#guarded(found.node, () => this.client.eventFlag(flag))
  }

  /** Call a driver. One that throws loses its device, and no more. */
  #guarded(node: DeviceNode, call: () => void): void {
    try {
      call()
    } catch (error) {
      void this.#options.pnp.fail(node, error instanceof Error ? error : new Error(String(error)))
    }
  }

  // --- as a device of the tree

  /** All devices sleep already: the host can let go of everything. */
  async suspend(): Promise<void> {
    await this.client.unload()
    this.#devices.clear()
    this.#again.length = 0
  }

  /** Connect anew. Devices are offered with other numbers, and known by their GUIDs; those that are not offered any more are gone. */
  async resume(): Promise<void> {
    await this.connect()
    const { pnp } = this.#options
    const lost = this.#node.children.filter((node) => ![...this.#devices.values()].some((found) => found.node === node))
    await Promise.all(lost.map((node) => pnp.remove(node)))
  }

  stop(): void {
    this.#options.attach(undefined)
    for (const { device } of this.#devices.values()) device.rescinded()
    this.client.end()
  }

  // --- offers

  #offered(offer: ClientOffer): void {
    const id = `${offer.interfaceId}/${offer.instanceId}`
    const known = this.#node.children.find((node) => node.id === id)
    if (offer.subChannelIndex > 0) {
      const found = [...this.#devices.values()].find(({ node }) => node === known)
      if (found === undefined) this.client.release(offer.relid)
      else {
        this.#devices.set(offer.relid, found)
        this.#guarded(found.node, () => found.device.addSubChannel(offer))
      }
      return
    }
    const device = new VscDevice({ client: this.client, transport: this.#options.transport, offer })
    if (known === undefined) {
      const node = this.#options.pnp.add(this.#node, this.#describe(id, device))
      this.#devices.set(offer.relid, { device, node })
    } else if (![...this.#devices.values()].some(({ node }) => node === known)) {
      // It was there before a suspension.
      this.#devices.set(offer.relid, { device, node: known })
      if (known.state === 'suspended') void this.#options.pnp.resume(known, device)
      else known.device = device
    } else this.#again.push(offer)
  }

  #describe(id: string, device: VscDevice): DeviceDescription {
    const { interfaceId, instanceId } = device.offer
    return {
      id,
      hardwareId: vmbusHardwareId(interfaceId),
      text: `${interfaceName(interfaceId)} {${instanceId}}`,
      device,
      close: (current) => (current as VscDevice).close(),
    }
  }

  async #rescinded(offer: ClientOffer): Promise<void> {
    const { relid } = offer
    const found = this.#devices.get(relid)
    if (this.#again.includes(offer)) this.#again.splice(this.#again.indexOf(offer), 1)
    if (found !== undefined && offer.subChannelIndex > 0) await found.device.removeSubChannel(offer)
    else if (found !== undefined) {
      found.device.rescinded()
      await this.#options.pnp.remove(found.node)
    }
    this.#devices.delete(relid)
    this.client.release(relid)
    const { interfaceId, instanceId } = offer
    const next = this.#again.findIndex((each) => each.interfaceId === interfaceId && each.instanceId === instanceId)
    for (const each of next < 0 ? [] : this.#again.splice(next, 1)) this.#offered(each)
  }

  // --- saved state

  /** Connection, and every device with its channels and what its driver saves; `null` while anything is going on: then the bus is to be connected anew. */
  save(): SavedValue {
    const { client } = this
    if (!client.atRest || !this.#options.pnp.atRest || this.#again.length > 0) return null
    const primaries = [...this.#devices].filter(([relid, { device }]) => device.offer.relid === relid)
    return {
      client: client.save(),
      devices: primaries.map(([relid, { device, node }]) => {
        const driver = node.instance?.save?.()
        return { relid, device: device.save(), ...(driver !== undefined && { driver }) }
      }),
    }
  }

  /** The devices go on where they were. One whose driver cannot is closed, and started anew. */
  restore(saved: SavedValue): void {
    const state = saved as unknown as SavedBus
    const { client } = this
    const { transport, pnp } = this.#options
    client.restore(state.client)
    for (const { relid, device: savedDevice, driver } of state.devices) {
      const offer = client.offers.find((each) => each.relid === relid)
      if (offer === undefined) continue
      const device = VscDevice.restore({ client, transport, offer }, savedDevice)
      const { interfaceId } = offer
      const id = `${interfaceId}/${offer.instanceId}`
      if (driver !== undefined && pnp.drivers.find(vmbusHardwareId(interfaceId))?.restore !== undefined) {
        const found = { device, node: pnp.add(this.#node, this.#describe(id, device), driver) }
        for (const number of [relid, ...device.channels.map((channel) => channel.relid)])
          this.#devices.set(number, found)
        for (const subChannel of device.subChannels) this.#devices.set(subChannel.relid, found)
      } else void this.#startAnew(device, offer)
    }
    // What came while nobody listened.
    for (const { device } of new Set(this.#devices.values())) for (const channel of device.channels) channel.signalled()
  }

  async #startAnew(old: VscDevice, offer: ClientOffer): Promise<void> {
    await old.close()
    this.#offered(offer)
  }
}

interface SavedBus {
  readonly client: SavedValue
  readonly devices: readonly { readonly relid: number; readonly device: SavedValue; readonly driver?: SavedValue }[]
}
