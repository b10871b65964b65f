// What holds for every plug-in, whatever its kind: contract, manifest, options, declared services.

import { PLUGIN_CONTRACT, type Plugin, type PluginKind } from '@partita/interface'
import type { FakeMachine } from '../fake-machine.ts'
import { type ComplianceCheck, expectEqual, fail, inspect, plainCheck } from './check.ts'

/** The key `partita` of a `package.json`, as an import of the file types it: PluginManifest of `@partita/interface` without what an import cannot know. */
export interface ComplianceManifest {
  /**
   * The package's plug-ins, among them the one under test, each with `name`, `kind`, `contract`, `description` and the `export` of the package that it is.
   */
  readonly plugins: readonly {
    readonly name: string
    readonly kind: string
    readonly contract: number
    readonly description: string
    readonly export: string
  }[]
}

/** A plug-in under test. */
export interface PluginSubject {
  /** The plug-in. Each check starts fresh instances of it. */
  // biome-ignore lint/suspicious/noExplicitAny: a suite for plug-ins with any options
  readonly plugin: Plugin<any>
  /** The key `partita` of its `package.json`. */
  readonly manifest: ComplianceManifest
  /** Options that the schema takes; the suite starts the plug-in with the first. Default: `[{}]`. */
  readonly options?: readonly unknown[]
  /** Options that the schema refuses, in addition to unknown keys and what is no object. */
  readonly invalidOptions?: readonly unknown[]
}

/** The checks of a plug-in of `kind`. `boot` makes a machine that the plug-in can be started in. */
export function pluginChecks(
  subject: PluginSubject,
  kind: PluginKind,
  boot: () => Promise<FakeMachine>,
): ComplianceCheck[] {
  const { plugin, manifest } = subject
  const validOptions = subject.options ?? [{}]
  return [
    plainCheck('is a plug-in of this contract, described in one line', () => {
      expectEqual(plugin.contract, PLUGIN_CONTRACT, 'contract')
      expectEqual(plugin.kind, kind, 'kind')
      if (!/^\S.{5,98}\S$/.test(plugin.description)) fail(`description: ${plugin.description}`)
    }),
    plainCheck('is listed in the manifest of its package as it describes itself', () => {
      const entry = manifest.plugins.find(({ name }) => name === plugin.name)
      if (entry === undefined) return fail(`${plugin.name} is not in the manifest`)
      for (const key of ['name', 'kind', 'contract', 'description'] as const)
        expectEqual(entry[key], plugin[key], `${key} in the manifest`)
      if (!/^\.(\/.+)?$/.test(entry.export)) fail(`export: ${entry.export}`)
    }),
    plainCheck('takes its options and refuses others', async () => {
      for (const options of validOptions) {
        const { issues } = await plugin.options['~standard'].validate(options)
        if (issues !== undefined) fail(`${inspect(options)} is refused: ${issues[0]?.message}`)
      }
      for (const options of [{ noSuchOption: 1 }, 'text', 5, null, ...(subject.invalidOptions ?? [])]) {
        const { issues } = await plugin.options['~standard'].validate(options)
        if (issues === undefined) fail(`${inspect(options)} is taken`)
      }
    }),
    plainCheck('asks only for services that it has declared, and starts with every set of options', async () => {
      for (const options of validOptions) {
        await using machine = await boot()
        await machine.start(plugin, options)
      }
    }),
  ]
}
