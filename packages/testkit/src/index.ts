/**
 * Fakes and compliance suites for everything that plugs into Partita.
 *
 * @example
 * ```ts
 * import { FakeMachine } from '@partita/testkit'
 *
 * const machine = new FakeMachine()
 * await machine.start(serial, { backend: 'console' })
 * machine.ports.write(0x3f8, 0x41)
 * ```
 * @packageDocumentation
 */
export {
  type ComplianceCheck,
  ComplianceError,
  type ComplianceOptions,
  complianceSeed,
} from './compliance/check.ts'
export { type DeviceAccess, deviceAccesses, performAccess } from './compliance/device-access.ts'
export { type DiskSubject, diskChecks } from './compliance/disk-compliance.ts'
export { emulatedDeviceChecks } from './compliance/emulated-device-compliance.ts'
export type { EmulatedDeviceSubject, InterruptScenario } from './compliance/emulated-device-subject.ts'
export type { ComplianceManifest, PluginSubject } from './compliance/plugin-checks.ts'
export { type ProcessorSubject, processorChecks } from './compliance/processor-compliance.ts'
export { RandomSource } from './compliance/random-source.ts'
export { SeededRandom } from './compliance/seeded-random.ts'
export { vscChecks } from './compliance/vsc-compliance.ts'
export type { VscSubject } from './compliance/vsc-subject.ts'
export { vspChecks } from './compliance/vsp-compliance.ts'
export type { VspSubject } from './compliance/vsp-subject.ts'
export { type Claim, FakeMmio, FakePortIo } from './fake-bus.ts'
export { FakeClock } from './fake-clock.ts'
export { FakeGuest, type FakeGuestOpenOptions, type FakeGuestOptions, type Sent } from './fake-guest.ts'
export type { GuestAnswer, GuestExchange, GuestPacket, GuestStep } from './fake-guest-exchange.ts'
export { FakeGuestMemory } from './fake-guest-memory.ts'
export { FakeHost, type FakeHostOptions, scriptedHost } from './fake-host.ts'
export { FakeInterruptLines, FakeInterruptMessages } from './fake-interrupts.ts'
export {
  FakeCharacterBackend,
  FakeMachine,
  type FakeMachineOptions,
  FakePciBus,
  FakePowerControl,
} from './fake-machine.ts'
export type { HeldReply, RelayChannel } from './relay-channel.ts'
export { type GuestBlock, WatchedMemory } from './watched-memory.ts'
