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

export { createProcessor, type ProcessorOptions } from './processor.ts'
export { ProcessorError } from './processor-error.ts'
export type { CompileJob, CompileResult, RegionCompiler } from './translator/compilation.ts'
export type { ConsolidationOptions } from './translator/consolidation.ts'
export { TRANSLATION_DEFAULTS, type TranslationOptions } from './translator/translator.ts'

/** Options of the plug-in. */
export interface ProcessorPluginOptions {
  /** `off`: everything is interpreted. */
  readonly translation?: 'on' | 'off'
  /** Count instructions by region of translated code, for what the processor tells of itself. */
  readonly statistics?: boolean
}

/** The plug-in: provides the processor. */
const plugin: Plugin<ProcessorPluginOptions> = definePlugin({
  name: '@partita/processor-x86',
  kind: 'processor',
  contract: PLUGIN_CONTRACT,
  description: 'Software x86-64 processor: interpreter and translator to WebAssembly',
  options: {
    '~standard': {
      version: 1,
      vendor: 'partita',
      validate(value) {
        const given = value ?? {}
        if (typeof given !== 'object' || given === null) return { issues: [{ message: 'Options are an object' }] }
        const { translation, statistics, ...others } = given as Record<string, unknown>
        const [unknown] = Object.keys(others)
        if (unknown !== undefined) return { issues: [{ message: 'There is no such option', path: [unknown] }] }
        if (translation !== undefined && translation !== 'on' && translation !== 'off')
          return { issues: [{ message: 'Must be "on" or "off"', path: ['translation'] }] }
        if (statistics !== undefined && typeof statistics !== 'boolean')
          return { issues: [{ message: 'Must be true or false', path: ['statistics'] }] }
        return { value: given as ProcessorPluginOptions }
      },
    },
  },
  needs: [],
  provides: [processorToken],
  create({ options: { translation = 'on', statistics = false } }) {
    return {
      services: { [processorToken.name]: createProcessor({ translation: { mode: translation }, statistics }) },
      async [Symbol.asyncDispose]() {},
    }
  },
})
export default plugin
