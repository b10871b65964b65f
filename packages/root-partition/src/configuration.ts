// The configuration of a VM: plain data, checked before anything is made of it.

import { MAXIMUM_RAM, MINIMUM_RAM, PAGE_SIZE } from '@partita/hypervisor'
import * as v from 'valibot'
import { BIOS_DEVICES, DEFAULT_DEVICES, DEFAULT_PROCESSOR, PLAIN_BIOS_DEVICES, PLAIN_DEVICES } from './built-in.ts'
import { RootPartitionError } from './error.ts'

/** A plug-in in a configuration. */
export interface PluginConfiguration {
  /** Name, npm package or path. */
  readonly plugin: string
  /** What the plug-in's own schema takes; `{}` where omitted. */
  readonly options?: unknown
  /** Its id in the VM, for messages and saved states. Its name where omitted, or `name#2`, … for further instances. */
  readonly id?: string | undefined
}

/** What a VM boots: a kernel, or firmware that looks for something to boot. Files are named as the embedder's `readFile` knows them. */
export type BootConfiguration = KernelBootConfiguration | BiosBootConfiguration

/** Firmware in a ROM, which boots from the IDE controller's drives. */
export interface BiosBootConfiguration {
  readonly type: 'bios'
  /** The image of the ROM: SeaBIOS as it is built for QEMU. */
  readonly firmware: string
  /** IDE drives to boot from, the first one first: 0 and 1 are on the primary channel, 2 and 3 on the secondary one. */
  readonly order: readonly number[]
}

/** A kernel that is put into memory. */
export interface KernelBootConfiguration {
  /** `auto` looks into the kernel's file. */
  readonly type: 'auto' | 'linux' | 'multiboot'
  /** The kernel's file: a bzImage or an ELF kernel of Linux, or a multiboot kernel. */
  readonly kernel: string
  /** Linux: the initial ramdisk. Multiboot: the first module. */
  readonly initrd?: string | undefined
  /** What the kernel is told. Empty where a configuration says nothing. */
  readonly commandLine: string
  /** Multiboot alone: further modules, each a `file` and a `commandLine` that the kernel is told of it. */
  readonly modules: readonly { readonly file: string; readonly commandLine: string }[]
}

/** A VM's configuration with nothing left out. */
export interface VmConfiguration {
  /** For people and for whoever embeds the VM; nothing depends on it. Default: `vm`. */
  readonly name: string
  /** What executes. Default: {@link DEFAULT_PROCESSOR}. */
  readonly processor: PluginConfiguration
  /** Bytes of RAM. */
  readonly memory: number
  /** How many, 1–64, where the processor has room for that many (the built-in one: 4). Default: 1. */
  readonly virtualProcessors: number
  /** What the guest sees of the hypervisor: the Hyper-V interface, or nothing, as on plain hardware. */
  readonly hypervisor: 'hyper-v' | 'none'
  /** All devices, in any order. Default: {@link DEFAULT_DEVICES}, or {@link PLAIN_DEVICES} on plain hardware. */
  readonly devices: readonly PluginConfiguration[]
  /** What to boot. Without it the VM runs only a saved state that was restored. */
  readonly boot?: BootConfiguration | undefined
  /** What the guest's request for a reset does. */
  readonly onReset: 'restart' | 'end'
  /** What a plug-in does that fails: its device is taken away and the machine goes on, or it ends the run with its error. */
  readonly onPluginFailure: 'continue' | 'end'
  /** What the guest's crash report does: it ends the run, or the guest goes on, with a dump, say. */
  readonly onGuestCrash: 'end' | 'continue'
}

const MEBIBYTE = 2 ** 20

const pluginReference = v.pipe(v.string(), v.nonEmpty('must name a plug-in'))
const plugin: v.GenericSchema<unknown, PluginConfiguration> = v.union([
  v.pipe(
    pluginReference,
    v.transform((name) => ({ plugin: name })),
  ),
  v.strictObject({
    plugin: pluginReference,
    options: v.optional(v.unknown()),
    id: v.optional(v.pipe(v.string(), v.nonEmpty())),
  }),
])

