// What the cases of networks share: servers of this host on ports that are free, iperf3 here as well as in the guest, a program in C for both, and a look at captures with somebody
// else's eyes. All traffic stays on this machine.

import { type ChildProcess, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { existsSync, mkdirSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import type { PluginConfiguration } from '@partita/root-partition'
import { Skipped } from './case.ts'
import type { MatrixGuest } from './machine.ts'

const MEBIBYTE = 2 ** 20
/** Debian's packages of iperf3, besides what every host has. */
const IPERF3_PACKAGES = ['iperf3', 'libiperf0', 'libsctp1']
const PROGRAM = join(import.meta.dirname, '../../bench/src/network/exchanges.c')

/** The gateway's address: with `hostLoopback`, the host's loopback. */
export const HOST = '10.0.2.2'

/** An adapter on user-mode NAT that reaches the host's loopback, with further options of the NAT. */
export function natDevices(options: Readonly<Record<string, unknown>> = {}): PluginConfiguration[] {
  return [
    { plugin: '@partita/virtual-switch/nat', options: { hostLoopback: true, ...options } },
    { plugin: '@partita/synthetic-network/vsp' },
  ]
}

/** A server at a port of the loopback that is free. */
export interface LocalServer extends AsyncDisposable {
  readonly port: number
}

/** Let a server listen. */
export async function listen(server: Server, address = '127.0.0.1'): Promise<LocalServer> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, address, () => resolve()))
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())),
  }
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  await using server = await listen(createServer())
  return server.port
}

/** Mebibytes none of which is like another, and their checksum. */
export class Content {
  readonly #block: Uint8Array = randomBytes(MEBIBYTE)
  readonly mebibytes: number
  readonly sha256: string

  constructor(mebibytes: number) {
    this.mebibytes = mebibytes
    const hash = createHash('sha256')
    for (const block of this.blocks()) hash.update(block)
    this.sha256 = hash.digest('hex')
  }

  *blocks(): Generator<Uint8Array> {
    for (let index = 0; index < this.mebibytes; index++) {
      const block = Buffer.from(this.#block)
      block.writeUInt32LE(index, 0)
      yield block
    }
  }
}

/** Serves contents and files over HTTP, each at its path. */
export function serve(
  contents: ReadonlyMap<string, () => Iterable<Uint8Array>>,
  address?: string,
): Promise<LocalServer> {
  return listen(
    createHttpServer(async (request, response) => {
      const blocks = contents.get(request.url ?? '')
      if (blocks === undefined) {
        response.writeHead(404).end()
        return
      }
      // Who hangs up hears no more.
      await pipeline(Readable.from(blocks()), response).catch(() => {})
    }),
    address,
  )
}

/** Receives connections to their end, and tells the checksum of what came through the first. */
export async function checksumServer(address?: string): Promise<LocalServer & { readonly sha256: Promise<string> }> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const server = await listen(
    createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('sha256')
      socket.on('data', (chunk) => hash.update(chunk))
      socket.on('error', () => resolve('an error'))
      socket.on('end', () => {
        resolve(hash.digest('hex'))
        socket.end()
      })
    }),
    address,
  )
  return { ...server, sha256: promise }
}

/** A name server: each name has the same two addresses, and one ending in `.invalid` none. */
export async function nameServer(): Promise<LocalServer> {
  const socket = createSocket('udp4')
  socket.on('message', (query, { address, port }) => socket.send(answerTo(query), port, address))
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', () => resolve()))
  return {
    port: socket.address().port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void socket.close(() => resolve())),
  }
}

/** RFC 1035, 4. */
function answerTo(query: Buffer): Buffer {
  const HEADER = 12
  let end = HEADER
  while ((query[end] ?? 0) !== 0) end += 1 + (query[end] as number)
  const type = query.readUInt16BE(end + 1)
  const question = query.subarray(HEADER, end + 5)
  const known = !query.toString('latin1', HEADER, end).endsWith('invalid')
  const address =
    type === 1 ? [192, 0, 2, 80] : type === 28 ? [0x20, 1, 0xd, 0xb8, ...new Array<number>(11).fill(0), 80] : []
  const found = known && address.length > 0
  const header = Buffer.alloc(HEADER)
  query.copy(header, 0, 0, 2)
  header.writeUInt16BE(known ? 0x8180 : 0x8183, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(found ? 1 : 0, 6)
  // The name is the question's; class IN, a minute.
  const record = [0xc0, HEADER, 0, type, 0, 1, 0, 0, 0, 60, 0, address.length, ...address]
  return Buffer.concat([header, question, Buffer.from(found ? record : [])])
}

/** Wait until something is so, for at most a minute: connections that have ended are remembered for seconds. */
export async function eventually(condition: () => boolean, what: () => string): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries === 600) throw new Error(what())
    await wait(100)
  }
}

// ── programs of the host ──

function run(command: string, args: readonly string[], cwd?: string): SpawnSyncReturns<string> {
  return spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 * MEBIBYTE })
}

