// The generator: names, files, refusals, and that the packages that it writes pass the type checker, build, and pass their own tests.

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import manifest from '../package.json' with { type: 'json' }
import { runCommandLine } from '../src/command-line.ts'
import { generatePlugin, KINDS, type Kind } from '../src/index.ts'
import { namesOf } from '../src/names.ts'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '../../..')
const kinds = Object.keys(KINDS) as Kind[]
const code = (expected: string) => expect.objectContaining({ code: expected, hint: expect.stringMatching(/\.$/) })

/** Where the packages of the workspace are found from. */
let scratch: string
beforeAll(() => {
  scratch = mkdtempSync(join(import.meta.dirname, '../.scratch-'))
})
afterAll(() => rmSync(scratch, { recursive: true, force: true }))
let directories = 0
const empty = () => {
  const directory = join(scratch, `parent-${directories++}`)
  mkdirSync(directory)
  return directory
}

/** The command with `args`, and somebody who types `input`. */
async function command(args: readonly string[], parent: string, input?: string) {
  const stdin = Object.assign(new PassThrough(), { isTTY: input !== undefined })
  let stdout = ''
  let stderr = ''
  const out = new PassThrough().on('data', (text) => {
    stdout += text
    // Each question gets the next line.
    if (/: $/.test(stdout) && lines.length > 0) stdin.write(`${lines.shift()}\n`)
    else if (/: $/.test(stdout) && input !== undefined) stdin.end()
  })
  const error = new PassThrough().on('data', (text) => {
    stderr += text
  })
  const lines = input === undefined || input === '' ? [] : input.split('\n')
  const status = await runCommandLine(args, { stdin, stdout: out, stderr: error, directory: parent })
  await new Promise((settle) => setImmediate(settle))
  return { status, stdout, stderr, left: readdirSync(parent) }
}

describe('names', () => {
  it('have a form for each use', () => {
    expect(namesOf('@me/door-bell2')).toEqual({
      package: '@me/door-bell2',
      base: 'door-bell2',
      pascal: 'DoorBell2',
      camel: 'doorBell2',
      upper: 'DOOR_BELL2',
    })
  })

  it.each([
    '',
    'My-Device',
    'a b',
    '../x',
    'x/y',
    '@/x',
    '@me/',
    '2fast',
    'a--b',
    '-a',
    'a-',
    '.x',
    'ä',
    '@partita/x',
    'partita',
    `a${'b'.repeat(300)}`,
    'x\ny',
  ])('cannot be %j', (name) => expect(() => namesOf(name)).toThrow(code('ERR_CREATE_NAME')))
})

