/**
 * The root partition's side of the VMBus: a state machine between devices and one guest, without a VM.
 *
 * @example
 * ```ts
 * import { VmbusServer } from '@partita/vmbus/server'
 *
 * const server = new VmbusServer(host)
 * server.offer({
 *   offer: { interfaceId, instanceId },
 *   open: (channel) => ({ receive: (packet) => channel.send(packet.payload()) }),
 * })
 * server.start()
 * ```
 * @packageDocumentation
 */
export type { VmbusHost, VmbusTrace } from './server/host.ts'
export { VmbusServer, type VmbusServerOptions } from './server/vmbus-server.ts'
export { VmbusError } from './vmbus-error.ts'
