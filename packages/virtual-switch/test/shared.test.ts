// Several processes' switches at one Unix socket, here in one process.

import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@partita/testkit'
import { expect, it, vi } from 'vitest'
import { VirtualSwitch } from '../src/index.ts'
import { SharedSwitch } from '../src/shared.node.ts'
import { BROADCAST, frameOf, send, TestAdapter } from './adapter.ts'
import { PATIENCE } from './patience.ts'

async function place(): Promise<{ path: string; directory: string; [Symbol.asyncDispose](): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'partita-shared-'))
  return {
    directory,
    path: join(directory, 'lan'),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  }
}

/** One process: a switch with a guest's adapter, and its part in the meeting. */
async function member(
  path: string,
  mac: string,
): Promise<{ adapter: TestAdapter; shared: SharedSwitch; say: (to: string, text: string) => void }> {
  const network = new VirtualSwitch({ clock: new FakeClock(), mtu: 9000 })
  const adapter = new TestAdapter(mac, mac)
  const port = network.connect(adapter)
  const shared = new SharedSwitch(network, path, () => {})
  await shared.start()
  return { adapter, shared, say: (to, text) => send(port, frameOf(mac, to, text)) }
}

const A = '02:00:00:00:00:0a'
const B = '02:00:00:00:00:0b'
const C = '02:00:00:00:00:0c'

it('the first is the hub; frames reach whom they are for; another takes its place when it goes', async () => {
  await using here = await place()
  const a = await member(here.path, A)
  const b = await member(here.path, B)
  const c = await member(here.path, C)
  expect([a, b, c].map(({ shared }) => shared.hub)).toEqual([true, false, false])
  b.say(BROADCAST, 'hello')
  await vi.waitFor(() => expect([a.adapter.take(), c.adapter.take()].flat()).toContain('hello'), PATIENCE)
  const large = 'x'.repeat(8000)
  b.say(C, large)
  await vi.waitFor(() => expect(c.adapter.received.at(-1)?.text).toBe(large), PATIENCE)
  c.say(B, 'to b alone')
  await vi.waitFor(() => expect(b.adapter.take()).toEqual(['to b alone']), PATIENCE)
  await a.shared[Symbol.asyncDispose]()
  await vi.waitFor(
    () => expect([b, c].filter(({ shared }) => shared.hub && shared.neighbours === 1)).toHaveLength(1),
    PATIENCE,
  )
  c.adapter.take()
  b.say(BROADCAST, 'still here')
  await vi.waitFor(() => expect(c.adapter.take()).toContain('still here'), PATIENCE)
  await b.shared[Symbol.asyncDispose]()
  await c.shared[Symbol.asyncDispose]()
  expect(await readdir(here.directory)).toEqual([])
})

it('a socket that a killed process has left behind is in nobody’s way', async () => {
  await using here = await place()
  const left = createServer()
  await new Promise<void>((resolve) => left.listen(here.path, () => resolve()))
  // As after a kill: the file stays, and nobody listens.
  await rename(here.path, `${here.path}.kept`)
  await new Promise<void>((resolve) => left.close(() => resolve()))
  await rename(`${here.path}.kept`, here.path)
  const a = await member(here.path, A)
  expect(a.shared.hub).toBe(true)
  await a.shared[Symbol.asyncDispose]()
})

it('several that begin at once at a socket that was left behind: one is the hub, and all find it', async () => {
  await using here = await place()
  const left = createServer()
  await new Promise<void>((resolve) => left.listen(`${here.path}.left`, () => resolve()))
  await rename(`${here.path}.left`, here.path)
  await new Promise<void>((resolve) => left.close(() => resolve()))
  const macs = Array.from({ length: 8 }, (_, i) => `02:00:00:00:01:0${i}`)
  const members = await Promise.all(macs.map((mac) => member(here.path, mac)))
  await vi.waitFor(() => {
    const hubs = members.filter(({ shared }) => shared.hub)
    expect(hubs.map(({ shared }) => shared.neighbours)).toEqual([7])
    expect(members.filter(({ shared }) => !shared.hub && shared.neighbours === 1)).toHaveLength(7)
  }, PATIENCE)
  expect(await readdir(here.directory)).toEqual(['lan'])
  for (const { shared } of members) await shared[Symbol.asyncDispose]()
  expect(await readdir(here.directory)).toEqual([])
})

it('a hub whose socket another process has taken the place of joins that one', async () => {
  await using here = await place()
  const a = await member(here.path, A)
  const connected: Socket[] = []
  const other = createServer((socket) => connected.push(socket))
  await new Promise<void>((resolve) => other.listen(`${here.path}.other`, () => resolve()))
  await rename(`${here.path}.other`, here.path)
  await vi.waitFor(() => expect(connected).toHaveLength(1), PATIENCE)
  expect([a.shared.hub, a.shared.neighbours]).toEqual([false, 1])
  await a.shared[Symbol.asyncDispose]()
  // It leaves what is not its own.
  expect(await readdir(here.directory)).toEqual(['lan'])
  for (const socket of connected) socket.destroy()
  await new Promise<void>((resolve) => other.close(() => resolve()))
})

it('a path that is no socket', async () => {
  await using here = await place()
  await writeFile(here.path, '')
  const network = new VirtualSwitch({ clock: new FakeClock() })
  for (const path of [here.path, join(here.directory, 'none', 'lan')]) {
    await expect(new SharedSwitch(network, path, () => {}).start()).rejects.toMatchObject({
      code: 'ERR_NETWORK_SHARED',
    })
  }
  expect(await readdir(here.directory)).toEqual(['lan'])
})
