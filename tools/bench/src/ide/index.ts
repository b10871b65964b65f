// `ide`: fio reads one disk in one guest in four ways: by programmed I/O and by DMA of the emulated IDE controller, by the enlightened IDE channel, and as a SCSI unit on the VMBus. It
// shows what synthetic devices are for. Jobs alternate between the ways.

import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProgressReporter, ensureDefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import { GuestProcess } from '../guest-process.ts'
import { processorSeconds } from '../process-usage.ts'
import { median } from '../statistics.ts'
import { type Activity, activityBetween, exitsOf } from '../storage/activity.ts'
import { DISK_SIZE, type Job, READ_JOBS } from '../storage/jobs.ts'
import type { MarkMessage } from '../storage/machine.node.ts'
import { partitaStorageMachine } from '../storage/machines.ts'
import { BEGIN, END } from '../storage/marks.ts'
import { table } from '../table.ts'

const MEBIBYTE = 2 ** 20
const MEMORY = 256 * MEBIBYTE
/** Seconds that a measurement shall take, about. */
const DURATION = 2
const MAXIMUM_COUNT = 500_000
/** What the VMBus is to reach against DMA with 32 small requests at a time. */
const TARGET = { iops: 5, exits: 1 / 10 }

/** Label, and the shell's variable with the disk's name. */
const WAYS = [
  ['IDE, programmed I/O', '$pio'],
  ['IDE, DMA', '$dma'],
  ['enlightened IDE', '$fast'],
  ['SCSI on the VMBus', '$scsi'],
] as const
type Way = (typeof WAYS)[number]

/** Typed into the guest's shell: finds the disk's four names, makes the programs available, and defines `job`, which says how many interrupts of disks there were. */
const SET_UP = `
until root=$(findfs LABEL=partita) && [ $(ls -d /sys/block/sd? | wc -l) = 5 ]; do usleep 50000; done
for disk in /sys/block/sd?; do name=/dev/\${disk##*/}; case $(readlink -f $disk) in */ata1/*) dma=$name ;; */ata2/*) pio=$name ;; *-8899-0000-*) fast=$name ;; *:0:0:1/block/*) scsi=$name ;; esac; done
mount -t ext4 -o ro,noload $root /mnt
for directory in dev proc sys; do mount -o bind /$directory /mnt/$directory; done
mount -t tmpfs none /mnt/tmp
interrupts() { awk '/ata_piix|^ *HYP:/ { sum += $2 } END { print sum }' /proc/interrupts; }
job() { before=$(interrupts); chroot /mnt sh -c 'cd /tmp && exec "$@"' sh "$@" >/mnt/tmp/log 2>&1 && echo job-done $(($(interrupts) - before)) . || cat /mnt/tmp/log; }
dmesg | grep -q 'ata2.00: FORCE: xfer_mask set to pio4' && [ -x /mnt/bin/fio ] && echo set-up-done $dma $pio $fast $scsi
`.trim()

/** One job in one way, once. */
interface Sample {
  readonly count: number
  /** Seconds by the host's clock, and of processor time of the whole process. */
  readonly wall: number
  readonly processor: number
  readonly interrupts: number
  readonly activity: Activity
}

class FourWays implements AsyncDisposable {
  readonly #process: GuestProcess

  constructor(machine: ConstructorParameters<typeof GuestProcess>[0]) {
    this.#process = new GuestProcess(machine)
  }

  async setUp(): Promise<void> {
    await this.#process.prompt()
    await this.#process.command(SET_UP, 'set-up-done /dev/sd')
  }

  async run(job: Job, [, disk]: Way, count: number): Promise<Sample> {
    const guest = this.#process
    guest.messages.length = 0
    await guest.command(`job ${job.command(count, disk)}`, BEGIN)
    const begin = performance.now()
    const processorBegin = await processorSeconds(guest.pid)
    await guest.printed(END)
    const wall = (performance.now() - begin) / 1000
    const processor = (await processorSeconds(guest.pid)) - processorBegin
    await guest.printed(' .')
    const interrupts = Number(/job-done (\d+) \./.exec(guest.text)?.[1] ?? Number.NaN)
    const messages = guest.messages as MarkMessage[]
    const [first, last] = [BEGIN, END].map((text) => messages.find(({ mark }) => mark === text))
    if (first === undefined || last === undefined) throw new Error(`no counts of ${job.label}`)
    return { count, wall, processor, interrupts, activity: activityBetween(first.activity, last.activity) }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]()
  }
}

