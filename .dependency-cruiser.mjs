/**
 * Package boundaries, as `docs/architecture.md` draws them: a package imports only from floors below its own,
 * a synthetic device's child side (`vsc`) never imports its root side (`vsp`), and Node's built-ins stay out of
 * the packages that are to run in a browser, except in `*.node.ts`. Tests may import what they like.
 */

/** The packages of each floor, lowest first. A new package gets its place here, or the check fails. */
const FLOORS = [
  ['interface', 'struct'],
  ['hypervisor', 'processor-x86', 'processor-typescript'],
  ['vmbus', 'ethernet', 'scsi', 'pci'],
  [
    'synthetic-storage',
    'synthetic-network',
    'synthetic-keyboard',
    'synthetic-mouse',
    'synthetic-video',
    'integration-services',
    'dynamic-memory',
    'hvsocket',
    'emulated-ide',
    'emulated-ps2',
    'emulated-serial',
    'emulated-chipset',
    'emulated-fw-cfg',
    'disk-images',
    'virtual-switch',
    'firmware',
  ],
  ['root-partition'],
  // The guest's kernel needs none of that; what boots it makes a virtual machine of the root partition.
  ['guest'],
  // The compliance suites drive devices through the root partition's registry, so they stand above it.
  ['testkit'],
  ['cli', 'management', 'console', 'create-partita-plugin'],
]

/** From this floor up, packages run in Node and may use its built-ins anywhere. */
const FIRST_NODE_FLOOR = 4

/** Files that are exempt: tests, their helpers, and settings of tools. */
const EXEMPT = '(^packages/[^/]+/(test|bench)/|\\.test\\.ts$|/[^/]+\\.config\\.ts$)'

const paths = (names) => `^packages/(${names.join('|')})/`
const floorsFrom = (first) => FLOORS.slice(first).flat()

/** A package of a floor must not import another package of that floor or of a floor above. */
const floorRules = FLOORS.flatMap((names, floor) => [
  ...names.map((name) => ({
    name: `floor-${floor}-siblings-${name}`,
    comment: `${name} must not import its neighbours on floor ${floor}.`,
    severity: 'error',
    from: { path: paths([name]), pathNot: EXEMPT },
    to: { path: paths(names), pathNot: paths([name]) },
  })),
  ...(floor + 1 < FLOORS.length
    ? [
        {
          name: `floor-${floor}-upwards`,
          comment: `Floor ${floor} must not import a floor above it.`,
          severity: 'error',
          from: { path: paths(names), pathNot: EXEMPT },
          to: { path: paths(floorsFrom(floor + 1)) },
        },
      ]
    : []),
])

export default {
  forbidden: [
    ...floorRules,
    {
      name: 'package-without-floor',
      comment: 'Give the package its floor in .dependency-cruiser.mjs.',
      severity: 'error',
      from: { path: '^packages/', pathNot: paths(floorsFrom(0)) },
      to: {},
    },
    {
      name: 'child-side-imports-root-side',
      comment: 'What runs in a child partition must not reach into the root partition: share ./protocol instead.',
      severity: 'error',
      from: { path: '^packages/[^/]+/src/(vsc|client)(/|\\.|-)', pathNot: EXEMPT },
      to: { path: '^packages/[^/]+/src/(vsp|server)(/|\\.|-)' },
    },
    {
      name: 'root-side-imports-child-side',
      comment: 'The root side must not reach into the child side: share ./protocol instead.',
      severity: 'error',
      from: { path: '^packages/[^/]+/src/(vsp|server)(/|\\.|-)', pathNot: EXEMPT },
      to: { path: '^packages/[^/]+/src/(vsc|client)(/|\\.|-)' },
    },
    {
      name: 'guest-kernel-imports-host',
      comment:
        'A guest has its memory, CPUID, MSRs, hypercalls and interrupts, and nothing of the host that it runs in.',
      severity: 'error',
      from: { path: '^packages/guest/src/kernel/' },
      to: { path: '^packages/(hypervisor|root-partition|emulated-[^/]+|firmware)/|^packages/guest/src/harness/' },
    },
    {
      name: 'node-built-in-in-guest',
      comment: 'The guest runs in a browser, too.',
      severity: 'error',
      from: { path: '^packages/guest/', pathNot: [EXEMPT, '\\.node\\.ts$'] },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'node-built-in-in-portable-package',
      comment: 'Put it into a *.node.ts file behind an entry point of its own.',
      severity: 'error',
      from: {
        path: paths(FLOORS.slice(0, FIRST_NODE_FLOOR).flat()),
        pathNot: [EXEMPT, '\\.node\\.ts$'],
      },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'portable-file-imports-node-file',
      comment: 'Only an entry point of its own, or another *.node.ts file, may import a *.node.ts file.',
      severity: 'error',
      from: {
        path: paths(FLOORS.slice(0, FIRST_NODE_FLOOR).flat()),
        pathNot: [EXEMPT, '\\.node\\.ts$'],
      },
      to: { path: '\\.node\\.ts$' },
    },
    {
      name: 'package-imports-tools',
      comment: 'tools/ builds and measures packages; packages know nothing of it.',
      severity: 'error',
      from: { path: '^packages/', pathNot: EXEMPT },
      to: { path: '^tools/' },
    },
    {
      name: 'sources-import-tests',
      comment: 'What is published must not import what is not.',
      severity: 'error',
      from: { path: '^packages/[^/]+/src/', pathNot: EXEMPT },
      to: { path: EXEMPT },
    },
    {
      name: 'undeclared-dependency',
      comment: "Name it in the package's own package.json.",
      severity: 'error',
      from: { path: '^packages/[^/]+/src/', pathNot: EXEMPT },
      // What is there for development may be asked of the user too, as a peer.
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev'], dependencyTypesNot: ['npm-peer'] },
    },
    {
      name: 'unresolvable',
      comment: 'The import leads nowhere.',
      severity: 'error',
      from: { path: '^packages/' },
      to: { couldNotResolve: true, dependencyTypesNot: ['core'] },
    },
    {
      name: 'relative-path-into-another-package',
      comment: 'Import a package by its name, not by its path.',
      severity: 'error',
      from: { path: '^packages/([^/]+)/', pathNot: EXEMPT },
      to: { path: '^packages/', pathNot: '^packages/$1/', dependencyTypes: ['local'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(coverage|(packages|tools)/[^/]+/(dist|templates))/' },
    combinedDependencies: false,
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@partita/source', 'import', 'node', 'types', 'default'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
}
