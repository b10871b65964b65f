// The table of cases. A new one is a file here, and a line below.

import type { GuestCase } from '../case.ts'
import { adapterSettings } from './adapter-settings.ts'
import { biosGrub } from './bios-grub.ts'
import { crashKernel } from './crash-kernel.ts'
import { failingDisks } from './failing-disks.ts'
import { files } from './files.ts'
import { fioOnFiles, fioRandom, fioSequential } from './fio.ts'
import { fullDisk } from './full-disk.ts'
import { hotPlug } from './hot-plug.ts'
import { ideAccelerator } from './ide-accelerator.ts'
import { ideCloudKernel, ideGenericKernel } from './ide-disks.ts'
import { idePrograms } from './ide-programs.ts'
import { kexec, kexecWithProcessors } from './kexec.ts'
import { natConnections } from './nat-connections.ts'
import { natIperf3 } from './nat-iperf3.ts'
import { natJumbo } from './nat-jumbo.ts'
import { natSaved } from './nat-saved.ts'
import { natSsh } from './nat-ssh.ts'
import { natTransfer } from './nat-transfer.ts'
import { natWithoutOffloads } from './nat-without-offloads.ts'
import { networkCapture } from './network-capture.ts'
import { ps2Keyboard, ps2Mouse } from './ps2.ts'
import { qemuNeighbour } from './qemu-neighbour.ts'
import { scsiCommands } from './scsi-commands.ts'
import { subChannels } from './sub-channels.ts'
import { twoGuests } from './two-guests.ts'
import { uncleanStops } from './unclean-stops.ts'
import { vlans } from './vlans.ts'

export const CASES: readonly GuestCase[] = [
  fioRandom,
  fioSequential,
  fioOnFiles,
  files,
  uncleanStops,
  subChannels,
  hotPlug,
  failingDisks,
  fullDisk,
  scsiCommands,
  ideAccelerator,
  ideGenericKernel,
  ideCloudKernel,
  idePrograms,
  ps2Keyboard,
  ps2Mouse,
  kexec,
  kexecWithProcessors,
  crashKernel,
  biosGrub,
  adapterSettings,
  natTransfer,
  natIperf3,
  natJumbo,
  natSaved,
  natSsh,
  natConnections,
  natWithoutOffloads,
  networkCapture,
  twoGuests,
  qemuNeighbour,
  vlans,
]
