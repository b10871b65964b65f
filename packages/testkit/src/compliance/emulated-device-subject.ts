// What the suite for emulated devices needs to know of one, and what checks do with it again and again.

import type { PluginInstance, SavedState } from '@partita/interface'
import fc from 'fast-check'
import { FakeMachine } from '../fake-machine.ts'
import {
  type ComplianceCheck,
  type ComplianceOptions,
  complianceSeed,
  fail,
  messageOf,
  multiplier,
  plainCheck,
} from './check.ts'
import { type DeviceAccess, performAccess } from './device-access.ts'
import type { PluginSubject } from './plugin-checks.ts'

/** How a device interrupts. */
export interface InterruptScenario {
  /** For messages: `transmitter empty`. */
  readonly name: string
  /** The global system interrupt. */
  readonly gsi: number
  /** What a guest, or the time, does so that the device asserts its line. */
  readonly raise: (machine: FakeMachine) => void | Promise<void>
  /** The same without the guest having asked for interrupts: the line stays as it is. Default: not tested. */
  readonly cause?: (machine: FakeMachine) => void | Promise<void>
  /** What a guest does so that the device lets go of it. */
  readonly acknowledge: (machine: FakeMachine) => void | Promise<void>
}

/** An emulated device under test. */
export interface EmulatedDeviceSubject extends PluginSubject, ComplianceOptions {
  /** Provide services that the device needs beyond those of {@link FakeMachine}. `twin` is a machine whose saved state this one will be given. */
  readonly prepare?: (machine: FakeMachine, twin?: FakeMachine) => void | Promise<void>
  /** How it interrupts: each line that stays asserted until a guest has dealt with it. Default: none are tested. */
  readonly interrupts?: readonly InterruptScenario[]
  /** Keys of its saved state that a reset leaves alone, as memory behind a battery. Default: none. */
  readonly keepsOverReset?: readonly string[]
  /** Largest saved state in bytes, about. Default: 4096. */
  readonly maximumState?: number
  /** Runs of each random check. Default: 100. */
  readonly runs?: number
}

/** A started device. */
export interface StartedDevice extends AsyncDisposable {
  readonly machine: FakeMachine
  readonly instance: PluginInstance
}

/** A subject at work. */
export class DeviceBench {
  readonly subject: EmulatedDeviceSubject
  readonly runs: number

  constructor(subject: EmulatedDeviceSubject) {
    this.subject = subject
    this.runs = subject.runs ?? 100
  }

  /** A machine with what the device needs. */
  async machine(twin?: FakeMachine): Promise<FakeMachine> {
    const machine = new FakeMachine()
    await this.subject.prepare?.(machine, twin)
    return machine
  }

  /** A fresh device, in a machine whose time is that of `twin`. */
  async start(twin?: FakeMachine, options: unknown = this.subject.options?.[0] ?? {}): Promise<StartedDevice> {
    const machine = await this.machine(twin)
    if (twin !== undefined) machine.clock.skip(twin.clock.now())
    const instance = await machine.start(this.subject.plugin, options)
    return { machine, instance, [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose]() }
  }

  /** Let `accesses` happen, and complete what they began. */
  async perform(device: StartedDevice, accesses: readonly DeviceAccess[]): Promise<void> {
    for (const access of accesses) await performAccess(device.machine, device.instance, access)
    await this.pause(device)
  }

  /** The partition stops and runs again: what is under way is complete. */
  async pause({ machine, instance }: StartedDevice): Promise<void> {
    await performAccess(machine, instance, { type: 'pause' })
  }

  /** A device with the state, the memory and the time of another, whose state is `state`. */
  async copy(original: StartedDevice, state: SavedState): Promise<StartedDevice> {
    const copy = await this.start(original.machine)
    copy.machine.memory.bytes.set(original.machine.memory.bytes)
    copy.machine.console.adopt(original.machine.console)
    if (copy.instance.restore === undefined) fail('there is no restore()')
    copy.instance.restore(state)
    return copy
  }

  /** A check of a property, made from the suite's seed; what fails is made as short as it gets. */
  property(name: string, runs: number, property: () => fc.IAsyncProperty<unknown>): ComplianceCheck {
    return plainCheck(name, async () => {
      const { seed } = complianceSeed(this.subject)
      try {
        await fc.assert(property(), { numRuns: Math.max(1, Math.ceil(runs * multiplier())), seed })
      } catch (error) {
        const cause = error instanceof Error && error.cause !== undefined ? `${messageOf(error.cause)}\n` : ''
        fail(`${cause}${messageOf(error)}\nPARTITA_SEED=${seed} repeats it.`, error)
      }
    })
  }
}