/** A program of this host and its environment. */
export interface HostProgram {
  readonly path: string
  readonly environment: NodeJS.ProcessEnv
}

/** The host's iperf3, or Debian's, fetched to `directory`. @throws Skipped where it cannot be had */
export function hostIperf3(directory: string): HostProgram {
  if (run('iperf3', ['--version']).status === 0) return { path: 'iperf3', environment: process.env }
  const root = join(directory, 'iperf3')
  mkdirSync(root, { recursive: true })
  const fetched = run('apt-get', ['download', ...IPERF3_PACKAGES], root)
  if (fetched.status !== 0) throw new Skipped(`there is no iperf3 on this host, and apt-get cannot fetch it`)
  for (const file of run('ls', [root])
    .stdout.split('\n')
    .filter((name) => name.endsWith('.deb')))
    run('dpkg-deb', ['-x', file, '.'], root)
  const libraries = join(root, 'usr/lib/x86_64-linux-gnu')
  const program = { path: join(root, 'usr/bin/iperf3'), environment: { ...process.env, LD_LIBRARY_PATH: libraries } }
  if (spawnSync(program.path, ['--version'], { env: program.environment }).status !== 0)
    throw new Skipped("Debian's iperf3 does not run on this host")
  return program
}

/** iperf3 as a server at a port of the loopback. */
export async function iperf3Server(iperf3: HostProgram): Promise<LocalServer> {
  const port = await freePort()
  const child: ChildProcess = spawn(iperf3.path, ['-s', '-B', '127.0.0.1', '-p', String(port), '--forceflush'], {
    env: iperf3.environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (text) => String(text).includes('listening') && resolve())
    child.on('close', (status) => reject(new Error(`iperf3 ended with ${status}`)))
  })
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      // Without a last word.
      child.kill('SIGKILL')
      await closed
    },
  }
}

/** The program of `tools/bench/src/network/exchanges.c`, for any Linux. @throws Skipped without a compiler */
export function buildNetworkProgram(directory: string): string {
  const program = join(directory, 'network')
  if (existsSync(program)) return program
  const { status, stderr, error } = run('gcc', ['-O2', '-static', '-o', program, PROGRAM])
  if (status !== 0) throw new Skipped(`gcc cannot build exchanges.c: ${error?.message ?? stderr}`)
  return program
}

// ── captures ──

/** What the dissectors of tshark say of a frame that is wrong. */
const WRONG = [
  '_ws.malformed',
  '_ws.expert.severity == error',
  'eth.fcs.status == bad',
  ...['ip', 'tcp', 'udp', 'icmp', 'icmpv6'].map((protocol) => `${protocol}.checksum.status == bad`),
].join(' || ')
const CHECKED = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`])

/** What tshark finds in a capture. */
export interface CaptureReport {
  readonly frames: number
  /** Checksums of TCP and UDP that are right. */
  readonly checksums: number
  /** Lines of the first frames that are wrong. */
  readonly wrong: string
  /** How many frames each of the filters takes. */
  readonly counts: readonly number[]
}

/** Let tshark read a capture. `filters`: display filters, without commas. @throws Skipped where there is none */
export function readCapture(file: string, filters: readonly string[] = []): CaptureReport {
  const tshark = (...options: readonly string[]): string => {
    const { status, stdout, stderr, error } = run('tshark', ['-r', file, '-n', ...CHECKED, ...options])
    if (error !== undefined) throw new Skipped('there is no tshark on this host: apt-get install tshark')
    if (status !== 0) throw new Error(`tshark: ${stderr}`)
    return stdout
  }
  const all = ['frame', 'tcp.checksum.status == good || udp.checksum.status == good', ...filters]
  // A table of one row: frames and bytes of each filter, behind the time.
  const row = tshark('-q', '-z', `io,stat,0,${all.join(',')}`)
    .split('\n')
    .find((line) => line.includes('<>'))
  const columns = (row ?? '').split('|').slice(2, -1)
  const [frames = 0, checksums = 0, ...counts] = columns.filter((_, column) => column % 2 === 0).map(Number)
  return { frames, checksums, counts, wrong: tshark('-Y', WRONG).split('\n').slice(0, 10).join('\n') }
}

// ── in the guest ──

/** A transfer of iperf3, in bits per second as its receiver counted. */
export async function iperf3(guest: MatrixGuest, options: string): Promise<number> {
  const output = await guest.run(`iperf3 -J ${options}`, 600)
  const report = JSON.parse(output.slice(output.indexOf('{'), output.lastIndexOf('}') + 1)) as {
    readonly error?: string
    readonly end: { readonly sum_received?: { bits_per_second: number }; readonly sum?: { bits_per_second: number } }
  }
  if (report.error !== undefined) throw new Error(`iperf3 ${options}: ${report.error}`)
  const rate = (report.end.sum_received ?? report.end.sum)?.bits_per_second
  if (rate === undefined) throw new Error(`iperf3 ${options} does not tell its rate`)
  return rate
}
