import { readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readElfNeeds } from './elf.ts'
import { programEntries } from './programs.ts'
import { fakeProgram, temporaryDirectory, writeTree } from './test-support.ts'

let root: string
beforeEach(() => (root = temporaryDirectory()))
afterEach(() => rmSync(root, { recursive: true, force: true }))

const LOADER = '/lib64/ld-linux-x86-64.so.2'

describe('what an ELF file needs', () => {
  test('is read from its dynamic section', () => {
    expect(
      readElfNeeds(fakeProgram({ interpreter: LOADER, libraries: ['a.so', 'b.so.1'], runPath: '/x:$ORIGIN/y' })),
    ).toEqual({ interpreter: LOADER, libraries: ['a.so', 'b.so.1'], searchPath: ['/x', '$ORIGIN/y'] })
    expect(readElfNeeds(fakeProgram({}))).toEqual({ libraries: [], searchPath: [] })
  })

  test.runIf(process.platform === 'linux')('is read from the program that runs this test', () => {
    expect(readElfNeeds(readFileSync(process.execPath))).toMatchObject({
      interpreter: expect.stringMatching(/^\/.*ld-/),
      libraries: expect.arrayContaining([expect.stringMatching(/^libc\./)]),
    })
  })

  test('is not to be had from other files, and harmed ones are survived', () => {
    expect(readElfNeeds(new Uint8Array(100))).toBeUndefined()
    const whole = fakeProgram({ interpreter: LOADER, libraries: ['a.so'] })
    for (let length = 0; length < whole.length; length++) readElfNeeds(whole.slice(0, length))
    for (let index = 0; index < whole.length; index++) readElfNeeds(whole.with(index, 0xff))
  })
})

describe('programs', () => {
  test('come with all that they need, wherever it is, once', () => {
    writeTree(root, {
      'usr/sbin/tool': fakeProgram({
        interpreter: LOADER,
        libraries: ['liba.so', 'libdeep.so'],
        runPath: '/usr/lib/deep/',
      }),
      'usr/lib/x86_64-linux-gnu/liba.so.1.2': fakeProgram({ libraries: ['libc.so.6'] }),
      'usr/lib/deep/libdeep.so': fakeProgram({ libraries: ['libc.so.6', 'libbeside.so'], runPath: '$ORIGIN/beside' }),
      'usr/lib/deep/beside/libbeside.so': fakeProgram({}),
      'lib/x86_64-linux-gnu/libc.so.6': fakeProgram({}),
      'usr/lib64/ld-linux-x86-64.so.2': fakeProgram({}),
    })
    symlinkSync('liba.so.1.2', join(root, 'usr/lib/x86_64-linux-gnu/liba.so'))
    const entries = programEntries(root, ['tool'])
    expect(entries.map(({ path }) => path)).toEqual([
      'bin/tool',
      'lib/deep/beside/libbeside.so',
      'lib/deep/libdeep.so',
      'lib/x86_64-linux-gnu/liba.so',
      'lib/x86_64-linux-gnu/libc.so.6',
      'lib64/ld-linux-x86-64.so.2',
    ])
    for (const entry of entries) expect(entry).toMatchObject({ type: 'file', mode: 0o755 })
  })

  test('without one of their libraries are refused', () => {
    writeTree(root, { 'bin/tool': fakeProgram({ libraries: ['liba.so'] }) })
    expect(() => programEntries(root, ['tool'])).toThrow('liba.so, which tool needs')
    expect(() => programEntries(root, ['other'])).toThrow(expect.objectContaining({ code: 'ERR_GUEST_PACKAGE' }))
    writeTree(root, { 'lib/liba.so': 'a linker script' })
    expect(() => programEntries(root, ['tool'])).toThrow('is no ELF-64 file')
  })

  test('do not reach outside their packages', () => {
    symlinkSync('../../../../../../../../bin/sh', join(root, 'tool'))
    writeTree(root, { 'usr/bin/.keep': '' })
    symlinkSync('../../../../../../../../bin/sh', join(root, 'usr/bin/tool'))
    symlinkSync('tool2', join(root, 'usr/bin/tool2'))
    expect(() => programEntries(root, ['tool'])).toThrow('do not contain tool')
    expect(() => programEntries(root, ['tool2'])).toThrow('do not contain tool2')
    writeTree(root, { 'bin/sh': fakeProgram({}) })
    expect(programEntries(root, ['tool'])).toHaveLength(1)
  })
})
