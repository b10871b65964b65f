// The software processor as the hypervisor's contract wants it.

import type { PartitionMemory, Processor, VirtualProcessor, VirtualProcessorOptions } from '@partita/interface'
import { APIC_TIMER_FREQUENCY } from './local-apic.ts'
import { MAXIMUM_RAM, SoftwareMemory } from './memory.ts'
import { TSC_FREQUENCY } from './msr.ts'
import { ProcessorError } from './processor-error.ts'
import type { TranslationOptions } from './translator/translator.ts'
import { SoftwareVirtualProcessor } from './virtual-processor.ts'

/** What {@link createProcessor} takes. */
export interface ProcessorOptions {
  readonly translation?: TranslationOptions
}

/**
 * Make a software processor: x86-64, interpreted by generated WebAssembly. It needs nothing of the host but WebAssembly with SIMD and shared memory.
 *
 * @example
 * ```ts
 * const processor = createProcessor()
 * const memory = processor.createMemory(64 * 1024 * 1024)
 * ```
 */
export function createProcessor(options: ProcessorOptions = {}): Processor {
  const translation: TranslationOptions = options.translation ?? { mode: 'off' }
  return {
    name: 'software-x86-64',
    maximumRam: MAXIMUM_RAM,
    timeStampFrequency: TSC_FREQUENCY,
    apicTimerFrequency: APIC_TIMER_FREQUENCY,
    createMemory(ramSize: number): PartitionMemory {
      if (!Number.isInteger(ramSize) || ramSize <= 0 || ramSize > MAXIMUM_RAM || ramSize % 4096 !== 0) {
        throw new ProcessorError(
          'ERR_PROCESSOR_MEMORY',
          `${ramSize} bytes is not a size of memory for this processor`,
          {
            hint: `Whole pages, at most ${MAXIMUM_RAM / 1048576} MiB.`,
          },
        )
      }
      return new SoftwareMemory(ramSize)
    },
    createVirtualProcessor(vp: VirtualProcessorOptions): VirtualProcessor {
      const { memory } = vp
      if (!(memory instanceof SoftwareMemory)) {
        throw new ProcessorError('ERR_PROCESSOR_MEMORY', 'The memory was made by another processor')
      }
      return new SoftwareVirtualProcessor({ ...vp, memory, translation })
    },
  }
}
