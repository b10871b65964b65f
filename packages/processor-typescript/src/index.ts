/**
 * A logical processor that runs TypeScript instead of machine code: a program is a coroutine, and gets to the hypervisor by the same intercepts as a real guest (CPUID, MSRs,
 * hypercalls, ports, MMIO), and takes interrupts by vector from a local APIC.
 *
 * @example
 * ```ts
 * import { createTypeScriptProcessor } from '@partita/processor-typescript'
 *
 * const processor = createTypeScriptProcessor(() => ({
 *   *run(cpu) {
 *     cpu.portWrite(0xf4, 4, cpu.cpuid(0x4000_0000).eax & 0xff)
 *     yield 'halt'
 *   },
 * }))
 * ```
 * @packageDocumentation
 */
import { definePlugin, PLUGIN_CONTRACT, type Plugin, type Processor, processorToken } from '@partita/interface'
import { MAXIMUM_RAM, TypeScriptMemory } from './memory.ts'
import { ProcessorError } from './processor-error.ts'
import type { ProgramFactory } from './program.ts'
import { TSC_FREQUENCY, TypeScriptVirtualProcessor } from './virtual-processor.ts'

export type { Cpu, CpuidAnswer } from './cpu.ts'
export { CpuException, EXCEPTION } from './exception.ts'
export type { TypeScriptMemory } from './memory.ts'
export { ProcessorError } from './processor-error.ts'
export type { Program, ProgramFactory, Step } from './program.ts'

/** The name of the plug-in that {@link typeScriptProcessor} makes. */
export const TYPESCRIPT_PROCESSOR = '@partita/processor-typescript'

/** Hz at which the local APIC's timer would count, if it had one. */
const APIC_TIMER_FREQUENCY = 1_000_000_000

/** Make a processor that runs `program`. */
export function createTypeScriptProcessor(program: ProgramFactory): Processor {
  return {
    name: 'typescript',
    maximumRam: MAXIMUM_RAM,
    timeStampFrequency: TSC_FREQUENCY,
    apicTimerFrequency: APIC_TIMER_FREQUENCY,
    createMemory: (ramSize) => new TypeScriptMemory(ramSize),
    createVirtualProcessor(options) {
      const { memory } = options
      if (!(memory instanceof TypeScriptMemory))
        throw new ProcessorError('ERR_PROCESSOR_MEMORY', 'The memory was made by another processor')
      return new TypeScriptVirtualProcessor({ ...options, memory, program })
    },
  }
}

/**
 * The plug-in of a processor that runs `program`. A program is code, and no part of a configuration: give the plug-in to the registry of whoever embeds the VM.
 *
 * @example
 * ```ts
 * const registry = new PluginRegistry({ source, plugins: [typeScriptProcessor(() => new MyKernel())] })
 * const vm = await VirtualMachine.create({ processor: TYPESCRIPT_PROCESSOR, memory, boot }, { registry, readFile })
 * ```
 */
export function typeScriptProcessor(program: ProgramFactory): Plugin<Record<string, never>> {
  return definePlugin({
    name: TYPESCRIPT_PROCESSOR,
    kind: 'processor',
    contract: PLUGIN_CONTRACT,
    description: 'A processor that runs TypeScript instead of machine code',
    options: {
      '~standard': {
        version: 1,
        vendor: 'partita',
        validate: (value) =>
          value === undefined || (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
            ? { value: {} }
            : { issues: [{ message: 'The processor has no options' }] },
      },
    },
    needs: [],
    provides: [processorToken],
    create: () => ({
      services: { [processorToken.name]: createTypeScriptProcessor(program) },
      async [Symbol.asyncDispose]() {},
    }),
  })
}
