/**
 * The child's side of the VMBus, for an operating system in TypeScript and for tests.
 *
 * @example
 * ```ts
 * import { VmbusClient } from '@partita/vmbus/client'
 *
 * const client = new VmbusClient(port)
 * const version = await client.connect()
 * for (const offer of await client.requestOffers()) console.log(offer.interfaceId)
 * ```
 * @packageDocumentation
 */
export { ChannelRequests, type RequestOptions } from './client/channel-requests.ts'
export { ClientChannel, type ClientChannelPort } from './client/client-channel.ts'
export { type DeviceChild, defineVscDriver, type VscDriver, type VscInstance } from './client/driver.ts'
export { gpadlMessages } from './client/gpadl-messages.ts'
export type { DmaBuffer, VmbusClientPort, VmbusTransport } from './client/transport.ts'
export { type ClientOffer, type OpenOptions, VmbusClient } from './client/vmbus-client.ts'
export { type ChannelOptions, VscDevice, type VscDeviceOptions } from './client/vsc-device.ts'
export { contiguousRange, type GpaRange } from './ring/ring-writer.ts'
export { VmbusError } from './vmbus-error.ts'
