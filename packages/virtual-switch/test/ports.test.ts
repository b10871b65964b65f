// Switches whose ways out are plug-ins of their own, several of them at one switch and several switches in one machine; and what makes a switch private, internal or external.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FrameHeaders, getU16, putU16, storeIpv4Checksum } from '@partita/ethernet'
import type { NetworkPort } from '@partita/interface'
import { describe, expect, it, vi } from 'vitest'
import nat, { natControlToken } from '../src/nat.node.ts'
import natPort from '../src/nat-port.node.ts'
import shared from '../src/shared.node.ts'
import sharedPort from '../src/shared-port.node.ts'
import switches from '../src/switch.node.ts'
import tapPort from '../src/tap-port.node.ts'
import { BROADCAST, frameOf, send, TestAdapter } from './adapter.ts'
import { PATIENCE } from './patience.ts'
import { StartedPlugins } from './plugins.ts'

const A = '02:00:00:00:00:0a'
const B = '02:00:00:00:00:0b'
const GATEWAY = '02:50:41:52:00:02'

async function directory(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'partita-ports-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

/** A datagram over IPv4, without a checksum of its own. */
function datagram(
  from: string,
  to: string,
  addresses: readonly number[],
  ports: readonly [number, number],
  payload: Uint8Array,
) {
  const frame = frameOf(from, to, '')
  const bytes = new Uint8Array(14 + 28 + payload.length)
  bytes.set(frame.bytes.subarray(0, 12))
  bytes.set([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, ...addresses], 12)
  putU16(bytes, 16, 28 + payload.length)
  storeIpv4Checksum(bytes, 14, 20)
  putU16(bytes, 34, ports[0])
  putU16(bytes, 36, ports[1])
  putU16(bytes, 38, 8 + payload.length)
  bytes.set(payload, 42)
  return frame.plain(bytes)
}

/** Asks for an address. */
function discover(mac: string) {
  const message = new Uint8Array(300)
  message.set([1, 1, 6, 0, 1, 2, 3, 4])
  message.set(
    mac.split(':').map((byte) => Number.parseInt(byte, 16)),
    28,
  )
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236)
  return datagram(mac, BROADCAST, [0, 0, 0, 0, 255, 255, 255, 255], [68, 67], message)
}

/** The address that a NAT has offered to an adapter. */
function offered({ received }: TestAdapter): string | undefined {
  for (const { bytes } of received) {
    const headers = new FrameHeaders()
    if (!headers.parse(bytes, 0, bytes.length) || headers.payload === 0 || getU16(bytes, headers.transport) !== 67)
      continue
    return bytes.subarray(headers.payload + 16, headers.payload + 20).join('.')
  }
  return undefined
}

/** Where datagrams of guests come out, on this machine. */
async function listener(): Promise<{ readonly port: number; readonly heard: string[] } & AsyncDisposable> {
  const socket = createSocket('udp4')
  const heard: string[] = []
  socket.on('message', (data) => heard.push(String(data)))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    port: socket.address().port,
    heard,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => socket.close(() => resolve())),
  }
}

const say = (port: NetworkPort, to: number, text: string, address: readonly number[] = [10, 0, 2, 2]): void => {
  send(port, datagram(A, GATEWAY, [10, 0, 2, 15, ...address], [5000, to], new TextEncoder().encode(text)))
}

