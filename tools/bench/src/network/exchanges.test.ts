// What the program says that makes small exchanges in guests, run on this host.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, expect, test } from 'vitest'
import { buildNetworkProgram, listen } from '../../../guest/matrix/network.ts'

const directory = mkdtempSync(join(tmpdir(), 'partita-exchanges-'))
afterAll(() => rmSync(directory, { recursive: true }))
const program = ((): string | undefined => {
  try {
    return buildNetworkProgram(directory)
  } catch (error) {
    console.warn(`skipped: ${String(error)}`)
    return undefined
  }
})()

async function run(...args: readonly string[]): Promise<string> {
  await using echo = await listen(createServer({ noDelay: true, allowHalfOpen: true }, (socket) => socket.pipe(socket)))
  const [what = '', ...rest] = args
  const child = spawn(program as string, [what, '127.0.0.1', String(echo.port), ...rest])
  return await text(child.stdout)
}

test.skipIf(program === undefined)('tells the mean, the median and the 99th percentile of exchanges', async () => {
  const said = /^latency: (\d+) (\d+) (\d+)\n200 exchanges in (\d+) ns\n$/.exec(await run('rr', '200'))
  const [mean = 0, median = 0, late = 0, all = 0] = (said ?? []).slice(1).map(Number)
  expect(mean).toBe(Math.floor(all / 200))
  expect(median).toBeGreaterThan(0)
  expect(late).toBeGreaterThanOrEqual(median)
  // Of the 200, 101 took the median at least, and 3 of these the other time.
  expect(98 * median + 3 * late).toBeLessThanOrEqual(all)
})

test.skipIf(program === undefined)('counts connections of several processes', async () => {
  expect(await run('connect', '20', '4')).toMatch(/^20 exchanges in \d+ ns\n$/)
})

test.skipIf(program === undefined)('serves, too', async () => {
  // A port that was free a moment ago.
  const { port } = await listen(createServer()).then(async (server) => {
    await server[Symbol.asyncDispose]()
    return server
  })
  const serve = spawn(program as string, ['serve', '127.0.0.1', String(port)], { detached: true, stdio: 'ignore' })
  try {
    expect(await new Promise((resolve) => serve.on('exit', resolve))).toBe(0)
    for (const args of [
      ['rr', '127.0.0.1', String(port), '50'],
      ['connect', '127.0.0.1', String(port), '20', '4'],
    ])
      expect(await text(spawn(program as string, args).stdout)).toMatch(new RegExp(`(^|\\n)${args[3]} exchanges in `))
  } finally {
    // What goes on in the background is of its process group.
    process.kill(-(serve.pid as number))
  }
})
