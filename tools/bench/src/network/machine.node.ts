// A virtual machine with user-mode NAT in a process of its own, as `partita run` would have it, whose exits, signals and frames are counted: its parent gets the counts when the guest
// prints one of the marks. The only argument is a MachineDescription; the console is on standard input and output.

import { readFile } from 'node:fs/promises'
import { vmbusServerToken } from '@partita/interface'
import { DEFAULT_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { networkControlToken, type Traffic } from '@partita/synthetic-network/vsp'
import { StdioBackend } from '../../../../packages/cli/src/console/stdio-backend.ts'
import { openDisks } from '../../../../packages/cli/src/disks.ts'
import { type Activity, channelActivity } from '../storage/activity.ts'
import { COUNTING_PROCESSOR, CountingProcessor } from '../storage/counting-processor.ts'
import { WatchedConsole } from '../storage/watched-console.ts'

export interface MachineDescription {
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
  /** Bytes. */
  readonly memory: number
  /** Image of the root disk, which nobody writes to. */
  readonly root: string
}

/** What the machine counts. */
export interface NetworkActivity extends Activity {
  /** Frames of the adapter: a large one counts once. */
  readonly framesFromGuest: number
  readonly framesToGuest: number
}

/** What the parent is told. */
export interface MarkMessage {
  readonly mark: string
  readonly activity: NetworkActivity
}

const { root, memory, ...boot } = JSON.parse(process.argv[2] as string) as MachineDescription
const processor = new CountingProcessor()
const registry = new PluginRegistry({
  source: new NodePackageSource({ directory: import.meta.dirname }),
  plugins: [processor.plugin],
})
await using opened = await openDisks([{ path: root, readOnly: true, dvd: false, bus: 'scsi' }], 'hyper-v')
const own = new Map(opened.devices.map((device) => [device.plugin, device]))
await using stdio = new StdioBackend({
  input: process.stdin,
  output: process.stdout,
  interactive: false,
  onEscape: () => {},
  waitForOutput: true,
})
const frames = ({ directedFrames, multicastFrames, broadcastFrames }: Traffic): number =>
  directedFrames + multicastFrames + broadcastFrames
const console = new WatchedConsole(stdio, (mark) => {
  const statistics = vm.find(networkControlToken)?.adapters[0]?.statistics
  const activity: NetworkActivity = {
    ...processor.activity(),
    ...channelActivity(vm.find(vmbusServerToken)?.channels() ?? []),
    framesFromGuest: statistics === undefined ? 0 : frames(statistics.transmitted),
    framesToGuest: statistics === undefined ? 0 : frames(statistics.received),
  }
  process.send?.({ mark, activity } satisfies MarkMessage)
})
const devices = [
  ...DEFAULT_DEVICES.map((device) => own.get(device.plugin) ?? device),
  ...opened.devices.filter(({ plugin }) => !DEFAULT_DEVICES.some((device) => device.plugin === plugin)),
  { plugin: '@partita/virtual-switch/nat', options: { hostLoopback: true } },
  { plugin: '@partita/synthetic-network/vsp' },
]
await using vm = await VirtualMachine.create(
  { processor: COUNTING_PROCESSOR, memory, boot, onReset: 'end', devices },
  { registry, readFile, characterBackends: new Map([['console', console]]), services: opened.services },
)
await vm.run()
process.disconnect?.()
