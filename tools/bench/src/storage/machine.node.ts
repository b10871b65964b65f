// A virtual machine in a process of its own, as `partita run` would have it, whose exits and signals are counted: its parent gets the counts when the guest
// prints one of the marks. The only argument is a MachineDescription; the console is on standard input and output.

import { readFile } from 'node:fs/promises'
import { vmbusServerToken } from '@partita/interface'
import { DEFAULT_DEVICES, GENERATION_1_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { StdioBackend } from '../../../../packages/cli/src/console/stdio-backend.ts'
import { openDisks } from '../../../../packages/cli/src/disks.ts'
import { ideWords } from '../../../../packages/cli/src/ide-drives.ts'
import { type Activity, channelActivity } from './activity.ts'
import { ALL_WAYS, ALL_WAYS_WORDS } from './all-ways.ts'
import { COUNTING_PROCESSOR, CountingProcessor } from './counting-processor.ts'
import { WatchedConsole } from './watched-console.ts'

export interface MachineDescription {
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
  /** Bytes. */
  readonly memory: number
  /** Where both disks are; `all` is a machine of generation 1 with four ways to the second disk, see all-ways.ts. */
  readonly bus: 'scsi' | 'ide' | 'all'
  readonly disks: readonly { readonly path: string; readonly readOnly: boolean }[]
}

/** What the parent is told. */
export interface MarkMessage {
  readonly mark: string
  readonly activity: Activity
}

const { bus, disks, memory, ...boot } = JSON.parse(process.argv[2] as string) as MachineDescription
const processor = new CountingProcessor()
const registry = new PluginRegistry({
  source: new NodePackageSource({ directory: import.meta.dirname }),
  plugins: [processor.plugin],
})
const places = disks.map((disk) => ({
  ...disk,
  dvd: false,
  bus: bus === 'all' ? ('scsi' as const) : bus,
  plain: true,
}))
await using opened = await openDisks(places, 'hyper-v')
const words = bus === 'all' ? ALL_WAYS_WORDS : ideWords(places, 'hyper-v')
const commandLine = `${boot.commandLine} ${words}`
const own = new Map((bus === 'all' ? ALL_WAYS : opened.devices).map((device) => [device.plugin, device]))
const devices = (bus === 'all' ? GENERATION_1_DEVICES : DEFAULT_DEVICES).map(
  (device) => own.get(device.plugin) ?? device,
)
const added = opened.devices.filter(({ plugin }) => !devices.some((device) => device.plugin === plugin))
await using stdio = new StdioBackend({
  input: process.stdin,
  output: process.stdout,
  interactive: false,
  onEscape: () => {},
  waitForOutput: true,
})
const console = new WatchedConsole(stdio, (mark) => {
  const activity = { ...processor.activity(), ...channelActivity(vm.find(vmbusServerToken)?.channels() ?? []) }
  process.send?.({ mark, activity } satisfies MarkMessage)
})
await using vm = await VirtualMachine.create(
  {
    processor: COUNTING_PROCESSOR,
    memory,
    boot: { ...boot, commandLine },
    onReset: 'end',
    devices: [...devices, ...added],
  },
  { registry, readFile, characterBackends: new Map([['console', console]]), services: opened.services },
)
await vm.run()
process.disconnect?.()
