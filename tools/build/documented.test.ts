// The check of the API site finds what has no documentation, and nothing else; and every package has its place in the picture.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Application, TSConfigReader } from 'typedoc'
import { afterAll, expect, it } from 'vitest'
import { undocumented } from './documented.ts'
import { GROUPS, groupOf } from './package-groups.ts'
import { packageDirectories, ROOT } from './workspace.ts'

const scratch = mkdtempSync(join(ROOT, 'tools/build/.scratch-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const SOURCE = `
/** Documented. */
export interface Shape {
  /** Documented. */
  area(): number
  bare(): number
  save(): number
  field: number
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

it('finds exports, methods and accessors without documentation', async () => {
  writeFileSync(join(scratch, 'index.ts'), SOURCE)
  const settings = { extends: join(ROOT, 'tsconfig.base.json'), files: ['index.ts'] }
  writeFileSync(join(scratch, 'tsconfig.json'), JSON.stringify(settings))
  const options = {
    name: 'p',
    entryPoints: [join(scratch, 'index.ts')],
    tsconfig: join(scratch, 'tsconfig.json'),
    logLevel: 'Error' as const,
    skipErrorChecking: true,
    disableSources: true,
  }
  const app = await Application.bootstrap(options, [new TSConfigReader()])
  const project = await app.convert()
  expect(project && undocumented(project).toSorted()).toEqual([
    'p.Base.bareAccessor',
    'p.Naked',
    'p.Shape.bare',
    'p.naked',
    'p.nakedFunction',
  ])
}, 60_000)

it('finds a group for every package', () => {
  for (const directory of packageDirectories()) expect(GROUPS).toContain(groupOf(basename(directory)))
  expect(() => groupOf('toaster')).toThrow('tools/build/package-groups.ts')
})
