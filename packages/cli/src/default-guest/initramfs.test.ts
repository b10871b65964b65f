import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { readApplets } from './applets.ts'
import { buildInitramfs } from './initramfs.ts'
import { INIT, PROFILE } from './root-files.ts'
import { FAKE_BUSYBOX, fakeModule, readCpio } from './test-support.ts'

const PARTS: Parameters<typeof buildInitramfs>[0] = {
  release: '6.9',
  busybox: FAKE_BUSYBOX,
  selection: {
    modules: [
      {
        name: 'sd_mod',
        path: 'kernel/drivers/scsi/sd_mod.ko',
        data: fakeModule(['depends=']),
        info: { depends: [], wants: [], aliases: ['scsi:t-0x00*'] },
      },
    ],
    builtin: [],
    absent: [],
  },
  modulesBuiltin: new TextEncoder().encode('kernel/fs/ext4/ext4.ko\n'),
}

test('the applets are read off the binary', () => {
  expect(readApplets(FAKE_BUSYBOX)).toEqual(['[', '[[', 'ls', 'sh'])
  expect(readApplets(new TextEncoder().encode('no busybox'))).toEqual([])
  expect(readApplets(new Uint8Array(Buffer.from('\0[\0[[\0cut of', 'latin1')))).toEqual(['[', '[['])
})

test('an initramfs has its directories before their contents and is the same every time', () => {
  const archive = buildInitramfs(PARTS)
  expect(buildInitramfs(PARTS)).toEqual(archive)
  const entries = readCpio(archive)
  const paths = entries.map(({ path }) => path)
  expect(new Set(paths).size).toBe(paths.length)
  for (const [index, path] of paths.entries()) {
    const slash = path.lastIndexOf('/')
    if (slash < 0) continue
    const parent = paths.indexOf(path.slice(0, slash))
    expect(parent).toBeGreaterThanOrEqual(0)
    expect(parent).toBeLessThan(index)
    expect(entries[parent]!.mode & 0o170000).toBe(0o040000)
  }
  const contentOf = (path: string): string =>
    Buffer.from(entries.find((entry) => entry.path === path)!.data).toString('latin1')
  expect(contentOf('bin/sh')).toBe('busybox')
  expect(contentOf('sbin')).toBe('bin')
  expect(contentOf('lib/modules/6.9/modules.dep')).toBe('kernel/drivers/scsi/sd_mod.ko:\n')
  expect(contentOf('lib/modules/6.9/modules.alias')).toBe('alias scsi:t-0x00* sd_mod\n')
  expect(contentOf('init')).toBe(INIT)
  expect(entries.find(({ path }) => path === 'init')!.mode).toBe(0o100755)
  expect(entries.find(({ path }) => path === 'dev/console')).toMatchObject({ mode: 0o020600, device: [5, 1] })
})

test('a busybox without a shell is refused', () => {
  expect(() => buildInitramfs({ ...PARTS, busybox: new Uint8Array(64) })).toThrow(
    expect.objectContaining({ code: 'ERR_GUEST_PACKAGE' }),
  )
})

test.for([INIT, PROFILE])('the scripts are good shell', (script) => {
  const { status, stderr } = spawnSync('sh', ['-n'], { input: script })
  expect(stderr.toString()).toBe('')
  expect(status).toBe(0)
})
