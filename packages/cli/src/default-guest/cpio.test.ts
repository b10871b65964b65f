import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CpioEntry, writeCpio } from './cpio.ts'
import { readCpio } from './test-support.ts'

const text = (content: string): Uint8Array => new TextEncoder().encode(content)

const SAMPLE: CpioEntry[] = [
  { type: 'directory', path: 'tmp', mode: 0o1777 },
  { type: 'file', path: 'tmp/five', data: text('12345'), mode: 0o755 },
  { type: 'symlink', path: 'link', target: 'tmp/five' },
  { type: 'character-device', path: 'console', major: 5, minor: 1 },
]

describe('writeCpio', () => {
  test('writes the header that the format describes, field by field', () => {
    const archive = writeCpio([{ type: 'file', path: 'a', data: text('xyz'), mode: 0o640 }])
    const first = [
      '070701',
      '00000001', // inode
      '000081A0', // regular file, 0640
      '00000000', // user
      '00000000', // group
      '00000001', // links
      '00000000', // time
      '00000003', // length
      '00000000',
      '00000000',
      '00000000',
      '00000000',
      '00000002', // length of the name with its NUL
      '00000000',
      'a\0xyz\0',
    ].join('')
    expect(Buffer.from(archive.subarray(0, 116)).toString('latin1')).toBe(first)
    expect(Buffer.from(archive.subarray(116)).toString('latin1')).toMatch(/^070701.*TRAILER!!!\0{1,4}$/)
    expect(archive.length % 4).toBe(0)
  })

  test('keeps types, modes, targets and device numbers', () => {
    expect(
      readCpio(writeCpio(SAMPLE)).map(({ path, mode, device, data }) => [
        path,
        mode,
        device,
        Buffer.from(data).toString(),
      ]),
    ).toEqual([
      ['tmp', 0o041777, [0, 0], ''],
      ['tmp/five', 0o100755, [0, 0], '12345'],
      ['link', 0o120777, [0, 0], 'tmp/five'],
      ['console', 0o020600, [5, 1], ''],
    ])
  })

  test('gives back whatever goes in, with inodes of its own and no times', () => {
    const entry = fc.record({
      path: fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }).filter((path) => !path.includes('\0')),
      data: fc.uint8Array({ maxLength: 70 }),
    })
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), (files) => {
        const read = readCpio(writeCpio(files.map((file): CpioEntry => ({ type: 'file', ...file }))))
        expect(read.map(({ path, data }) => ({ path, data: new Uint8Array(data) }))).toEqual(
          files.map(({ path, data }) => ({ path, data: new Uint8Array(data) })),
        )
        expect(read.map(({ inode }) => inode)).toEqual(files.map((_, index) => index + 1))
        expect(read.every(({ time }) => time === 0)).toBe(true)
      }),
    )
  })

  test.skipIf(spawnSync('cpio', ['--version']).error !== undefined)('is read by GNU cpio', () => {
    const { stdout, stderr } = spawnSync('cpio', ['--list', '--verbose', '--quiet', '--numeric-uid-gid'], {
      input: writeCpio(SAMPLE),
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    })
    expect(stderr.toString()).toBe('')
    expect(
      stdout
        .toString()
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/ +/g, ' ')),
    ).toEqual([
      'drwxrwxrwt 2 0 0 0 Jan 1 1970 tmp',
      '-rwxr-xr-x 1 0 0 5 Jan 1 1970 tmp/five',
      'lrwxrwxrwx 1 0 0 8 Jan 1 1970 link -> tmp/five',
      'crw------- 1 0 0 5, 1 Jan 1 1970 console',
    ])
  })
})
