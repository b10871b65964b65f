/**
 * Kills virtual machines with SIGKILL while their guests write and flush, and looks after each kill whether everything that was acknowledged as flushed is on
 * the disk and the file system is whole once its journal is replayed. The images go from one stop to the next.
 *
 * Usage: `node --conditions=@partita/source tools/storage/kill-under-load.ts [--count 50] [--seed N] [--directory D]`
 *
 * A line for each stop on standard output. Exit status: 0 when nothing was lost, 1 otherwise, 2 on misuse.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { makeImages, missingPrograms, startPartita, uncleanStop } from './unclean-stop.ts'

/** Numbers below 1 from a seed (mulberry32), so that a series can be repeated. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

async function main(): Promise<number> {
  let values: { count?: string; seed?: string; directory?: string }
  try {
    values = parseArgs({
      options: { count: { type: 'string' }, seed: { type: 'string' }, directory: { type: 'string' } },
    }).values
  } catch (error) {
    console.error(`${(error as Error).message}\nUsage: kill-under-load.ts [--count 50] [--seed N] [--directory D]`)
    return 2
  }
  const missing = missingPrograms()
  if (missing.length > 0) {
    console.error(`This host does not have ${missing.join(', ')}: install e2fsprogs.`)
    return 2
  }
  const count = Number(values.count ?? 50)
  const seed = Number(values.seed ?? Date.now() % 2 ** 32)
  const next = random(seed)
  const directory = values.directory ?? mkdtempSync(join(tmpdir(), 'partita-kills-'))
  console.log(`seed ${seed}, ${count} stops`)
  const images = makeImages(directory)
  let failures = 0
  let records = 0
  for (let stop = 0; stop < count; stop++) {
    const { acknowledged, replayed, problems } = await uncleanStop({
      images,
      stop,
      acknowledgements: 1 + Math.floor(next() * 120),
      delay: Math.floor(next() * 300),
      start: startPartita,
      directory,
    })
    records += acknowledged
    console.log(
      `stop ${stop}: ${acknowledged} records acknowledged, journal ${replayed ? 'replayed' : 'clean'}: ${problems.length === 0 ? 'all there' : 'FAILED'}`,
    )
    for (const problem of problems) console.log(`  ${problem}`)
    if (problems.length > 0) failures++
  }
  console.log(`${count} stops, ${records} records acknowledged, ${failures} stops with losses`)
  if (failures === 0 && values.directory === undefined) rmSync(directory, { recursive: true, force: true })
  return failures === 0 ? 0 : 1
}

process.exitCode = await main()
