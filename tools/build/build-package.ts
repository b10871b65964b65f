/**
 * Builds the package in the current directory into `dist/`: JavaScript with tsup, declarations with the native
 * TypeScript compiler. Entries are what `package.json` names under the condition `@partita/source`, its `bin`
 * files, and the workers at the root of `src/` (`worker.ts`, `*-worker.ts`, `*.worker.ts`, also with `.node.ts`),
 * which no import leads to.
 *
 * Usage: `node ../../tools/build/build-package.ts`
 */
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'tsup'
import { exportedSources, type Manifest, NATIVE_TSC, readManifest, runNode } from './workspace.ts'

const WORKER: RegExp = /^(.+[-.])?worker(\.node)?\.ts$/

/** The source files that become files of `dist/` with names of their own, relative to the package. */
export function entriesOf(manifest: Manifest, directory: string): string[] {
  const entries = new Set(exportedSources(manifest))
  const bins = typeof manifest.bin === 'string' ? [manifest.bin] : Object.values(manifest.bin ?? {})
  for (const bin of bins) entries.add(bin.replace(/^(\.\/)?dist\//, 'src/').replace(/\.js$/, '.ts'))
  for (const name of readdirSync(join(directory, 'src'))) if (WORKER.test(name)) entries.add(`src/${name}`)
  return [...entries].sort()
}

async function main(directory: string): Promise<void> {
  const manifest = readManifest(directory)
  const entries = entriesOf(manifest, directory)
  for (const entry of entries) {
    if (!existsSync(join(directory, entry)))
      throw new Error(`${manifest.name}: package.json leads to ${entry}, which does not exist`)
  }
  rmSync(join(directory, 'dist'), { recursive: true, force: true })
  await build({
    config: false,
    entry: Object.fromEntries(entries.map((entry) => [entry.replace(/^src\//, '').replace(/\.ts$/, ''), entry])),
    format: 'esm',
    platform: 'neutral',
    target: 'es2024',
    dts: false,
    sourcemap: true,
    splitting: true,
    removeNodeProtocol: false,
    external: [/^node:/],
    silent: true,
  })
  const settings = join(directory, 'dist/tsconfig.declarations.json')
  writeFileSync(
    settings,
    JSON.stringify({
      extends: '../tsconfig.json',
      compilerOptions: { rootDir: '../src', outDir: '.', emitDeclarationOnly: true, noCheck: true, noEmit: false },
      include: ['../src'],
      exclude: ['../src/**/*.test.ts'],
    }),
  )
  const { code, output } = await runNode(NATIVE_TSC, ['-p', settings], directory)
  rmSync(settings)
  if (code !== 0) throw new Error(`${manifest.name}: declarations failed\n${output}`)
}

if (import.meta.main) await main(process.cwd())
