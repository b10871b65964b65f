// `partita plugins`: lists plug-ins by their manifests; none of them runs.

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BUILT_IN_PACKAGES, type PluginListing, type PluginRegistry } from '@partita/root-partition'

/** How a listing is written. */
export type ListingFormat = 'table' | 'long' | 'json'

/**
 * The listing as text: a line for each plug-in, all that is known of each, or JSON. Packages that are named are told of at length.
 * @param packages npm names or paths of packages or modules to list; the built-in ones too, unless the listing is long
 * @param installed packages of which those that have plug-ins are listed too
 * @throws RootPartitionError `ERR_PLUGIN_UNKNOWN`, `ERR_PLUGIN_INVALID`
 */
export async function listPlugins(
  registry: PluginRegistry,
  packages: readonly string[],
  format: ListingFormat,
  installed: readonly string[] = [],
): Promise<string> {
  const others: string[] = []
  for (const name of installed) {
    // Most of what a project depends on is no plug-in.
    const isPlugin = !packages.includes(name) && (await registry.list([name]).catch(() => undefined)) !== undefined
    if (isPlugin) others.push(name)
  }
  const listings = await registry.list([...others, ...packages])
  if (format === 'json') return `${JSON.stringify(listings, null, 2)}\n`
  const strangers = listings.filter(({ origin }) => origin === 'package' || origin === 'path')
  if (format === 'long') return listings.map(describe).join('\n')
  const table = tableOf([
    ['NAME', 'KIND', 'VERSION', 'CONTRACT', 'FROM', 'DESCRIPTION'],
    ...listings.map(({ name, kind, version, contract, origin, description, usable }) => [
      name,
      kind,
      version,
      String(contract),
      origin,
      usable ? description : `${description} (cannot be used: ${contractProblem(contract)})`,
    ]),
  ])
  return [table, ...strangers.map(describe)].join('\n')
}

/**
 * What the `package.json` of a directory depends on, and what its `node_modules` links to, as npm does for packages of a workspace; without what belongs to Partita. A directory that has neither
 * has nothing.
 */
export async function installedPackages(directory: string): Promise<string[]> {
  const names = new Set([
    ...(await dependencies(directory)),
    ...(await linkedPackages(join(directory, 'node_modules'))),
  ])
  return [...names].filter((name) => !BUILT_IN_PACKAGES.includes(name)).sort()
}

async function dependencies(directory: string): Promise<string[]> {
  try {
    const manifest = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Partial<
      Record<'dependencies' | 'devDependencies' | 'optionalDependencies', Readonly<Record<string, string>>>
    >
    const { dependencies: needed, devDependencies, optionalDependencies } = manifest
    return Object.keys({ ...needed, ...devDependencies, ...optionalDependencies })
  } catch {
    return []
  }
}

async function linkedPackages(modules: string, scope = ''): Promise<string[]> {
  try {
    const found = await Promise.all(
      (await readdir(join(modules, scope), { withFileTypes: true })).map((entry) => {
        const name = `${scope}${entry.name}`
        if (entry.isSymbolicLink()) return [name]
        return scope === '' && entry.name.startsWith('@') ? linkedPackages(modules, `${name}/`) : []
      }),
    )
    return found.flat()
  } catch {
    return []
  }
}

function contractProblem(contract: number): string {
  return `written for contract ${contract}`
}

/** All that a manifest says. */
function describe(listing: PluginListing): string {
  const { name, kind, version, contract, usable, package: packageName, origin, location, guids, options } = listing
  const lines = [
    name,
    `  ${listing.description}`,
    `  kind      ${kind}`,
    `  version   ${version}`,
    `  contract  ${contract}${usable ? '' : ', cannot be used with this Partita'}`,
    `  from      ${packageName} (${origin === 'given' ? origin : `${origin}, ${location}`})`,
    ...guids.map(({ interfaceId, description }) => `  GUID      ${interfaceId}  ${description}`),
  ]
  const rows = Object.entries(options).map(([option, { type, description, default: preset, required }]) => [
    option,
    type,
    `${description}${required === true ? '. Required' : preset === undefined ? '' : `. Default: ${JSON.stringify(preset)}`}`,
  ])
  if (rows.length > 0)
    lines.push(
      '  options',
      ...tableOf(rows)
        .trimEnd()
        .split('\n')
        .map((line) => `    ${line}`),
    )
  return `${lines.join('\n')}\n`
}

/** Columns as wide as what is in them, without spaces at the end. */
function tableOf(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((cells) => (cells[column] as string).length)))
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
