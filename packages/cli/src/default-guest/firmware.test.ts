import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ensureFirmware, type Firmware, type FirmwareOptions } from './firmware.ts'
import { FakeDebian, temporaryDirectory, writeTree } from './test-support.ts'

let directory: string
let debian: FakeDebian
let store: string

beforeEach(() => {
  directory = temporaryDirectory()
  debian = new FakeDebian(directory)
  store = join(directory, 'home/.cache/partita/firmware')
  release('1.16-1', 'the firmware')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** Let the archive have this version. */
function release(version: string, image: string): void {
  writeTree(join(directory, 'packages/seabios'), { 'usr/share/seabios/bios-256k.bin': image })
  debian.write('show', `Package: seabios\nVersion: ${version}\n`)
}

const ensure = (options: FirmwareOptions = {}): Promise<Firmware> =>
  ensureFirmware({ environment: debian.environment, ...options })
const failure = (code: string): unknown =>
  expect.objectContaining({ code, hint: expect.stringContaining('--firmware bios:FILE') })

test('is fetched once, and then read from the cache', async () => {
  const texts: string[] = []
  const first = await ensure({ progress: ({ text }) => texts.push(text) })
  expect(first.version).toBe('1.16-1')
  expect(readFileSync(first.image, 'utf8')).toBe('the firmware')
  expect(texts).toContain('Downloading SeaBIOS')
  expect(readdirSync(store)).toEqual(['seabios_1.16-1'])
  const calls = debian.calls().length
  expect(await ensure({ progress: () => expect.unreachable() })).toMatchObject(first)
  expect(debian.calls().length).toBe(calls)
})

test('is fetched again where it is harmed', async () => {
  const { image } = await ensure()
  writeFileSync(image, 'something else')
  expect(readFileSync((await ensure()).image, 'utf8')).toBe('the firmware')
  expect(readdirSync(store)).toEqual(['seabios_1.16-1'])
})

test('is replaced by a newer one when that is asked for', async () => {
  await ensure()
  release('1.17-1', 'newer firmware')
  expect((await ensure()).version).toBe('1.16-1')
  expect((await ensure({ update: true })).version).toBe('1.17-1')
  expect(readFileSync((await ensure()).image, 'utf8')).toBe('newer firmware')
})

test('says what is wrong, and leaves nothing', async () => {
  debian.script('apt-get', { update: ':', download: 'exit 100' })
  await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_DOWNLOAD'))
  debian.write('show', '')
  await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_NO_PACKAGE'))
  expect(existsSync(store) ? readdirSync(store) : []).toEqual([])
})

test('stops when it is told to', async () => {
  const stopped = new Error('stopped')
  await expect(ensure({ signal: AbortSignal.abort(stopped) })).rejects.toBe(stopped)
})
