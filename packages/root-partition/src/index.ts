/**
 * The virtualization stack: plug-in registry, VM configuration, memory manager, state units, and virtual machines from their configuration to
 * their outcome. `./node` finds plug-in packages with Node's module resolution.
 *
 * @example
 * ```ts
 * import { PluginRegistry, VirtualMachine } from '@partita/root-partition'
 * import { NodePackageSource } from '@partita/root-partition/node'
 *
 * const registry = new PluginRegistry({ source: new NodePackageSource({ directory: process.cwd() }) })
 * await using vm = await VirtualMachine.create({ memory: 64 * 2 ** 20, boot: { kernel: 'test.elf' } }, { registry, readFile })
 * const outcome = await vm.run()
 * ```
 * @packageDocumentation
 */
export type { ReadFile } from './boot-loader.ts'
export {
  BIOS_DEVICES,
  BUILT_IN_PACKAGES,
  DEFAULT_DEVICES,
  DEFAULT_PROCESSOR,
  type DefaultDevice,
  GENERATION_1_DEVICES,
  PLAIN_BIOS_DEVICES,
  PLAIN_DEVICES,
  PLAIN_GENERATION_1_DEVICES,
} from './built-in.ts'
export {
  type BiosBootConfiguration,
  type BootConfiguration,
  type KernelBootConfiguration,
  type PluginConfiguration,
  parseVmConfiguration,
  type VmConfiguration,
  vmConfigurationSchema,
} from './configuration.ts'
export { RootPartitionError, type RootPartitionErrorCode } from './error.ts'
export { MemoryManager } from './memory-manager.ts'
export type { FoundPackage, PackageSource } from './package-source.ts'
export type { HostTimer } from './patience.ts'
export type { PluginFailure, PluginGuard, PluginScope, PluginTracker } from './plugin-guard.ts'
export { PluginHost, type PluginHostOptions, type StartedPlugin } from './plugin-host.ts'
export { type PackageManifest, PLUGIN_KINDS, parsePackageManifest } from './plugin-manifest.ts'
export { type PlannedPlugin, type PluginPlanOptions, type PluginRequest, planPlugins } from './plugin-plan.ts'
export { type PluginListing, PluginRegistry, type PluginRegistryOptions } from './plugin-registry.ts'
export type { SavedMachine } from './saved-machine.ts'
export { StateUnits } from './state-units.ts'
export { VirtualMachine, type VirtualMachineServices, type VmOutcome, type VmState } from './virtual-machine.ts'
