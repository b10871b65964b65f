/**
 * Generates the API site of all packages into `docs/api/` with TypeDoc: each package is converted from the sources
 * that its `exports` name, with its own `tsconfig.json`, and the results are merged into one site.
 *
 * Usage: `node tools/build/docs.ts`. Exits with 1 on an error or on a link that leads nowhere.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { Application, type ProjectReflection, TSConfigReader, type TypeDocOptions } from 'typedoc'
import { exportedSources, packageDirectories, ROOT, readManifest } from './workspace.ts'

/** The type check is a step of its own, with the settings of each file's own package. */
const COMMON: Partial<TypeDocOptions> = {
  disableSources: true,
  skipErrorChecking: true,
  logLevel: 'Warn',
}

class DocsError extends Error {}

async function convert(options: Partial<TypeDocOptions>): Promise<{ app: Application; project: ProjectReflection }> {
  const app = await Application.bootstrap({ ...COMMON, ...options }, [new TSConfigReader()])
  const project = await app.convert()
  if (project === undefined || app.logger.hasErrors()) throw new DocsError(`${options.name}: conversion failed`)
  return { app, project }
}

async function main(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'partita-docs-'))
  try {
    const converted: string[] = []
    for (const directory of packageDirectories()) {
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
        validation: {
          notExported: false,
          invalidLink: false,
          invalidPath: false,
          rewrittenLink: false,
          notDocumented: false,
          unusedMergeModuleWith: false,
        },
      })
      const file = join(scratch, `${basename(directory)}.json`)
      await app.generateJson(project, file)
      converted.push(file)
    }
    const { app, project } = await convert({
      name: 'Partita',
      entryPointStrategy: 'merge',
      entryPoints: converted,
      readme: join(ROOT, 'README.md'),
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
