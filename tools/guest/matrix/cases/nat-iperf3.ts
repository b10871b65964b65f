// iperf3 between the guest and the host, through user-mode NAT, with a channel of the adapter for each of two processors.

import { equal, ok } from 'node:assert/strict'
import { networkControlToken } from '@partita/synthetic-network/vsp'
import { natControlToken } from '@partita/virtual-switch/nat'
import type { GuestCase } from '../case.ts'
import type { MatrixGuest } from '../machine.ts'
import { eventually, HOST, hostIperf3, iperf3, iperf3Server, natDevices } from '../network.ts'

const TRANSFERS: readonly (readonly [label: string, options: string])[] = [
  ['1 stream from the guest', '-t 3'],
  ['1 stream to the guest', '-t 3 -R'],
  ['8 streams from the guest', '-t 3 -P 8'],
  ['8 streams to the guest', '-t 3 -P 8 -R'],
  ['UDP from the guest', '-t 3 -u -b 20M -l 1400'],
  ['UDP to the guest', '-t 3 -u -b 20M -l 1400 -R'],
]

/** Packets that 8 streams send through each channel at least, each way. */
const PACKETS = 50

/** Packets from and to the guest through the channels of its adapter, in their order. */
function packets(guest: MatrixGuest): readonly (readonly [from: number, to: number])[] {
  const instance = guest.vm.find(networkControlToken)?.adapters[0]?.offer.instanceId
  return guest.channels
    .filter(({ instanceId, state }) => instanceId === instance && state === 'open')
    .sort((one, other) => one.subChannelIndex - other.subChannelIndex)
    .map(({ counters }) => [counters.packetsIn, counters.packetsOut])
}

export const natIperf3: GuestCase = {
  name: 'nat-iperf3',
  description:
    'with 2 processors iperf3 over TCP and UDP, both ways, with 1 and 8 streams: 8 use both channels of the adapter; no connection is left in the NAT afterwards',
  timeout: 1200,
  async run({ boot, directory }) {
    const program = hostIperf3(directory)
    await using server = await iperf3Server(program)
    const guest = await boot({ processors: 2, devices: natDevices() })
    equal((await guest.run('nproc')).trim(), '2')
    equal(packets(guest).length, 2)
    const nat = guest.vm.find(natControlToken)
    for (const [label, options] of TRANSFERS) {
      const before = packets(guest)
      const rate = await iperf3(guest, `-c ${HOST} -p ${server.port} ${options}`)
      ok(rate > 0, `${label}: nothing arrives`)
      const through = packets(guest).map(([from, to], channel) => [
        from - (before[channel]?.[0] ?? 0),
        to - (before[channel]?.[1] ?? 0),
      ])
      if (label.startsWith('8'))
        ok(
          through.flat().every((count) => count >= PACKETS),
          `${label}: ${JSON.stringify(through)}`,
        )
      console.log(
        `  ${label}: ${(rate / 1e6).toFixed(0)} Mbit/s, packets from and to the guest ${JSON.stringify(through)}`,
      )
    }
    await eventually(
      () => nat?.report().tcpConnections === 0,
      () => `connections are left: ${JSON.stringify(nat?.report())}`,
    )
    equal(nat?.report().heldBytes, 0)
    equal(await guest.complaints(), '')
    await guest.powerOff()
  },
}
