// A network adapter as ethtool sees and sets it: features, counters, channels, with what each change does to the adapter.

import { equal, match, ok } from 'node:assert/strict'
import { networkControlToken } from '@partita/synthetic-network/vsp'
import type { GuestCase } from '../case.ts'

/** What hv_netvsc offers on Hyper-V, and has switched on. */
const FEATURES: readonly string[] = [
  'rx-checksumming: on',
  'tx-checksumming: on',
  'tx-checksum-ipv4: on',
  'tx-checksum-ipv6: on',
  'scatter-gather: on',
  'tcp-segmentation-offload: on',
  'tx-tcp-segmentation: on',
  'tx-tcp6-segmentation: on',
  'generic-segmentation-offload: on',
  'generic-receive-offload: on',
  'large-receive-offload: on',
  'receive-hashing: on',
  'highdma: on [fixed]',
  // The driver's own: no adapter of Hyper-V's is without.
  'tx-vlan-offload: on [fixed]',
  'rx-vlan-offload: on [fixed]',
]
/** Counters of hv_netvsc of what goes wrong, and of a virtual function, which there is none of. */
const ZERO_COUNTERS: readonly string[] = [
  ...['tx_no_memory', 'tx_no_space', 'tx_too_big', 'tx_busy', 'tx_send_full', 'rx_comp_busy', 'rx_no_memory'],
  ...['stop_queue', 'wake_queue', 'vlan_error'],
  ...['vf_rx_packets', 'vf_rx_bytes', 'vf_tx_packets', 'vf_tx_bytes', 'vf_tx_dropped'],
]
const IN_KERNEL = 'for f in /sys/bus/vmbus/devices/c7e1*/channels/*; do echo; done | wc -l'

export const adapterSettings: GuestCase = {
  name: 'adapter-settings',
  description: 'ethtool shows and changes the features, channels and hash key of a network adapter',
  async run({ boot }) {
    const guest = await boot({
      processors: 2,
      devices: [
        { plugin: '@partita/synthetic-network/loopback' },
        { plugin: '@partita/synthetic-network/vsp', options: { adapters: [{ macAddress: '02:15:5d:00:00:01' }] } },
      ],
    })
    const adapter = guest.vm.find(networkControlToken)?.adapters[0]
    ok(adapter !== undefined, 'there is no adapter')
    await guest.run('ip link set eth0 up')
    match(await guest.run('ethtool -i eth0'), /driver: hv_netvsc/)
    const features = await guest.run('ethtool -k eth0')
    for (const feature of FEATURES) ok(features.includes(`${feature}`), `${feature} is not in\n${features}`)
    match(await guest.run('ethtool eth0'), /Speed: 10000Mb\/s[\s\S]*Duplex: Full[\s\S]*Link detected: yes/)
    match(await guest.run('ethtool -l eth0'), /maximums:[\s\S]*Combined:\s+2[\s\S]*Current[\s\S]*Combined:\s+2/)
    match(await guest.run('ethtool -x eth0'), /RX flow hash indirection table for eth0 with 2 RX ring/)

    // Queues, with frames that come back.
    await guest.run('ip addr add 10.0.0.1/24 dev eth0; ping -c 3 -W 1 10.0.0.2; true')
    const counters = await guest.run('ethtool -S eth0')
    match(counters, /tx_queue_0_packets: \d+/)
    match(counters, /rx_queue_1_packets: \d+/)
    match(counters, /tx_queue_1_bytes: \d+/)
    for (const name of ZERO_COUNTERS) match(counters, new RegExp(`\\s${name}: 0\\s`))
    ok(adapter.statistics.transmitted.broadcastFrames > 0, 'no frame was sent')

    // One channel: the driver closes the adapter, and opens it anew.
    await guest.run('ethtool -L eth0 combined 1')
    equal((await guest.run(IN_KERNEL)).trim(), '1')
    equal(adapter.openChannels, 1)
    await guest.run('ethtool -L eth0 combined 2')
    equal(adapter.openChannels, 2)
    // Buffers of another size.
    await guest.run('ethtool -G eth0 rx 1000')
    const sections = adapter.receiveBuffer?.sectionCount ?? 0
    ok(sections > 900 && sections < 1100, `${sections} sections instead of 1000`)
    await guest.run('ethtool -X eth0 weight 1 3')
    await guest.run(
      'ethtool -K eth0 lro off; ethtool -K eth0 lro on; ethtool -K eth0 rx off tso off; ethtool -K eth0 rx on tso on',
    )
    ok((await guest.run('ethtool -k eth0')).includes('large-receive-offload: on'), 'coalescing stays off')
    equal(guest.errors.length, 0, guest.errors.join('; '))
  },
}