describe('ports are plug-ins', () => {
  it('two networks in one machine: NAT, and a switch with another process', async () => {
    await using here = await directory()
    await using there = new StartedPlugins()
    await there.start(shared, { path: join(here.path, 'lan') })
    const peer = new TestAdapter('peer', B)
    const peerPort = there.network.connect(peer, {})
    await using world = await listener()
    await using machine = new StartedPlugins()
    await machine.start(switches, { networks: ['world', { name: 'lan', mtu: 9000 }] })
    await machine.start(natPort, { network: 'world', hostLoopback: true })
    await machine.start(sharedPort, { network: 'lan', path: join(here.path, 'lan') })
    const outside = new TestAdapter('outside', A)
    const inside = new TestAdapter('inside', '02:00:00:00:01:0a')
    const first = machine.network.connect(outside, {})
    const second = machine.network.connect(inside, { network: 'lan' })
    expect([first.mtu, second.mtu]).toEqual([1500, 9000])
    // The world by one adapter, the others by the other.
    send(first, discover(A))
    expect(offered(outside)).toBe('10.0.2.15')
    say(first, world.port, 'to the world')
    await vi.waitFor(() => expect(world.heard).toEqual(['to the world']), PATIENCE)
    send(second, frameOf(inside.macAddress, BROADCAST, 'to the others'))
    await vi.waitFor(() => expect(peer.take()).toEqual(['to the others']), PATIENCE)
    send(peerPort, frameOf(B, inside.macAddress, 'and back'))
    await vi.waitFor(() => expect(inside.take()).toEqual(['and back']), PATIENCE)
    expect(peer.received).toEqual([])
    expect(machine.report()).toMatchObject([
      {
        network: 'world',
        mtu: 1500,
        addresses: 2,
        ports: [
          { name: 'nat' },
          { name: 'outside', macAddress: A, linkUp: true, counters: { framesIn: 2, framesOut: 1 } },
        ],
      },
      {
        network: 'lan',
        mtu: 9000,
        addresses: 2,
        ports: [{ name: 'socket' }, { name: 'inside', counters: { framesIn: 1, framesOut: 1, bytesOut: 14 + 8 } }],
      },
    ])
    expect(machine.get(natControlToken).report().udpSockets).toBe(1)
  })

  it('NAT and a switch with other processes at one switch: who is there is behind the NAT; a capture has the machine’s own', async () => {
    await using here = await directory()
    const path = join(here.path, 'lan')
    const capture = join(here.path, 'guest.pcapng')
    const machine = new StartedPlugins()
    await using _ = machine
    await machine.start(nat, { hostLoopback: true, capture })
    await machine.start(sharedPort, { path })
    await using there = new StartedPlugins()
    await there.start(shared, { path })
    const own = new TestAdapter('own', A)
    const peer = new TestAdapter('peer', B)
    const ownPort = machine.network.connect(own, {})
    const peerPort = there.network.connect(peer, {})
    send(ownPort, discover(A))
    expect(offered(own)).toBe('10.0.2.15')
    own.take()
    await vi.waitFor(() => {
      send(peerPort, discover(B))
      expect(offered(peer)).toBe('10.0.2.16')
    }, PATIENCE)
    send(ownPort, frameOf(A, B, 'hello neighbour'))
    await vi.waitFor(() => expect(peer.take()).toContain('hello neighbour'), PATIENCE)
    // An interface for the machine's adapter alone: the ways out are none of its adapters.
    const file = await readFile(capture)
    const blocks: number[] = []
    for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) blocks.push(file.readUInt32LE(at))
    expect(blocks.filter((type) => type === 1)).toHaveLength(1)
    expect(blocks.filter((type) => type === 6).length).toBeGreaterThanOrEqual(3)
  })

  it('settings of a port hold for a way out; its own may be changed', async () => {
    await using here = await directory()
    const machine = new StartedPlugins()
    await using _ = machine
    const capture = join(here.path, 'seven.pcapng')
    await machine.start(switches, { networks: [{ name: 'lan', capture }] })
    await machine.start(natPort, { port: { vlan: 7, capture: true } })
    const six = new TestAdapter('six', B)
    const seven = new TestAdapter('seven', A)
    send(machine.network.connect(six, { port: { vlan: 6 } }), discover(B))
    send(machine.network.connect(seven, { network: 'lan', port: { vlan: 7, capture: false } }), discover(A))
    expect([offered(six), offered(seven)]).toEqual([undefined, '10.0.2.15'])
    expect((await readFile(capture)).includes('nat')).toBe(true)
    expect((await readFile(capture)).includes('seven')).toBe(false)
  })

  it('what is not there is said at once', async () => {
    await using here = await directory()
    const path = join(here.path, 'lan')
    const machine = new StartedPlugins()
    await using _ = machine
    await expect(machine.start(natPort)).rejects.toThrow('needs partita/network')
    for (const networks of [[], ['a', 'a'], ['a', { name: 'a' }], [''], [{ name: 'a', mtu: 1 }], [{}], 'a'])
      await expect(machine.start(switches, { networks }), JSON.stringify(networks)).rejects.toThrow(/./)
    await machine.start(switches, { networks: ['one', 'two'] })
    const unknown = { code: 'ERR_NETWORK_UNKNOWN', data: { network: 'three', networks: ['one', 'two'] } }
    for (const [plugin, options] of [
      [natPort, {}],
      [sharedPort, { path }],
    ] as const) {
      await expect(machine.start(plugin as never, { ...options, network: 'three' })).rejects.toMatchObject(unknown)
      await expect(machine.start(plugin as never, { ...options, port: { color: 'red' } })).rejects.toMatchObject({
        code: 'ERR_NETWORK_PORT',
      })
    }
    await expect(machine.start(tapPort, { name: 'a/b' })).rejects.toThrow('the name of an interface')
    expect(() => machine.network.connect(new TestAdapter('x', A), { network: 'three' })).toThrowError(
      expect.objectContaining(unknown),
    )
    // Nothing is left of those that were refused.
    expect(machine.report().map(({ ports }) => ports)).toEqual([[], []])
  })
})

