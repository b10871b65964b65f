/** What the build tools know about the monorepo: where it is, which packages it has, how to start a tool. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** The root directory of the monorepo. */
export const ROOT: string = resolve(import.meta.dirname, '../..')

/** The type checker and declaration emitter: called by path, because `.bin/tsc` may be the other TypeScript. */
export const NATIVE_TSC: string = join(ROOT, 'node_modules/typescript-native/bin/tsc')

/** The part of a `package.json` that the tools read. */
export interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly bin?: string | Readonly<Record<string, string>>
}

export function readManifest(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest
}

/** The sources that `exports` names under the condition `@partita/source`, relative to the package. */
export function exportedSources(manifest: Manifest): string[] {
  const sources = new Set<string>()
  for (const target of Object.values(manifest.exports ?? {})) {
    const source = typeof target === 'string' ? undefined : target['@partita/source']
    if (source !== undefined) sources.add(source.replace(/^\.\//, ''))
  }
  return [...sources].sort()
}

function directoriesWith(parent: string, file: string): string[] {
  return readdirSync(join(ROOT, parent))
    .sort()
    .map((name) => join(ROOT, parent, name))
    .filter((directory) => existsSync(join(directory, file)))
}

/** The directories of all packages in `packages/`, sorted. */
export function packageDirectories(): string[] {
  return directoriesWith('packages', 'package.json')
}

/** The directories in `tools/` that have compiler settings of their own, sorted. */
export function toolDirectories(): string[] {
  return directoriesWith('tools', 'tsconfig.json')
}

/** How a tool ended. `output` is what it wrote, standard output and standard error in the order of arrival. */
export interface Ended {
  readonly code: number
  readonly output: string
}

/** Runs a Node script to its end. A tool that a signal ended has code 1. */
export function runNode(script: string, args: readonly string[], cwd: string): Promise<Ended> {
  return new Promise((settle, fail) => {
    const child = spawn(process.execPath, [script, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.on('error', fail)
    child.on('close', (code) => settle({ code: code ?? 1, output }))
  })
}

/** Applies `work` to all items, at most `limit` at a time, and returns the results in the order of the items. */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++
      results[index] = await work(items[index] as T)
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane))
  return results
}
