// A VM with one adapter on a test's network, and this package's own driver in it.

import { parseMacAddress } from '@partita/ethernet'
import type { Network, NetworkFrame } from '@partita/interface'
import { VscDevice } from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import { NVSP_VERSION, PACKET_FILTER } from '../src/protocol.ts'
import { NetworkClient, type NetworkClientOptions } from '../src/vsc.ts'
import { NetworkDevice, type NetworkDeviceOptions } from '../src/vsp.ts'
import { SentFrame, TestNetwork } from './test-network.ts'

export const ADDRESS = '02:00:00:00:00:01'
export const ALL: number = PACKET_FILTER.DIRECTED | PACKET_FILTER.ALL_MULTICAST | PACKET_FILTER.BROADCAST

export const deviceOptions: NetworkDeviceOptions = {
  instanceId: '11111111-2222-3333-4444-555555555555',
  order: 0,
  name: 'nic',
  permanentAddress: parseMacAddress(ADDRESS) as number,
  addressChange: true,
  friendlyName: 'Network Adapter',
  checksumOffload: true,
  largeSendOffload: true,
  receiveCoalescing: true,
  queues: 4,
  maximumVersion: NVSP_VERSION.V61,
}

export class Machine {
  readonly pair: VmbusPair = new VmbusPair({ ramSize: 64 * 1024 * 1024 })
  readonly network: TestNetwork = new TestNetwork()
  device: NetworkDevice
  nic!: NetworkClient
  vsc!: VscDevice
  readonly received: SentFrame[] = []
  readonly queues: number[] = []

  constructor(options: Partial<NetworkDeviceOptions> = {}, network: Network | null = null) {
    this.device = new NetworkDevice({ ...deviceOptions, ...options })
    this.device.connect(network ?? this.network, {})
    this.pair.server.offer(this.device)
  }

  /** Open the adapter, with a filter for everything that is for it. */
  async open(options: NetworkClientOptions = {}, filter: number = ALL): Promise<this> {
    const { client } = this.pair
    if (client.version === 0) {
      await this.pair.run(client.connect())
      await this.pair.run(client.requestOffers())
    }
    const offer = client.offers.find(({ subChannelIndex }) => subChannelIndex === 0)
    if (offer === undefined) throw new Error('no offer')
    const device = new VscDevice({ client, transport: this.pair.transport, offer })
    client.onOffer = (later) => {
      if (later.subChannelIndex > 0) device.addSubChannel(later)
    }
    this.vsc = device
    this.nic = await this.run(NetworkClient.open(device, options))
    this.nic.onReceive = (frame: NetworkFrame, queue) => {
      this.received.push(new SentFrame(frame))
      this.queues.push(queue)
    }
    if (filter !== 0) await this.pair.run(this.nic.setPacketFilter(filter))
    return this
  }

  /** Let everything pass until a request is over that takes several turns. */
  async run<T>(request: Promise<T>): Promise<T> {
    let over = false
    const end = (): void => {
      over = true
    }
    request.then(end, end)
    for (let round = 0; round < 100 && !over; round++) {
      await this.pair.settle()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return this.pair.run(request)
  }

  /** Open sub-channels. */
  async widen(count: number): Promise<void> {
    await this.run(this.nic.createSubChannels(count))
    await this.pair.settle()
  }
}
