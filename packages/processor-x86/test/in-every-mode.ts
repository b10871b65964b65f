// `npm run test:modes`: the tests of this package interpreted, with everything translated before it is executed, and mixed; the hardware vectors with an instruction a region, too.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const RUNS: readonly (readonly [mode: string, ...files: string[]])[] = [
  ['off', 'packages/processor-x86'],
  ['1', 'packages/processor-x86/test'],
  ['on', 'packages/processor-x86'],
  ['step', 'packages/processor-x86/src/vectors.test.ts'],
]
/** Translation before the first execution takes its time. */
const TIMEOUT = 120_000

for (const [mode, ...files] of RUNS) {
  console.log(`PARTITA_TRANSLATION=${mode}`)
  const child = spawn('npx', ['vitest', 'run', ...files, '--testTimeout', `${TIMEOUT}`], {
    cwd: ROOT,
    env: { ...process.env, PARTITA_TRANSLATION: mode },
    stdio: 'inherit',
  })
  const status = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)))
  if (status !== 0) process.exit(status)
}
