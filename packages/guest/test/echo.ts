// A pair for tests: a device that sends back what it gets, and the driver for it.

import { definePlugin, type Plugin, type VmbusDevice, vmbusServerToken } from '@partita/interface'
import { ChannelRequests, defineVscDriver, type VscDriver } from '@partita/vmbus/client'

export const ECHO_INTERFACE = '6a3f0c52-4a1e-4c53-9f1b-2f6f0a5d7e01'

/** A device that completes each packet with its payload. */
export function echoDevice(instance = 1): VmbusDevice {
  return {
    offer: {
      interfaceId: ECHO_INTERFACE,
      instanceId: `6a3f0c52-4a1e-4c53-9f1b-${instance.toString(16).padStart(12, '0')}`,
    },
    open: (channel) => ({
      receive: (packet) => channel.complete(packet.transactionLow, packet.transactionHigh, packet.payload()),
    }),
  }
}

export const echoProvider: Plugin = definePlugin<unknown>({
  name: 'echo-provider',
  kind: 'vsp',
  contract: 1,
  description: 'Sends back what it gets',
  options: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
  needs: [vmbusServerToken],
  provides: [],
  create(context) {
    const offered = context.get(vmbusServerToken).offer(echoDevice())
    return { [Symbol.asyncDispose]: () => offered[Symbol.asyncDispose]() }
  },
})

export interface Echo {
  echo(bytes: Uint8Array, signal?: AbortSignal): Promise<Uint8Array>
}

export const echoDriver: VscDriver<Echo> = defineVscDriver<Echo>({
  name: 'echo',
  interfaceIds: [ECHO_INTERFACE],
  async start(device) {
    const requests = new ChannelRequests(await device.open({ ringBytes: 8192 }))
    return { echo: (bytes, signal) => requests.send(bytes, { signal }) }
  },
})
