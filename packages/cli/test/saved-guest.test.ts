// A running Debian guest is saved, and goes on in another virtual machine: every device and the processor carry their state over.

import { readFile } from 'node:fs/promises'
import type { CharacterBackend } from '@partita/interface'
import { PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { describe, expect, test } from 'vitest'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'

/** A console that a test types on. */
class TypedConsole implements CharacterBackend {
  text = ''
  onReady: (() => void) | undefined
  readonly #input: number[] = []
  #waiting: { text: string; resolve: () => void } | undefined

  write(data: Uint8Array): boolean {
    this.text += new TextDecoder().decode(data)
    if (this.#waiting !== undefined && this.text.includes(this.#waiting.text)) this.#waiting.resolve()
    return true
  }
  read(target: Uint8Array): number {
    const bytes = this.#input.splice(0, target.length)
    target.set(bytes)
    return bytes.length
  }
  type(line: string): void {
    this.#input.push(...new TextEncoder().encode(`${line}\n`))
    this.onReady?.()
  }
  saw(text: string): Promise<void> {
    if (this.text.includes(text)) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting = { text, resolve }
    })
  }
}

const guest = await ensureDefaultGuest().catch((error: unknown) => {
  console.warn(`skipped: no default guest on this machine: ${String(error)}`)
  return undefined
})

describe.skipIf(guest === undefined)('a saved guest', () => {
  test('goes on in another virtual machine', { timeout: 200_000 }, async () => {
    if (guest === undefined) return
    const registry = new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) })
    const configuration = {
      memory: 256 * 2 ** 20,
      boot: {
        kernel: guest.kernel,
        initrd: guest.initrd,
        commandLine: `${guest.commandLine} ${guest.pipedInputWord}`,
      },
    }
    const machine = async (backend: TypedConsole): Promise<VirtualMachine> =>
      VirtualMachine.create(configuration, { registry, readFile, characterBackends: new Map([['console', backend]]) })

    const before = new TypedConsole()
    const first = await machine(before)
    const firstEnd = first.run()
    await before.saw('root# ')
    before.type('ANSWER=42; echo REA""DY; sleep 1; echo AWA""KE')
    await before.saw('READY')
    await first.pause()
    const saved = structuredClone(first.save())
    await first.stop()
    expect(await firstEnd).toEqual({ type: 'stopped' })
    await first[Symbol.asyncDispose]()

    const after = new TypedConsole()
    await using second = await machine(after)
    second.restore(saved)
    const secondEnd = second.run()
    // a timer that was running, a shell's memory, and the console in both directions
    await after.saw('AWAKE')
    after.type('echo THE ANSWER IS $ANSWER; exit')
    expect(await secondEnd).toEqual({ type: 'power-off' })
    expect(after.text).toContain('THE ANSWER IS 42')
  })
})
