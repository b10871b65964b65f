// Boots the TypeScript guest with a device and the driver for it, and has the guest ask the device something.
// Usage: node docs/examples/guest.ts

import { bootGuest } from '@partita/guest'
import type { VmbusDevice } from '@partita/interface'
import { ChannelRequests, defineVscDriver } from '@partita/vmbus/client'

const INTERFACE = '5b1f2c80-77c6-4a0e-9d52-0d6a3c1f4e10'

/** In the root partition: answers each packet with its text in capitals. */
const device: VmbusDevice = {
  offer: { interfaceId: INTERFACE, instanceId: '5b1f2c80-77c6-4a0e-9d52-000000000001' },
  open: (channel) => ({
    receive(packet) {
      const text = new TextDecoder().decode(packet.payload()).toUpperCase()
      return channel.complete(packet.transactionLow, packet.transactionHigh, new TextEncoder().encode(text))
    },
  }),
}

/** In the child partition: sends text, and resolves with the answer. Packets are padded with zeros. */
const driver = defineVscDriver({
  name: 'capitals',
  interfaceIds: [INTERFACE],
  async start(vscDevice) {
    const requests = new ChannelRequests(await vscDevice.open())
    return {
      async capitals(text: string): Promise<string> {
        const answer = await requests.send(new TextEncoder().encode(text))
        return new TextDecoder().decode(answer).replace(/\0+$/, '')
      },
    }
  },
})

await using guest = await bootGuest({ providers: [device], drivers: [driver] })
const { capitals } = await guest.device(driver)
console.log(guest.deviceTree())
console.log(await capitals('hello, root partition'))