describe('kinds of switches', () => {
  it('private: adapters reach each other, and nobody else hears of it', async () => {
    const machine = new StartedPlugins()
    await using _ = machine
    await machine.start(switches)
    const a = new TestAdapter('a', A)
    const b = new TestAdapter('b', B)
    const port = machine.network.connect(a, { network: 'default' })
    machine.network.connect(b, {})
    send(port, discover(A))
    send(port, frameOf(A, B, 'to b'))
    expect(offered(a)).toBeUndefined()
    expect(b.take()).toContain('to b')
    expect(machine.report()[0]?.ports.map(({ name }) => name)).toEqual(['a', 'b'])
  })

  it('private, of several processes: all of them reach each other, and there is no way out', async () => {
    await using here = await directory()
    const path = join(here.path, 'lan')
    await using one = new StartedPlugins()
    await using two = new StartedPlugins()
    await one.start(shared, { path })
    await two.start(shared, { path })
    const a = new TestAdapter('a', A)
    const b = new TestAdapter('b', B)
    const port = one.network.connect(a, {})
    const other = two.network.connect(b, {})
    await vi.waitFor(() => {
      send(port, discover(A))
      expect(b.received).not.toEqual([])
    }, PATIENCE)
    send(other, frameOf(B, A, 'to a'))
    await vi.waitFor(() => expect(a.take()).toContain('to a'), PATIENCE)
    expect(offered(a)).toBeUndefined()
  })

  it.each(['one machine', 'several'])('internal, of %s: the host is reached, and nobody else', async (machines) => {
    await using here = await directory()
    await using world = await listener()
    await using machine = new StartedPlugins()
    await machine.start(nat, { hostLoopback: true, allow: ['10.0.2.2'], nameServers: [`127.0.0.1:${world.port}`] })
    let network = machine.network
    await using there = new StartedPlugins()
    if (machines === 'several') {
      await machine.start(sharedPort, { path: join(here.path, 'lan') })
      await there.start(shared, { path: join(here.path, 'lan') })
      network = there.network
    }
    const guest = new TestAdapter('guest', A)
    const port = network.connect(guest, {})
    await vi.waitFor(() => {
      send(port, discover(A))
      expect(offered(guest)).toBe('10.0.2.15')
    }, PATIENCE)
    // Neither names, nor another network, nor the host under another name: what went there came before what is heard.
    say(port, 53, 'a name', [10, 0, 2, 3])
    for (const address of [
      [192, 0, 2, 7],
      [127, 0, 0, 1],
    ])
      say(port, world.port, 'out', address)
    say(port, world.port, 'to the host')
    await vi.waitFor(() => expect(world.heard).toEqual(['to the host']), PATIENCE)
    // Whoever was refused was told so: ICMP, unreachable for a reason of policy.
    const refusals = (): number =>
      guest.received.filter(({ bytes }) => bytes[23] === 1 && bytes[34] === 3 && bytes[35] === 13).length
    await vi.waitFor(() => expect(refusals()).toBe(3), PATIENCE)
    expect(machine.get(natControlToken).report().udpSockets).toBe(1)
  })

  it('external: the network of the host is reached, and not the host', async () => {
    await using world = await listener()
    await using machine = new StartedPlugins()
    // What stands for the network of the host here is its name server: nothing of a test leaves this machine.
    await machine.start(nat, { nameServers: [`127.0.0.1:${world.port}`] })
    const guest = new TestAdapter('guest', A)
    const port = machine.network.connect(guest, {})
    say(port, world.port, 'to the host')
    say(port, world.port, 'to the host', [127, 0, 0, 1])
    say(port, 53, 'a name', [10, 0, 2, 3])
    await vi.waitFor(() => expect(world.heard).toEqual(['a name']), PATIENCE)
  })
})
