// With the host's own mke2fs, debugfs and e2fsck; skipped where it has none.

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { directory as directoryEntry, file, type TreeEntry } from './file-tree.ts'
import { hostFilesystemTools } from './filesystem-tools.ts'
import { buildRootImage } from './root-image.ts'
import { temporaryDirectory } from './test-support.ts'

const commands = hostFilesystemTools(process.env)
if (commands === undefined) console.warn('skipped: no e2fsprogs on this machine')

let directory: string
beforeEach(() => (directory = temporaryDirectory()))
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const LARGE = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) % 251))

const ENTRIES: readonly TreeEntry[] = [
  ...['bin', 'dev', 'etc', 'tmp', 'etc/a name'].map(directoryEntry),
  file('bin/tool', LARGE, 0o755),
  file('etc/a name/with "quotes" and \\', 'some text\n'),
  file('etc/empty', ''),
  // More than a block of a directory.
  ...Array.from({ length: 300 }, (_, index) => file(`etc/a name/a file with a long name ${index}`, String(index))),
  { type: 'symlink', path: 'bin/sh', target: '../etc/a name' },
  { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
]

async function build(name: string, entries: readonly TreeEntry[] = ENTRIES): Promise<string> {
  mkdirSync(join(directory, name))
  return buildRootImage(entries, {
    size: 24 * 2 ** 20,
    label: 'partita',
    commands: commands!,
    tools: { directory: join(directory, name), environment: process.env },
  })
}

function debugfs(image: string, command: string): Buffer {
  return execFileSync(commands!.debugfs[0], ['-R', command, image], { stdio: ['ignore', 'pipe', 'ignore'] })
}

describe.skipIf(commands === undefined)('an image', () => {
  test('has the files with their contents, modes and owners', async () => {
    const image = await build('one')
    expect(debugfs(image, 'cat /bin/tool').equals(LARGE)).toBe(true)
    expect(debugfs(image, 'cat "/etc/a name/with ""quotes"" and \\"').toString()).toBe('some text\n')
    expect(debugfs(image, 'cat "/etc/a name/a file with a long name 299"').toString()).toBe('299')
    // `/inode/mode/user/group/name/size/`
    const listed = ['/', '/bin', '/dev', '/etc'].flatMap((path) =>
      debugfs(image, `ls -p ${path}`)
        .toString()
        .split('\n')
        .map((line) => line.split('/'))
        .filter(([, , , , , name]) => name !== undefined && !/^\.{0,2}$/.test(name))
        .map(([, , mode, user, group, name]) => `${path} ${name} ${mode} ${user} ${group}`),
    )
    expect(listed).toEqual([
      '/ lost+found 040700 0 0',
      '/ bin 040755 0 0',
      '/ dev 040755 0 0',
      '/ etc 040755 0 0',
      '/ tmp 041777 0 0',
      '/bin tool 100755 0 0',
      '/bin sh 120777 0 0',
      '/dev console 020600 0 0',
      '/etc a name 040755 0 0',
      '/etc empty 100644 0 0',
    ])
    const superblock = debugfs(image, 'stats -h').toString()
    expect(superblock).toMatch(/volume name: +partita\n/)
    expect(superblock).toMatch(/features: .*has_journal.*metadata_csum/)
  })

  test('is the same every time', async () => {
    const first = readFileSync(await build('one'))
    // The clock must have gone on.
    const second = Math.floor(Date.now() / 1000)
    while (Math.floor(Date.now() / 1000) === second) await new Promise((resolve) => setTimeout(resolve, 50))
    expect(readFileSync(await build('two')).equals(first)).toBe(true)
  })

  test('that is too small for its files is an error', async () => {
    await expect(build('one', [...ENTRIES, file('large', new Uint8Array(24 * 2 ** 20).fill(1))])).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_GUEST_IMAGE' }),
    )
  })
})
