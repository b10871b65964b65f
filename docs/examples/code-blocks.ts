// Finds the code in documentation: fenced blocks of Markdown files, and `@example`s of doc comments.

import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

export const ROOT: string = join(import.meta.dirname, '../..')

/** A piece of code in a text. */
export interface CodeBlock {
  /** File relative to the root, and line. */
  readonly place: string
  /** What follows the three backticks: `ts`, `ts runnable`. */
  readonly info: string
  /** A comment `<!-- … -->` on the line before the block: the file whose content the block repeats. */
  readonly source: string | undefined
  readonly code: string
}

/** The fenced blocks of a Markdown file. */
export function markdownBlocks(file: string): CodeBlock[] {
  return blocks(relative(ROOT, file), readFileSync(file, 'utf8').split('\n'))
}

/** The fenced blocks under `@example` in a package's sources. */
export function exampleBlocks(directory: string): CodeBlock[] {
  const files = readdirSync(join(directory, 'src'), { recursive: true, encoding: 'utf8' })
  return files
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .sort()
    .flatMap((file) => {
      const path = join(directory, 'src', file)
      const text = readFileSync(path, 'utf8')
      if (!text.includes('@example')) return []
      // Only the lines of doc comments, with their decoration taken off; others become empty, so that numbers stay.
      const lines = text.split('\n').map((line) => /^\s*\*( (.*))?$/.exec(line)?.[2] ?? '')
      return blocks(relative(ROOT, path), lines)
    })
}

function blocks(file: string, lines: readonly string[]): CodeBlock[] {
  const found: CodeBlock[] = []
  for (let start = 0; start < lines.length; start++) {
    const info = /^```(\S.*)$/.exec(lines[start] as string)?.[1]
    if (info === undefined) continue
    const end = lines.indexOf('```', start + 1)
    if (end < 0) throw new Error(`${file}:${start + 1}: a block without an end`)
    found.push({
      place: `${file}:${start + 1}`,
      info,
      source: /^<!-- (.+) -->$/.exec(lines[start - 1] ?? '')?.[1],
      code: `${lines.slice(start + 1, end).join('\n')}\n`,
    })
    start = end
  }
  return found
}

/** What the block says it prints: the comments behind its calls of `console.log`. */
export function expectedOutput(code: string): string[] {
  return [...code.matchAll(/^\s*console\.log\(.*\) \/\/ (.*)$/gm)].map((match) => match[1] as string)
}
