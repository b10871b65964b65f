// The check of the API site finds what has no documentation, and nothing else; and every package has its place in the picture.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Application, type ProjectReflection, TSConfigReader } from 'typedoc'
import { afterAll, expect, it } from 'vitest'
import { isClosed, undocumented } from './documented.ts'
import { GROUPS, groupOf } from './package-groups.ts'
import { packageDirectories, ROOT } from './workspace.ts'

const scratch = mkdtempSync(join(ROOT, 'tools/build/.scratch-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const PUBLIC = `
/** Documented. */
export interface Shape {
  /** Documented. */
  area(): number
  bare(): number
  save(): number
  /** Documented together with the next. */
  readU8(): number
  readU16(): number
}
/** Documented, for the type too. */
export const KIND = { A: 0 } as const
export type KIND = (typeof KIND)[keyof typeof KIND]
export type Naked = number
export const naked = 1
export function nakedFunction(): void {}
/** Documented. */
export function clothed(): void {}
/** Documented. */
export class Base {
  get bareAccessor(): number { return 1 }
  /** Documented. */
  run(): void {}
  protected inner(): void {}
}
/** Documented. */
export class Derived extends Base {
  override run(): void {}
}
`

const FIELDS = `
interface Hidden {
  inherited: number
  /** Documented, for heirs too. */
  told: number
}
/** A comment that names \`field\` is the interface's own. */
export interface Fields extends Hidden {
  /** Documented. */
  good: number
  field: number
  start: number
  optional?: string
  call: () => void
  /** Documented together with the next. */
  r8: number
  r9: number
}
/** Implements what is documented. */
export class Implementation implements Pick<Fields, 'good'> {
  good = 1
  bare = 2
  protected inner = 3
  private own = 4
  /**
   * @example
   * \`\`\`ts
   * new Implementation({ limit: 1 })
   * \`\`\`
   */
  constructor(options: { limit: number }) {}
}
/** Documented: \`code\` is an exit status. */
export type Variant =
  | { readonly type: 'reset' }
  | { readonly type: 'exit'; readonly code: number }
  | { readonly type: 'crash'; readonly text: 'a' | 'b' }
/** Documented. */
export interface Nested {
  /** An area: \`base\` and \`size\` in bytes. */
  area: { base: number; size: number }
  /** An area. */
  areas: readonly Readonly<{ base: number }>[]
}
/** Gives \`first\`, takes \`count\`. */
export function written(options: { count: number; other: number }): Promise<{ first: number; last: number }> {
  throw options
}
/** Constants of the specification. */
export const TABLE = { ONE: 1, TWO_B: 0x2b } as const
/** Names of our own. */
export const DEFAULTS = { speed: 1, LIMIT: 2 } as const
`

const CLOSED = `
export interface Known { x: number }
interface Hidden { x: number }
export interface Closed {
  known: Known
  /** @internal */
  hidden: Hidden
}
`

/** A source file as TypeDoc has it. */
async function convert(name: string, source: string): Promise<{ app: Application; project: ProjectReflection }> {
  const file = `${name}.ts`
  writeFileSync(join(scratch, file), source)
  const tsconfig = join(scratch, `${name}.json`)
  writeFileSync(tsconfig, JSON.stringify({ extends: join(ROOT, 'tsconfig.base.json'), files: [file] }))
  const options = {
    name: 'p',
    entryPoints: [join(scratch, file)],
    tsconfig,
    excludePrivate: true,
    readme: 'none',
    excludeInternal: true,
    validation: { notExported: true },
    logLevel: 'Error' as const,
    skipErrorChecking: true,
    disableSources: true,
  }
  const app = await Application.bootstrap(options, [new TSConfigReader()])
  const project = await app.convert()
  if (project === undefined) throw new Error(`${name} was not converted`)
  return { app, project }
}

/** What the check says of a source file. */
async function missingOf(name: string, source: string): Promise<string[]> {
  return undocumented((await convert(name, source)).project).toSorted()
}

it('finds exports, methods and accessors without documentation', async () => {
  expect(await missingOf('public', PUBLIC)).toEqual([
    'p.Base.bareAccessor',
    'p.Naked',
    'p.Shape.bare',
    'p.naked',
    'p.nakedFunction',
  ])
})

it('finds fields without documentation, where an exported name leads to them', async () => {
  expect(await missingOf('fields', FIELDS)).toEqual([
    'p.DEFAULTS.speed',
    'p.Fields.call',
    'p.Fields.field',
    'p.Fields.inherited',
    'p.Fields.optional',
    'p.Fields.start',
    'p.Implementation.bare',
    'p.Implementation.constructor(options).limit',
    'p.Nested.areas.base',
    'p.Variant.text',
    'p.written().last',
    'p.written(options).other',
  ])
})

it('sees whether a public symbol leads to a type that is not exported', async () => {
  const open = await convert('open', 'interface Hidden { x: number }\nexport interface Open { hidden: Hidden }')
  expect(isClosed(open.app, open.project)).toBe(false)
  const closed = await convert('closed', CLOSED)
  expect(isClosed(closed.app, closed.project)).toBe(true)
})

it('finds a group for every package', () => {
  for (const directory of packageDirectories()) expect(GROUPS).toContain(groupOf(basename(directory)))
  expect(() => groupOf('toaster')).toThrow('tools/build/package-groups.ts')
})
