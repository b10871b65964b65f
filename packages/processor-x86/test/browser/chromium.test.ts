/**
 * The processor in Chromium: the package's sources, bundled as for a page, in a headless browser. Needs Debian's `chromium`, or another whose path is in the environment variable
 * CHROMIUM; without one the test is skipped, and says so.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'tsup'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PageReport } from './page.ts'

const PACKAGE: string = join(import.meta.dirname, '../..')
const PATIENCE = 300_000

/** CRC-32 as JavaScript computes it. */
function expectedChecksum(rounds: number): string {
  let crc = 0xffffffff
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < 4096; i++) {
      crc ^= (i * 7) & 0xff
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
    }
  }
  return (crc >>> 0).toString(16)
}

function findChromium(): string | undefined {
  const names = [process.env['CHROMIUM'], 'chromium', 'chromium-browser', 'google-chrome'].filter(
    (name) => name !== undefined,
  )
  return names.find((name) => spawnSync(name, ['--version'], { timeout: PATIENCE }).status === 0)
}

const chromium = findChromium()
if (chromium === undefined)
  console.log('the processor is not tried in a browser: there is no chromium (apt-get install chromium)')

describe.skipIf(chromium === undefined)('in Chromium', () => {
  const directory = mkdtempSync(join(tmpdir(), 'partita-chromium-'))
  const site = join(directory, 'site')
  let report: PageReport

  beforeAll(async () => {
    await build({
      config: false,
      entry: { page: join(import.meta.dirname, 'page.ts'), 'compile-worker': join(PACKAGE, 'src/compile-worker.ts') },
      outDir: site,
      format: 'esm',
      platform: 'browser',
      target: 'es2024',
      splitting: true,
      dts: false,
      silent: true,
      noExternal: [/./],
      esbuildOptions(options) {
        options.conditions = ['@partita/source', 'import']
      },
    })
    report = await visit()
  }, PATIENCE)
  afterAll(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))

  /** Open the page, and wait for what it has to say. */
  async function visit(): Promise<PageReport> {
    const { promise, resolve, reject } = Promise.withResolvers<PageReport>()
    const server = createServer((request, response) => {
      // shared memory may be sent to workers by a page that nobody else looks into
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
      response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
      const name = request.url ?? '/'
      if (name === '/') {
        response.setHeader('Content-Type', 'text/html')
        response.end('<!doctype html><title>processor</title><script type="module" src="/page.js"></script>')
      } else if (name === '/report') {
        let text = ''
        request.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        request.on('end', () => {
          response.end()
          const said = JSON.parse(text) as PageReport | { readonly error: string }
          if ('error' in said) reject(new Error(said.error))
          else resolve(said)
        })
      } else if (/^\/[\w-]+\.js$/.test(name)) {
        response.setHeader('Content-Type', 'text/javascript')
        response.end(readFileSync(join(site, name)))
      } else {
        response.statusCode = 404
        response.end()
      }
    })
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    const { port } = server.address() as AddressInfo
    const options = [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
      `--user-data-dir=${join(directory, 'profile')}`,
    ]
    const browser = spawn(chromium as string, [...options, `http://127.0.0.1:${port}/`], { stdio: 'ignore' })
    const gone = new Promise<void>((closed) => browser.on('close', () => closed()))
    void gone.then(() => reject(new Error('Chromium ended before the page had reported')))
    try {
      return await promise
    } finally {
      browser.kill()
      await gone
      server.close()
    }
  }

  test('the page may share memory', () => {
    expect(report.isolated).toBe(true)
  })

  test.each(['interpreter', 'translated', 'here', 'worker'])('a hot loop, %s', (name) => {
    const run = report.runs.find((one) => one.name === name)
    expect(run?.checksums).toEqual(new Array(run?.checksums.length).fill(expectedChecksum(100)))
    if (name === 'interpreter') expect(run?.translated).toBe(0)
    else expect(run?.translated).toBeGreaterThan((run?.instructions ?? 0) / 10)
  })
})
