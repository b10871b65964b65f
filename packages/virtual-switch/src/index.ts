/**
 * A virtual switch: a learning Ethernet switch whose ports are adapters of guests and of the host, with VLANs, protection of addresses, limits, counters and captures; and user-mode NAT, the gateway
 * of a network whose way out are sockets.
 *
 * @example
 * ```ts
 * import { VirtualSwitch } from '@partita/virtual-switch'
 *
 * const network = new VirtualSwitch({ clock, mtu: 9000 })
 * const port = network.connect(adapter, { port: { vlan: 7, sendLimit: 100e6 } })
 * ```
 * @packageDocumentation
 */
export { Capture } from './capture.ts'
export { AGEING_TIME, TABLE_SIZE } from './forwarding-table.ts'
export { NatGateway, type NatGatewayWiring, type NatReport } from './nat/nat-gateway.ts'
export type { NatHost, TcpSocket, TcpSocketEvents, UdpReceiver, UdpSocket } from './nat/nat-host.ts'
export { type NatOptions, natOptionsSchema, type PortForward } from './nat/nat-options.ts'
export { type CaptureSink, PcapngWriter } from './pcapng.ts'
export type { PortCounters } from './port-counters.ts'
export type { PortSettings, PortVlan } from './port-settings.ts'
export { type SwitchControl, type SwitchReport, switchControlToken } from './switch-control.ts'
export { SwitchError } from './switch-error.ts'
export { type PortObserver, STALL_TIME, type SwitchPort } from './switch-port.ts'
export { type PortReport, VirtualSwitch, type VirtualSwitchOptions } from './virtual-switch.ts'
