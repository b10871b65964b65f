// What an entry point needs: vitest is for those alone who ask for it, and so is Node.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }

const ROOT = join(import.meta.dirname, '..')

/** Names of packages that a source file needs, with all files that it imports. */
function needs(file: string, seen: Set<string> = new Set()): Set<string> {
  const found = new Set<string>()
  if (seen.has(file)) return found
  seen.add(file)
  for (const [, name = ''] of readFileSync(file, 'utf8').matchAll(
    /^(?:import|export|\}) (?!type\b)[^;]*?from '([^']+)'$/gm,
  ))
    if (name.startsWith('.')) for (const one of needs(join(file, '..', name), seen)) found.add(one)
    else found.add(name)
  return found
}

const entries = Object.entries(packageJson.exports).flatMap(([name, target]) =>
  typeof target === 'string' ? [] : [[name, needs(join(ROOT, target['@partita/source']))] as const],
)

describe('entry points', () => {
  it.each(entries)('%s', (name, found) => {
    expect(found.has('vitest')).toBe(name === './vitest')
    expect([...found].some((one) => one.startsWith('node:'))).toBe(name.endsWith('/node'))
  })

  it('are followed as far as they go', () => {
    const [, all] = entries.find(([name]) => name === '.') ?? []
    expect([...(all ?? [])]).toEqual(
      expect.arrayContaining(['@partita/vmbus/testing', '@partita/interface', 'fast-check']),
    )
  })
})
