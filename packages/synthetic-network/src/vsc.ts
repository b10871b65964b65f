/**
 * The child side of synthetic networking: a driver for a network adapter on the VMBus, for an operating system in TypeScript and for tests.
 *
 * @example
 * ```ts
 * import { NetworkClient } from '@partita/synthetic-network/vsc'
 *
 * const nic = await NetworkClient.open({ client, offer, memory, allocatePages })
 * nic.onReceive = (frame) => console.log(frame.bytes.subarray(frame.start, frame.end))
 * await nic.setPacketFilter(PACKET_FILTER.DIRECTED | PACKET_FILTER.BROADCAST)
 * nic.send(bytes)
 * ```
 * @packageDocumentation
 */
export { NetworkError } from './network-error.ts'
export { NetworkClient, type NetworkClientOptions, type NetworkProperties } from './vsc/network-client.ts'
