// Frames of 9,000 bytes between the guest and user-mode NAT.

import { equal, match, ok } from 'node:assert/strict'
import { networkControlToken } from '@partita/synthetic-network/vsp'
import type { GuestCase } from '../case.ts'
import { Content, checksumServer, HOST, hostIperf3, iperf3, iperf3Server, natDevices, serve } from '../network.ts'

const MTU = 9000
const MEBIBYTES = 16
/** IP and ICMP before the data of an echo. */
const ECHO_HEADERS = 28
/** What a segment of a large packet has at least, headers left out. */
const SEGMENT = 8900
const OFF = 'ethtool -K eth0 tso off gso off gro off lro off'

export const natJumbo: GuestCase = {
  name: 'nat-jumbo',
  description:
    'with an MTU of 9,000 the largest echo goes in one frame, transfers keep their checksum in as few frames as there have to be, and iperf3 runs; at 1,500 again, they do so too',
  timeout: 1200,
  async run({ boot, directory, mebibytes }) {
    const content = new Content(Math.min(mebibytes, MEBIBYTES))
    const bytes = content.mebibytes * 2 ** 20
    await using web = await serve(new Map([['/content', () => content.blocks()]]))
    const guest = await boot({ devices: natDevices({ mtu: MTU }) })
    const adapter = guest.vm.find(networkControlToken)?.adapters[0]
    ok(adapter !== undefined, 'there is no adapter')
    const frames = (): readonly [from: number, to: number] => [
      adapter.statistics.transmitted.directedFrames,
      adapter.statistics.received.directedFrames,
    ]
    const bothWays = async (): Promise<void> => {
      await using receiver = await checksumServer()
      const received = await guest.run(
        `wget -q -O /tmp/content http://${HOST}:${web.port}/content && sha256sum /tmp/content`,
        600,
      )
      ok(received.includes(content.sha256), received)
      await guest.run(`nc ${HOST} ${receiver.port} </tmp/content`, 600)
      equal(await receiver.sha256, content.sha256)
    }
    await guest.run(`ip link set eth0 mtu ${MTU}`)
    match(await guest.run('ip link show eth0'), new RegExp(`mtu ${MTU}`))
    await guest.run(`until ping -c 1 -W 1 ${HOST} >/dev/null; do usleep 200000; done`)
    // More than that goes in fragments.
    for (const [size, count] of [
      [1, 1],
      [MTU - ECHO_HEADERS, 1],
      [MTU - ECHO_HEADERS + 1, 2],
    ] as const) {
      const [from, to] = frames()
      await guest.run(`ping -c 3 -s ${size} ${HOST}`)
      const [fromAfter, toAfter] = frames()
      ok(fromAfter - from >= 3 * count && fromAfter - from < 3 * count + 3, `${fromAfter - from} frames of ${size}`)
      ok(toAfter - to >= 3 * count, `${toAfter - to} frames with ${size}`)
    }
    await bothWays()
    await using server = await iperf3Server(hostIperf3(directory))
    await guest.run(OFF)
    const [before] = frames()
    await iperf3(guest, `-c ${HOST} -p ${server.port} -n ${bytes}`)
    const sent = frames()[0] - before
    ok(sent < (1.25 * bytes) / SEGMENT, `${sent} frames for ${bytes} bytes`)
    console.log(`  ${sent} frames for ${bytes} bytes`)
    await bothWays()
    await guest.run(OFF.replaceAll(' off', ' on'))
    for (const options of ['', '-R', '-P 4', '-P 4 -R']) {
      const rate = await iperf3(guest, `-c ${HOST} -p ${server.port} -t 2 ${options}`)
      ok(rate > 0, `nothing arrives with ${options}`)
      console.log(`  ${(rate / 1e6).toFixed(0)} Mbit/s ${options}`)
    }
    await guest.run('ip link set eth0 mtu 1500')
    await bothWays()
    equal(await guest.complaints(), '')
    await guest.powerOff()
  },
}
