import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { guestFilesArchive, planModules, withArchive } from '../src/guest-files.ts'
import { parseGuestFile, parseModule } from '../src/option-values.ts'

let directory: string
const file = (name: string) => join(directory, name)
const code = (expected: string) => expect.objectContaining({ code: expected })

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'partita-guest-files-'))
  writeFileSync(file('probe'), 'probe')
  chmodSync(file('probe'), 0o700)
  mkdirSync(file('tree/sub'), { recursive: true })
  writeFileSync(file('tree/sub/a'), 'a')
  writeFileSync(file('tree/b'), 'bb')
})
afterAll(() => rmSync(directory, { recursive: true }))

/** What cpio makes of an archive: `mode path`. */
const listing = (archive: Uint8Array) =>
  spawnSync('cpio', ['-itv', '--quiet'], { input: archive, encoding: 'utf8' })
    .stdout.trim()
    .split('\n')
    .map((line) => line.replace(/^(\S+) .* (\S+)$/, '$1 $2'))

const hasCpio = spawnSync('cpio', ['--version']).status === 0

describe('an archive of files for the guest', () => {
  it.skipIf(!hasCpio)('has them at their places, with all directories above', () => {
    const files = [parseGuestFile(`${file('probe')}:/opt/x/probe`), parseGuestFile(`${file('tree')}:/data`)]
    expect(listing(guestFilesArchive(files, false))).toEqual([
      'drwxr-xr-x opt',
      'drwxr-xr-x opt/x',
      '-rwxr-xr-x opt/x/probe',
      'drwxr-xr-x data',
      '-rw-r--r-- data/b',
      'drwxr-xr-x data/sub',
      '-rw-r--r-- data/sub/a',
    ])
  })

  it.skipIf(!hasCpio)('is staged for the default guest, whose commands and libraries are in one place', () => {
    const files = ['/usr/bin/probe:600', '/usr/lib/x.so', '/sbin/y'].map((place) =>
      parseGuestFile(`${file('probe')}:${place}`),
    )
    const staged = listing(guestFilesArchive([...files, parseGuestFile(file('probe'))], true))
    expect(staged.filter((line) => line.startsWith('-'))).toEqual([
      '-rw------- partita-files/bin/probe',
      '-rwxr-xr-x partita-files/lib/x.so',
      '-rwxr-xr-x partita-files/bin/y',
      '-rwxr-xr-x partita-files/root/probe',
    ])
  })

  it('reports what cannot be', () => {
    const archive = (...texts: string[]) => guestFilesArchive(texts.map(parseGuestFile), true)
    expect(() => archive(`${file('none')}:/x`)).toThrow(code('ERR_FILE_UNREADABLE'))
    expect(() => archive('/dev/null:/x')).toThrow(code('ERR_FILE_UNREADABLE'))
    expect(() => archive(`${file('probe')}:/`)).toThrow(code('ERR_USAGE'))
    expect(() => archive(`${file('probe')}:/bin/x`, `${file('probe')}:/usr/bin/x`)).toThrow(code('ERR_USAGE'))
  })

  it('stands behind the initial RAM disk at a multiple of four', () => {
    expect(withArchive(Uint8Array.of(1, 2, 3, 4, 5), Uint8Array.of(9))).toEqual(
      Uint8Array.of(1, 2, 3, 4, 5, 0, 0, 0, 9),
    )
  })
})

describe('modules for the guest', () => {
  it('are names, and files that it gets', () => {
    expect(planModules([])).toEqual({ names: [], files: [], word: '' })
    expect(planModules(['uio', './a/own.ko'].map(parseModule))).toEqual({
      names: ['uio'],
      files: [{ source: './a/own.ko', target: '/lib/modules/own.ko' }],
      word: 'partita_modules=uio,/lib/modules/own.ko',
    })
  })
})