describe('npm create partita-plugin', () => {
  it('asks nothing when flags say it all', async () => {
    const { status, stdout, stderr, left } = await command(['--kind', 'vsp', '--name', '@me/bell'], empty())
    expect({ status, stderr, left }).toEqual({ status: 0, stderr: '', left: ['bell'] })
    expect(stdout).not.toContain('?')
    expect(stdout).toMatch(/^Wrote \d+ files into bell:\n/)
  })

  it('asks for what is missing, again until it will do', async () => {
    const parent = empty()
    const { status, stdout, left } = await command([], parent, 'toaster\n3\nBad Name\ndoor-bell')
    expect({ status, left }).toEqual({ status: 0, left: ['door-bell'] })
    expect(stdout).toContain('There is no kind toaster.')
    expect(stdout).toContain('"Bad Name" cannot be the name')
    expect(existsSync(join(parent, 'door-bell/linux/door-bell.c'))).toBe(true)
    expect((await command(['--name', 'x'], parent, '')).left).toEqual(['door-bell'])
    expect((await command(['--kind', 'vsp'], parent, '\n')).left).toEqual(['door-bell', 'my-device'])
  })

  it('leaves nothing behind when the questions are broken off', async () => {
    expect(await command([], empty(), '2')).toMatchObject({ status: 130, left: [] })
  })

  it.each([
    [['--kind', 'toaster', '--name', 'x'], 'ERR_USAGE: There is no kind "toaster" of plug-in'],
    [['--kind', 'vsp', '--name', 'Bad'], 'ERR_CREATE_NAME: "Bad" cannot be the name of a plug-in'],
    [['--kind', 'vsp', '--name', ''], 'ERR_CREATE_NAME: "" cannot be'],
    [['--kind', 'vsp'], 'ERR_USAGE: --name is missing, and nobody can be asked'],
    [['--sort', 'vsp'], "ERR_USAGE: Unknown option '--sort'"],
    [['vsp'], 'ERR_USAGE: Unexpected argument'],
  ])('says in one line what is wrong with %j', async (args, message) => {
    const { status, stdout, stderr, left } = await command(args, empty())
    expect({ status, stdout, left }).toEqual({ status: 2, stdout: '', left: [] })
    expect(stderr).toContain(`create-partita-plugin: ${message}`)
    expect(stderr).toMatch(/^create-partita-plugin: .+\nhint: .+\n$/)
  })

  it('does not touch what is there', async () => {
    const parent = empty()
    mkdirSync(join(parent, 'bell'))
    writeFileSync(join(parent, 'bell/mine'), 'mine')
    writeFileSync(join(parent, 'ring'), 'mine')
    for (const name of ['bell', '@me/bell', 'ring'])
      expect(() => generatePlugin({ kind: 'pair', name, parent })).toThrow(code('ERR_CREATE_EXISTS'))
    expect(readdirSync(parent)).toEqual(['bell', 'ring'])
    expect(readdirSync(join(parent, 'bell'))).toEqual(['mine'])
  })

  it('leaves nothing behind when it cannot write', () => {
    const parent = empty()
    writeFileSync(join(parent, 'file'), '')
    for (const place of ['nowhere', 'file'])
      expect(() => generatePlugin({ kind: 'vsp', name: 'bell', parent: join(parent, place) })).toThrow(
        code('ERR_CREATE_WRITE'),
      )
    expect(readdirSync(parent)).toEqual(['file'])
  })

  it('explains itself', async () => {
    const { status, stdout, left } = await command(['--help'], empty())
    expect({ status, left }).toEqual({ status: 0, left: [] })
    for (const kind of kinds) expect(stdout).toContain(kind)
  })
})

const NAME = '@me/door-bell'
const SOURCE = '--conditions=@partita/source'

