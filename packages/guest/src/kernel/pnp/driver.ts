// Drivers, and the registry that finds one for a device by what the device calls itself.

import type { SavedValue } from '@partita/interface'
import type { VscDriver, VscInstance } from '@partita/vmbus/client'
import { GuestError } from '../guest-error.ts'
import type { DeviceNode } from './device-node.ts'

/**
 * A driver as the Plug and Play manager knows it. `device` is what the bus gives for the device; a bus' own driver adds the devices on it to `node`.
 */
export interface Driver {
  /** For the device tree. */
  readonly name: string
  /** `acpi:VMBUS`, `vmbus:ba6163d9-…` */
  readonly hardwareIds: readonly string[]
  /** Bind to a device. */
  start(device: unknown, node: DeviceNode): Promise<VscInstance>
  /** Go on with a device of a saved state. */
  restore?(device: unknown, saved: SavedValue, node: DeviceNode): Promise<VscInstance>
}

/** Drivers by hardware id. */
export class DriverRegistry {
  readonly #drivers = new Map<string, Driver>()
  readonly #vsc = new Map<VscDriver, Driver>()

  /** @throws GuestError `ERR_GUEST_DRIVER` when another driver is there for one of its devices */
  add(driver: Driver): void {
    for (const id of driver.hardwareIds) {
      const other = this.#drivers.get(id)
      if (other !== undefined)
        throw new GuestError('ERR_GUEST_DRIVER', `The drivers ${other.name} and ${driver.name} are both for ${id}`, {
          data: { hardwareId: id },
        })
    }
    for (const id of driver.hardwareIds) this.#drivers.set(id, driver)
  }

  /** A driver for devices on the VMBus. @throws GuestError `ERR_GUEST_DRIVER` */
  addVsc(vsc: VscDriver): void {
    const { restore } = vsc
    const driver: Driver = {
      name: vsc.name,
      hardwareIds: vsc.interfaceIds.map(vmbusHardwareId),
      start: (device) => vsc.start(device as never),
      ...(restore && { restore: (device, saved) => restore.call(vsc, device as never, saved) }),
    }
    this.add(driver)
    this.#vsc.set(vsc, driver)
  }

  /** What a VSC driver is here. */
  driverOf(vsc: VscDriver): Driver | undefined {
    return this.#vsc.get(vsc)
  }

  /** The driver for a device. */
  find(hardwareId: string): Driver | undefined {
    return this.#drivers.get(hardwareId)
  }
}

/** The hardware id of a device on the VMBus. */
export function vmbusHardwareId(interfaceId: string): string {
  return `vmbus:${interfaceId.toLowerCase()}`
}
