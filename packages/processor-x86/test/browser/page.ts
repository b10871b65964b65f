// What the page of chromium.test.ts does: a hot loop on the interpreter, on code that is translated at once, and on code that a worker translates while the loop runs. The answers
// are posted to the page's server.

import { SingleStepMachine } from '../../src/testing/single-step.ts'
import { threadCompiler } from '../../src/translator/thread-compiler.ts'
import type { TranslationOptions } from '../../src/translator/translator.ts'

/** What the server is told. */
export interface PageReport {
  readonly isolated: boolean
  readonly runs: readonly {
    readonly name: string
    /** Of each time that the loop ran to its end. */
    readonly checksums: readonly string[]
    /** The last time. */
    readonly instructions: number
    readonly translated: number
  }[]
}

const CODE = 0x400000n
const DATA = 0x500000n
const DATA_SIZE = 4096
const RAX = 0
const RSI = 6
const RDI = 7
const UNDEFINED = 6
/** Blocks of a slice, between which messages of the worker come. */
const SLICE = 50_000
/** Milliseconds after which a loop is not run again to see its translation at work. */
const PATIENCE = 60_000

/**
 * CRC-32 of the data, `esi` times over:
 *
 *     again: xor ecx, ecx
 *     next:  movzx edx, byte [rdi + rcx]; xor eax, edx; mov edx, 8
 *     bit:   mov ebx, eax; and ebx, 1; neg ebx; and ebx, 0xEDB88320; shr eax, 1; xor eax, ebx; dec edx; jnz bit
 *            inc ecx; cmp ecx, 4096; jne next
 *            dec esi; jnz again
 *            ud2
 */
const PROGRAM: Uint8Array = Uint8Array.of(
  ...[0x31, 0xc9],
  ...[0x0f, 0xb6, 0x14, 0x0f, 0x31, 0xd0, 0xba, 8, 0, 0, 0],
  ...[0x89, 0xc3, 0x83, 0xe3, 1, 0xf7, 0xdb, 0x81, 0xe3, 0x20, 0x83, 0xb8, 0xed, 0xd1, 0xe8, 0x31, 0xd8, 0xff, 0xca],
  ...[0x75, 0xeb],
  ...[0xff, 0xc1, 0x81, 0xf9, 0x00, 0x10, 0, 0, 0x75, 0xd6],
  ...[0xff, 0xce, 0x75, 0xd0],
  ...[0x0f, 0x0b],
)

async function crc(name: string, translation: TranslationOptions, rounds: number): Promise<PageReport['runs'][number]> {
  const machine = new SingleStepMachine(translation)
  machine.map(CODE, 4096, { write: false, execute: true })
  machine.map(DATA, DATA_SIZE, { write: true, execute: false })
  machine.writeMemory(CODE, PROGRAM)
  machine.writeMemory(
    DATA,
    Uint8Array.from({ length: DATA_SIZE }, (_, i) => i * 7),
  )
  const { vp } = machine
  const translated = (): number => vp.translationStatistics()?.executed ?? 0
  const checksums: string[] = []
  const start = performance.now()
  for (;;) {
    const state = machine.get()
    state.rip = CODE
    state.gpr[RAX] = 0xffffffffn
    state.gpr[RSI] = BigInt(rounds)
    state.gpr[RDI] = DATA
    machine.set(state)
    const before = { instructions: vp.instructionCount, translated: translated() }
    while (vp.cpu.cpl === 3) {
      vp.run(SLICE)
      await new Promise((resolve) => setTimeout(resolve))
    }
    const { exception } = machine.run(1)
    if (exception !== UNDEFINED) throw new Error(`${name} ended with exception ${exception}`)
    checksums.push((machine.get().gpr[RAX] as bigint).toString(16))
    const run = {
      name,
      checksums,
      instructions: vp.instructionCount - before.instructions,
      translated: translated() - before.translated,
    }
    // Where the worker gets no turn in time, the interpreter runs the loop to its end.
    const enough = translation.mode === 'off' || run.translated > run.instructions / 10
    if (enough || performance.now() - start > PATIENCE) return run
  }
}

async function main(): Promise<PageReport> {
  const compiler = threadCompiler()
  if (compiler === undefined) throw new Error('there are no workers')
  const runs = [
    await crc('interpreter', { mode: 'off' }, 100),
    await crc('translated', { mode: 'on', threshold: 1 }, 100),
    await crc('here', { mode: 'on' }, 100),
    await crc('worker', { mode: 'on', compiler }, 100),
  ]
  return { isolated: globalThis.crossOriginIsolated, runs }
}

const report = await main().catch((error: unknown) => ({ error: `${(error as Error).stack}` }))
await fetch('/report', { method: 'POST', body: JSON.stringify(report) })
