// `storage`: requests of fio in a guest on the VMBus disk, next to the emulated IDE disk and to QEMU TCG with virtio-blk. The guests are booted once and wait
// at their prompts while one of them is measured; jobs alternate between them.

import { randomFillSync } from 'node:crypto'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProgressReporter, ensureDefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import { GuestProcess } from '../guest-process.ts'
import { processorSeconds } from '../process-usage.ts'
import { QEMU_MISSING, qemuVersion } from '../qemu.ts'
import { harmonicMean, median } from '../statistics.ts'
import { table } from '../table.ts'
import { type Activity, activityBetween, exitsOf } from './activity.ts'
import { DISK_JOBS, DISK_SIZE, type Job, PROCESSOR_JOBS, RAM_FILE_SIZE } from './jobs.ts'
import type { MarkMessage } from './machine.node.ts'
import { partitaStorageMachine, qemuStorageMachine, type StorageGuest } from './machines.ts'
import { BEGIN, END } from './marks.ts'

const MEBIBYTE = 2 ** 20
const MEMORY = 256 * MEBIBYTE
/** Seconds that a measurement shall take, about. */
const DURATION = 2
const MAXIMUM_COUNT = 500_000

/** Typed into the guest's shell: finds the disks by the label of one of them, makes the programs available, and defines `job`. */
const SET_UP = `
modprobe -q virtio_blk
until root=$(findfs LABEL=partita) && [ $(ls -d /sys/block/[sv]d? | wc -l) = 2 ]; do usleep 50000; done
for disk in /sys/block/[sv]d?; do disk=/dev/\${disk##*/}; [ $disk = $root ] || data=$disk; done
mount -t ext4 -o ro,noload $root /mnt
for directory in dev proc sys; do mount -o bind /$directory /mnt/$directory; done
mount -t tmpfs none /mnt/tmp
dd if=/dev/zero of=/mnt/tmp/ram bs=1M count=${RAM_FILE_SIZE / MEBIBYTE} 2>/dev/null
job() { chroot /mnt sh -c 'cd /tmp && exec "$@"' sh "$@" >/mnt/tmp/log 2>&1 && echo job-done || cat /mnt/tmp/log; }
[ -x /mnt/bin/fio ] && echo set-up-done $data
`.trim()

/** One job on one machine, once. */
interface Sample {
  readonly count: number
  /** Seconds by the host's clock, and of processor time of the whole process. */
  readonly wall: number
  readonly processor: number
  readonly activity: Activity | undefined
}

/** A booted guest with what was measured in it. */
class MeasuredGuest implements AsyncDisposable {
  readonly label: string
  readonly #process: GuestProcess
  readonly #samples = new Map<Job, Sample[]>()
  readonly #counts = new Map<Job, number>()

  constructor(machine: ReturnType<typeof qemuStorageMachine>) {
    this.label = machine.label
    this.#process = new GuestProcess(machine)
  }

  async setUp(): Promise<void> {
    await this.#process.prompt()
    await this.#process.command(SET_UP, 'set-up-done /dev/')
  }

  /** Learn how many requests take the time wanted; the processor's best code is made on the way. */
  async calibrate(job: Job): Promise<void> {
    const { wall } = await this.#run(job, job.firstCount)
    const count = Math.ceil((job.firstCount / wall) * DURATION)
    this.#counts.set(job, Math.min(MAXIMUM_COUNT, Math.max(job.firstCount, count)))
  }

  async measure(job: Job): Promise<void> {
    const samples = this.#samples.get(job) ?? []
    samples.push(await this.#run(job, this.#counts.get(job) as number))
    this.#samples.set(job, samples)
  }

  samples(job: Job): readonly Sample[] {
    return this.#samples.get(job) ?? []
  }

  async #run(job: Job, count: number): Promise<Sample> {
    const guest = this.#process
    guest.messages.length = 0
    await guest.command(`job ${job.command(count, '$data')}`, BEGIN)
    const begin = performance.now()
    const processorBegin = await processorSeconds(guest.pid)
    await guest.printed(END)
    const wall = (performance.now() - begin) / 1000
    const processor = (await processorSeconds(guest.pid)) - processorBegin
    await guest.printed('job-done')
    const messages = guest.messages as MarkMessage[]
    const first = messages.find(({ mark }) => mark === BEGIN)
    const last = messages.find(({ mark }) => mark === END)
    const activity = first && last && activityBetween(first.activity, last.activity)
    return { count, wall, processor, activity }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]()
  }
}

export async function storage(runs: number): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const reporter = createProgressReporter(process.stderr)
  const guest = await ensureDefaultGuest({ variant: 'test', progress: reporter.report }).finally(() => reporter.clear())
  const version = await qemuVersion()
  const directory = mkdtempSync(join(tmpdir(), 'partita-bench-'))
  stack.defer(() => rmSync(directory, { recursive: true }))
  const image = join(directory, 'data')
  writeFileSync(image, randomFillSync(new Uint8Array(DISK_SIZE)))
  const withData = (name: string): StorageGuest => {
    const data = join(directory, name)
    copyFileSync(image, data)
    return { guest, memory: MEMORY, root: guest.rootDisk, data }
  }
  const machines = [
    partitaStorageMachine('scsi', withData('scsi')),
    partitaStorageMachine('ide', withData('ide')),
    ...(version === undefined ? [] : [qemuStorageMachine(withData('virtio'))]),
  ]
  console.log(`Linux ${guest.version}, ${MEMORY / MEBIBYTE} MiB; raw image of ${DISK_SIZE / MEBIBYTE} MiB`)
  console.log(version === undefined ? QEMU_MISSING : `peer: QEMU ${version}, TCG`)
  const guests: MeasuredGuest[] = []
  for (const machine of machines) {
    const measured = stack.use(new MeasuredGuest(machine))
    await measured.setUp()
    guests.push(measured)
  }
  const jobs = [...PROCESSOR_JOBS, ...DISK_JOBS]
  for (const job of jobs) for (const one of guests) await one.calibrate(job)
  for (let run = 0; run < runs; run++) {
    for (const job of jobs) for (const one of guests) await one.measure(job)
  }
  report(guests, jobs, runs)
}

