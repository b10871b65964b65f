// Thousands of connections at a time through the NAT, with real sockets of this host at its other side, and what happens where there are no more: of the NAT, and of the process.

import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it, vi } from 'vitest'
import { ManyConnections } from './many-connections.ts'

/** Open at a time. */
const COUNT = 3000
/** Files that the process may have for that. */
const FILES = COUNT + 300
const IN_VAIN = 120_000
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const limit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
const reason =
  process.platform !== 'linux'
    ? 'they look into /proc'
    : limit !== 'unlimited' && Number(limit) < FILES
      ? `a process may have ${limit} files`
      : undefined
if (reason !== undefined) console.warn(`skipped: many connections: ${reason}`)

const server: ChildProcess = fork(path('./echo-server.ts'), { execArgv: [] })
const [{ port }] = (await once(server, 'message')) as [{ port: number }]
afterAll(async () => {
  server.disconnect()
  await once(server, 'exit')
})

/** Connections that the server has. */
async function atServer(): Promise<number> {
  server.send('how many?')
  const [{ open }] = (await once(server, 'message')) as [{ open: number }]
  return open
}
const openFiles = (): number => readdirSync('/proc/self/fd').length

it.skipIf(reason !== undefined)(
  'thousands are open at the same time, all carry data, those beyond the limit are refused with one notice, and nothing is left of them',
  async () => {
    const before = openFiles()
    await using guest = new ManyConnections(port, { maximumConnections: COUNT })
    await guest.start()
    const all = await guest.open(COUNT)
    expect(all.filter(({ state }) => state !== 'open')).toEqual([])
    expect(guest.gateway.report().tcpConnections).toBe(COUNT)
    await vi.waitFor(async () => expect(await atServer()).toBe(COUNT), IN_VAIN)
    expect(guest.notices).toEqual([])

    const beyond = await guest.open(10)
    expect(beyond.map(({ state }) => state)).toEqual(new Array(10).fill('refused'))
    expect(guest.notices).toEqual([`the NAT refuses connections: ${COUNT} are in use, which is maximumConnections`])

    // There and back on each while all are open, and again the other way round.
    for (const [index, connection] of all.entries()) connection.send(`first ${index}, `)
    await guest.until(() => all.every(({ text: got }, index) => got === `first ${index}, `))
    for (const [index, connection] of [...all.entries()].reverse()) connection.send(`then ${index}`)
    await guest.until(() => all.every(({ text: got }, index) => got === `first ${index}, then ${index}`))

    for (const connection of all) connection.end()
    await guest.until(() => all.every(({ ended }) => ended))
    expect(all.filter(({ state }) => state !== 'open')).toEqual([])
    await vi.waitFor(async () => expect(await atServer()).toBe(0), IN_VAIN)
    await guest.forgotten()
    expect(guest.gateway.report()).toMatchObject({ tcpConnections: 0, heldBytes: 0 })
    await vi.waitFor(() => expect(openFiles()).toBeLessThanOrEqual(before), IN_VAIN)
  },
  IN_VAIN,
)

it.skipIf(process.platform !== 'linux')(
  'where the process may have no more files, connections are refused with one notice, and go on when there are some again',
  async () => {
    const child = spawn(
      'sh',
      [
        '-c',
        'ulimit -n 200; exec "$@"',
        'sh',
        process.execPath,
        '--conditions=@partita/source',
        path('./few-files.ts'),
        String(port),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const closed = once(child, 'close')
    const said = JSON.parse(await text(child.stdout)) as Record<string, number>
    expect(await closed).toEqual([0, null])
    const { wanted = 0, open = 0, refused = 0, files = 0 } = said
    // Those that there were files for, and the others.
    expect(open + refused).toBe(wanted)
    expect(open).toBeGreaterThan(100)
    expect(open).toBeLessThanOrEqual(200 - files + 1)
    expect(said).toMatchObject({
      notices: ['the NAT refuses connections: the system has no socket for another one (EMFILE)'],
      left: 0,
      held: 0,
    })
    await vi.waitFor(async () => expect(await atServer()).toBe(0), IN_VAIN)
  },
  IN_VAIN,
)
