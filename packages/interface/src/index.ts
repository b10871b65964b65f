/**
 * Contracts of Partita: partition, processor, guest memory, device capabilities, plug-ins, saved state, clock, logger and the base of errors.
 * A third party's device depends on this package alone.
 *
 * @example
 * ```ts
 * import { clockToken, definePlugin, portIoToken } from '@partita/interface'
 * ```
 * @packageDocumentation
 */
export type { Clock, Timer } from './clock.ts'
export {
  type A20Gate,
  type AccessSize,
  type AddressLine20,
  type CharacterBackend,
  DELIVERY_MODE,
  type DeliveryMode,
  type InterruptLine,
  type InterruptLines,
  type InterruptMessage,
  type InterruptMessages,
  type Mmio,
  type MmioHandler,
  type PciBus,
  type PciFunction,
  type PortHandler,
  type PortIo,
  type PowerControl,
  type PowerEvent,
  type RamDecoding,
  type ShadowRam,
} from './device.ts'
export { DISK_ERROR, type Disk, type DiskErrorCode } from './disk.ts'
export { PartitaError, type PartitaErrorOptions } from './error.ts'
export type { FirmwareConfiguration } from './firmware-configuration.ts'
export type { GuestMemory } from './guest-memory.ts'
export {
  type KeyboardInput,
  type KeyboardLeds,
  keyboardInputToken,
  type MouseInput,
  mouseInputToken,
} from './input.ts'
export { type Logger, type LogLevel, silentLogger } from './logger.ts'
export {
  ETHERNET_HEADER_LENGTH,
  FRAME_FLAG,
  MAXIMUM_FRAME_LENGTH,
  type Network,
  type NetworkAdapter,
  type NetworkConnection,
  type NetworkFrame,
  type NetworkPort,
  networkToken,
} from './network.ts'
export {
  definePlugin,
  PLUGIN_CONTRACT,
  type Plugin,
  type PluginContext,
  type PluginGuid,
  type PluginInstance,
  type PluginKind,
  type PluginManifest,
  type PluginOptionManifest,
  type ServiceToken,
  serviceToken,
} from './plugin.ts'
export {
  GENERAL_REGISTERS,
  GPA_ACCESS,
  type Intercepts,
  type PartitionMemory,
  type Processor,
  type RegisterName,
  type RunExit,
  type SegmentName,
  type SegmentRegister,
  type VirtualLocalApic,
  type VirtualProcessor,
  type VirtualProcessorOptions,
} from './processor.ts'
export type { Saveable, SavedState, SavedValue } from './saved-state.ts'
export {
  a20GateToken,
  addressLine20Token,
  characterBackendsToken,
  clockToken,
  disksToken,
  firmwareConfigurationToken,
  guestMemoryToken,
  interruptLinesToken,
  interruptMessagesToken,
  mmioToken,
  pciBusToken,
  portIoToken,
  powerControlToken,
  processorToken,
  shadowRamToken,
} from './services.ts'
export { type SynicPorts, synicPortsToken } from './synic.ts'
export {
  type GuestBuffer,
  VMBUS_COMPLETION_REQUESTED,
  VMBUS_PACKET,
  type Vmbus,
  type VmbusChannel,
  type VmbusChannelHandler,
  type VmbusChannelInfo,
  type VmbusConnectRequest,
  type VmbusCounters,
  type VmbusDevice,
  type VmbusOffer,
  type VmbusOffered,
  type VmbusPacket,
  vmbusServerToken,
} from './vmbus.ts'
