// `--network`: what it makes of the machine, and a guest with two adapters, one to the host by the NAT, one to another process by a switch that they share.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Frame } from '@partita/ethernet'
import type { NetworkAdapter } from '@partita/interface'
import type { PluginConfiguration } from '@partita/root-partition'
import { afterAll, describe, expect, it, test } from 'vitest'
import type { CliError } from '../src/cli-error.ts'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { networkDevices } from '../src/network.ts'
import { parseNetwork } from '../src/option-values.ts'
import { partita } from './child.ts'
import { NetworkHost } from './network-host.ts'

const directory = mkdtempSync(join(tmpdir(), 'partita-networks-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const usage: unknown = expect.objectContaining({ code: 'ERR_USAGE' }) satisfies Partial<CliError>
const VSP = '@partita/synthetic-network/vsp'
const FORWARD = { protocol: 'tcp', hostPort: 2222, guestPort: 22 } as const

/** The plug-ins for networks, without the package's name. */
function devices(
  networks: readonly string[],
  more: Partial<Parameters<typeof networkDevices>[0]> = {},
): PluginConfiguration[] {
  return networkDevices({ networks: networks.map(parseNetwork), forwards: [], ...more }, 'hyper-v').map((device) => ({
    ...device,
    plugin: device.plugin.replace('@partita/virtual-switch/', ''),
  }))
}

describe('networks of the command line', () => {
  it('one, with one way out, is one plug-in', () => {
    const nat = { plugin: 'nat', options: { hostLoopback: false, forwards: [] } }
    expect(devices([])).toEqual([nat, { plugin: VSP }])
    expect(devices(['nat,host'], { forwards: [FORWARD], capture: 'f', mac: '02:00:00:00:00:01' })).toEqual([
      { plugin: 'nat', options: { capture: 'f', hostLoopback: true, forwards: [FORWARD] } },
      { plugin: VSP, options: { adapters: [{ macAddress: '02:00:00:00:00:01' }] } },
    ])
    expect(devices(['tap:tap0'])).toEqual([{ plugin: 'tap', options: { name: 'tap0' } }, { plugin: VSP }])
    expect(devices(['switch:a,mac=02-00-00-00-00-0B'])).toEqual([
      { plugin: 'shared', options: { path: 'a' } },
      { plugin: VSP, options: { adapters: [{ macAddress: '02:00:00:00:00:0b' }] } },
    ])
    expect(devices(['loopback'])).toEqual([{ plugin: '@partita/synthetic-network/loopback' }, { plugin: VSP }])
    expect(networkDevices({ networks: [], forwards: [] }, 'none')).toEqual([])
  })

  it('several have an adapter each; several ways out of one are ports of one switch', () => {
    expect(devices(['nat', 'switch:lan,mac=02:00:00:00:00:0b'], { forwards: [FORWARD], capture: 'f' })).toEqual([
      { plugin: 'switch', options: { capture: 'f', networks: ['network0', 'network1'] } },
      { plugin: 'nat-port', options: { hostLoopback: false, forwards: [FORWARD], network: 'network0' } },
      { plugin: 'shared-port', options: { path: 'lan', network: 'network1' } },
      {
        plugin: VSP,
        options: { adapters: [{ network: 'network0' }, { macAddress: '02:00:00:00:00:0b', network: 'network1' }] },
      },
    ])
    expect(devices(['nat,host+switch:a+b+tap:t'])).toEqual([
      { plugin: 'switch', options: { networks: ['network0'] } },
      { plugin: 'nat-port', options: { hostLoopback: true, forwards: [], network: 'network0' } },
      { plugin: 'shared-port', options: { path: 'a+b', network: 'network0' } },
      { plugin: 'tap-port', options: { name: 't', network: 'network0' } },
      { plugin: VSP },
    ])
  })

  it('none takes away what stood before it', () => {
    expect(devices(['nat', 'none'])).toEqual([])
    expect(devices(['nat', 'none', 'tap:t'])).toHaveLength(2)
  })

  it.each([
    [['loopback', 'nat'], {}],
    [['nat', 'nat,host'], {}],
    [['nat+nat'], {}],
    [['switch:a'], { forwards: [FORWARD] }],
    [['none'], { capture: 'f' }],
    [['loopback'], { capture: 'f' }],
    [['nat,mac=02:00:00:00:00:0a'], { mac: '02:00:00:00:00:0b' }],
    [Array.from({ length: 9 }, (_, i) => `switch:${i}`), {}],
  ] as const)('%j with %j do not go together', (networks, more) => {
    expect(() => devices(networks, more)).toThrow(usage as Error)
  })

  it.each([
    'nat,mac=',
    'nat,mac=03:00:00:00:00:01',
    'none,mac=02:00:00:00:00:01',
    'nat+',
    '+nat',
    'nat+none',
    'tap:',
    'nat,host,host',
  ])('%s is no network', (text) => expect(() => parseNetwork(text)).toThrow(usage as Error))
})

const reason = await ensureDefaultGuest().then(
  () => undefined,
  (error: unknown) => String(error),
)
if (reason !== undefined) console.warn(`skipped: no default guest on this machine: ${reason}`)

const listening = async (server: ReturnType<typeof createServer>, where: object): Promise<void> => {
  await new Promise<void>((resolve) => server.listen(where, () => resolve()))
}

/** Names of the interfaces in a capture, and how many frames each has. */
function interfacesOf(file: Buffer): Map<string, number> {
  const names: string[] = []
  const frames = new Map<string, number>()
  for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) {
    const type = file.readUInt32LE(at)
    if (type === 1) names.push(file.toString('utf8', at + 20, at + 20 + file.readUInt16LE(at + 18)))
    const name = type === 6 ? names[file.readUInt32LE(at + 8)] : undefined
    if (name !== undefined) frames.set(name, (frames.get(name) ?? 0) + 1)
  }
  return frames
}

test.skipIf(reason !== undefined)(
  'a guest reaches the host by one adapter, and another process by the other',
  async () => {
    await using stack = new AsyncDisposableStack()
    const web = createHttpServer((_request, response) => response.end('a page of the host\n'))
    await listening(web, { host: '127.0.0.1', port: 0 })
    stack.defer(() => new Promise<void>((resolve) => web.close(() => resolve())))
    // The other process: frames after their lengths, at a socket.
    const host = new NetworkHost()
    const lan = createServer((socket: Socket) => {
      let waiting = Buffer.alloc(0)
      const adapter: NetworkAdapter = {
        name: 'other',
        macAddress: '',
        accepts: 0,
        receive: ({ bytes, start, end }) => {
          const length = Buffer.alloc(4)
          length.writeUInt32BE(end - start)
          socket.write(Buffer.concat([length, bytes.subarray(start, end)]))
          return true
        },
        receiveEnd: () => {},
        writable: () => {},
        portChanged: () => {},
      }
      const port = host.connect(adapter)
      socket
        .on('error', () => {})
        .on('data', (chunk: Buffer) => {
          waiting = Buffer.concat([waiting, chunk])
          while (waiting.length >= 4 && waiting.length >= 4 + waiting.readUInt32BE(0)) {
            const end = 4 + waiting.readUInt32BE(0)
            port.send(new Frame().plain(Uint8Array.from(waiting.subarray(4, end))))
            waiting = waiting.subarray(end)
          }
          port.sendEnd()
        })
    })
    await listening(lan, { path: join(directory, 'lan.sock') })
    stack.defer(() => new Promise<void>((resolve) => lan.close(() => resolve())))
    writeFileSync(
      join(directory, 'vm.json'),
      JSON.stringify({ memory: '256M', root: false, networks: ['nat,host', 'switch:lan.sock,mac=02:15:5d:00:00:77'] }),
    )
    const commands = `
ip addr add 10.9.8.2/24 dev eth1 && ip link set eth1 up
echo "ADDRESSES $(cat /sys/class/net/eth0/address) $(cat /sys/class/net/eth1/address)"
echo "HOST $(wget -q -O - http://10.0.2.2:${(web.address() as AddressInfo).port}/)"
echo "OTHER $(ping -c 2 10.9.8.1 | grep transmitted)"
echo "TEXT $(nc 10.9.8.1 19 </dev/null | wc -c)"
exit
`
    const capture = join(directory, 'guest.pcapng')
    const run = await partita(
      'main',
      ['run', '--config', join(directory, 'vm.json'), '--capture', capture],
      tmpdir(),
      commands,
    )
    expect(run, run.stderr).toMatchObject({ status: 0 })
    expect(run.stdout).toMatch(/ADDRESSES 02:15:5d:50:54:01 02:15:5d:00:00:77\r?$/m)
    expect(run.stdout).toMatch(/HOST a page of the host\r?$/m)
    expect(run.stdout).toMatch(/OTHER 2 packets transmitted, 2 packets received/m)
    expect(run.stdout).toMatch(/TEXT 200000\r?$/m)
    expect(host.problems).toEqual([])
    // Both adapters, and none of the ways out.
    const frames = interfacesOf(readFileSync(capture))
    expect([...frames.keys()].sort()).toEqual([`${VSP}/0`, `${VSP}/1`])
    expect(Math.min(...frames.values())).toBeGreaterThan(10)
  },
)
