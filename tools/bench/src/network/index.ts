// `network`: iperf3, small exchanges and connections between a guest and this host through the adapter on the VMBus and user-mode NAT, next to QEMU TCG with virtio-net and its user-mode
// network. The guests are booted once and wait at their prompts while one of them is measured; jobs alternate between them. All traffic stays on this machine.

import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { appendFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeCpio } from '../../../../packages/cli/src/default-guest/cpio.ts'
import { createProgressReporter, ensureDefaultGuest } from '../../../../packages/cli/src/default-guest/index.ts'
import { buildNetworkProgram, hostIperf3, iperf3Server, listen } from '../../../guest/matrix/network.ts'
import type { Arguments } from '../arguments.ts'
import { exitsOf } from '../guest-jobs/activity.ts'
import { countFor, perProcessorSecond, perSecond, processorsRatio, ratio } from '../guest-jobs/comparison.ts'
import { chosenJobs } from '../guest-jobs/job.ts'
import { type Measured, measure, type Subject } from '../guest-jobs/measure.ts'
import { JOB_LOG, MeasuredGuest, type Sample, type SetUp } from '../guest-jobs/measured-guest.ts'
import { QEMU_MISSING, qemuVersion } from '../qemu.ts'
import { median } from '../statistics.ts'
import { table } from '../table.ts'
import { ECHO_PORT, NETWORK_JOBS, type NetworkJob, type Ports } from './jobs.ts'
import type { NetworkActivity } from './machine.node.ts'
import { partitaNetworkMachine, qemuNetworkMachine } from './machines.ts'

const MEBIBYTE = 2 ** 20
const MEMORY = 512 * MEBIBYTE

/** Seconds that a measurement shall take, about. */
const DURATION = 3

/** Finds the disk with the programs, and gives the adapter an address. */
const SET_UP: SetUp = {
  find: `
modprobe -q hv_netvsc; modprobe -q virtio_net; modprobe -q virtio_blk
until root=$(findfs LABEL=partita) && [ -e /sys/class/net/eth0 ]; do usleep 50000; done
ip link set lo up; ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2
`.trim(),
  prepare: `
cp /bin/network /mnt/tmp
until ping -c 1 -W 1 10.0.2.2 >/dev/null; do :; done
chroot /mnt iperf3 -s -D
network serve 127.0.0.1 ${ECHO_PORT}
`.trim(),
  // Of exchanges.c.
  measured: `sed -n 's/^latency: //p' ${JOB_LOG}`,
}

export async function network(runs: number, { only }: Pick<Arguments, 'only'>): Promise<void> {
  const jobs = chosenJobs(NETWORK_JOBS, only)
  await using stack = new AsyncDisposableStack()
  const reporter = createProgressReporter(process.stderr)
  const guest = await ensureDefaultGuest({ variant: 'test', progress: reporter.report }).finally(() => reporter.clear())
  const version = await qemuVersion()
  const directory = mkdtempSync(join(tmpdir(), 'partita-bench-'))
  stack.defer(() => rmSync(directory, { recursive: true }))
  const initrd = join(directory, 'initrd')
  copyFileSync(guest.initrd, initrd)
  const program = readFileSync(buildNetworkProgram(directory))
  await appendFile(initrd, writeCpio([{ type: 'file', path: 'bin/network', data: program, mode: 0o755 }]))
  const iperf3 = stack.use(await iperf3Server(hostIperf3(directory)))
  const echo = stack.use(
    await listen(
      createServer({ allowHalfOpen: true, noDelay: true }, (socket) => socket.on('error', () => {}).pipe(socket)),
    ),
  )
  const machines = [
    partitaNetworkMachine({ guest, initrd, memory: MEMORY }),
    ...(version === undefined ? [] : [qemuNetworkMachine({ guest, initrd, memory: MEMORY })]),
  ]
  console.log(`Linux ${guest.version}, ${MEMORY / MEBIBYTE} MiB, 1 processor`)
  console.log(version === undefined ? QEMU_MISSING : `peer: QEMU ${version}, TCG, virtio-net and -netdev user`)
  const ports: Ports = { iperf3: iperf3.port, echo: echo.port }
  const subjects: Subject<NetworkJob, NetworkActivity>[] = []
  for (const machine of machines) {
    const measured = stack.use(new MeasuredGuest<NetworkActivity>(machine))
    await measured.setUp(SET_UP)
    subjects.push({ label: machine.label, run: (job, count) => measured.run(job.command(count, ports), count) })
  }
  report(await measure(subjects, jobs, { runs, seconds: DURATION }), jobs, runs)
}

type Measurements = Measured<NetworkJob, NetworkActivity>
type NetworkSample = Sample<NetworkActivity>

/** Digits that say something. */
const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))

