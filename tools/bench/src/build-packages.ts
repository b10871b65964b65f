// The packages as they are published: what is measured is what those run who install them.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../../..')

/** Builds what has changed since it was built last. */
export function buildPackages(): void {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, encoding: 'utf8' })
  if (status !== 0) throw new Error(`The packages cannot be built:\n${stdout}${stderr}`)
}
