// `npm run bench -- NAME [--runs N]`: runs one benchmark and prints what it measured. See the README.

import { type Arguments, parseArguments, UsageError } from './arguments.ts'

interface Benchmark {
  readonly summary: string
  readonly defaultRuns: number
  /** Loaded on demand: a benchmark must not carry the others' weight. */
  readonly load: () => Promise<(runs: number, given: Arguments) => Promise<void>>
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
  ide: {
    summary: 'the same disk by programmed I/O, by DMA, by enlightened IDE and by SCSI on the VMBus',
    defaultRuns: 3,
    load: async () => (await import('./ide/index.ts')).ide,
  },
  network: {
    summary: 'iperf3, exchanges and connections through the VMBus adapter and NAT, next to QEMU TCG with virtio-net',
    defaultRuns: 3,
    load: async () => (await import('./network/index.ts')).network,
  },
  programs: {
    summary: 'C programs and busybox tools in a guest, next to QEMU TCG and the bare processor',
    defaultRuns: 5,
    load: async () => (await import('./programs/index.ts')).programs,
  },
  v86: {
    summary: 'the same as 32-bit code, next to v86 and QEMU TCG',
    defaultRuns: 3,
    load: async () => (await import('./programs/v86.ts')).v86,
  },
  growth: {
    summary: 'time of an instruction while the hot code grows from 100 to 50,000 regions',
    defaultRuns: 5,
    load: async () => (await import('./growth.ts')).growth,
  },
  soak: {
    summary: 'memory of the process under a mixed load that goes on (--minutes)',
    defaultRuns: 1,
    load: async () => (await import('./programs/soak.ts')).soak,
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
  return `npm run bench -- NAME [--runs N] [--only NAME,…] [--minutes N] [--json FILE] [--mode MODE]\n\n${lines.join('\n')}\n`
}

try {
  const given = parseArguments(process.argv.slice(2), Object.keys(BENCHMARKS))
  const { name, runs } = given
  if (given.help) process.stdout.write(usage())
  else {
    const benchmark = BENCHMARKS[name] as Benchmark
    const run = await benchmark.load()
    await run(runs ?? benchmark.defaultRuns, given)
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\n\n${usage()}`)
  process.exitCode = 2
}
