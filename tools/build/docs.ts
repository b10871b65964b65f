/**
 * Generates the API site of all packages into `docs/api/` with TypeDoc: each package is converted from the sources
 * that its `exports` name, with its own `tsconfig.json`, and the results are merged into one site.
 *
 * The site groups packages by the picture of the architecture. Usage: `node tools/build/docs.ts [--check] [package …]`; with `--check` no site is written. Exits with 1 on an
 * error, on a public symbol without documentation, on a type that a public symbol leads to and that is neither exported nor `@internal`, or on a link that leads nowhere.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { Application, type ProjectReflection, TSConfigReader, type TypeDocOptions } from 'typedoc'
import { isClosed, undocumented } from './documented.ts'
import { GROUPS, groupOf } from './package-groups.ts'
import { exportedSources, packageDirectories, ROOT, readManifest } from './workspace.ts'

/** The type check is a step of its own, with the settings of each file's own package. */
const COMMON: Partial<TypeDocOptions> = {
  disableSources: true,
  skipErrorChecking: true,
  logLevel: 'Warn',
}

/** What public symbols lead to and nobody needs by name: tables whose keys a type has, which the site writes out, and what a class implements for its own parts. */
const WITHOUT_EXPORT: Readonly<Record<string, readonly string[]>> = {
  '@partita/testkit': ['src/assembler/integer.ts:CONDITIONS', 'src/assembler/operands.ts:NAMES'],
  '@partita/virtual-switch': ['src/nat/nat-gateway.ts:NatGatewayServices'],
}

class DocsError extends Error {}

async function convert(options: Partial<TypeDocOptions>): Promise<{ app: Application; project: ProjectReflection }> {
  const app = await Application.bootstrap({ ...COMMON, ...options }, [new TSConfigReader()])
  const project = await app.convert()
  if (project === undefined || app.logger.hasErrors()) throw new DocsError(`${options.name}: conversion failed`)
  return { app, project }
}

/** Give a package its place in the picture. */
function setGroup(file: string, group: string): void {
  const json = JSON.parse(readFileSync(file, 'utf8')) as { comment?: { summary: unknown[]; blockTags?: unknown[] } }
  json.comment ??= { summary: [] }
  json.comment.blockTags = [
    ...(json.comment.blockTags ?? []),
    { tag: '@category', content: [{ kind: 'text', text: group }] },
  ]
  writeFileSync(file, JSON.stringify(json))
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { check: { type: 'boolean' } } })
  const missing: string[] = []
  const unexported: string[] = []
  const scratch = mkdtempSync(join(tmpdir(), 'partita-docs-'))
  try {
    const converted: string[] = []
    for (const directory of packageDirectories()) {
      if (positionals.length > 0 && !positionals.includes(basename(directory))) continue
      const manifest = readManifest(directory)
      const entryPoints = exportedSources(manifest)
        .map((source) => join(directory, source))
        .filter((source) => existsSync(source))
      if (manifest.private === true || entryPoints.length === 0) continue
      const readme = join(directory, 'README.md')
      const { app, project } = await convert({
        name: manifest.name,
        entryPoints,
        tsconfig: join(directory, 'tsconfig.json'),
        readme: existsSync(readme) ? readme : 'none',
        excludePrivate: true,
        excludeInternal: true,
        excludeExternals: true,
        includeVersion: true,
        intentionallyNotExported: (WITHOUT_EXPORT[manifest.name] ?? []).map((symbol) => `${manifest.name}/${symbol}`),
        validation: {
          notExported: true,
          invalidLink: false,
          invalidPath: false,
          rewrittenLink: false,
          notDocumented: false,
          unusedMergeModuleWith: false,
        },
      })
      const file = join(scratch, `${basename(directory)}.json`)
      await app.generateJson(project, file)
      setGroup(file, groupOf(basename(directory)))
      converted.push(file)
      missing.push(...undocumented(project))
      if (!isClosed(app, project)) unexported.push(manifest.name)
    }
    for (const name of missing) console.error(`not documented: ${name}`)
    if (missing.length > 0) throw new DocsError(`${missing.length} public symbols are not documented`)
    if (unexported.length > 0) throw new DocsError(`${unexported.join(', ')}: types are not exported, see above`)
    if (values.check === true) return
    const { app, project } = await convert({
      name: 'Partita',
      entryPointStrategy: 'merge',
      entryPoints: converted,
      readme: join(ROOT, 'README.md'),
      categorizeByGroup: false,
      categoryOrder: [...GROUPS],
      navigation: { includeCategories: true, includeGroups: false, includeFolders: true },
      validation: {
        notExported: false,
        invalidLink: true,
        invalidPath: false,
        rewrittenLink: false,
        notDocumented: false,
        unusedMergeModuleWith: false,
      },
    })
    app.validate(project)
    await app.generateDocs(project, join(ROOT, 'docs/api'))
    if (app.logger.hasErrors() || app.logger.hasWarnings())
      throw new DocsError('the site has errors or warnings, see above')
    console.log(`docs/api: ${converted.length} packages`)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

try {
  await main()
} catch (error) {
  if (!(error instanceof DocsError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
