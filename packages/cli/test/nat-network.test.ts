// The NAT with the stock Debian kernel behind it: an address at boot, names, transfers both ways with their checksums, forwarded ports, and the host's loopback out of reach. All of it on this machine.

import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { DEFAULT_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { describe, expect, test } from 'vitest'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { GuestConsole } from './guest-console.ts'

const guest = await ensureDefaultGuest().catch((error: unknown) => {
  console.warn(`skipped: no default guest on this machine: ${String(error)}`)
  return undefined
})
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')
const port = (server: { address(): unknown }): number => (server.address() as AddressInfo).port

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const number = port(server)
  await new Promise((resolve) => server.close(resolve))
  return number
}

/** Answers every question of type A with 192.0.2.80, others with nothing. */
function answerOf(query: Buffer): Buffer {
  const end = query.indexOf(0, 12) + 5
  const question = query.subarray(12, end)
  const isA = query.readUInt16BE(end - 4) === 1
  const header = Buffer.from([...query.subarray(0, 2), 0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0])
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80])
  return Buffer.concat([header, question, isA ? answer : Buffer.alloc(0)])
}

/** Frames of a pcapng file, by their blocks. */
function framesOf(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const frames: Uint8Array[] = []
  for (let at = 0; at < file.length; at += view.getUint32(at + 4, true)) {
    if (view.getUint32(at, true) === 6) frames.push(file.subarray(at + 28, at + 28 + view.getUint32(at + 20, true)))
  }
  return frames
}

describe.skipIf(guest === undefined)('NAT', () => {
  test('a guest reaches what it may, and is reached where it was asked for', { timeout: 600_000 }, async () => {
    if (guest === undefined) return
    await using stack = new AsyncDisposableStack()
    const directory = await mkdtemp(join(tmpdir(), 'partita-nat-'))
    stack.defer(() => rm(directory, { recursive: true }))
    const content = randomBytes(6 * 2 ** 20)
    const web = createHttpServer((_request, response) => response.end(content))
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', () => resolve()))
    stack.defer(() => new Promise<void>((resolve) => web.close(() => resolve())))
    const names = createSocket('udp4').on('message', (query, peer) =>
      names.send(answerOf(query), peer.port, peer.address),
    )
    await new Promise<void>((resolve) => names.bind(0, '127.0.0.1', () => resolve()))
    stack.defer(() => void names.close())
    const forwarded = await freePort()
    const refused = await freePort()
    const capture = join(directory, 'guest.pcapng')
    const console = new GuestConsole()
    await using vm = await VirtualMachine.create(
      {
        memory: 256 * 2 ** 20,
        devices: [
          ...DEFAULT_DEVICES,
          {
            plugin: '@partita/virtual-switch/nat',
            options: {
              hostLoopback: true,
              capture,
              nameServers: [`127.0.0.1:${port(names)}`],
              forwards: [{ hostPort: forwarded, guestPort: 7000 }],
            },
          },
          { plugin: '@partita/synthetic-network/vsp' },
        ],
        boot: {
          kernel: guest.kernel,
          initrd: guest.initrd,
          commandLine: `${guest.commandLine} ${guest.pipedInputWord} partita_network_wait=100`,
        },
      },
      {
        registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
        readFile,
        characterBackends: new Map([['console', console]]),
      },
    )
    const end = vm.run()
    await console.saw('root# ')
    const run = async (command: string, status = 0): Promise<string> => {
      const result = await console.run(command)
      expect(result.status, `${command}\n${result.output}`).toBe(status)
      return result.output
    }

    expect(await run('ip -4 addr show eth0; ip route; cat /etc/resolv.conf')).toMatch(
      /inet 10\.0\.2\.15\/24[\s\S]*default via 10\.0\.2\.2[\s\S]*nameserver 10\.0\.2\.3/,
    )
    expect(await run('ping -c 2 -s 1400 10.0.2.2')).toContain('2 packets received')
    expect(await run('nslookup -type=a www.example.org')).toContain('192.0.2.80')

    // From the host, with its checksum; what is refused is refused.
    await run(`wget -q -O /tmp/f http://10.0.2.2:${port(web)}/`)
    expect(await run('sha256sum </tmp/f')).toContain(sha256(content))
    expect(await run(`wget -O /tmp/g http://10.0.2.2:${refused}/`, 1)).toContain('refused')
    expect(await run(`wget -O /tmp/g http://127.0.0.1:${port(web)}/`, 1)).toContain('refused')

    // To the host, and half-closed: the answer comes after the end of what the guest sends.
    const receiver = createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('sha256')
      socket.on('data', (chunk) => hash.update(chunk)).on('end', () => socket.end(hash.digest('hex')))
    })
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', () => resolve()))
    stack.defer(() => new Promise<void>((resolve) => receiver.close(() => resolve())))
    expect(await run(`nc 10.0.2.2 ${port(receiver)} </tmp/f`)).toContain(sha256(content))

    // From the host to the guest.
    const served = console.run('nc -l -p 7000 </tmp/f >/tmp/up')
    const received: Uint8Array[] = []
    // Until the guest listens, its reset comes back.
    for (; received.length === 0; await delay(50)) {
      await new Promise<void>((resolve) => {
        const socket = connect({ port: forwarded, host: '127.0.0.1', allowHalfOpen: true })
        socket.write('upload')
        // The guest's nc ends when either side does, so the host waits for its end.
        socket.on('data', (chunk: Buffer) => received.push(chunk)).on('end', () => socket.end())
        socket.on('error', () => {}).on('close', () => resolve())
      })
    }
    expect(sha256(Buffer.concat(received))).toBe(sha256(content))
    await served
    expect(await run('cat /tmp/up')).toMatch(/^upload/)

    console.type('poweroff -f')
    expect(await end).toMatchObject({ type: 'power-off' })

    // On the wire: whole frames, no larger than the MTU.
    const frames = framesOf(readFileSync(capture))
    expect(frames.length).toBeGreaterThan((12 * 2 ** 20) / 1460)
    expect(Math.max(...frames.map((frame) => frame.length))).toBeLessThanOrEqual(1514)
  })
})
