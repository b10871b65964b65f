/**
 * The child operating system itself: a program for `@partita/processor-typescript`. It knows nothing of the host that it runs in.
 *
 * @example
 * ```ts
 * import { Kernel } from '@partita/guest/kernel'
 * import { typeScriptProcessor } from '@partita/processor-typescript'
 * import { storageDriver } from '@partita/synthetic-storage/vsc'
 *
 * const processor = typeScriptProcessor(() => new Kernel({ drivers: [storageDriver] }))
 * ```
 * @packageDocumentation
 */
export type { AcpiDevice } from './acpi/namespace.ts'
export type { AcpiResource } from './acpi/resources.ts'
export { kernelImage } from './boot/boot-information.ts'
export { GuestError } from './guest-error.ts'
export { type FindOptions, Kernel, type KernelOptions } from './kernel.ts'
export type { DeviceDescription, DeviceNode, DeviceState } from './pnp/device-node.ts'
export type { Driver, DriverRegistry } from './pnp/driver.ts'
export type { PnpManager, PnpOptions } from './pnp/pnp-manager.ts'
