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
export { ClientChannel } from './client/client-channel.ts'
export type { VmbusClientPort } from './client/port.ts'
export { type ClientOffer, gpadlMessages, type OpenOptions, VmbusClient } from './client/vmbus-client.ts'
export { contiguousRange, type GpaRange } from './ring/ring-writer.ts'
export { VmbusError } from './vmbus-error.ts'
