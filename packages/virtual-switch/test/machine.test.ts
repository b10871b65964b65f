// In a machine that runs: the TypeScript guest has adapters at two networks, and the counters of their ports are seen from outside.

import { bootGuest } from '@partita/guest'
import { PACKET_FILTER } from '@partita/synthetic-network/protocol'
import { type NetworkClient, networkDriver } from '@partita/synthetic-network/vsc'
import vsp from '@partita/synthetic-network/vsp'
import { expect, it } from 'vitest'
import { switchControlToken } from '../src/index.ts'
import natPort from '../src/nat-port.node.ts'
import switches from '../src/switch.node.ts'
import { BROADCAST, frameOf } from './adapter.ts'

const MACS = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c'] as const

const instanceIdOf = (adapter: number): string => `aaaaaaaa-0000-4000-8000-00000000000${adapter}`

/** Who has the gateway's address (RFC 826)? */
function whoHasGateway(mac: string): Uint8Array {
  const sender = mac.split(':').map((byte) => Number.parseInt(byte, 16))
  const { bytes } = frameOf(mac, BROADCAST, 'x'.repeat(28))
  bytes.set([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, ...sender, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2], 12)
  return bytes
}

it('adapters at two networks, and what went through their ports', async () => {
  await using guest = await bootGuest({
    providers: [
      { plugin: switches, options: { networks: ['world', 'lan'] } },
      { plugin: natPort, options: { network: 'world' } },
      {
        plugin: vsp,
        options: {
          adapters: MACS.map((macAddress, i) => ({
            macAddress,
            instanceId: instanceIdOf(i),
            network: i === 0 ? 'world' : 'lan',
          })),
        },
      },
    ],
    drivers: [networkDriver],
  })
  const adapters = new Map<string, NetworkClient>()
  for (const [i, mac] of MACS.entries()) {
    adapters.set(mac, await guest.device(networkDriver, { instanceId: instanceIdOf(i) }))
  }
  const heard = Promise.withResolvers<void>()
  const frames = new Map<string, Uint8Array[]>()
  for (const [mac, nic] of adapters) {
    const own: Uint8Array[] = []
    frames.set(mac, own)
    nic.onReceive = ({ bytes, start, end }) => {
      own.push(bytes.slice(start, end))
      if ([...frames.values()].reduce((sum, { length }) => sum + length, 0) === 2) heard.resolve()
    }
    await nic.setPacketFilter(PACKET_FILTER.DIRECTED | PACKET_FILTER.BROADCAST)
  }
  // The gateway answers at the first network, and at the second the other adapter hears the question.
  adapters.get(MACS[0])?.send(whoHasGateway(MACS[0]))
  adapters.get(MACS[1])?.send(whoHasGateway(MACS[1]))
  await heard.promise
  expect(MACS.map((mac) => frames.get(mac)?.map((frame) => frame[21]))).toEqual([[2], [], [1]])
  const report = guest.vm.find(switchControlToken)?.report()
  const one = { framesIn: 1, framesOut: 1, bytesIn: 42, bytesOut: 42 }
  expect(report).toMatchObject([
    {
      network: 'world',
      mtu: 1500,
      ports: [
        { name: 'nat', counters: one },
        { macAddress: MACS[0], linkUp: true, counters: one },
      ],
    },
    {
      network: 'lan',
      ports: [
        { macAddress: MACS[1], counters: { framesIn: 1, framesOut: 0 } },
        { macAddress: MACS[2], counters: { framesIn: 0, framesOut: 1, droppedNoRoom: 0 } },
      ],
    },
  ])
})
