// A guest that does everything itself: whole checksums, one segment a frame, nothing in pieces.

import { equal, match, ok } from 'node:assert/strict'
import { networkControlToken } from '@partita/synthetic-network/vsp'
import type { GuestCase } from '../case.ts'
import { Content, checksumServer, HOST, hostIperf3, iperf3, iperf3Server, natDevices, serve } from '../network.ts'

const MEBIBYTES = 64
const OFF = 'ethtool -K eth0 tso off gso off gro off lro off tx off rx off sg off'

export const natWithoutOffloads: GuestCase = {
  name: 'nat-without-offloads',
  description:
    'with all offloads switched off, and on again amid a transfer, what goes through the NAT keeps its checksum, and nothing is reset',
  timeout: 1800,
  async run({ boot, directory, mebibytes }) {
    const content = new Content(Math.min(mebibytes, MEBIBYTES))
    await using web = await serve(new Map([['/content', () => content.blocks()]]))
    const guest = await boot({ devices: natDevices() })
    const adapter = guest.vm.find(networkControlToken)?.adapters[0]
    ok(adapter !== undefined, 'there is no adapter')
    const source = `wget -q -O - http://${HOST}:${web.port}/content`
    const bothWays = async (meanwhile: string): Promise<void> => {
      await using receiver = await checksumServer()
      const received = await guest.run(`${source} >/tmp/content & ${meanwhile}; wait $!; sha256sum </tmp/content`, 1800)
      ok(received.includes(content.sha256), received)
      await guest.run(`nc ${HOST} ${receiver.port} </tmp/content & ${meanwhile}; wait $!`, 1800)
      equal(await receiver.sha256, content.sha256)
    }
    await guest.run(OFF)
    const features = await guest.run('ethtool -k eth0')
    for (const name of ['tcp-segmentation-offload', 'tx-checksumming', 'rx-checksumming', 'large-receive-offload'])
      match(features, new RegExp(`${name}: off`))
    const { largeSends, coalesced } = adapter.statistics
    await bothWays(':')
    await using server = await iperf3Server(hostIperf3(directory))
    for (const options of ['', '-R', '-P 8', '-P 8 -R']) {
      const rate = await iperf3(guest, `-c ${HOST} -p ${server.port} -t 2 ${options}`)
      ok(rate > 0, `nothing arrives with ${options}`)
      console.log(`  ${(rate / 1e6).toFixed(0)} Mbit/s ${options}`)
    }
    equal(adapter.statistics.largeSends, largeSends)
    equal(adapter.statistics.coalesced, coalesced)
    // Each change makes the driver close the adapter's data path and open it again, or tell it what it may leave out.
    const on = OFF.replaceAll(' off', ' on')
    await bothWays(`for i in 1 2 3; do ${on}; usleep 200000; ${OFF}; usleep 200000; done; ${on}`)
    // With all of them on: on a slow host none of the connections above may have begun while they were.
    await bothWays(':')
    ok(adapter.statistics.largeSends > largeSends, 'there was no large send')
    ok(adapter.statistics.coalesced > coalesced, 'no frame was coalesced')
    equal(await guest.complaints(), '')
    await guest.powerOff()
  },
}
