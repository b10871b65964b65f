// A counted machine with two disks in a process of its own. The only argument is a MachineDescription.

import { openDisks } from '../../../../packages/cli/src/disks.ts'
import { ideWords } from '../../../../packages/cli/src/ide-drives.ts'
import { devicesWith } from '../../../../packages/cli/src/machine-devices.ts'
import { type LinuxDescription, runCountedMachine } from '../guest-jobs/counted-machine.ts'
import { ALL_WAYS, ALL_WAYS_WORDS } from './all-ways.ts'

export interface MachineDescription extends LinuxDescription {
  /** Where both disks are; `all` is a machine of generation 1 with four ways to the second disk, see all-ways.ts. */
  readonly bus: 'scsi' | 'ide' | 'all'
  readonly disks: readonly { readonly path: string; readonly readOnly: boolean }[]
}

const { bus, disks, ...linux } = JSON.parse(process.argv[2] as string) as MachineDescription
const places = disks.map((disk) => ({ ...disk, dvd: false, bus: bus === 'ide' ? bus : ('scsi' as const), plain: true }))
await using opened = await openDisks(places, 'hyper-v')
const { words, devices } =
  bus === 'all'
    ? { words: ALL_WAYS_WORDS, devices: devicesWith({ hypervisor: 'hyper-v', machine: 'gen1' }, ALL_WAYS) }
    : { words: ideWords(places, 'hyper-v'), devices: devicesWith({ hypervisor: 'hyper-v' }, opened.devices) }
await runCountedMachine({
  linux: { ...linux, commandLine: `${linux.commandLine} ${words}` },
  devices,
  services: opened.services,
  count: (activity) => activity,
})
