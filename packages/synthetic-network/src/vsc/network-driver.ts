// The driver for network adapters on the VMBus.

import { defineVscDriver, type VscDriver } from '@partita/vmbus/client'
import { NETWORK_INTERFACE_ID } from '../protocol/nvsp.ts'
import { NetworkClient } from './network-client.ts'

/** Binds to synthetic network adapters. After sleep a new client is there. */
export const networkDriver: VscDriver<NetworkClient> = defineVscDriver({
  name: 'netvsc',
  interfaceIds: [NETWORK_INTERFACE_ID],
  start: (device) => NetworkClient.open(device),
})
