// VLANs (IEEE 802.1Q) between two guests: one at a trunk of a switch, with an interface of Linux for each VLAN, the other at an access port.

import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { join } from 'node:path'
import type { PluginConfiguration } from '@partita/root-partition'
import type { GuestCase } from '../case.ts'
import { readCapture } from '../network.ts'

const MEBIBYTES = 4

function devices(path: string, capture: string, macAddress: string, vlan: object | number): PluginConfiguration[] {
  return [
    { plugin: '@partita/virtual-switch/shared', options: { path, capture } },
    { plugin: '@partita/synthetic-network/vsp', options: { adapters: [{ macAddress, port: { vlan } }] } },
  ]
}

export const vlans: GuestCase = {
  name: 'vlans',
  description:
    "8021q interfaces at a trunk reach an access port of their VLAN and no other; tshark finds tags on the trunk's wire, and none at the access port",
  async run({ boot, directory }) {
    const path = join(directory, 'switch')
    const trunkCapture = join(directory, 'trunk.pcapng')
    const accessCapture = join(directory, 'access.pcapng')
    const vlan = { mode: 'trunk', allowed: [7, 8], native: 0 }
    const trunk = await boot({ devices: devices(path, trunkCapture, '02:15:5d:00:00:01', vlan) })
    const access = await boot({ devices: devices(path, accessCapture, '02:15:5d:00:00:02', 7) })
    await trunk.run('modprobe 8021q && ip link set eth0 up')
    for (const id of [7, 8, 9]) {
      await trunk.run(`ip link add link eth0 name eth0.${id} type vlan id ${id} && ip link set eth0.${id} up`)
      await trunk.run(`ip addr add 192.0.${id}.1/24 dev eth0.${id}`)
    }
    await access.run('ip link set eth0 up')
    for (const id of [7, 8, 9]) await access.run(`ip addr add 192.0.${id}.2/24 dev eth0`)
    await trunk.run('httpd -p 80 -h /tmp')
    await access.run('httpd -p 80 -h /tmp')
    match(await trunk.run('ping -c 3 -s 3000 192.0.7.2'), / 0% packet loss/)
    for (const id of [8, 9]) match((await trunk.try(`ping -c 2 -W 1 192.0.${id}.2`)).output, /100% packet loss/)
    // A file there and back, in large sends that have a tag.
    await trunk.run(`dd if=/dev/urandom of=/tmp/file bs=1M count=${MEBIBYTES} 2>/dev/null`)
    const sum = (await trunk.run('sha256sum </tmp/file')).trim().split(' ')[0] as string
    await access.run('wget -q -O /tmp/file http://192.0.7.1/file')
    equal((await access.run('sha256sum </tmp/file')).trim().split(' ')[0], sum)
    await trunk.run('wget -q -O /tmp/back http://192.0.7.2/file')
    equal((await trunk.run('sha256sum </tmp/back')).trim().split(' ')[0], sum)
    for (const guest of [trunk, access]) {
      equal(await guest.complaints(), '')
      await guest.powerOff()
    }
    const onTrunk = readCapture(trunkCapture, ['vlan.id == 7 && tcp', 'vlan.id == 9', 'tcp && !vlan'])
    const onAccess = readCapture(accessCapture, ['vlan', 'arp.src.proto_ipv4 == 192.0.8.1', 'tcp'])
    equal(onTrunk.wrong, '')
    equal(onAccess.wrong, '')
    const [tagged = 0, ...otherwise] = onTrunk.counts
    console.log(`  ${onTrunk.frames} frames on the trunk, ${tagged} of TCP in VLAN 7`)
    ok(tagged > 1000, 'frames have no tags')
    // What the port drops is not on the wire.
    deepEqual(otherwise, [0, 0])
    const [tags, strange, plain = 0] = onAccess.counts
    deepEqual([tags, strange], [0, 0])
    ok(plain > 1000, 'frames are not there')
  },
}
