/**
 * A child operating system in TypeScript, and what boots it: `bootGuest` makes a virtual machine whose processor runs TypeScript instead of machine code, with the devices and drivers
 * that it is given.
 *
 * @example
 * ```ts
 * import { bootGuest } from '@partita/guest'
 *
 * await using guest = await bootGuest({ disks: { disk0: new MemoryDisk(8192) } })
 * const controller = await guest.device(storageDriver)
 * await controller.disk(0).write(0, new Uint8Array(512))
 * ```
 * @packageDocumentation
 */
export { type BootGuestOptions, bootGuest, Guest, type ProviderConfiguration } from './harness/boot-guest.ts'
export { VirtualTime } from './harness/virtual-time.ts'
export { GuestError } from './kernel/guest-error.ts'
export { type FindOptions, Kernel, type KernelOptions } from './kernel/kernel.ts'
