// `partita plugins`: lists plug-ins by their manifests; none of them runs.

import type { PluginListing, PluginRegistry } from '@partita/root-partition'

/**
 * The listing as text: a table, or JSON.
 * @param packages npm names or paths of packages to list besides the built-in ones
 * @throws RootPartitionError `ERR_PLUGIN_UNKNOWN`, `ERR_PLUGIN_INVALID`
 */
export async function listPlugins(
  registry: PluginRegistry,
  packages: readonly string[],
  json: boolean,
): Promise<string> {
  const listings = await registry.list(packages)
  if (json) return `${JSON.stringify(listings, null, 2)}\n`
  const rows = [['NAME', 'KIND', 'VERSION', 'DESCRIPTION'], ...listings.map(row)]
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((cells) => (cells[column] as string).length)))
  return rows
    .map(
      (cells) =>
        `${cells
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

function row({ name, kind, version, description, contract, usable }: PluginListing): string[] {
  return [
    name,
    kind,
    version,
    usable ? description : `${description} (written for contract ${contract}, cannot be used)`,
  ]
}
