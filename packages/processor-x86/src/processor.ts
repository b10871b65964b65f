// The software processor as the hypervisor's contract wants it.

import type { PartitionMemory, Processor, VirtualProcessor, VirtualProcessorOptions } from '@partita/interface'
import { APIC_TIMER_FREQUENCY } from './local-apic.ts'
import { MAXIMUM_RAM, SoftwareMemory } from './memory.ts'
import { TSC_FREQUENCY } from './msr.ts'
import { ProcessorError } from './processor-error.ts'
import { type ThreadCompiler, threadCompiler } from './translator/thread-compiler.ts'
import type { TranslationOptions } from './translator/translator.ts'
import { SoftwareVirtualProcessor } from './virtual-processor.ts'

/** What {@link createProcessor} takes. */
export interface ProcessorOptions {
  /** How code is executed; see {@link TranslationOptions}. By default hot code is translated, on a thread of its own where there can be one. */
  readonly translation?: TranslationOptions
  /** Count instructions by region, for {@link VirtualProcessor.describe}; a little slower. */
  readonly statistics?: boolean
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
  const { statistics = false } = options
  const given: TranslationOptions = options.translation ?? { mode: 'on' }
  // one thread for all virtual processors, from the first to the last
  let compiler: ThreadCompiler | undefined
  let users = 0
  const release = (): void => {
    if (--users > 0) return
    compiler?.[Symbol.dispose]()
    compiler = undefined
  }
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
      if (given.mode === 'off' || given.threshold === 1 || given.compiler !== undefined) {
        return new SoftwareVirtualProcessor({ ...vp, memory, translation: given, statistics })
      }
      if (users++ === 0) compiler = threadCompiler()
      return new SoftwareVirtualProcessor({
        ...vp,
        memory,
        translation: { ...given, compiler },
        statistics,
        onDispose: release,
      })
    },
  }
}
