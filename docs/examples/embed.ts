// Embeds a virtual machine in a Node program: a kernel in memory, its console in a string, a time limit.

import type { CharacterBackend } from '@partita/interface'
import { PluginRegistry, VirtualMachine, type VmOutcome } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'

/** The host's end of the guest's serial port. */
class Console implements CharacterBackend {
  output = ''
  onReady: (() => void) | undefined
  #input = new Uint8Array()

  /** Bytes from the guest. True: there is room for more. */
  write(data: Uint8Array): boolean {
    this.output += new TextDecoder().decode(data)
    return true
  }

  /** The device fetches input when the guest is ready for it. */
  read(target: Uint8Array): number {
    const part = this.#input.subarray(0, target.length)
    target.set(part)
    this.#input = this.#input.subarray(part.length)
    return part.length
  }

  type(text: string): void {
    this.#input = new TextEncoder().encode(text)
    this.onReady?.()
  }
}

/** Boot `kernel` (a Linux or multiboot image) with `input` on its console, for at most `milliseconds`. */
export async function boot(
  kernel: Uint8Array,
  input: string,
  milliseconds: number,
): Promise<{ outcome: VmOutcome; output: string }> {
  const console = new Console()
  const registry = new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) })
  await using vm = await VirtualMachine.create(
    {
      memory: 64 * 2 ** 20,
      boot: { kernel: 'kernel', commandLine: 'console=ttyS0' },
      onReset: 'end',
    },
    {
      registry,
      readFile: async () => kernel,
      characterBackends: new Map([['console', console]]),
    },
  )
  console.type(input)
  const limit = setTimeout(() => void vm.stop(), milliseconds)
  try {
    return { outcome: await vm.run(), output: console.output }
  } finally {
    clearTimeout(limit)
  }
}
