// The code in the documentation. Blocks of the guides that repeat a file are equal to it; blocks of READMEs that are marked `ts runnable` run, and
// print what they say; they and the `@example`s of those packages pass the type checker.

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CodeBlock, exampleBlocks, expectedOutput, markdownBlocks, ROOT } from './code-blocks.ts'

const TSC = join(ROOT, 'node_modules/typescript-native/bin/tsc')
const run = promisify(execFile)

/** Of a package.json. */
interface Manifest {
  readonly name: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

/** Directories of a parent that have a README. */
const withReadme = (parent: string): string[] =>
  readdirSync(join(ROOT, parent))
    .map((name) => join(ROOT, parent, name))
    .filter((directory) => existsSync(join(directory, 'README.md')))

const guides = readdirSync(join(ROOT, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => join(ROOT, 'docs', name))
const pages = [
  ...guides,
  ...['README.md', 'CONTRIBUTING.md'].map((name) => join(ROOT, name)),
  ...['packages', 'tools'].flatMap(withReadme).map((directory) => join(directory, 'README.md')),
]

describe('code that stands in a file', () => {
  const copies = pages.flatMap(markdownBlocks).filter(({ source }) => source?.startsWith('docs/examples/'))
  it('is shown at all', () => expect(copies.length).toBeGreaterThanOrEqual(5))
  it.each(copies)('$place repeats $source', ({ source, code }) => {
    expect(code).toBe(readFileSync(join(ROOT, source as string), 'utf8'))
  })
})

describe('links', () => {
  const links = pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)].map((match) => ({
      page: page.slice(ROOT.length + 1),
      target: match[1] as string,
    })),
  )
  it.each(links)('$page: $target leads somewhere', ({ page, target }) => {
    expect(existsSync(join(ROOT, page, '..', target))).toBe(true)
  })
})

describe('the README of a package stands alone:', () => {
  it.each(withReadme('packages').map((directory) => ({ name: directory.slice(ROOT.length + 1), directory })))(
    '$name',
    ({ directory }) => {
      const readme = readFileSync(join(directory, 'README.md'), 'utf8')
      const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name: string }
      expect(readme.startsWith(`# ${name}\n`)).toBe(true)
      const creates = name.replace(/^create-/, '')
      expect(readme).toMatch(new RegExp(`npm (install .*${name}|create ${creates})(\\s|$)`, 'm'))
      expect(readme).toMatch(/^```ts/m)
      expect(readme).toContain('MIT licence')
      // On a page of its own it has no neighbours.
      expect(readme.match(/\]\(\.\.\/[^)]*\)/g)).toBeNull()
    },
  )
})

describe('what a page has one install brings all that its examples import:', () => {
  const manifests = new Map(
    withReadme('packages').map((directory) => {
      const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest
      return [manifest.name, manifest] as const
    }),
  )
  /** `names`, and what npm installs with them. */
  const closure = (names: readonly string[]): Set<string> => {
    const all = new Set(names)
    // A set goes on to what is added to it.
    for (const name of all) {
      const { dependencies, peerDependencies } = manifests.get(name) ?? {}
      for (const more of Object.keys({ ...dependencies, ...peerDependencies })) all.add(more)
    }
    return all
  }

  /** Packages that a page has one install; a program that is installed for the whole machine cannot be imported. */
  const installs = (text: string): string[] =>
    [...text.matchAll(/(?:^|`)npm install ([^`\n]+)/gm)]
      .map((match) => (match[1] as string).split(/\s+/))
      .filter((words) => !words.includes('--global'))
      .flatMap((words) => words.filter((word) => word !== '' && !word.startsWith('-')))

  const installing = pages
    .map((page) => ({ page: page.slice(ROOT.length + 1), named: installs(readFileSync(page, 'utf8')) }))
    .filter(({ page, named }) => page.startsWith('packages/') || named.some((name) => manifests.has(name)))
  it.each(installing)('$page', ({ page, named }) => {
    const installed = closure(named)
    const imported = markdownBlocks(join(ROOT, page))
      .filter(({ info }) => /^ts\b/.test(info))
      .flatMap(({ code }) => [...code.matchAll(/\bfrom '((?:@[^'/]+\/)?[^'/.][^'/]*)[^']*'/g)])
      .map((match) => match[1] as string)
      .filter((name) => !name.startsWith('node:'))
    expect([...new Set(imported)].filter((name) => !installed.has(name))).toEqual([])
  })
})

describe('error codes', () => {
  const sources = readdirSync(join(ROOT, 'packages'), { recursive: true, encoding: 'utf8' })
    .filter((file) => /^[^/]+\/src\/.*\.ts$/.test(file) && !file.includes('node_modules'))
    .map((file) => readFileSync(join(ROOT, 'packages', file), 'utf8'))
    .join('\n')
  const codes = [...new Set(readFileSync(join(ROOT, 'docs/errors.md'), 'utf8').match(/\bERR_[A-Z0-9_]+/g))]
  it.each(codes)('%s exists', (code) => expect(sources).toContain(`'${code}'`))
})

const RUNNABLE = 'ts runnable'
const packages = withReadme('packages')
  .map((directory) => ({ directory, readme: markdownBlocks(join(directory, 'README.md')) }))
  .filter(({ readme }) => readme.some(({ info }) => info === RUNNABLE))
const runnable: CodeBlock[] = packages.flatMap(({ readme }) => readme.filter(({ info }) => info === RUNNABLE))
const examples: CodeBlock[] = packages
  .flatMap(({ directory }) => exampleBlocks(directory))
  .filter(({ info }) => info === 'ts')

/** Files of blocks have to be where the packages are found from, so not in the system's directory. */
const scratch = mkdtempSync(join(import.meta.dirname, '.scratch-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))
const fileOf = (block: CodeBlock): string => `${block.place.replace(/\W/g, '_')}.ts`

describe('examples', () => {
  let diagnostics: string[] = []
  beforeAll(async () => {
    for (const block of [...runnable, ...examples])
      writeFileSync(join(scratch, fileOf(block)), `${block.code}export {}\n`)
    writeFileSync(
      join(scratch, 'tsconfig.json'),
      JSON.stringify({
        extends: join(ROOT, 'tsconfig.base.json'),
        // An example need not use everything that it names.
        compilerOptions: {
          isolatedDeclarations: false,
          declaration: false,
          declarationMap: false,
          noUnusedLocals: false,
          noUncheckedIndexedAccess: false,
        },
        include: ['*.ts', '../surroundings.d.ts'],
      }),
    )
    const { stdout } = await run(process.execPath, [TSC, '-p', scratch, '--noEmit', '--pretty', 'false']).catch(
      (error: { stdout: string }) => error,
    )
    diagnostics = stdout.split('\n')
  }, 120_000)

  it('are there', () => expect(runnable.length + examples.length).toBeGreaterThan(20))
  it.each([...runnable, ...examples])('$place passes the type checker', (block) => {
    expect(diagnostics.filter((line) => line.includes(fileOf(block)))).toEqual([])
  })

  it.each(runnable)('$place prints what it says', async (block) => {
    const directory = join(scratch, fileOf(block).replace(/\.ts$/, ''))
    mkdirSync(directory)
    const file = join(directory, 'example.ts')
    writeFileSync(file, block.code)
    const { stdout } = await run(process.execPath, ['--conditions=@partita/source', file], { cwd: directory })
    expect(stdout.split('\n').slice(0, -1)).toEqual(expectedOutput(block.code))
  })
})
