// The network that `partita run` has when nobody asks for one: an address before the shell begins, the host's loopback out of reach, a port of the host that leads to the guest, and a capture of
// all of it. Everything on this machine.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { FrameHeaders, getU16, IP_PROTOCOL } from '@partita/ethernet'
import { afterAll, expect, test } from 'vitest'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { start } from './child.ts'

const directory = mkdtempSync(join(tmpdir(), 'partita-run-network-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const reason = await ensureDefaultGuest().then(
  () => undefined,
  (error: unknown) => String(error),
)
if (reason !== undefined) console.warn(`skipped: no default guest on this machine: ${reason}`)

/** The port of the guest that is forwarded, as Linux shows it too. */
const GUEST_PORT = 7000
const GUEST_PORT_HEX = '1B58'

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return (server.address() as AddressInfo).port
}
const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()))

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer()
  const port = await listening(server)
  await closed(server)
  return port
}

/** Ports, and where the payload begins, of the UDP and TCP frames of a pcapng file. */
function packetsOf(
  file: Buffer,
): { readonly protocol: number; readonly ports: readonly number[]; readonly text: string }[] {
  const headers = new FrameHeaders()
  const found: ReturnType<typeof packetsOf> = []
  for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) {
    if (file.readUInt32LE(at) !== 6) continue
    const frame = file.subarray(at + 28, at + 28 + file.readUInt32LE(at + 20))
    if (!headers.parse(frame, 0, frame.length) || headers.payload === 0) continue
    found.push({
      protocol: headers.protocol,
      ports: [getU16(frame, headers.transport), getU16(frame, headers.transport + 2)],
      text: frame.toString('latin1', headers.payload, headers.packetEnd),
    })
  }
  return found
}

test.skipIf(reason !== undefined)(
  'the default run has an address, reaches no service of the host, and is reached at a forwarded port',
  async () => {
    const host = await freePort()
    const capture = join(directory, 'guest.pcapng')
    let reached = 0
    const service = createServer((socket) => {
      reached++
      socket.end('a secret of the host')
    })
    const servicePort = await listening(service)
    const child = start('main', ['run', '--forward', `tcp:${host}:${GUEST_PORT}`, '--capture', capture], directory)
    using _ = { [Symbol.dispose]: () => child.process.kill() }
    child.process.stdin.end(`
echo "ADDRESS $(ip -4 -o addr show eth0)"
echo "ROUTE $(ip route show default)"
echo "NAMES $(cat /etc/resolv.conf)"
wget -q -O /tmp/secret http://10.0.2.2:${servicePort}/; echo "WGET $?"
(until grep -q ':${GUEST_PORT_HEX} ' /proc/net/tcp*; do usleep 50000; done; echo LIST""ENS) &
echo 'from the guest' | nc -l -p ${GUEST_PORT} >/tmp/up
echo "UP $(cat /tmp/up)"
exit
`)
    await child.saw('LISTENS')
    const socket = connect({ port: host, host: '127.0.0.1', allowHalfOpen: true })
    socket.write('from the host')
    // The guest's nc ends when either side does, so the host waits for its end.
    const down = await buffer(socket)
    socket.end()
    const { status, stdout, stderr } = await child.result
    await closed(service)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/ADDRESS .* inet 10\.0\.2\.15\/24 /m)
    expect(stdout).toMatch(/ROUTE default via 10\.0\.2\.2 dev eth0/m)
    expect(stdout).toMatch(/NAMES nameserver 10\.0\.2\.3/m)
    expect(stdout).toMatch(/WGET 1\r?$/m)
    expect(reached).toBe(0)
    expect(down.toString()).toBe('from the guest\n')
    expect(stdout).toMatch(/UP from the host\r?$/m)

    // On the wire: the address that was asked for, the refused connection, and what went through the port.
    const packets = packetsOf(readFileSync(capture))
    const udp = packets.filter(({ protocol }) => protocol === IP_PROTOCOL.UDP)
    expect(udp.map(({ ports }) => ports)).toEqual(
      expect.arrayContaining([
        [68, 67],
        [67, 68],
      ]),
    )
    const tcp = packets.filter(({ protocol }) => protocol === IP_PROTOCOL.TCP)
    expect(tcp.some(({ ports: [, to] }) => to === servicePort)).toBe(true)
    const said = (which: 0 | 1): string =>
      tcp
        .filter(({ ports }) => ports[which] === GUEST_PORT)
        .map(({ text }) => text)
        .join('')
    expect([said(0), said(1)]).toEqual(['from the guest\n', 'from the host'])
    const tshark = spawnSync('tshark', ['-r', capture, '-n', '-Y', '_ws.malformed'], { encoding: 'utf8' })
    if (tshark.error === undefined) expect(tshark).toMatchObject({ status: 0, stdout: '' })
  },
  600_000,
)
