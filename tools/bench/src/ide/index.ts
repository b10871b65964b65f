// `ide`: fio reads one disk in one guest in four ways: by programmed I/O and by DMA of the emulated IDE controller, by the enlightened IDE channel, and as a SCSI unit on the VMBus. It
// shows what synthetic devices are for. Jobs alternate between the ways.

import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProgressReporter, ensureDefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import type { Arguments } from '../arguments.ts'
import { exitsOf } from '../guest-jobs/activity.ts'
import { countFor, perProcessorSecond, perSecond, ratio } from '../guest-jobs/comparison.ts'
import { chosenJobs } from '../guest-jobs/job.ts'
import { type Measured, measure, type Subject } from '../guest-jobs/measure.ts'
import { MeasuredGuest, type Sample, type SetUp } from '../guest-jobs/measured-guest.ts'
import { median } from '../statistics.ts'
import { DISK_SIZE, type DiskJob, READ_JOBS } from '../storage/jobs.ts'
import { partitaStorageMachine } from '../storage/machines.ts'
import { table } from '../table.ts'

const MEBIBYTE = 2 ** 20
const MEMORY = 256 * MEBIBYTE
/** Seconds that a measurement shall take, about. */
const DURATION = 2
/** What the VMBus is to reach against DMA with 32 small requests at a time. */
const TARGET = { iops: 5, exits: 1 / 10 }

/** Label, and the shell's variable with the disk's name. */
const WAYS = [
  ['IDE, programmed I/O', '$pio'],
  ['IDE, DMA', '$dma'],
  ['enlightened IDE', '$fast'],
  ['SCSI on the VMBus', '$scsi'],
] as const

/** Finds the disk's four names, and counts the interrupts of disks. */
const SET_UP: SetUp = {
  find: `
until root=$(findfs LABEL=partita) && [ $(ls -d /sys/block/sd? | wc -l) = 5 ]; do usleep 50000; done
for disk in /sys/block/sd?; do name=/dev/\${disk##*/}; case $(readlink -f $disk) in */ata1/*) dma=$name ;; */ata2/*) pio=$name ;; *-8899-0000-*) fast=$name ;; *:0:0:1/block/*) scsi=$name ;; esac; done
`.trim(),
  prepare: `dmesg | grep -q 'ata2.00: FORCE: xfer_mask set to pio4' && [ -b "$pio" ] && [ -b "$dma" ] && [ -b "$fast" ] && [ -b "$scsi" ]`,
  counter: `awk '/ata_piix|^ *HYP:/ { sum += $2 } END { print sum }' /proc/interrupts`,
}

export async function ide(runs: number, { only }: Pick<Arguments, 'only'>): Promise<void> {
  const jobs = chosenJobs(READ_JOBS, only)
  await using stack = new AsyncDisposableStack()
  const reporter = createProgressReporter(process.stderr)
  const guest = await ensureDefaultGuest({ variant: 'test', progress: reporter.report }).finally(() => reporter.clear())
  const directory = mkdtempSync(join(tmpdir(), 'partita-bench-'))
  stack.defer(() => rmSync(directory, { recursive: true }))
  const data = join(directory, 'data')
  writeFileSync(data, randomFillSync(new Uint8Array(DISK_SIZE)))
  console.log(`Linux ${guest.version}, ${MEMORY / MEBIBYTE} MiB; raw image of ${DISK_SIZE / MEBIBYTE} MiB`)
  const machine = stack.use(
    new MeasuredGuest(partitaStorageMachine('all', { guest, memory: MEMORY, root: guest.rootDisk, data })),
  )
  await machine.setUp(SET_UP)
  const subjects = WAYS.map(
    ([label, disk]): Subject<DiskJob> => ({
      label,
      run: (job, count) => machine.run(job.command(count, disk), count),
    }),
  )
  report(await measure(subjects, jobs, { runs, seconds: DURATION }), jobs, runs)
}

const requests = ({ count }: Sample): number => count

function report(ways: readonly Measured<DiskJob>[], jobs: readonly DiskJob[], runs: number): void {
  const [, dma, , scsi] = ways as [unknown, Measured<DiskJob>, unknown, Measured<DiskJob>]
  console.log(
    `\nMedians of ${runs} alternating runs; exits, interrupts, instructions and processor time of the host for each request`,
  )
  const headings = ['IOPS', 'MB/s', 'exits', 'interrupts', 'instructions', 'host µs']
  const rows = jobs.flatMap((job) =>
    ways.map((way, i) => {
      const samples = way.samples(job)
      const rate = median(samples.map(perSecond))
      const interrupts = samples.reduce((sum, { counter }) => sum + counter, 0)
      return [
        i === 0 ? job.label : '',
        way.label,
        rate.toFixed(0),
        ((rate * job.bytes) / 1e6).toFixed(1),
        countFor(samples, exitsOf, requests).toFixed(2),
        (interrupts / samples.reduce((sum, { count }) => sum + count, 0)).toFixed(2),
        countFor(samples, ({ instructions }) => instructions, requests).toFixed(0),
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
      ...jobs.map((job) => {
        const exits = (way: Measured<DiskJob>): number => countFor(way.samples(job), exitsOf, requests)
        return [
          job.label,
          ratio(scsi, dma, job, perSecond).toFixed(2),
          ratio(scsi, dma, job, perProcessorSecond).toFixed(2),
          (exits(scsi) / exits(dma)).toFixed(3),
        ]
      }),
    ]),
  )
}
