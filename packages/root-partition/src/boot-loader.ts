// Puts what a configuration boots into the partition: reads the files through the embedder, and hands them to the firmware's loaders.

import { type AcpiConfiguration, type LoadedKernel, loadKernel, loadLinux, loadMultiboot } from '@partita/firmware'
import type { Partition } from '@partita/hypervisor'
import { type Logger, PartitaError, type VirtualProcessor } from '@partita/interface'
import type { BootConfiguration } from './configuration.ts'
import { RootPartitionError } from './error.ts'

/** Reads a file of the configuration by its name. */
export type ReadFile = (name: string) => Promise<Uint8Array>

const LOADERS = { auto: loadKernel, linux: loadLinux, multiboot: loadMultiboot } as const

/**
 * Load a kernel, and set the boot processor, which is in its power-on state, to its entry.
 * @throws RootPartitionError `ERR_FILE_UNREADABLE`; FirmwareError any of its codes
 */
export async function loadBootImage(
  partition: Partition,
  boot: BootConfiguration,
  readFile: ReadFile,
  acpi: AcpiConfiguration | false,
  logger: Logger,
): Promise<LoadedKernel> {
  const kernel = await read(readFile, boot.kernel, 'kernel')
  const initrd = boot.initrd === undefined ? undefined : await read(readFile, boot.initrd, 'initial ramdisk')
  const modules = []
  for (const { file, commandLine } of boot.modules)
    modules.push({ bytes: await read(readFile, file, 'module'), commandLine })
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
  logger.log('debug', 'Kernel loaded', {
    kind: loaded.kind,
    entry: loaded.entry,
    decompressedBy: loaded.decompressedBy,
  })
  return loaded
}

async function read(readFile: ReadFile, name: string, what: string): Promise<Uint8Array> {
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
