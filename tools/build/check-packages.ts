/**
 * Checks what would be published: `publint --strict` and `attw --profile esm-only` on each package. Build first.
 *
 * Usage: `node tools/build/check-packages.ts [directory …]`. Prints one line a check, `ok` or `FAILED`, and the
 * output of those that failed; exits with 1 if one did.
 */
import { join, relative, resolve } from 'node:path'
import { packageDirectories, ROOT, readManifest, runNode } from './workspace.ts'

const PUBLINT: string = join(ROOT, 'node_modules/publint/src/cli.js')
const ATTW: string = join(ROOT, 'node_modules/@arethetypeswrong/cli/dist/index.js')

const named = process.argv.slice(2).map((directory) => resolve(directory))
const directories = named.length > 0 ? named : packageDirectories()

for (const directory of directories) {
  const manifest = readManifest(directory)
  if (manifest.private === true) continue
  const checks: [string, string, string[]][] = [
    ['publint', PUBLINT, ['--strict', '.']],
    ['attw', ATTW, ['--pack', '.', '--profile', 'esm-only', '--no-emoji', '--no-color']],
  ]
  for (const [name, script, args] of checks) {
    const { code, output } = await runNode(script, args, directory)
    // are-the-types-wrong is content with a package that has no types at all.
    const good = code === 0 && !output.includes('does not contain types')
    console.log(`${good ? 'ok    ' : 'FAILED'} ${name} ${relative(ROOT, directory)}`)
    if (!good) {
      console.log(output)
      process.exitCode = 1
    }
  }
}