function report(guests: readonly Measurements[], jobs: readonly NetworkJob[], runs: number): void {
  const [own, peer] = guests as [Measurements, Measurements | undefined]
  const networkJobs = jobs.filter(({ group }) => group === 'network')
  console.log(
    `\nRates, medians of ${runs} alternating runs; a second of the guest is one of its process's processor time`,
  )
  console.log(
    table([
      ['', '', '', 'a second', 'Mbit/s', 'a second of the guest', 'processor', 'processor seconds a GiB'],
      ...jobs.flatMap((job) => guests.map((guest, i) => [i === 0 ? job.label : '', guest.label, ...rates(guest, job)])),
    ]),
  )
  const latencies = networkJobs.flatMap((job) =>
    guests.flatMap((guest, i) => latency(guest, job).map((times) => [i === 0 ? job.label : '', guest.label, ...times])),
  )
  if (latencies.length > 0) {
    console.log(`\nLatency in µs of the guest's clock, medians of ${runs} runs; 1 in 100 takes longer than the last`)
    console.log(table([['', '', 'mean', 'median', '99th percentile'], ...latencies]))
  }
  if (networkJobs.length > 0) {
    const headings = COUNTS.map(([heading]) => heading)
    console.log(
      '\nFor each unit on Partita: frames of the adapter, packets and signals of the VMBus, from and to the guest',
    )
    console.log(
      table([
        ['', '', ...headings, 'instructions'],
        ...networkJobs.map((job) => [job.label, `a ${job.unit.replace(/s$/, '')}`, ...costs(own.samples(job))]),
      ]),
    )
    console.log('\nThe same a second')
    console.log(
      table([
        ['', ...headings, 'million instructions'],
        ...networkJobs.map((job) => [job.label, ...activityRates(own.samples(job))]),
      ]),
    )
  }
  if (peer === undefined) return
  const target = processorsRatio(own, peer, NETWORK_JOBS, 'network')
  if (networkJobs.length === 0) return
  const more = target === undefined ? [] : ['at equal processor speed', 'target']
  console.log('')
  console.log(
    table([
      ['Partita against QEMU', 'a second', 'a second of the guest', ...more],
      ...networkJobs.map((job) => {
        const values = [perSecond, perProcessorSecond].map((rate) => ratio(own, peer, job, rate))
        const row = [job.label, ...values.map((value) => value.toFixed(3))]
        if (target === undefined) return row
        const equal = (values[1] as number) / target
        return [...row, equal.toFixed(3), equal >= 1 ? 'met' : 'missed']
      }),
    ]),
  )
}

function rates(guest: Measurements, job: NetworkJob): string[] {
  const samples = guest.samples(job)
  const wall = median(samples.map(perSecond))
  const processor = median(samples.map(perProcessorSecond))
  const bytes = job.unit === 'MiB'
  return [
    job.unit,
    digits(wall),
    bytes ? digits((wall * MEBIBYTE * 8) / 1e6) : '',
    digits(processor),
    `${((100 * wall) / processor).toFixed(0)} %`,
    bytes ? digits(1024 / processor) : '',
  ]
}

/** Mean, median and 99th percentile, where the guest's program measured them: one row, or none. */
function latency(guest: Measurements, job: NetworkJob): string[][] {
  const samples = guest.samples(job)
  if (samples.some(({ measured }) => measured.length !== 3)) return []
  return [[0, 1, 2].map((which) => digits(median(samples.map(({ measured }) => (measured[which] as number) / 1000))))]
}

const COUNTS: readonly (readonly [heading: string, count: (activity: NetworkActivity) => number])[] = [
  ['frames from', ({ framesFromGuest }) => framesFromGuest],
  ['to', ({ framesToGuest }) => framesToGuest],
  ['packets from', ({ packetsFromGuest }) => packetsFromGuest],
  ['to', ({ packetsToGuest }) => packetsToGuest],
  ['signals from', ({ signalsFromGuest }) => signalsFromGuest],
  ['to', ({ signalsToGuest }) => signalsToGuest],
  ['spared', ({ signalsSpared }) => signalsSpared],
  ['exits', exitsOf],
  ['halts', ({ halts }) => halts],
]

function costs(samples: readonly NetworkSample[]): string[] {
  const each = (count: (activity: NetworkActivity) => number): number =>
    countFor(samples, count, (sample) => sample.count)
  return [...COUNTS.map(([, count]) => each(count).toFixed(2)), each(({ instructions }) => instructions).toFixed(0)]
}

function activityRates(samples: readonly NetworkSample[]): string[] {
  const each = (count: (activity: NetworkActivity) => number): number => countFor(samples, count, ({ wall }) => wall)
  return [...COUNTS.map(([, count]) => digits(each(count))), digits(each(({ instructions }) => instructions) / 1e6)]
}
