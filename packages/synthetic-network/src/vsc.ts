/**
 * The child side of synthetic networking: a driver for network adapters on the VMBus, for an operating system in TypeScript and for tests.
 *
 * @example
 * ```ts
 * import { PACKET_FILTER } from '@partita/synthetic-network/protocol'
 * import { networkDriver } from '@partita/synthetic-network/vsc'
 *
 * const nic = await guest.device(networkDriver)
 * nic.onReceive = (frame) => console.log(frame.bytes.subarray(frame.start, frame.end))
 * await nic.setPacketFilter(PACKET_FILTER.DIRECTED | PACKET_FILTER.BROADCAST)
 * nic.send(bytes)
 * ```
 * @packageDocumentation
 */
export { NetworkError } from './network-error.ts'
export { NetworkClient, type NetworkClientOptions, type NetworkProperties } from './vsc/network-client.ts'
export { networkDriver } from './vsc/network-driver.ts'