const iops = ({ count, wall }: Sample): number => count / wall
const perProcessorSecond = ({ count, processor }: Sample): number => count / processor

function report(guests: readonly MeasuredGuest[], jobs: readonly Job[], runs: number): void {
  const [own, , peer] = guests as [MeasuredGuest, MeasuredGuest, MeasuredGuest | undefined]
  console.log(
    `\nRates, medians of ${runs} alternating runs; a second of the guest is one of its process's processor time`,
  )
  console.log(
    table([
      ['', '', 'IOPS', 'MB/s', 'I/Os a second of the guest', 'MB a second of the guest', 'processor'],
      ...jobs.flatMap((job) => guests.map((guest, i) => [i === 0 ? job.label : '', ...rates(guest, job)])),
    ]),
  )
  console.log('\nFor each request on Partita: what the processor left the guest for, and the signals of the VMBus')
  const headings = ['exits', 'port', 'MMIO', 'MSR', 'hypercall', 'halts', 'packets', 'signals in', 'out', 'spared']
  console.log(
    table([
      ['', '', ...headings, 'instructions'],
      ...DISK_JOBS.flatMap((job) =>
        guests.slice(0, 2).map((guest, i) => [i === 0 ? job.label : '', guest.label, ...costs(guest.samples(job))]),
      ),
    ]),
  )
  if (peer === undefined) return
  // Neighbours in time have the same load on the machine.
  const ratio = (of: MeasuredGuest, to: MeasuredGuest, job: Job, rate: (sample: Sample) => number): number =>
    median(of.samples(job).map((sample, run) => rate(sample) / rate(to.samples(job)[run] as Sample)))
  const speeds = PROCESSOR_JOBS.map((job) => ratio(own, peer, job, perProcessorSecond))
  const allowed = harmonicMean(speeds)
  console.log("\nThe processor's speed: work without a disk that gets done in a second of the guest, against QEMU TCG")
  console.log(
    table([
      ...PROCESSOR_JOBS.map(({ label }, i) => [label, (speeds[i] as number).toFixed(3)]),
      ['harmonic mean, which is the target of the disk', `${allowed.toFixed(3)} (1/${(1 / allowed).toFixed(1)})`],
    ]),
  )
  console.log('')
  console.log(
    table([
      [
        'VMBus against',
        'QEMU, IOPS',
        'QEMU, a second of the guest',
        'IDE, IOPS',
        'IDE, a second of the guest',
        'target',
      ],
      ...DISK_JOBS.map((job) => {
        const [, ide] = guests as [MeasuredGuest, MeasuredGuest]
        const values = [
          ratio(own, peer, job, iops),
          ratio(own, peer, job, perProcessorSecond),
          ratio(own, ide, job, iops),
          ratio(own, ide, job, perProcessorSecond),
        ]
        const met = (values[1] as number) >= allowed
        return [job.label, ...values.map((value) => value.toFixed(3)), met ? 'met' : 'missed']
      }),
    ]),
  )
}

function rates(guest: MeasuredGuest, job: Job): string[] {
  const samples = guest.samples(job)
  const wall = median(samples.map(iops))
  const processor = median(samples.map(perProcessorSecond))
  const megabytes = (rate: number): string => (job.bytes === 0 ? '' : ((rate * job.bytes) / 1e6).toFixed(1))
  return [
    guest.label,
    wall.toFixed(0),
    megabytes(wall),
    processor.toFixed(0),
    megabytes(processor),
    `${((100 * wall) / processor).toFixed(0)} %`,
  ]
}

/** Means over all runs: counts do not depend on the load of the machine. */
function costs(samples: readonly Sample[]): string[] {
  const requests = samples.reduce((sum, { count }) => sum + count, 0)
  const each = (count: (activity: Activity) => number): number =>
    samples.reduce((sum, { activity }) => sum + (activity === undefined ? Number.NaN : count(activity)), 0) / requests
  return [
    ...[
      exitsOf,
      (activity: Activity) => activity.portExits,
      (activity: Activity) => activity.mmioExits,
      (activity: Activity) => activity.msrExits,
      (activity: Activity) => activity.hypercallExits,
      (activity: Activity) => activity.halts,
      (activity: Activity) => activity.packetsFromGuest,
      (activity: Activity) => activity.signalsFromGuest,
      (activity: Activity) => activity.signalsToGuest,
      (activity: Activity) => activity.signalsSpared,
    ].map((count) => each(count).toFixed(2)),
    each(({ instructions }) => instructions).toFixed(0),
  ]
}
