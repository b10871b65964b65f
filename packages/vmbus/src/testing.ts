/**
 * A server and a client in one process, for tests of devices and drivers on the VMBus.
 *
 * @example
 * ```ts
 * import { VmbusPair } from '@partita/vmbus/testing'
 *
 * const pair = new VmbusPair()
 * pair.server.offer(device)
 * await pair.run(pair.client.connect())
 * const [offer] = await pair.run(pair.client.requestOffers())
 * const channel = await pair.run(pair.client.open(offer!, pair.rings(4, 4)))
 * ```
 * @packageDocumentation
 */
export { SharedMemory } from './testing/shared-memory.ts'
export { VmbusPair, type VmbusPairOptions } from './testing/vmbus-pair.ts'
