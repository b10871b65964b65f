// The client, in the guest: a driver that is found by the interface's GUID, and the counter as a program there sees it. It knows the protocol and nothing of the provider.

import { PartitaError } from '@partita/interface'
import { ChannelRequests, defineVscDriver, type VscDriver } from '@partita/vmbus/client'
import { INTERFACE_ID, OPERATION, Request, Response, STATUS } from './protocol.ts'

/** The counter. */
export interface Counter {
  /** The total. @throws PartitaError `ERR_MY_DEVICE` when the device refuses, or answers nonsense; VmbusError when it goes */
  read(): Promise<number>
  /** Adds `value`, and resolves with the total. As {@link Counter.read}. */
  add(value: number): Promise<number>
}

/** Drives a counter through requests on its channel. */
export function counterOn(requests: Pick<ChannelRequests, 'send'>): Counter {
  const ask = async (operation: number, value: number): Promise<number> => {
    const request = Request.allocate()
    request.operation = operation
    request.value = value
    const answer = await requests.send(new Uint8Array(request.view.buffer))
    if (answer.length < Response.size) throw new PartitaError('ERR_MY_DEVICE', 'The answer is too short')
    const { status, total } = new Response(new DataView(answer.buffer, answer.byteOffset, answer.byteLength))
    if (status !== STATUS.SUCCESS) throw new PartitaError('ERR_MY_DEVICE', `The device refuses: status ${status}`)
    return total
  }
  return { read: () => ask(OPERATION.READ, 0), add: (value) => ask(OPERATION.ADD, value) }
}

/** The driver: what a guest's Plug and Play manager loads. */
export const myDeviceDriver: VscDriver<Counter> = defineVscDriver<Counter>({
  name: '@example/my-device/vsc',
  interfaceIds: [INTERFACE_ID],
  async start(device) {
    return counterOn(new ChannelRequests(await device.open({ ringBytes: 16_384 })))
  },
})
