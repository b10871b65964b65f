// Puts what a configuration boots into the partition: reads the files through the embedder, and hands them to the firmware's loaders, or puts firmware into its ROM.

import {
  type AcpiConfiguration,
  checkBiosImage,
  configureBios,
  ideBootPath,
  installSmbios,
  type LoadedKernel,
  loadKernel,
  loadLinux,
  loadMultiboot,
  type SmbiosConfiguration,
} from '@partita/firmware'
import type { Partition } from '@partita/hypervisor'
import { type FirmwareConfiguration, type Logger, PartitaError, type VirtualProcessor } from '@partita/interface'
import type { BiosBootConfiguration, KernelBootConfiguration, VmConfiguration } from './configuration.ts'
import { RootPartitionError } from './error.ts'

/**
 * Reads a file of the configuration by its name. Bytes with a `[Symbol.dispose]` are disposed of as soon as they are in the partition's memory: a kernel and its ramdisk are tens of
 * megabytes, which a garbage collector may leave for long.
 */
export type ReadFile = (name: string) => Promise<Uint8Array & Partial<Disposable>>

/** Guests know a machine of Hyper-V by this, besides CPUID: Linux leaves the disks of an emulated IDE controller to the VMBus then (ata_piix). */
const HYPER_V_MANUFACTURER = 'Microsoft Corporation'

/** What SMBIOS tells of a partition. */
function describeSystem(partition: Partition, hypervisor: VmConfiguration['hypervisor']): SmbiosConfiguration {
  return {
    ramSize: partition.memory.ramSize,
    processors: partition.virtualProcessors.length,
    ...(hypervisor === 'hyper-v' && { manufacturer: HYPER_V_MANUFACTURER }),
  }
}

const LOADERS = { auto: loadKernel, linux: loadLinux, multiboot: loadMultiboot } as const

/**
 * Load a kernel, and set the boot processor, which is in its power-on state, to its entry.
 * @throws RootPartitionError `ERR_FILE_UNREADABLE`; FirmwareError any of its codes
 */
export async function loadBootImage(
  partition: Partition,
  boot: KernelBootConfiguration,
  readFile: ReadFile,
  acpi: AcpiConfiguration | false,
  hypervisor: VmConfiguration['hypervisor'],
  logger: Logger,
): Promise<LoadedKernel> {
  using files = new DisposableStack()
  const file = async (name: string, what: string): Promise<Uint8Array> => {
    const bytes = await read(readFile, name, what)
    files.defer(() => bytes[Symbol.dispose]?.())
    return bytes
  }
  const kernel = await file(boot.kernel, 'kernel')
  const initrd = boot.initrd === undefined ? undefined : await file(boot.initrd, 'initial ramdisk')
  const modules = []
  for (const { file: name, commandLine } of boot.modules)
    modules.push({ bytes: await file(name, 'module'), commandLine })
  const loaded = await LOADERS[boot.type]({
    memory: partition.memory,
    vp: partition.virtualProcessors[0] as VirtualProcessor,
    kernel,
    initrd,
    modules,
    commandLine: boot.commandLine,
    acpi,
    logger,
  })
  if (acpi !== false) installSmbios(partition.memory, describeSystem(partition, hypervisor))
  logger.log('debug', 'Kernel loaded', {
    kind: loaded.kind,
    entry: loaded.entry,
    decompressedBy: loaded.decompressedBy,
  })
  return loaded
}

/**
 * Put firmware into the partition's ROM, and tell it through `target` about the machine. It stays there over resets; the boot processor's first instruction is in it.
 * @throws RootPartitionError `ERR_FILE_UNREADABLE`, `ERR_VM_CONFIGURATION`; FirmwareError `ERR_FIRMWARE_IMAGE`, `ERR_ACPI_CONFIGURATION`
 */
export async function installFirmware(
  partition: Partition,
  boot: BiosBootConfiguration,
  readFile: ReadFile,
  target: FirmwareConfiguration | undefined,
  acpi: AcpiConfiguration | false,
  hypervisor: VmConfiguration['hypervisor'],
): Promise<void> {
  if (target === undefined) {
    throw new RootPartitionError(
      'ERR_VM_CONFIGURATION',
      'The VM has nothing that its firmware could read its configuration from',
      {
        hint: 'Add the device @partita/emulated-fw-cfg.',
      },
    )
  }
  const rom = await read(readFile, boot.firmware, 'firmware')
  checkBiosImage(rom)
  partition.shadowRam.setRom(rom)
  configureBios(target, {
    ...describeSystem(partition, hypervisor),
    acpi,
    serialConsole: acpi === false ? undefined : acpi.serialPorts?.[0]?.port,
    bootOrder: boot.order.map((drive) => ideBootPath(drive)),
  })
}

async function read(readFile: ReadFile, name: string, what: string): ReturnType<ReadFile> {
  try {
    return await readFile(name)
  } catch (cause) {
    if (cause instanceof PartitaError) throw cause
    throw new RootPartitionError(
      'ERR_FILE_UNREADABLE',
      `The ${what} ${name} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        cause,
        data: { file: name },
      },
    )
  }
}
