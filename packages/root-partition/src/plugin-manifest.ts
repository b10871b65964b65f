// The manifest of a plug-in package: key `partita` of its package.json. Reading it runs nothing of the package.

import type { PluginKind, PluginManifest } from '@partita/interface'
import * as v from 'valibot'
import { RootPartitionError } from './error.ts'

/** The kinds of the contract. */
export const PLUGIN_KINDS: readonly PluginKind[] = [
  'processor',
  'emulated-device',
  'vsp',
  'firmware',
  'disk-format',
  'network-backend',
  'service',
]

// Listings show it: one line, and nothing that a terminal obeys.
const line = v.pipe(v.string(), v.regex(/^\P{Cc}*$/u, 'must be one line of plain text'))
/** A name: text that messages and listings can show. */
export const word: v.GenericSchema<string> = v.pipe(line, v.nonEmpty())
const guid = v.pipe(v.string(), v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'must be a GUID'))

const manifestSchema: v.GenericSchema<unknown, PluginManifest> = v.object({
  plugins: v.array(
    v.object({
      name: word,
      kind: v.picklist(PLUGIN_KINDS),
      contract: v.pipe(v.number(), v.safeInteger()),
      description: line,
      export: v.pipe(v.string(), v.regex(/^\.(\/.+)?$/, 'must be "." or "./…"')),
      guids: v.exactOptional(v.array(v.object({ interfaceId: guid, description: line }))),
      options: v.exactOptional(
        v.record(
          line,
          v.object({
            type: word,
            description: line,
            default: v.exactOptional(v.unknown()),
            required: v.exactOptional(v.boolean()),
          }),
        ),
      ),
    }),
  ),
})

const packageSchema = v.object({
  name: word,
  version: v.optional(line, '0.0.0'),
  partita: manifestSchema,
})

/** What a `package.json` says of its plug-ins. */
export interface PackageManifest {
  /** The package's npm name. */
  readonly name: string
  /** The package's version; `0.0.0` where it has none. */
  readonly version: string
  /** The plug-ins of its key `partita`. */
  readonly plugins: PluginManifest['plugins']
}

/**
 * Read the content of a `package.json`.
 * @throws RootPartitionError `ERR_PLUGIN_INVALID` when it has no manifest or a wrong one
 */
export function parsePackageManifest(json: unknown, location: string): PackageManifest {
  if (typeof json === 'object' && json !== null && !('partita' in json)) {
    throw new RootPartitionError(
      'ERR_PLUGIN_INVALID',
      `${location} has no plug-ins: its package.json has no key "partita"`,
      {
        data: { location },
      },
    )
  }
  const result = v.safeParse(packageSchema, json)
  if (!result.success) {
    const issue = result.issues[0]
    throw new RootPartitionError(
      'ERR_PLUGIN_INVALID',
      `The plug-in manifest of ${location} is wrong at ${v.getDotPath(issue) ?? 'its root'}: ${issue.message}`,
      {
        data: { location },
      },
    )
  }
  const { name, version, partita } = result.output
  return { name, version, plugins: partita.plugins }
}
