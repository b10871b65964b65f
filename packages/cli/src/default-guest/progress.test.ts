import { expect, test } from 'vitest'
import { createProgressReporter } from './progress.ts'

test('a pipe gets a plain line per phase', () => {
  let output = ''
  const reporter = createProgressReporter({ write: (text) => (output += text) })
  for (const fraction of [0, 0.5, 1]) reporter.report({ phase: 'index', fraction, text: 'Asking' })
  reporter.report({ phase: 'download', fraction: 0, text: 'Downloading' })
  reporter.clear()
  expect(output).toBe('Asking\nDownloading\n')
})

test('a terminal gets a bar that is redrawn, fits the line, and goes away', () => {
  const writes: string[] = []
  const reporter = createProgressReporter({ isTTY: true, columns: 40, write: (text) => writes.push(text) })
  reporter.report({ phase: 'download', fraction: 0, text: 'Downloading' })
  reporter.report({ phase: 'download', fraction: 0.5, text: 'Downloading' })
  reporter.report({ phase: 'download', fraction: 0.5, text: 'Downloading' })
  reporter.report({ phase: 'download', fraction: 7, text: 'A text that is far too long for this terminal' })
  reporter.clear()
  reporter.clear()
  expect(writes).toEqual([
    '\r\x1b[K[------------------------] Downloading',
    '\r\x1b[K[############------------] Downloading',
    '\r\x1b[K[########################] A text that ',
    '\r\x1b[K',
  ])
})
