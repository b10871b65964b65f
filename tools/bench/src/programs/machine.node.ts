// A virtual machine in a process of its own, as `partita run` would have it, whose processor executes as it is told to: the interpreter, translated code, or both. The only
// argument is a MachineDescription; the console is on standard input and output.

import { readFile } from 'node:fs/promises'
import { definePlugin, PLUGIN_CONTRACT, processorToken } from '@partita/interface'
import { createProcessor } from '@partita/processor-x86'
import { PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { StdioBackend } from '../../../../packages/cli/src/console/stdio-backend.ts'
import { translationOf } from '../translation.ts'

export interface MachineDescription {
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
  /** Bytes. */
  readonly memory: number
  /** `off`: the interpreter; `on`: with the translator in a worker, `here`: on the processor's own thread; a number: that threshold. */
  readonly mode: string
}

const PROCESSOR = 'bench-processor'

const { memory, mode, ...boot } = JSON.parse(process.argv[2] as string) as MachineDescription
const processor = createProcessor({ translation: translationOf(mode) })
const plugin = definePlugin<never>({
  name: PROCESSOR,
  kind: 'processor',
  contract: PLUGIN_CONTRACT,
  description: 'The software processor in the mode to measure',
  options: { '~standard': { version: 1, vendor: 'partita', validate: (value) => ({ value: value as never }) } },
  needs: [],
  provides: [processorToken],
  create: () => ({ services: { [processorToken.name]: processor }, async [Symbol.asyncDispose]() {} }),
})
await using stdio = new StdioBackend({
  input: process.stdin,
  output: process.stdout,
  interactive: false,
  onEscape: () => {},
  waitForOutput: true,
})
await using vm = await VirtualMachine.create(
  { processor: PROCESSOR, memory, boot, onReset: 'end' },
  {
    registry: new PluginRegistry({
      source: new NodePackageSource({ directory: import.meta.dirname }),
      plugins: [plugin],
    }),
    readFile,
    characterBackends: new Map([['console', stdio]]),
  },
)
await vm.run()
