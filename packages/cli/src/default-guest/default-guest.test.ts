import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type DefaultGuest, type DefaultGuestOptions, ensureDefaultGuest } from './index.ts'
import { defaultCacheDirectory } from './store.ts'
import { FAKE_RELEASE, FakeDebian, readCpio, temporaryDirectory } from './test-support.ts'

let directory: string
let debian: FakeDebian
let cache: string

beforeEach(() => {
  directory = temporaryDirectory()
  debian = new FakeDebian(directory)
  cache = join(directory, 'home/.cache/partita')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const ensure = (options: DefaultGuestOptions = {}): Promise<DefaultGuest> =>
  ensureDefaultGuest({ environment: debian.environment, ...options })

const failure = (code: string): unknown => expect.objectContaining({ code, hint: expect.stringContaining('--kernel') })

/** What is left in the cache, work directories included. */
const left = (): string[] => (existsSync(join(cache, 'guests')) ? readdirSync(join(cache, 'guests')) : [])

const NAME: RegExp = /^6\.9\.0-1-cloud-amd64_6\.9-1_1-1\.37-2_[0-9a-f]{12}$/

describe('making a guest', () => {
  test('fetches the kernel that the meta package leads to, and makes an initramfs with its modules', async () => {
    const guest = await ensure()
    expect(guest.version).toBe(`${FAKE_RELEASE} (6.9-1)`)
    expect(guest.commandLine).toContain('console=ttyS0')
    expect(readFileSync(guest.kernel, 'utf8')).toBe('the kernel')
    expect(guest.kernel.startsWith(join(cache, 'guests'))).toBe(true)
    const paths = readCpio(readFileSync(guest.initrd)).map(({ path }) => path)
    const modules = paths.filter((path) => path.endsWith('.ko')).map((path) => path.slice(path.lastIndexOf('/') + 1))
    expect(modules).toEqual(['hv_vmbus.ko', 'hv_storvsc.ko', 'scsi_mod.ko'])
    expect(left()).toEqual([expect.stringMatching(NAME)])
    expect(JSON.parse(readFileSync(join(cache, 'guests', left()[0]!, 'guest.json'), 'utf8'))).toMatchObject({
      packages: { [`linux-image-${FAKE_RELEASE}`]: '6.9-1', 'busybox-static': '1:1.37-2' },
      builtin: ['ext4'],
    })
  })

  test('reports each phase, with fractions that apt gives', async () => {
    const seen: [string, number][] = []
    await ensure({ progress: ({ phase, fraction }) => seen.push([phase, fraction]) })
    expect([...new Set(seen.map(([phase]) => phase))]).toEqual(['index', 'download', 'unpack', 'build'])
    expect(seen).toContainEqual(['index', 0.5])
    expect(seen).toContainEqual(['download', 0.255])
  })

  test('runs nothing, and says nothing, where the cache has a guest', async () => {
    const first = await ensure()
    const calls = debian.calls().length
    const second = await ensure({ progress: () => expect.unreachable() })
    expect(second).toEqual(first)
    expect(debian.calls().length).toBe(calls)
    expect(calls).toBeGreaterThan(0)
  })

  test('asks for newer packages when told to, and downloads only what it does not have', async () => {
    const first = await ensure()
    expect(await ensure({ update: true })).toEqual(first)
    expect(debian.calls().filter((call) => call === 'update').length).toBe(2)
    expect(debian.calls().filter((call) => call === 'download').length).toBe(1)
    debian.write('show', readFileSync(join(directory, 'show'), 'utf8').replaceAll('6.9-1', '6.9-2'))
    const third = await ensure({ update: true })
    expect(third.version).toContain('6.9-2')
    expect(await ensure()).toEqual(third)
  })

  test('uses a cache directory that it is given', async () => {
    const guest = await ensure({ cacheDirectory: join(directory, 'elsewhere with a "quote"') })
    expect(guest.initrd.startsWith(join(directory, 'elsewhere with a "quote"'))).toBe(true)
    expect(left()).toEqual([])
  })

  test('keeps the state of apt to itself', async () => {
    await ensure()
    const log = readFileSync(join(directory, 'log'), 'utf8').split('\n')
    for (const line of log.filter((line) => line.startsWith('apt-'))) {
      for (const name of ['Dir::State', 'Dir::Cache', 'Dir::State::lists', 'Dir::Cache::archives'])
        expect(line).toContain(`-o ${name}=${join(cache, 'guests')}/.making-`)
    }
  })
})

describe('the cache', () => {
  test('makes a harmed guest again', async () => {
    const guest = await ensure()
    truncateSync(guest.initrd, 100)
    expect(await ensure()).toEqual(guest)
    expect(readCpio(readFileSync(guest.initrd)).length).toBeGreaterThan(10)
    rmSync(guest.kernel)
    await ensure()
    expect(readFileSync(guest.kernel, 'utf8')).toBe('the kernel')
    writeFileSync(join(guest.kernel, '../guest.json'), '{"recipe":')
    await ensure()
    expect(left()).toEqual([expect.stringMatching(NAME)])
  })

  test('is safe for several runs at once', async () => {
    const guests = await Promise.all([ensure(), ensure(), ensure(), ensure()])
    expect(new Set(guests.map(({ kernel }) => kernel)).size).toBe(1)
    expect(readFileSync(guests[0]!.kernel, 'utf8')).toBe('the kernel')
    expect(left()).toEqual([expect.stringMatching(NAME)])
  })

  test('loses the work of runs that were killed, and keeps that of runs at work', async () => {
    let work = ''
    await ensure({ progress: () => (work = left().find((name) => name.startsWith('.making-')) ?? work) })
    const prefix = work.slice(0, work.indexOf(`-${process.pid}-`))
    expect(prefix).toMatch(/^\.making-[0-9a-f]{8}$/)
    const alive = `${prefix}-${process.pid}-aa`
    const otherHost = '.making-00000000-1-aa'
    // No process has this number: it is above the highest that Linux gives.
    for (const name of [`${prefix}-4194305-aa`, alive, otherHost]) mkdirSync(join(cache, 'guests', name))
    await ensure({ update: true })
    expect(left().filter((name) => name.startsWith('.'))).toEqual([alive, otherHost].sort())
  })

  test.each(['index', 'download', 'unpack', 'build'])('is as before when stopped at: %s', async (phase) => {
    if (phase === 'download') debian.script('apt-get', { update: ':', download: 'exec sleep 60' })
    const abort = new AbortController()
    const reason = new Error('enough')
    const progress = (event: { phase: string }): void => {
      if (event.phase === phase) abort.abort(reason)
    }
    // Once the initramfs is being built, the rest is one step and the guest may be complete.
    const result = await ensure({ signal: abort.signal, progress }).catch((error: unknown) => error)
    if (phase !== 'build') {
      expect(result).toBe(reason)
      expect(left()).toEqual([])
    } else expect(left()).toEqual([expect.stringMatching(NAME)])
  })

  test('is not touched by a signal that has been given', async () => {
    await expect(ensure({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
    expect(existsSync(cache)).toBe(false)
  })

  test('that cannot be written is an error', async () => {
    writeFileSync(join(directory, 'file'), '')
    await expect(ensure({ cacheDirectory: join(directory, 'file') })).rejects.toThrow(failure('ERR_GUEST_CACHE'))
  })

  test('is where the XDG base directory specification says', () => {
    expect(defaultCacheDirectory({ XDG_CACHE_HOME: '/x', HOME: '/h' })).toBe('/x/partita')
    expect(defaultCacheDirectory({ XDG_CACHE_HOME: 'relative', HOME: '/h' })).toBe('/h/.cache/partita')
    expect(defaultCacheDirectory({ HOME: '/h' })).toBe('/h/.cache/partita')
  })
})

describe('failures', () => {
  test.each(['apt-get', 'apt-cache', 'dpkg-deb'])('a machine without %s', async (tool) => {
    rmSync(join(directory, 'bin', tool))
    const environment = { ...debian.environment, PATH: join(directory, 'bin') }
    // The other scripts need no tools up to there.
    const shellOnly = `${'#'}!/bin/sh\nexport PATH=/usr/bin:/bin\n`
    for (const other of readdirSync(join(directory, 'bin')))
      debian.write(
        `bin/${other}`,
        readFileSync(join(directory, 'bin', other), 'utf8').replace('#!/bin/sh\n', shellOnly),
      )
    await expect(ensure({ environment })).rejects.toThrow(failure('ERR_GUEST_NO_APT'))
    await expect(ensure({ environment })).rejects.toThrow(tool)
    expect(left()).toEqual([])
  })

  test('an archive that cannot be reached', async () => {
    debian.script('apt-get', { update: 'echo "E: Failed to fetch the list" >&2; exit 100' })
    debian.write('show', '')
    await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_DOWNLOAD'))
    await expect(ensure()).rejects.toThrow('E: Failed to fetch the list')
    expect(left()).toEqual([])
  })

  test('one of the sources fails, but not the one that counts', async () => {
    const script = readFileSync(join(directory, 'bin/apt-get'), 'utf8')
    debian.write('bin/apt-get', script.replace('echo "dlstatus:1:50.00:Retrieving" >&3', 'exit 100'))
    expect((await ensure()).version).toContain(FAKE_RELEASE)
  })

  test('sources without the package', async () => {
    debian.write('show', 'Package: something-else\nVersion: 1\n')
    await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_NO_PACKAGE'))
  })

  test('a meta package that leads nowhere', async () => {
    debian.write('show', 'Package: linux-image-cloud-amd64\nVersion: 1\nDepends: nothing\n')
    await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_NO_PACKAGE'))
  })

  test('a download that fails', async () => {
    debian.script('apt-get', { update: ':', download: 'echo "E: Hash Sum mismatch" >&2; exit 100' })
    await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_DOWNLOAD'))
    await expect(ensure()).rejects.toThrow('Hash Sum mismatch')
    expect(left()).toEqual([])
  })

  test('a package that cannot be unpacked, or lacks the kernel', async () => {
    debian.script('dpkg-deb', { '--extract': 'echo "dpkg-deb: error: truncated" >&2; exit 2' })
    await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_PACKAGE'))
    debian.script('dpkg-deb', { '--extract': 'mkdir -p "$3/usr"' })
    await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_PACKAGE'))
    expect(left()).toEqual([])
  })
})
