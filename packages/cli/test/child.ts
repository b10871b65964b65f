// Runs `partita` as a child process.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** How a child ended. */
export interface Result {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Child {
  readonly process: ChildProcessWithoutNullStreams
  readonly result: Promise<Result>
  /** Resolves when standard output holds `text`. */
  saw(text: string): Promise<void>
}

export type Program = 'main' | 'fake'

const PROGRAMS: Record<Program, string> = {
  main: fileURLToPath(new URL('../src/main.ts', import.meta.url)),
  fake: fileURLToPath(new URL('./fake-partita.ts', import.meta.url)),
}

/** Arguments for node that run `program` with `args`. */
export function nodeArguments(program: Program, args: readonly string[]): string[] {
  return ['--conditions=@partita/source', PROGRAMS[program], ...args]
}

export function start(program: Program, args: readonly string[], cwd: string, env: Record<string, string> = {}): Child {
  const child = spawn(process.execPath, nodeArguments(program, args), {
    cwd,
    env: { ...process.env, PARTITA_LOG: '', ...env },
  })
  let stdout = ''
  let stderr = ''
  const waiting: { text: string; resolve: () => void }[] = []
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    for (const waiter of waiting) if (stdout.includes(waiter.text)) waiter.resolve()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdin.on('error', () => {})
  const result = new Promise<Result>((resolve) => {
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }))
  })
  return {
    process: child,
    result,
    saw: (text) =>
      stdout.includes(text)
        ? Promise.resolve()
        : new Promise<void>((resolve, reject) => {
            waiting.push({ text, resolve })
            void result.then((end) => reject(new Error(`ended without saying ${text}: ${JSON.stringify(end)}`)))
          }),
  }
}

/** Run to the end with `input` on standard input. */
export function partita(program: Program, args: readonly string[], cwd: string, input = ''): Promise<Result> {
  const child = start(program, args, cwd)
  child.process.stdin.end(input)
  return child.result
}
