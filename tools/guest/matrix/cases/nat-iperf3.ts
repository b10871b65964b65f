// iperf3 between the guest and the host, through user-mode NAT.

import { equal, ok } from 'node:assert/strict'
import { natControlToken } from '@partita/virtual-switch/nat'
import type { GuestCase } from '../case.ts'
import { eventually, HOST, hostIperf3, iperf3, iperf3Server, natDevices } from '../network.ts'

const TRANSFERS: readonly (readonly [label: string, options: string])[] = [
  ['1 stream from the guest', '-t 3'],
  ['1 stream to the guest', '-t 3 -R'],
  ['8 streams from the guest', '-t 3 -P 8'],
  ['8 streams to the guest', '-t 3 -P 8 -R'],
  ['UDP from the guest', '-t 3 -u -b 20M -l 1400'],
  ['UDP to the guest', '-t 3 -u -b 20M -l 1400 -R'],
]

export const natIperf3: GuestCase = {
  name: 'nat-iperf3',
  description: 'iperf3 over TCP and UDP, both ways, with 1 and 8 streams; no connection is left in the NAT afterwards',
  timeout: 1200,
  async run({ boot, directory }) {
    const program = hostIperf3(directory)
    await using server = await iperf3Server(program)
    const guest = await boot({ devices: natDevices() })
    const nat = guest.vm.find(natControlToken)
    for (const [label, options] of TRANSFERS) {
      const rate = await iperf3(guest, `-c ${HOST} -p ${server.port} ${options}`)
      ok(rate > 0, `${label}: nothing arrives`)
      console.log(`  ${label}: ${(rate / 1e6).toFixed(0)} Mbit/s`)
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