export async function ide(runs: number): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const reporter = createProgressReporter(process.stderr)
  const guest = await ensureDefaultGuest({ variant: 'test', progress: reporter.report }).finally(() => reporter.clear())
  const directory = mkdtempSync(join(tmpdir(), 'partita-bench-'))
  stack.defer(() => rmSync(directory, { recursive: true }))
  const data = join(directory, 'data')
  writeFileSync(data, randomFillSync(new Uint8Array(DISK_SIZE)))
  console.log(`Linux ${guest.version}, ${MEMORY / MEBIBYTE} MiB; raw image of ${DISK_SIZE / MEBIBYTE} MiB`)
  const ways = stack.use(
    new FourWays(partitaStorageMachine('all', { guest, memory: MEMORY, root: guest.rootDisk, data })),
  )
  await ways.setUp()
  const results = new Map<Job, Map<Way, Sample[]>>()
  const counts = new Map<Job, Map<Way, number>>()
  for (const job of READ_JOBS) {
    results.set(job, new Map(WAYS.map((way) => [way, []])))
    const own = new Map<Way, number>()
    counts.set(job, own)
    // How many requests take the time wanted; the processor's best code is made on the way.
    for (const way of WAYS) {
      const { wall } = await ways.run(job, way, job.firstCount)
      own.set(way, Math.min(MAXIMUM_COUNT, Math.max(job.firstCount, Math.ceil((job.firstCount / wall) * DURATION))))
    }
  }
  for (let run = 0; run < runs; run++) {
    for (const job of READ_JOBS) {
      for (const way of WAYS) {
        results
          .get(job)
          ?.get(way)
          ?.push(await ways.run(job, way, counts.get(job)?.get(way) as number))
      }
    }
  }
  report(results, runs)
}

const iops = ({ count, wall }: Sample): number => count / wall
const perProcessorSecond = ({ count, processor }: Sample): number => count / processor

/** Means over all runs: counts do not depend on the load of the machine. */
function each(samples: readonly Sample[], count: (sample: Sample) => number): number {
  const requests = samples.reduce((sum, sample) => sum + sample.count, 0)
  return samples.reduce((sum, sample) => sum + count(sample), 0) / requests
}

function report(results: ReadonlyMap<Job, ReadonlyMap<Way, readonly Sample[]>>, runs: number): void {
  console.log(
    `\nMedians of ${runs} alternating runs; exits, interrupts, instructions and processor time of the host for each request`,
  )
  const headings = ['IOPS', 'MB/s', 'exits', 'interrupts', 'instructions', 'host µs']
  const rows = [...results].flatMap(([job, ways]) =>
    [...ways].map(([[label], samples], i) => {
      const rate = median(samples.map(iops))
      return [
        i === 0 ? job.label : '',
        label,
        rate.toFixed(0),
        ((rate * job.bytes) / 1e6).toFixed(1),
        each(samples, ({ activity }) => exitsOf(activity)).toFixed(2),
        each(samples, ({ interrupts }) => interrupts).toFixed(2),
        each(samples, ({ activity }) => activity.instructions).toFixed(0),
        (1e6 / median(samples.map(perProcessorSecond))).toFixed(0),
      ]
    }),
  )
  console.log(table([['', '', ...headings], ...rows]))
  console.log(
    `\nSCSI on the VMBus against IDE with DMA; the aim is ${TARGET.iops} times the IOPS with ${TARGET.exits} of the exits at 4 KiB, depth 32`,
  )
  console.log(
    table([
      ['', 'IOPS', 'I/Os a second of processor time', 'exits'],
      ...[...results].map(([job, ways]) => {
        const [, dma, , scsi] = WAYS.map((way) => ways.get(way) as readonly Sample[])
        const [slow, fast] = [dma, scsi] as [readonly Sample[], readonly Sample[]]
        // Neighbours in time have the same load on the machine.
        const ratio = (rate: (sample: Sample) => number): number =>
          median(fast.map((sample, run) => rate(sample) / rate(slow[run] as Sample)))
        const exits = ({ activity }: Sample): number => exitsOf(activity)
        return [
          job.label,
          ratio(iops).toFixed(2),
          ratio(perProcessorSecond).toFixed(2),
          (each(fast, exits) / each(slow, exits)).toFixed(3),
        ]
      }),
    ]),
  )
}
