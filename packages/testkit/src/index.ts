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
export { type DeviceAccess, deviceAccesses, performAccess } from './device-access.ts'
export {
  type ComplianceCheck,
  type EmulatedDeviceSubject,
  emulatedDeviceChecks,
  emulatedDeviceCompliance,
} from './emulated-device-compliance.ts'
export { type Claim, FakeMmio, FakePortIo } from './fake-bus.ts'
export { FakeClock } from './fake-clock.ts'
export { FakeGuestMemory } from './fake-guest-memory.ts'
export { FakeInterruptLines, FakeInterruptMessages } from './fake-interrupts.ts'
export {
  FakeCharacterBackend,
  FakeMachine,
  type FakeMachineOptions,
  FakePciBus,
  FakePowerControl,
} from './fake-machine.ts'
