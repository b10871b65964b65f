// The driver for SCSI controllers on the VMBus.

import { defineVscDriver, type VscDriver } from '@partita/vmbus/client'
import { SCSI_INTERFACE_ID } from '../protocol.ts'
import { ScsiController } from './scsi-controller.ts'

/** Binds to synthetic SCSI controllers. */
export const storageDriver: VscDriver<ScsiController> = defineVscDriver({
  name: 'storvsc',
  interfaceIds: [SCSI_INTERFACE_ID],
  start: (device) => ScsiController.open(device),
  restore: (device, saved) => ScsiController.restore(device, saved),
})
