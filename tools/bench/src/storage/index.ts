// `storage`: requests of fio in a guest on the VMBus disk, next to the emulated IDE disk and to QEMU TCG with virtio-blk. The guests are booted once and wait
// at their prompts while one of them is measured; jobs alternate between them.

import { randomFillSync } from 'node:crypto'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProgressReporter, ensureDefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import type { Arguments } from '../arguments.ts'
import { type Activity, exitsOf } from '../guest-jobs/activity.ts'
import { countFor, perProcessorSecond, perSecond, processorsRatio, ratio } from '../guest-jobs/comparison.ts'
import { chosenJobs } from '../guest-jobs/job.ts'
import { type Measured, measure, type Subject } from '../guest-jobs/measure.ts'
import { MeasuredGuest, type Sample, type SetUp } from '../guest-jobs/measured-guest.ts'
import { PROCESSOR_JOBS } from '../guest-jobs/processor-jobs.ts'
import { QEMU_MISSING, qemuVersion } from '../qemu.ts'
import { median } from '../statistics.ts'
import { table } from '../table.ts'
import { DISK_JOBS, DISK_SIZE, type DiskJob } from './jobs.ts'
import { partitaStorageMachine, qemuStorageMachine, type StorageGuest } from './machines.ts'

const MEBIBYTE = 2 ** 20
const MEMORY = 256 * MEBIBYTE
/** Seconds that a measurement shall take, about. */
const DURATION = 2
const JOBS: readonly DiskJob[] = [...PROCESSOR_JOBS, ...DISK_JOBS]

/** Finds the disks by the label of one of them. */
const SET_UP: SetUp = {
  find: `
modprobe -q virtio_blk
until root=$(findfs LABEL=partita) && [ $(ls -d /sys/block/[sv]d? | wc -l) = 2 ]; do usleep 50000; done
for disk in /sys/block/[sv]d?; do disk=/dev/\${disk##*/}; [ $disk = $root ] || data=$disk; done
`.trim(),
  prepare: '[ -b "$data" ]',
}

export async function storage(runs: number, { only }: Pick<Arguments, 'only'>): Promise<void> {
  const jobs = chosenJobs(JOBS, only)
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
  const subjects: Subject<DiskJob>[] = []
  for (const machine of machines) {
    const measured = stack.use(new MeasuredGuest(machine))
    await measured.setUp(SET_UP)
    subjects.push({
      label: machine.label,
      run: (job, count) => measured.run(job.command(count, '$data'), count),
    })
  }
  report(await measure(subjects, jobs, { runs, seconds: DURATION }), jobs, runs)
}

function report(guests: readonly Measured<DiskJob>[], jobs: readonly DiskJob[], runs: number): void {
  const [own, ide, peer] = guests as [Measured<DiskJob>, Measured<DiskJob>, Measured<DiskJob> | undefined]
  const diskJobs = jobs.filter(({ group }) => group === 'disk')
  console.log(
    `\nRates, medians of ${runs} alternating runs; a second of the guest is one of its process's processor time`,
  )
  console.log(
    table([
      ['', '', 'IOPS', 'MB/s', 'I/Os a second of the guest', 'MB a second of the guest', 'processor'],
      ...jobs.flatMap((job) => guests.map((guest, i) => [i === 0 ? job.label : '', ...rates(guest, job)])),
    ]),
  )
  if (diskJobs.length > 0) {
    console.log('\nFor each request on Partita: what the processor left the guest for, and the signals of the VMBus')
    console.log(
      table([
        ['', '', ...COUNTS.map(([heading]) => heading), 'instructions'],
        ...diskJobs.flatMap((job) =>
          [own, ide].map((guest, i) => [i === 0 ? job.label : '', guest.label, ...costs(guest.samples(job))]),
        ),
      ]),
    )
  }
  if (peer === undefined) return
  const target = processorsRatio(own, peer, JOBS, 'disk')
  if (diskJobs.length === 0) return
  const headings = ['QEMU, IOPS', 'QEMU, a second of the guest', 'IDE, IOPS', 'IDE, a second of the guest']
  console.log('')
  console.log(
    table([
      ['VMBus against', ...headings, ...(target === undefined ? [] : ['target'])],
      ...diskJobs.map((job) => {
        const each = [peer, ide].flatMap((other) => [
          ratio(own, other, job, perSecond),
          ratio(own, other, job, perProcessorSecond),
        ])
        const verdict = target === undefined ? [] : [(each[1] as number) >= target ? 'met' : 'missed']
        return [job.label, ...each.map((value) => value.toFixed(3)), ...verdict]
      }),
    ]),
  )
}

function rates(guest: Measured<DiskJob>, job: DiskJob): string[] {
  const samples = guest.samples(job)
  const wall = median(samples.map(perSecond))
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

const COUNTS: readonly (readonly [heading: string, count: (activity: Activity) => number])[] = [
  ['exits', exitsOf],
  ['port', ({ portExits }) => portExits],
  ['MMIO', ({ mmioExits }) => mmioExits],
  ['MSR', ({ msrExits }) => msrExits],
  ['hypercall', ({ hypercallExits }) => hypercallExits],
  ['halts', ({ halts }) => halts],
  ['packets', ({ packetsFromGuest }) => packetsFromGuest],
  ['signals in', ({ signalsFromGuest }) => signalsFromGuest],
  ['out', ({ signalsToGuest }) => signalsToGuest],
  ['spared', ({ signalsSpared }) => signalsSpared],
]

function costs(samples: readonly Sample[]): string[] {
  const each = (count: (activity: Activity) => number): number => countFor(samples, count, (sample) => sample.count)
  return [...COUNTS.map(([, count]) => each(count).toFixed(2)), each(({ instructions }) => instructions).toFixed(0)]
}
