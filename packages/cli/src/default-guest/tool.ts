// Runs Debian's tools: an argument list, no shell, messages in English, and an end that is waited for.

import { spawn } from 'node:child_process'
import { DefaultGuestError, OWN_FILES_HINT } from './errors.ts'

/** How a tool ended, and what it said. */
export interface ToolResult {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** apt tells its progress to this descriptor as `dlstatus:<files>:<percent>:<text>`. */
const STATUS_DESCRIPTOR = 3
export const statusArguments: readonly string[] = ['-q', '-o', `APT::Status-Fd=${STATUS_DESCRIPTOR}`]

/** The surroundings of a tool. */
export interface ToolOptions {
  /** Where it runs. */
  readonly directory: string
  readonly environment: NodeJS.ProcessEnv
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs a tool to its end; its exit status is for the caller to judge.
 *
 * @throws {@link DefaultGuestError} `ERR_GUEST_NO_APT` where it cannot be started; the signal's reason
 */
export function runTool(
  tool: string,
  parameters: readonly string[],
  { directory, environment, signal }: ToolOptions,
  progress?: (fraction: number) => void,
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, parameters, {
      cwd: directory,
      env: { ...environment, LC_ALL: 'C.UTF-8', LANGUAGE: '' },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      ...(signal === undefined ? {} : { signal }),
    })
    const output = ['', '', '', '']
    for (const descriptor of [1, 2, STATUS_DESCRIPTOR]) {
      const stream = child.stdio[descriptor] as NodeJS.ReadableStream
      stream.setEncoding('utf8')
      stream.on('data', (chunk: string) => {
        output[descriptor] += chunk
        if (descriptor !== STATUS_DESCRIPTOR) return
        const lines = output[descriptor]!.split('\n')
        output[descriptor] = lines.pop()!
        for (const line of lines) {
          const percent = /^dlstatus:\d+:([\d.]+):/.exec(line)?.[1]
          if (percent !== undefined) progress?.(Number(percent) / 100)
        }
      })
    }
    // Settled only when the process is gone, so that nothing writes into a directory that is being removed.
    let failure: Error | undefined
    child.on('error', (error: NodeJS.ErrnoException) => {
      failure = signal?.aborted === true ? signal.reason : toolError(tool, error)
      if (child.pid === undefined) reject(failure)
    })
    child.on('close', (status) => {
      if (failure !== undefined) reject(failure)
      else resolve({ status, stdout: output[1]!, stderr: output[2]! })
    })
  })
}

function toolError(tool: string, cause: NodeJS.ErrnoException): Error {
  return new DefaultGuestError(
    'ERR_GUEST_NO_APT',
    cause.code === 'ENOENT'
      ? `The default guest comes from Debian's archive, and this machine has no ${tool}`
      : `${tool} cannot be run: ${cause.message}`,
    { hint: OWN_FILES_HINT, data: { tool }, cause },
  )
}

/** What a tool said, short enough for a message. */
export function lastLines(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => /\S/.test(line))
  const errors = lines.filter((line) => line.startsWith('E:') || line.startsWith('Err:'))
  return (errors.length > 0 ? errors : lines).slice(-2).join(' ').slice(0, 400) || 'no reason given'
}
