// The driver, in the guest. It knows the protocol, and nothing of the provider.

import { ChannelRequests, defineVscDriver, type VscDriver } from '@partita/vmbus/client'
import { INTERFACE_ID } from './protocol.ts'

/** What a program in the guest has of the device. */
export interface Shout {
  shout(text: string): Promise<string>
}

export const shoutDriver: VscDriver<Shout> = defineVscDriver<Shout>({
  name: 'example-shout/vsc',
  interfaceIds: [INTERFACE_ID],
  async start(device) {
    const requests = new ChannelRequests(await device.open({ ringBytes: 16_384 }))
    return {
      async shout(text) {
        const answer = await requests.send(new TextEncoder().encode(text))
        return new TextDecoder().decode(answer).replace(/\0+$/, '')
      },
    }
  },
})
