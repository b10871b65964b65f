// What a virtualization service client (VSC) is to the operating system that loads it: a driver, found by the GUID of the interface that a device offers.

import type { SavedValue } from '@partita/interface'
import type { VscDevice } from './vsc-device.ts'

/** Something behind a device, as a device tree shows it: a disk of a controller. */
export interface DeviceChild {
  /** Distinguishes it from its siblings: `lun0`. */
  readonly id: string
  /** For people. */
  readonly description: string
}

/**
 * A driver that is bound to a device. Everything is optional: a driver without `suspend` is started anew on resume, with a new instance.
 */
export interface VscInstance {
  /** Complete what is under way, and hold back what comes; then close the channels ({@link VscDevice.close} does, after this). */
  suspend?(): void | Promise<void>
  /** Open the device again and go on: the instance that programs hold stays the same. */
  resume?(device: VscDevice): void | Promise<void>
  /** The device is gone, or the driver is not wanted any more: fail what waits. Nothing more is called. */
  stop?(): void
  /** What hangs on the device. Say {@link VscDevice.changed} when it is not the same any more. */
  children?(): readonly DeviceChild[]
  /** Plain data for {@link VscDriver.restore}. What waits for an answer is not part of it. */
  save?(): SavedValue
}

/**
 * A driver for devices on the VMBus.
 *
 * @example
 * ```ts
 * export const echoDriver = defineVscDriver({
 *   name: 'echo',
 *   interfaceIds: ['b8c4d2b0-…'],
 *   async start(device) {
 *     const requests = new ChannelRequests(await device.open())
 *     return { echo: (text: Uint8Array) => requests.send(text) }
 *   },
 * })
 * ```
 */
export interface VscDriver<Instance extends object = object> {
  /** For the device tree. */
  readonly name: string
  /** GUIDs of the interfaces that it drives, text in lower case. */
  readonly interfaceIds: readonly string[]
  /** Bind to a device. What it throws leaves the device without a driver, and is shown in the device tree. */
  start(device: VscDevice): Promise<Instance & VscInstance>
  /** Bind to a device whose channels are open, after the VM was restored from a saved state. Without it, the device is closed and started anew. */
  restore?(device: VscDevice, saved: SavedValue | undefined): Promise<Instance & VscInstance>
}

/** Type-checks a driver and gives it back. */
export function defineVscDriver<Instance extends object>(driver: VscDriver<Instance>): VscDriver<Instance> {
  return driver
}
