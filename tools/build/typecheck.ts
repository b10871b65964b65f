/**
 * Type checks packages and tools, each with its own `tsconfig.json`, and the rest with the root's. A package's program
 * holds the sources of the packages that it imports, and these may be written for other settings; so of each
 * program only what lies in the package's own directory counts.
 *
 * Usage: `node tools/build/typecheck.ts [directory …]`; without a directory, everything. Exits with 1 on an error.
 */
import { relative, resolve, sep } from 'node:path'
import { mapLimited, NATIVE_TSC, packageDirectories, ROOT, runNode, toolDirectories } from './workspace.ts'

const DIAGNOSTIC: RegExp = /^(.+?)\(\d+,\d+\): error TS\d+:/

const everything = [...packageDirectories(), ...toolDirectories(), ROOT]

/** The directory whose settings are for this file: the package's or tool's that it lies in, or else the root. */
function owner(path: string): string | undefined {
  return everything.find((directory) => path.startsWith(directory + sep))
}

/** The diagnostics of one program that belong to `directory`, with paths relative to the root. */
async function check(directory: string): Promise<string[]> {
  const { code, output } = await runNode(NATIVE_TSC, ['-p', directory, '--noEmit', '--pretty', 'false'], ROOT)
  if (code === 0) return []
  const own: string[] = []
  let foreign = 0
  let keep = false
  for (const line of output.split('\n')) {
    const file = DIAGNOSTIC.exec(line)?.[1]
    if (file !== undefined) {
      keep = owner(resolve(ROOT, file)) === directory
      if (!keep) foreign++
    } else if (!line.startsWith(' ')) keep = line !== ''
    if (keep) own.push(line)
  }
  // A compiler that failed without saying about which file must not pass.
  if (own.length === 0 && foreign === 0)
    own.push(`${relative(ROOT, directory)}: the compiler ended with ${code}`, output)
  return own
}

const named = process.argv.slice(2).map((directory) => resolve(directory))
const directories = named.length > 0 ? named : everything
const failures = (await mapLimited(directories, 2, check)).flat()
for (const line of failures) console.log(line)
if (failures.length > 0) process.exitCode = 1
