// `npm run bench -- NAME [--runs N]`: runs one benchmark and prints what it measured. See the README.

import { parseArguments, UsageError } from './arguments.ts'

interface Benchmark {
  readonly summary: string
  readonly defaultRuns: number
  /** Loaded on demand: a benchmark must not carry the others' weight. */
  readonly load: () => Promise<(runs: number) => Promise<void>>
}

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  loops: {
    summary: 'guest MIPS of hot loops, next to QEMU TCG and the bare processor',
    defaultRuns: 5,
    load: async () => (await import('./loops/index.ts')).loops,
  },
  boot: {
    summary: 'seconds to the first prompt, next to QEMU TCG; then memory and idle once',
    defaultRuns: 5,
    load: async () => (await import('./boot.ts')).boot,
  },
  memory: {
    summary: 'resident memory beside the RAM of the guest',
    defaultRuns: 1,
    load: async () => (await import('./boot.ts')).memory,
  },
  idle: {
    summary: 'processor time while the guest waits at its prompt',
    defaultRuns: 1,
    load: async () => (await import('./boot.ts')).idle,
  },
  ring: {
    summary: 'packets through a VMBus ring, next to copies of the same bytes',
    defaultRuns: 9,
    load: async () => (await import('./ring.ts')).ring,
  },
  storage: {
    summary: 'requests of fio on a VMBus disk, next to IDE and to QEMU TCG with virtio-blk',
    defaultRuns: 3,
    load: async () => (await import('./storage/index.ts')).storage,
  },
  'profile-boot': {
    summary: 'which instruction forms a boot executes, inline and out of line, and where the host spends its time',
    defaultRuns: 1,
    load: async () => (await import('./profile-boot.ts')).profileBoot,
  },
}

function usage(): string {
  const lines = Object.entries(BENCHMARKS).map(
    ([name, { summary, defaultRuns }]) =>
      `  ${name.padEnd(14)}${summary} (${defaultRuns} ${defaultRuns === 1 ? 'run' : 'runs'})`,
  )
  return `npm run bench -- NAME [--runs N]\n\n${lines.join('\n')}\n`
}

try {
  const { name, runs, help } = parseArguments(process.argv.slice(2), Object.keys(BENCHMARKS))
  if (help) process.stdout.write(usage())
  else {
    const benchmark = BENCHMARKS[name] as Benchmark
    const run = await benchmark.load()
    await run(runs ?? benchmark.defaultRuns)
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\n\n${usage()}`)
  process.exitCode = 2
}
