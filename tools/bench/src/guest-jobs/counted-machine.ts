// A virtual machine as `partita run` would have it, whose exits, signals and instructions are counted: the parent process gets the counts when the guest prints one of the marks. The console
// is on standard input and output.

import { readFile } from 'node:fs/promises'
import { vmbusServerToken } from '@partita/interface'
import { type PluginConfiguration, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { StdioBackend } from '../../../../packages/cli/src/console/stdio-backend.ts'
import { type Activity, channelActivity } from './activity.ts'
import { COUNTING_PROCESSOR, CountingProcessor } from './counting-processor.ts'
import { WatchedConsole } from './watched-console.ts'

/** What every machine is described by, on the command line of its process. */
export interface LinuxDescription {
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
  /** Bytes. */
  readonly memory: number
}

/** What the parent is told. */
export interface MarkMessage<A extends Activity = Activity> {
  readonly mark: string
  readonly activity: A
}

export interface CountedMachine<A extends Activity> {
  readonly linux: LinuxDescription
  readonly devices: readonly PluginConfiguration[]
  /** As {@link VirtualMachine.create} takes them. */
  readonly services: ReadonlyMap<string, unknown>
  /** Adds what else is counted. */
  readonly count: (activity: Activity, vm: VirtualMachine) => A
}

/** Run until the guest ends. */
export async function runCountedMachine<A extends Activity>(machine: CountedMachine<A>): Promise<void> {
  const { linux, devices, services, count } = machine
  const { memory, ...boot } = linux
  const processor = new CountingProcessor()
  const registry = new PluginRegistry({
    source: new NodePackageSource({ directory: import.meta.dirname }),
    plugins: [processor.plugin],
  })
  await using stdio = new StdioBackend({
    input: process.stdin,
    output: process.stdout,
    interactive: false,
    onEscape: () => {},
    waitForOutput: true,
  })
  const console = new WatchedConsole(stdio, (mark) => {
    const activity = { ...processor.activity(), ...channelActivity(vm.find(vmbusServerToken)?.channels() ?? []) }
    process.send?.({ mark, activity: count(activity, vm) } satisfies MarkMessage<A>)
  })
  await using vm = await VirtualMachine.create(
    { processor: COUNTING_PROCESSOR, memory, boot, onReset: 'end', devices },
    { registry, readFile, characterBackends: new Map([['console', console]]), services },
  )
  await vm.run()
  process.disconnect?.()
}
