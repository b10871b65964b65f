/**
 * A software x86-64 logical processor: decoder, instruction semantics, paging, exceptions, local APIC and an interpreter in generated WebAssembly.
 * It plugs into `@partita/hypervisor` behind the contract of `@partita/interface`.
 *
 * @example
 * ```ts
 * import { createProcessor } from '@partita/processor-x86'
 *
 * const processor = createProcessor()
 * console.log(processor.name, processor.maximumRam)
 * ```
 * @packageDocumentation
 */
import { definePlugin, PLUGIN_CONTRACT, type Plugin, processorToken } from '@partita/interface'
import { createProcessor } from './processor.ts'

export { createProcessor } from './processor.ts'
export { ProcessorError } from './processor-error.ts'

/** The plug-in: provides the processor. It has no options. */
const plugin: Plugin<Record<string, never>> = definePlugin({
  name: '@partita/processor-x86',
  kind: 'processor',
  contract: PLUGIN_CONTRACT,
  description: 'Software x86-64 processor, interpreted by generated WebAssembly',
  options: {
    '~standard': {
      version: 1,
      vendor: 'partita',
      validate(value) {
        if (value === undefined || (typeof value === 'object' && value !== null && Object.keys(value).length === 0))
          return { value: {} }
        return { issues: [{ message: 'The processor has no options' }] }
      },
    },
  },
  needs: [],
  provides: [processorToken],
  create() {
    return {
      services: { [processorToken.name]: createProcessor() },
      async [Symbol.asyncDispose]() {},
    }
  },
})
export default plugin
