// The committed corpus: inputs that between them reach what the fuzzer has reached so far.

import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const DIRECTORY: string = join(import.meta.dirname, '../corpus')

/** All inputs, in the order of their names. */
export function readCorpus(): Uint8Array[] {
  return readdirSync(DIRECTORY)
    .filter((name) => name.endsWith('.bin'))
    .sort()
    .map((name) => new Uint8Array(readFileSync(join(DIRECTORY, name))))
}

/** Add an input; returns its file. */
export function addToCorpus(input: Uint8Array): string {
  mkdirSync(DIRECTORY, { recursive: true })
  const file = join(DIRECTORY, `${createHash('sha256').update(input).digest('hex').slice(0, 16)}.bin`)
  writeFileSync(file, input)
  return file
}

/** Have these inputs and no others. */
export function replaceCorpus(inputs: readonly Uint8Array[]): void {
  for (const name of readdirSync(DIRECTORY)) if (name.endsWith('.bin')) rmSync(join(DIRECTORY, name))
  for (const input of inputs) addToCorpus(input)
}
