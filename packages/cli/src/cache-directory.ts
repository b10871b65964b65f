// Where what can be made or fetched again is kept from one run to the next.

import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'

/**
 * Where programs keep what they can fetch again: `$XDG_CACHE_HOME/partita`, or `~/.cache/partita` (XDG base directory
 * specification; a value that is not absolute does not count).
 */
export function defaultCacheDirectory(environment: NodeJS.ProcessEnv): string {
  const cache = environment['XDG_CACHE_HOME']
  const base = cache !== undefined && isAbsolute(cache) ? cache : join(environment['HOME'] || homedir(), '.cache')
  return join(base, 'partita')
}