const biosBoot: v.GenericSchema<unknown, BiosBootConfiguration> = v.strictObject({
  type: v.literal('bios'),
  firmware: v.pipe(v.string(), v.nonEmpty('must name a file')),
  order: v.optional(v.array(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(3))), [0, 1, 2, 3]),
})

const kernelBoot: v.GenericSchema<unknown, KernelBootConfiguration> = v.strictObject({
  type: v.optional(v.picklist(['auto', 'linux', 'multiboot']), 'auto'),
  kernel: v.pipe(v.string(), v.nonEmpty('must name a file')),
  initrd: v.optional(v.pipe(v.string(), v.nonEmpty('must name a file'))),
  commandLine: v.optional(v.string(), ''),
  modules: v.optional(
    v.array(v.strictObject({ file: v.pipe(v.string(), v.nonEmpty()), commandLine: v.optional(v.string(), '') })),
    [],
  ),
})

// Told apart by their type, so that an issue is one of the right kind.
const boot: v.GenericSchema<unknown, BootConfiguration> = v.lazy((input) =>
  (input as { readonly type?: unknown } | null)?.type === 'bios' ? biosBoot : kernelBoot,
)

/** The schema of a VM's configuration. Memory is in bytes. */
export const vmConfigurationSchema: v.GenericSchema<unknown, VmConfiguration> = v.pipe(
  v.strictObject({
    name: v.optional(v.pipe(v.string(), v.nonEmpty()), 'vm'),
    processor: v.optional(plugin, { plugin: DEFAULT_PROCESSOR }),
    memory: v.pipe(
      v.number(),
      v.safeInteger('must be a whole number of bytes'),
      v.minValue(MINIMUM_RAM, `must be at least ${MINIMUM_RAM / MEBIBYTE} MiB`),
      v.maxValue(MAXIMUM_RAM, `must be at most ${MAXIMUM_RAM / MEBIBYTE} MiB`),
      v.multipleOf(PAGE_SIZE, `must be whole pages of ${PAGE_SIZE} bytes`),
    ),
    virtualProcessors: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(64)), 1),
    hypervisor: v.optional(v.picklist(['hyper-v', 'none']), 'hyper-v'),
    devices: v.optional(v.array(plugin)),
    boot: v.optional(boot),
    onReset: v.optional(v.picklist(['restart', 'end']), 'restart'),
    onPluginFailure: v.optional(v.picklist(['continue', 'end']), 'continue'),
    onGuestCrash: v.optional(v.picklist(['end', 'continue']), 'end'),
  }),
  v.transform(({ devices, ...configuration }) => ({
    ...configuration,
    devices: devices ?? [...defaultDevices(configuration)],
  })),
)

function defaultDevices({
  hypervisor,
  boot: what,
}: Pick<VmConfiguration, 'hypervisor' | 'boot'>): readonly PluginConfiguration[] {
  if (what?.type === 'bios') return hypervisor === 'none' ? PLAIN_BIOS_DEVICES : BIOS_DEVICES
  return hypervisor === 'none' ? PLAIN_DEVICES : DEFAULT_DEVICES
}

/**
 * Check and complete a VM's configuration.
 * @throws RootPartitionError `ERR_VM_CONFIGURATION`; the message names the first wrong place, `data.issues` all of them
 */
export function parseVmConfiguration(input: unknown): VmConfiguration {
  const result = v.safeParse(vmConfigurationSchema, input)
  if (result.success) return result.output
  const issues = result.issues.map((issue) => `${v.getDotPath(issue) ?? 'configuration'}: ${issue.message}`)
  throw new RootPartitionError('ERR_VM_CONFIGURATION', `The VM's configuration is wrong: ${issues[0]}`, {
    data: { issues },
  })
}
