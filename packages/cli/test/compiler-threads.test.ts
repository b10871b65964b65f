import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const PROGRAM = `
import { readdirSync, readFileSync } from 'node:fs'
import { lowerCompilerThreads } from ${JSON.stringify(join(import.meta.dirname, '../src/compiler-threads.ts'))}
lowerCompilerThreads()
for (const task of readdirSync('/proc/self/task')) {
  const name = readFileSync('/proc/self/task/' + task + '/comm', 'utf8').trim()
  // The name, in brackets, is the second field of proc(5), the niceness the 19th.
  const fields = readFileSync('/proc/self/task/' + task + '/stat', 'utf8').split(') ').at(-1).split(' ')
  console.log(Number(task) === process.pid ? 'main' : name, fields[16])
}
`

test.runIf(process.platform === 'linux')('threads of the engine yield, and the guest’s does not', () => {
  const own = Number(spawnSync('nice', { encoding: 'utf8' }).stdout)
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', PROGRAM], { encoding: 'utf8' })
  const threads = stdout.trim().split('\n')
  expect(threads, stderr).toContain(`main ${own}`)
  const workers = threads.filter((thread) => thread.includes('V8Worker'))
  expect(workers.length).toBeGreaterThan(0)
  expect(new Set(workers.map((thread) => Number(thread.split(' ').at(-1))))).toEqual(new Set([Math.min(own + 10, 19)]))
})
