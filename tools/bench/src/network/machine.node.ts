// A counted machine with user-mode NAT in a process of its own, whose adapter's frames are counted, too. The only argument is a MachineDescription.

import { networkControlToken, type Traffic } from '@partita/synthetic-network/vsp'
import { openDisks } from '../../../../packages/cli/src/disks.ts'
import { devicesWith } from '../../../../packages/cli/src/machine-devices.ts'
import type { Activity } from '../guest-jobs/activity.ts'
import { type LinuxDescription, runCountedMachine } from '../guest-jobs/counted-machine.ts'

export interface MachineDescription extends LinuxDescription {
  /** Image of the root disk, which nobody writes to. */
  readonly root: string
}

/** What the machine counts. */
export interface NetworkActivity extends Activity {
  /** Frames of the adapter: a large one counts once. */
  readonly framesFromGuest: number
  readonly framesToGuest: number
}

const frames = ({ directedFrames, multicastFrames, broadcastFrames }: Traffic): number =>
  directedFrames + multicastFrames + broadcastFrames

const { root, ...linux } = JSON.parse(process.argv[2] as string) as MachineDescription
await using opened = await openDisks([{ path: root, readOnly: true, dvd: false, bus: 'scsi' }], 'hyper-v')
await runCountedMachine<NetworkActivity>({
  linux,
  devices: devicesWith({ hypervisor: 'hyper-v' }, [
    ...opened.devices,
    { plugin: '@partita/virtual-switch/nat', options: { hostLoopback: true } },
    { plugin: '@partita/synthetic-network/vsp' },
  ]),
  services: opened.services,
  count: (activity, vm) => {
    const statistics = vm.find(networkControlToken)?.adapters[0]?.statistics
    return {
      ...activity,
      framesFromGuest: statistics === undefined ? 0 : frames(statistics.transmitted),
      framesToGuest: statistics === undefined ? 0 : frames(statistics.received),
    }
  },
})
