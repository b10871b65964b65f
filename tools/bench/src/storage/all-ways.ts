// A machine of generation 1 with four ways to one disk: two drives of the IDE controller, one of which the guest uses without DMA, the first of them on the VMBus, and a unit of a SCSI
// controller there. The disk has to be read only: each way has a cache of its own in the guest.

import type { PluginConfiguration } from '@partita/root-partition'

/** Names of the disks, as `openDisks` gives them. */
const ROOT = 'disk0'
const DATA = 'disk1'

export const ALL_WAYS: readonly PluginConfiguration[] = [
  { plugin: '@partita/emulated-ide', options: { drives: [DATA, null, DATA] } },
  {
    plugin: '@partita/synthetic-storage/vsp',
    options: {
      controllers: [
        {
          luns: [
            { disk: ROOT, lun: 0 },
            { disk: DATA, lun: 1 },
          ],
        },
      ],
      ide: [{ channel: 0, device: 0, disk: DATA }],
    },
  },
]

/** For Linux: ata_piix takes disks on a Hyper-V machine, and the one on the second channel gets no DMA. */
export const ALL_WAYS_WORDS = 'ata_piix.prefer_ms_hyperv=0 libata.force=2.00:pio4'
