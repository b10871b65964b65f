// Plug-in packages by Node's module resolution: the built-in ones from this package's own dependencies, a stranger's from the directory that
// the user is in.

import { readFile, stat } from 'node:fs/promises'
import { createRequire, findPackageJSON } from 'node:module'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type FoundPackage, MODULE_ABSENT, type PackageSource } from './package-source.ts'
import { importRemote } from './remote-module.node.ts'

/** Options of {@link NodePackageSource}. */
export interface NodePackageSourceOptions {
  /** Directory that relative paths and npm names are resolved from, before this package's own dependencies. */
  readonly directory: string
  /** Directories that npm names are resolved from, in this order, in place of `directory`. */
  readonly packageDirectories?: readonly string[]
}

/** Finds packages as Node does. */
export class NodePackageSource implements PackageSource {
  readonly #directory: string
  readonly #packageDirectories: readonly string[]

  constructor(options: NodePackageSourceOptions) {
    this.#directory = options.directory
    this.#packageDirectories = options.packageDirectories ?? [options.directory]
  }

  async find(name: string): Promise<FoundPackage | undefined> {
    const place = isPath(name) || /^file:/i.test(name)
    const manifestFile = place ? join(this.#fileOf(name), 'package.json') : this.#findByName(name)
    if (manifestFile === undefined) return undefined
    let text: string
    try {
      text = await readFile(manifestFile, 'utf8')
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
    return {
      json: JSON.parse(text),
      location: dirname(manifestFile),
      load: async (exportPath) => import(await resolveExport(manifestFile, text, exportPath).catch(absent)),
    }
  }

  async loadFile(reference: string): Promise<Readonly<Record<string, unknown>>> {
    if (/^https?:/i.test(reference)) return importRemote(reference, pathToFileURL(join(this.#directory, 'x.js')).href)
    if (/^data:/i.test(reference)) return import(reference)
    const file = this.#fileOf(reference)
    // So that a module that is missing can be told from one that it imports.
    await stat(file).catch(absent)
    return import(pathToFileURL(file).href)
  }

  async findFile(reference: string): Promise<{ readonly found: FoundPackage; readonly export: string } | undefined> {
    const file = this.#fileOf(reference)
    for (let directory = dirname(file); ; directory = dirname(directory)) {
      const found = await this.find(directory).catch(() => undefined)
      const { exports, main } = (found?.json ?? {}) as { exports?: unknown; main?: unknown }
      if (found !== undefined) {
        const names =
          isObject(exports) && Object.keys(exports).every((name) => name.startsWith('.'))
            ? exports
            : { '.': exports ?? main ?? 'index.js' }
        for (const [name, target] of Object.entries(names))
          if (targetsOf(target).some((path) => resolve(directory, path) === file)) return { found, export: name }
        return undefined
      }
      if (directory === dirname(directory)) return undefined
    }
  }

  #fileOf(reference: string): string {
    return /^file:/i.test(reference) ? fileURLToPath(reference) : resolve(this.#directory, reference)
  }

  #findByName(name: string): string | undefined {
    const ownModule = import.meta.url
    const bases = this.#packageDirectories.map((directory) => pathToFileURL(join(directory, 'package.json')).href)
    for (const base of [...bases, ownModule]) {
      try {
        const found = findPackageJSON(name, base)
        if (found !== undefined) return found
      } catch {
        // Not there: the next base.
      }
    }
    return undefined
  }
}

/** Whether a reference is a path and not an npm name. */
export function isPath(reference: string): boolean {
  return /^\.{1,2}([\\/]|$)/.test(reference) || isAbsolute(reference)
}

/** A package may refer to itself by its name, with all the conditions of its exports. */
async function resolveExport(manifestFile: string, text: string, exportPath: string): Promise<string> {
  const { name, exports, main } = JSON.parse(text) as { name: string; exports?: unknown; main?: string }
  if (exports === undefined && exportPath === '.') {
    return pathToFileURL(join(dirname(manifestFile), main ?? 'index.js')).href
  }
  const require = createRequire(manifestFile)
  const specifier = exportPath === '.' ? name : `${name}${exportPath.slice(1)}`
  try {
    return pathToFileURL(require.resolve(specifier)).href
  } catch (error) {
    // require() does not know the condition "import".
    const target = importTarget(exports, exportPath)
    if (target === undefined) throw error
    const file = join(dirname(manifestFile), target)
    await stat(file)
    return pathToFileURL(file).href
  }
}

function absent(cause: unknown): never {
  throw Object.assign(new Error(cause instanceof Error ? cause.message : String(cause), { cause }), {
    code: MODULE_ABSENT,
  })
}

/** All files that an export may lead to. */
function targetsOf(target: unknown): string[] {
  if (typeof target === 'string') return [target]
  return isObject(target) ? Object.values(target).flatMap(targetsOf) : []
}

function importTarget(exports: unknown, exportPath: string): string | undefined {
  const entry =
    isObject(exports) && exportPath in exports ? exports[exportPath] : exportPath === '.' ? exports : undefined
  const target = isObject(entry) ? (entry['node'] ?? entry['import'] ?? entry['default']) : entry
  if (isObject(target)) return importTarget({ '.': target }, '.')
  return typeof target === 'string' ? target : undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isMissing(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return code === 'ENOENT' || code === 'ENOTDIR'
}
