// The drivers that the guest has of its own: those for Hyper-V's own devices.

import { storageDriver } from '@partita/synthetic-storage/vsc'
import type { VscDriver } from '@partita/vmbus/client'

/** Drivers for Hyper-V's own devices. */
export const BUILT_IN_DRIVERS: readonly VscDriver[] = [storageDriver]
