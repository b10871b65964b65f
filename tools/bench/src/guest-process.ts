// A guest in a process of its own, whoever runs it, with its console on the process's standard input and output.

import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { BenchGuest } from './bench-guest.ts'
import { PROMPT } from './guest-console.ts'
import { QEMU } from './qemu.ts'

const CLI = join(import.meta.dirname, '../../../packages/cli')
const MEBIBYTE = 2 ** 20
/** Milliseconds until a guest that has not answered is given up. */
const PATIENCE = 600_000

/** Something that can boot the guest. */
export interface Machine {
  readonly label: string
  readonly command: string
  readonly args: readonly string[]
  /** It is a Node process that sends messages. */
  readonly messages?: boolean
}

/** `partita` from the built package, as those run it who install it. */
export function partitaCommand(options: readonly string[]): Machine {
  return { label: 'Partita', command: process.execPath, args: [join(CLI, 'dist/main.js'), ...options] }
}

/** The default guest by {@link partitaCommand}. */
export function partitaMachine(guest: BenchGuest): Machine {
  return partitaCommand(runOptions(guest))
}

/** The default guest from the sources, as `npm start` runs it. */
export function partitaSources(guest: BenchGuest): Machine {
  return {
    label: 'Partita from its sources',
    command: process.execPath,
    args: ['--conditions=@partita/source', join(CLI, 'src/main.ts'), ...runOptions(guest)],
  }
}

function runOptions({ append, memory }: BenchGuest): string[] {
  return ['run', '--no-root', '--memory', `${memory / MEBIBYTE}M`, '--append', append]
}

/** QEMU's translator with the same kernel, initramfs, memory and command line, and no devices that nobody asked for. */
export function qemuMachine({ kernel, initrd, commandLine, memory }: BenchGuest): Machine {
  return {
    label: 'QEMU TCG',
    command: QEMU,
    args: [
      ...['-machine', 'pc', '-accel', 'tcg', '-m', `${memory / MEBIBYTE}M`, '-nodefaults', '-display', 'none'],
      ...['-no-reboot', '-serial', 'stdio', '-kernel', kernel, '-initrd', initrd, '-append', commandLine],
    ],
  }
}

export class GuestProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #started = performance.now()
  readonly #closed: Promise<void>
  readonly #label: string
  /** Messages that came. */
  readonly messages: unknown[] = []
  #text = ''
  #wanted: { readonly text: string; readonly resolve: (seconds: number) => void } | undefined
  #failed: ((error: Error) => void) | undefined

  constructor({ label, command, args, messages = false }: Machine) {
    this.#label = label
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe', messages ? 'ipc' : 'ignore'] })
    this.#child = child
    child.on('message', (message) => this.messages.push(message))
    const closed = Promise.withResolvers<void>()
    this.#closed = closed.promise
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#received(text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text
    })
    child.stdin?.on('error', () => {})
    child.on('error', (error) => this.#failed?.(error))
    child.on('close', (status) => {
      this.#failed?.(new Error(`${label} ended with ${status}:\n${this.#text}`))
      closed.resolve()
    })
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** What was printed since the last command. */
  get text(): string {
    return this.#text
  }

  #received(text: string): void {
    this.#text += text
    if (this.#wanted === undefined || !this.#text.includes(this.#wanted.text)) return
    this.#wanted.resolve((performance.now() - this.#started) / 1000)
    this.#wanted = undefined
  }

  /** Resolves with the seconds since the process was started when the shell's first prompt is there. */
  prompt(): Promise<number> {
    return this.#waitFor(PROMPT)
  }

  /** Run a command of the shell until it prints `text`; what it printed. */
  async command(line: string, text: string): Promise<string> {
    this.#text = ''
    const answer = this.#waitFor(text)
    this.#child.stdin?.write(`${line}\n`)
    await answer
    return this.#text
  }

  /** Resolves when the guest has printed `text` since the last command, or since its start; with the seconds since that start. */
  printed(text: string): Promise<number> {
    return this.#waitFor(text)
  }

  #waitFor(text: string): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const timer = setTimeout(
      () => reject(new Error(`${this.#label} does not print ${JSON.stringify(text)}, but:\n${this.#text}`)),
      PATIENCE,
    )
    this.#wanted = { text, resolve }
    this.#failed = reject
    this.#received('')
    return promise.finally(() => {
      clearTimeout(timer)
      this.#failed = undefined
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }
}