describe.each(kinds)('a package of kind %s', (kind) => {
  let directory: string
  let files: readonly string[]
  beforeAll(() => {
    ;({ directory, files } = generatePlugin({ kind, name: NAME, parent: empty() }))
  })
  const text = (file: string) => readFileSync(join(directory, file), 'utf8')

  it('has its own name everywhere, and GUIDs of its own', () => {
    const all = files.map((file) => `${file}\n${text(file)}`).join('\n')
    expect(all).not.toMatch(/my-?device/i)
    expect(all).not.toContain('6f1c5a3e-0d2b')
    const again = generatePlugin({ kind, name: NAME, parent: empty() })
    const guid = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g
    const guids = new Set(all.match(guid))
    expect(guids.size).toBe(kind === 'emulated-device' ? 0 : 2)
    for (const file of again.files)
      for (const other of readFileSync(join(again.directory, file), 'utf8').match(guid) ?? [])
        expect(guids).not.toContain(other)
    expect(files).toEqual(expect.arrayContaining(['.gitignore', 'README.md', 'package.json', 'tsconfig.json']))
  })

  it('depends on published packages alone, in the versions that this one is tested with', () => {
    const { dependencies, devDependencies } = JSON.parse(text('package.json')) as Record<string, Record<string, string>>
    const versions: Readonly<Record<string, string>> = manifest.devDependencies
    for (const [name, range] of Object.entries({ ...dependencies, ...devDependencies }))
      expect(`${name} ${range}`).toBe(`${name} ^${versions[name]}`)
    const declared = new Set(Object.keys({ ...dependencies, ...devDependencies }))
    const shipped = new Set(Object.keys(dependencies ?? {}))
    for (const file of files.filter((name) => name.endsWith('.ts')))
      for (const [, name] of text(file).matchAll(/from '((?:@[^/']+\/)?[^/'.][^/']*)/g))
        expect(file.startsWith('src/') ? shipped : declared).toContain(name)
  })

  it('passes the type checker, and builds', async () => {
    const tsc = join(ROOT, 'node_modules/typescript-native/bin/tsc')
    const conditions = ['--customConditions', '@partita/source']
    // The sources of the packages are written for stricter settings; only the plug-in's own count.
    const own = async (...args: string[]) => {
      const { stdout } = await run(process.execPath, [tsc, ...args, ...conditions, '--pretty', 'false'], {
        cwd: directory,
      }).catch((error: { stdout: string }) => error)
      return stdout.split('\n').filter((line) => /^(src|test)\//.test(line))
    }
    expect(await own()).toEqual([])
    const build = ['-p', 'tsconfig.build.json', '--rootDir', 'src', '--noCheck']
    expect(await own(...build)).toEqual([])
    const { exports } = JSON.parse(text('package.json')) as { exports: Record<string, string | { default: string }> }
    for (const target of Object.values(exports))
      expect(existsSync(join(directory, typeof target === 'string' ? target : target.default))).toBe(true)
  }, 600_000)

  it('passes its own tests', async () => {
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
    const config = join(scratch, 'vitest.config.ts')
    writeFileSync(config, `export { default } from '${join(ROOT, 'vitest.shared.ts')}'\n`)
    const file = join(scratch, `${kind}.json`)
    const reporter = ['--reporter=json', `--outputFile=${file}`]
    await run(process.execPath, [SOURCE, vitest, 'run', '--root', directory, '--config', config, ...reporter], {
      cwd: directory,
      env: { ...process.env, PARTITA_SEED: '1' },
    }).catch(() => undefined)
    const report = JSON.parse(readFileSync(file, 'utf8')) as {
      numPassedTests: number
      testResults: {
        message: string
        assertionResults: { status: string; fullName: string; failureMessages: string[] }[]
      }[]
    }
    const failed = report.testResults.flatMap(({ message, assertionResults }) => [
      ...(assertionResults.length === 0 ? [message] : []),
      ...assertionResults
        .filter(({ status }) => status === 'failed')
        .map(({ fullName, failureMessages }) => [fullName, failureMessages[0]]),
    ])
    expect(failed).toEqual([])
    expect(report.numPassedTests).toBeGreaterThan(10)
  }, 600_000)

  it.skipIf(kind === 'emulated-device')('has a fuzzer for its provider', async () => {
    const { stdout } = await run(process.execPath, [SOURCE, 'test/fuzz.ts', '--steps', '200'], { cwd: directory })
    expect(stdout).toMatch(/^seed 1: 2\d\d steps in \d+ inputs, \d+ features, \d+ packets, /)
    expect(existsSync(join(directory, 'test/corpus'))).toBe(false)
  })

  it('is listed without being run', async () => {
    const { stdout } = await run(
      process.execPath,
      [SOURCE, join(ROOT, 'packages/cli/src/main.ts'), 'plugins', directory, '--json'],
      { cwd: scratch },
    )
    const [listing] = (
      JSON.parse(stdout) as { origin: string; name: string; usable: boolean; options: object }[]
    ).filter(({ origin }) => origin === 'path')
    expect(listing).toMatchObject({ usable: true, name: kind === 'emulated-device' ? NAME : `${NAME}/vsp` })
    expect(Object.keys(listing?.options ?? {}).length).toBeGreaterThan(0)
  })
})
