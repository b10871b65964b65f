/** The packages as the picture of the architecture has them: what the API site groups them by. */

/** Groups in the order of the site. */
export const GROUPS = [
  'Hypervisor',
  'Bus',
  'Synthetic pairs',
  'Emulated devices',
  'Root partition',
  'Child partition',
  'Behind the devices',
  'Contracts',
  'Plug-in kit',
] as const

/** One of {@link GROUPS}. */
export type Group = (typeof GROUPS)[number]

/** By the name of the directory in `packages/`; the first that matches. */
const RULES: readonly (readonly [pattern: RegExp, group: Group])[] = [
  [/^(hypervisor|processor-.+)$/, 'Hypervisor'],
  [/^vmbus$/, 'Bus'],
  [/^(synthetic-.+|integration-services|dynamic-memory|hvsocket)$/, 'Synthetic pairs'],
  [/^(emulated-.+|firmware|pci)$/, 'Emulated devices'],
  [/^(root-partition|cli|management|console)$/, 'Root partition'],
  [/^guest$/, 'Child partition'],
  [/^(disk-images|virtual-switch|ethernet|scsi|.+-backend)$/, 'Behind the devices'],
  [/^(interface|struct)$/, 'Contracts'],
  [/^(testkit|create-partita-plugin)$/, 'Plug-in kit'],
]

/** @throws RangeError for a package that has no place in the picture yet */
export function groupOf(name: string): Group {
  const rule = RULES.find(([pattern]) => pattern.test(name))
  if (rule === undefined)
    throw new RangeError(`packages/${name} has no group: give it one in tools/build/package-groups.ts`)
  return rule[1]
}
