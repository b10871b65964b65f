/**
 * Writes plug-ins for Partita: packages with a working example device, its tests and a README. `npm create partita-plugin` is the usual way to it.
 *
 * @example
 * ```ts
 * import { generatePlugin } from 'create-partita-plugin'
 *
 * const { directory, files } = generatePlugin({ kind: 'emulated-device', name: 'my-device', parent: process.cwd() })
 * console.log(directory, files)
 * ```
 * @packageDocumentation
 */
export { type GeneratedPackage, type GenerateOptions, generatePlugin, KINDS, type Kind } from './generate.ts'
export { GeneratorError, type GeneratorErrorCode } from './generator-error.ts'
