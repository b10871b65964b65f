import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { defaultCacheDirectory } from '../cache-directory.ts'
import {
  copyRootDisk,
  type DefaultGuest,
  type DefaultGuestOptions,
  ensureDefaultGuest,
  makeScratchRootDisk,
} from './index.ts'
import { FAKE_RELEASE, FakeDebian, readCpio, temporaryDirectory, writeTree } from './test-support.ts'

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

const NAME: RegExp = /^6\.9\.0-1-cloud-amd64_6\.9-1_1-1\.37-2_[0-9a-f]{12}_[0-9a-f]{8}$/

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

describe('the root disk', () => {
  /** What the stand-in for mke2fs wrote, and where. */
  const data = (path: string): string => readFileSync(path).toString('latin1', 8192, 8192 + 13)
  /** Names below a directory of the image, from the commands that debugfs got. */
  const names = (directory: string): string[] => {
    const commands = readFileSync(join(debian.directory, 'debugfs.script'), 'utf8').split('\n')
    return commands.filter((_, index) => commands[index - 1] === `cd "/${directory}"`)
  }

  test('has the programs with their libraries, in place of those of busybox, and the modules', async () => {
    const guest = await ensure()
    expect(statSync(guest.rootDisk).size).toBe(256 * 2 ** 20)
    expect(data(guest.rootDisk)).toBe('a file system')
    expect(guest.rootDiskWord).toBe('root=LABEL=partita')
    const ending = (name: string): unknown => expect.stringMatching(new RegExp(`^write contents/\\d+ "${name}"$`))
    expect(names('lib/x86_64-linux-gnu')).toEqual([
      ending('ld-linux-x86-64.so.2'),
      ending('libblkid.so.1'),
      ending('libc.so.6'),
    ])
    expect(names('lib64')).toEqual([ending('ld-linux-x86-64.so.2')])
    expect(names('bin')).toEqual([
      ending('busybox'),
      ...['[', '[[', 'ls', 'sh'].map((name) => `symlink "${name}" "busybox"`),
      ending('init'),
      ending('lsblk'),
    ])
    expect(names(`lib/modules/${FAKE_RELEASE}/kernel/drivers/hv`)).toEqual([ending('hv_vmbus.ko')])
  })

  test('is copied for a run, with its holes, and the copy goes with the run', async () => {
    const guest = await ensure()
    let path: string
    {
      using scratch = makeScratchRootDisk(guest)
      path = scratch.path
      expect(data(path)).toBe('a file system')
      expect(statSync(path).size).toBe(256 * 2 ** 20)
      expect(statSync(path).blocks).toBeLessThan(100)
      expect(path.startsWith(join(cache, 'guests'))).toBe(true)
    }
    expect(existsSync(path)).toBe(false)
    expect(left()).toEqual([expect.stringMatching(NAME)])
  })

  test('is copied to where a user keeps it, once', async () => {
    const { rootDisk } = await ensure()
    const mine = join(directory, 'mine.img')
    copyRootDisk(rootDisk, mine)
    expect(data(mine)).toBe('a file system')
    writeFileSync(mine, 'changed')
    expect(() => copyRootDisk(rootDisk, mine)).toThrow(expect.objectContaining({ code: 'ERR_GUEST_IMAGE' }))
    expect(readFileSync(mine, 'utf8')).toBe('changed')
    expect(() => copyRootDisk(mine, `${mine}2`)).toThrow(expect.objectContaining({ code: 'ERR_GUEST_IMAGE' }))
    expect(existsSync(`${mine}2`)).toBe(false)
  })

  test('is made again where it was written to', async () => {
    const { rootDisk } = await ensure()
    const descriptor = openSync(rootDisk, 'r+')
    writeSync(descriptor, 'B', 8192)
    closeSync(descriptor)
    expect((await ensure()).rootDisk).toBe(rootDisk)
    expect(data(rootDisk)).toBe('a file system')
  })

  test('of another variant is another guest', async () => {
    writeTree(join(debian.directory, 'packages/fio'), {})
    await expect(ensure({ variant: 'test' })).rejects.toThrow(failure('ERR_GUEST_NO_PACKAGE'))
    await expect(ensure({ variant: 'test' })).rejects.toThrow('fio')
    const first = await ensure()
    await expect(ensure({ variant: 'test' })).rejects.toThrow('fio')
    expect(await ensure()).toEqual(first)
  })

  test('is made with tools from the archive where the host has none', async () => {
    const tools = ['mke2fs', 'debugfs', 'e2fsck'] as const
    const bin = join(debian.directory, 'bin')
    const environment = debian.alone()
    const scripts = tools.map((tool) => [`sbin/${tool}`, readFileSync(join(bin, tool), 'utf8')] as const)
    writeTree(join(debian.directory, 'packages/e2fsprogs'), Object.fromEntries(scripts))
    for (const tool of tools) rmSync(join(bin, tool))
    const loader = join(debian.directory, 'packages/libtools/lib64/ld-linux-x86-64.so.2')
    const script = `${'#'}!/bin/sh\n[ "$1" = --library-path ] && shift 2 && exec /bin/sh "$@"\n`
    writeTree(join(loader, '..'), { 'ld-linux-x86-64.so.2': script })
    chmodSync(loader, 0o755)
    const guest = ensure({ environment })
    if (process.arch !== 'x64') await expect(guest).rejects.toThrow(failure('ERR_GUEST_NO_APT'))
    else expect(data((await guest).rootDisk)).toBe('a file system')
  })

  test('that cannot be made is an error', async () => {
    debian.script('mke2fs', { ext4: 'echo "mke2fs: No space left on device" >&2; exit 1' })
    await expect(ensure()).rejects.toThrow(failure('ERR_GUEST_IMAGE'))
    await expect(ensure()).rejects.toThrow('No space left on device')
    debian.script('mke2fs', { ext4: ':' })
    debian.script('debugfs', { '-w': 'echo "debugfs 1.47.0 (5-Feb-2023)\nwrite: File exists" >&2' })
    await expect(ensure()).rejects.toThrow('debugfs: write: File exists')
    debian.script('debugfs', { '-w': ':' })
    debian.script('e2fsck', { '-n': 'echo "partita: ** WARNING: Filesystem still has errors **"; exit 4' })
    await expect(ensure()).rejects.toThrow('still has errors')
    expect(left()).toEqual([])
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
    await expect(ensure({ signal: abort.signal, progress })).rejects.toBe(reason)
    expect(left()).toEqual([])
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
    const environment = debian.alone()
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
