// A capture of all kinds of traffic, read by tshark: what is left to adapters is done by the time that frames are on the wire.

import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { join } from 'node:path'
import type { GuestCase } from '../case.ts'
import {
  Content,
  checksumServer,
  freePort,
  HOST,
  hostIperf3,
  iperf3,
  iperf3Server,
  nameServer,
  natDevices,
  readCapture,
  serve,
} from '../network.ts'

const MEBIBYTES = 2
/** The gateway's addresses of IPv6: the one that stands for the host's loopback, and the name server's. */
const HOST6 = 'fd50:6172:7469::2'
const NAMES6 = 'fd50:6172:7469::3'
/** What has to be in the capture, as filters of tshark; frames at least. */
const KINDS: readonly (readonly [filter: string, frames: number])[] = [
  ['arp', 2],
  ['dhcp.option.dhcp == 5', 1],
  ['icmpv6.type == 134', 1],
  ['icmp.type == 0', 10],
  ['icmpv6.type == 129', 2],
  ['icmp.type == 3', 1],
  ['ip.flags.mf == 1', 8],
  ['ipv6.fraghdr', 8],
  ['dns.flags.response == 1', 5],
  ['dns && ipv6', 2],
  ['udp.length > 1400', 100],
  ['tcp.flags.syn == 1 && ip', 8],
  ['tcp.flags.syn == 1 && ipv6', 4],
  ['tcp.flags.reset == 1', 1],
  ['tcp.len == 1460', 1000],
  ['tcp.len == 1440 && ipv6', 1000],
]

export const networkCapture: GuestCase = {
  name: 'network-capture',
  description:
    'tshark reads a capture of transfers over IPv4 and IPv6, refusals, fragments, names and leases without a malformed packet or a wrong checksum',
  async run({ boot, directory }) {
    const capture = join(directory, 'guest.pcapng')
    const content = new Content(MEBIBYTES)
    const contents = new Map([['/content', () => content.blocks()]])
    await using web = await serve(contents)
    await using web6 = await serve(contents, '::1')
    await using receiver = await checksumServer()
    await using receiver6 = await checksumServer('::1')
    await using names = await nameServer()
    const refused = await freePort()
    const nat = { capture, nameServers: [`127.0.0.1:${names.port}`] }
    const guest = await boot({ devices: natDevices({ ...nat, deny: ['192.0.2.66'] }) })
    // Addresses of IPv6 come by advertisements, and are tentative for a while.
    const ready = 'ip -6 addr show dev eth0 scope global | grep inet6 | grep -qv tentative'
    await guest.run(`until ${ready}; do usleep 100000; done`)
    const transfer = async (source: string, target: string, sha256: Promise<string>): Promise<void> => {
      ok((await guest.run(`wget -q -O - ${source} | sha256sum`)).includes(content.sha256), source)
      await guest.run(`wget -q -O - ${source} | nc ${target}`)
      equal(await sha256, content.sha256, target)
    }
    await transfer(`http://${HOST}:${web.port}/content`, `${HOST} ${receiver.port}`, receiver.sha256)
    await transfer(`http://[${HOST6}]:${web6.port}/content`, `${HOST6} ${receiver6.port}`, receiver6.sha256)
    for (const size of [0, 1, 1472, 1473, 8000]) await guest.run(`ping -c 2 -s ${size} ${HOST}`)
    await guest.run(`ping -6 -c 2 -s 3000 ${HOST6}`)
    match(await guest.run('nslookup www.example.org'), /192\.0\.2\.80[\s\S]*2001:db8::50/)
    match(await guest.run(`nslookup www.example.org ${NAMES6}`), /192\.0\.2\.80/)
    equal((await guest.try('nslookup www.invalid')).status, 1)
    // Refused by the host, and by the policy.
    equal((await guest.try(`nc ${HOST} ${refused} </dev/null`)).status, 1)
    equal((await guest.try('nslookup www.example.org 192.0.2.66')).status, 1)
    await using server = await iperf3Server(hostIperf3(directory))
    await iperf3(guest, `-c ${HOST} -p ${server.port} -t 1 -u -b 5M -l 1400`)
    await iperf3(guest, `-c ${HOST} -p ${server.port} -t 1 -u -b 5M -l 4000 -R`)
    equal(await guest.complaints(), '')
    await guest.powerOff()
    const filters = KINDS.map(([filter]) => filter)
    const { frames, checksums, wrong, counts } = readCapture(capture, filters)
    console.log(`  ${frames} frames, ${checksums} checksums of TCP and UDP are right`)
    equal(wrong, '')
    ok(checksums > (4 * MEBIBYTES * 2 ** 20) / 1460, `only ${checksums} checksums in ${frames} frames`)
    const few = KINDS.filter(([, least], index) => (counts[index] ?? 0) < least)
    deepEqual(few, [], `frames: ${counts.join(', ')}`)
  },
}
