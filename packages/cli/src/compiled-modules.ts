// Modules as the engine has compiled them, kept from one start to the next: half of the time before a guest's first instruction goes into reading them.

import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { enableCompileCache, flushCompileCache } from 'node:module'
import { dirname, join } from 'node:path'
import { defaultCacheDirectory } from './cache-directory.ts'

/** Milliseconds after which the modules are all there. */
const LOADED = 2000
/** Files that may be kept: some thousand are one start's from the sources, and other versions of Node and of Partita leave theirs. */
const MAXIMUM_FILES = 5000

/**
 * Keep the modules that are loaded from now on, in `partita/modules` of the cache directory, unless Node was told where (`NODE_COMPILE_CACHE`) or not at all
 * (`NODE_DISABLE_COMPILE_CACHE`). Files that have changed are compiled again. A directory that cannot be written is done without, and one that has
 * become large begins anew.
 */
export function keepCompiledModules(): void {
  const { env } = process
  const directory = join(defaultCacheDirectory(env), 'modules')
  if (!made(dirname(dirname(directory))) || !made(dirname(directory)) || !made(directory)) return
  limit(directory)
  if (enableCompileCache(directory).directory === undefined) return
  // threads that are started find it there
  env['NODE_COMPILE_CACHE'] ??= directory
  // the end of the process does it, too, but not of one that is killed
  setTimeout(flushCompileCache, LOADED).unref()
}

/** Whether a directory is there, or can be made in one that is. (Node tries for ever to make one below a directory that cannot have any, as /proc.) */
function made(directory: string): boolean {
  try {
    mkdirSync(directory)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EEXIST'
  }
}

/** Empty a directory that has too many files. */
function limit(directory: string): void {
  try {
    if (readdirSync(directory, { recursive: true }).length > MAXIMUM_FILES) rmSync(directory, { recursive: true })
  } catch {
    // another start is at it
  }
}
