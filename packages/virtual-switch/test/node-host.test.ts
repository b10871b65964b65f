// The host's sockets, against real ones of this machine's loopback.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { TcpSocketEvents } from '../src/nat/nat-host.ts'
import { NodeNatHost } from '../src/nat.node.ts'
import { PATIENCE } from './patience.ts'

/** A server with one connection, and what the host's end of it hears. */
async function connection(host: NodeNatHost): Promise<{
  readonly peer: Socket
  readonly socket: ReturnType<NodeNatHost['connectTcp']>
  readonly data: Uint8Array[]
  readonly heard: string[]
  [Symbol.asyncDispose](): Promise<void>
}> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const data: Uint8Array[] = []
  const heard: string[] = []
  const events: TcpSocketEvents = {
    connected: () => heard.push('connected'),
    data: (chunk) => data.push(chunk),
    ended: () => heard.push('ended'),
    drained: () => heard.push('drained'),
    closed: (error) => heard.push(`closed ${error}`),
  }
  const accepted = once(server, 'connection')
  const socket = host.connectTcp('127.0.0.1', (server.address() as AddressInfo).port, events)
  const [peer] = (await accepted) as [Socket]
  await vi.waitFor(() => expect(heard).toEqual(['connected']), PATIENCE)
  return {
    peer,
    socket,
    data,
    heard,
    async [Symbol.asyncDispose]() {
      socket.abort()
      peer.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

it('TCP: writes of a byte to a peer that does not read cost not much more than their bytes, and all of them come', async () => {
  using host = new NodeNatHost()
  await using both = await connection(host)
  const { peer, socket, heard } = both
  let written = 0
  // As much as the system keeps.
  while (socket.buffered === 0) {
    socket.write(new Uint8Array(65_536).fill(1))
    written += 65_536
  }
  const before = socket.buffered
  for (let i = 0; i < 100_000; i++) socket.write(Uint8Array.of(i))
  expect(socket.buffered - before).toBeLessThan(120_000)
  socket.end()
  let received = 0
  let last: Uint8Array = new Uint8Array(0)
  peer.on('data', (chunk: Buffer) => {
    received += chunk.length
    last = chunk
  })
  peer.resume()
  await once(peer, 'end')
  expect(received).toBe(written + 100_000)
  expect(last.at(-1)).toBe(99_999 & 0xff)
  expect(socket.buffered).toBe(0)
  await vi.waitFor(() => expect(heard).toContain('drained'), PATIENCE)
})

it('TCP: a socket that is paused brings nothing, and then all, and the end', async () => {
  using host = new NodeNatHost()
  await using both = await connection(host)
  const { peer, socket, data, heard } = both
  peer.write('one')
  await vi.waitFor(() => expect(Buffer.concat(data).toString()).toBe('one'), PATIENCE)
  socket.pause()
  await new Promise<void>((resolve) => peer.write(Buffer.alloc(50_000, 'x'), () => resolve()))
  await once(process, 'nothing', { signal: AbortSignal.timeout(50) }).catch(() => {})
  expect(data).toHaveLength(1)
  socket.resume()
  peer.end('end')
  await vi.waitFor(() => expect(heard).toContain('ended'), PATIENCE)
  expect(Buffer.concat(data).toString()).toBe(`one${'x'.repeat(50_000)}end`)
})

it('UDP: a datagram that the system refuses is lost, and nothing else', async () => {
  using host = new NodeNatHost()
  const peer = createSocket('udp4')
  peer.bind(0, '127.0.0.1')
  await once(peer, 'listening')
  const socket = host.openUdp(4, () => {})
  const before = socket?.buffered
  socket?.send(Uint8Array.of(1), '127.0.0.1', 0)
  socket?.send(Uint8Array.of(1), '127.0.0.1', 99_999)
  expect([before, socket?.buffered]).toEqual([0, 0])
  const received = once(peer, 'message')
  socket?.send(new Uint8Array(0), '127.0.0.1', peer.address().port)
  // One without a byte costs something, too.
  expect(socket?.buffered).toBeGreaterThan(0)
  await received
  await vi.waitFor(() => expect(socket?.buffered).toBe(0), PATIENCE)
  socket?.close()
  peer.close()
})

it.skipIf(process.platform === 'win32')(
  'whoever is asked for an echo is asked no more when the host is disposed of',
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'partita-ping-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    // A `ping` that goes on until it is ended.
    await writeFile(join(directory, 'ping'), '#!/bin/sh\nexec sleep 1000\n', { mode: 0o755 })
    vi.stubEnv('PATH', `${directory}:${process.env['PATH']}`)
    const host = new NodeNatHost()
    const answer = host.echo('198.51.100.1')
    vi.unstubAllEnvs()
    host[Symbol.dispose]()
    expect(await answer).toBe(false)
  },
)
