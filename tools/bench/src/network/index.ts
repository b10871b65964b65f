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
import { QEMU_MISSING, qemuVersion } from '../qemu.ts'
import { harmonicMean, median } from '../statistics.ts'
import { exitsOf } from '../storage/activity.ts'
import { table } from '../table.ts'
import { NETWORK_JOBS, type NetworkJob, PROCESSOR_JOBS } from './jobs.ts'
import type { NetworkActivity } from './machine.node.ts'
import { partitaNetworkMachine, qemuNetworkMachine } from './machines.ts'
import { MeasuredGuest, type Sample } from './measured-guest.ts'

const MEBIBYTE = 2 ** 20
const MEMORY = 512 * MEBIBYTE

/** `only`: words of which a job's label has one. */
export async function network(runs: number, { only }: Pick<Arguments, 'only'>): Promise<void> {
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
  const guests: MeasuredGuest[] = []
  for (const machine of machines) {
    const measured = stack.use(new MeasuredGuest(machine, { iperf3: iperf3.port, echo: echo.port }))
    await measured.setUp()
    guests.push(measured)
  }
  const wanted = (job: NetworkJob): boolean => only === undefined || only.some((word) => job.label.includes(word))
  const jobs = { processor: PROCESSOR_JOBS.filter(wanted), network: NETWORK_JOBS.filter(wanted) }
  const all = [...jobs.processor, ...jobs.network]
  for (const job of all) for (const one of guests) await one.calibrate(job)
  for (let run = 0; run < runs; run++) {
    for (const job of all) for (const one of guests) await one.measure(job)
  }
  report(guests, jobs, runs)
}

const perSecond = ({ count, wall }: Sample): number => count / wall
const perProcessorSecond = ({ count, processor }: Sample): number => count / processor
/** Digits that say something. */
const digits = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))

function report(
  guests: readonly MeasuredGuest[],
  jobs: { readonly processor: readonly NetworkJob[]; readonly network: readonly NetworkJob[] },
  runs: number,
): void {
  const [own, peer] = guests as [MeasuredGuest, MeasuredGuest | undefined]
  console.log(
    `\nRates, medians of ${runs} alternating runs; a second of the guest is one of its process's processor time`,
  )
  console.log(
    table([
      ['', '', '', 'a second', 'Mbit/s', 'a second of the guest', 'processor', 'processor seconds a GiB'],
      ...[...jobs.processor, ...jobs.network].flatMap((job) =>
        guests.map((guest, i) => [i === 0 ? job.label : '', guest.label, ...rates(guest, job)]),
      ),
    ]),
  )
  const headings = ['frames out', 'in', 'packets', 'signals in', 'out', 'spared', 'exits', 'halts', 'instructions']
  console.log('\nFor each unit on Partita: frames of the adapter, and packets and signals of the VMBus')
  console.log(
    table([
      ['', '', ...headings],
      ...jobs.network.map((job) => [job.label, `a ${job.unit.replace(/s$/, '')}`, ...costs(own.samples(job))]),
    ]),
  )
  console.log('\nThe same a second')
  console.log(
    table([
      ['', ...headings.slice(0, -1), 'million instructions'],
      ...jobs.network.map((job) => [job.label, ...activityRates(own.samples(job))]),
    ]),
  )
  if (peer === undefined || jobs.processor.length === 0) return
  // Neighbours in time have the same load on the machine.
  const ratio = (job: NetworkJob, rate: (sample: Sample) => number): number =>
    median(own.samples(job).map((sample, run) => rate(sample) / rate(peer.samples(job)[run] as Sample)))
  const speeds = jobs.processor.map((job) => ratio(job, perProcessorSecond))
  const allowed = harmonicMean(speeds)
  console.log(
    "\nThe processor's speed: work without a network that gets done in a second of the guest, against QEMU TCG",
  )
  console.log(
    table([
      ...jobs.processor.map(({ label }, i) => [label, (speeds[i] as number).toFixed(3)]),
      ['harmonic mean, which is the target of the network', `${allowed.toFixed(3)} (1/${(1 / allowed).toFixed(1)})`],
    ]),
  )
  console.log('')
  console.log(
    table([
      ['Partita against QEMU', 'a second', 'a second of the guest', 'at equal processor speed', 'target'],
      ...jobs.network.map((job) => {
        const values = [ratio(job, perSecond), ratio(job, perProcessorSecond)]
        const equal = (values[1] as number) / allowed
        return [job.label, ...[...values, equal].map((value) => value.toFixed(3)), equal >= 1 ? 'met' : 'missed']
      }),
    ]),
  )
}

function rates(guest: MeasuredGuest, job: NetworkJob): string[] {
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

const COUNTS: readonly ((activity: NetworkActivity) => number)[] = [
  ({ framesFromGuest }) => framesFromGuest,
  ({ framesToGuest }) => framesToGuest,
  ({ packetsFromGuest }) => packetsFromGuest,
  ({ signalsFromGuest }) => signalsFromGuest,
  ({ signalsToGuest }) => signalsToGuest,
  ({ signalsSpared }) => signalsSpared,
  exitsOf,
  ({ halts }) => halts,
]

/** Means over all runs: counts hardly depend on the load of the machine. */
function costs(samples: readonly Sample[]): string[] {
  const units = samples.reduce((sum, { count }) => sum + count, 0)
  const each = (count: (activity: NetworkActivity) => number): number => total(samples, count) / units
  return [...COUNTS.map((count) => each(count).toFixed(2)), each(({ instructions }) => instructions).toFixed(0)]
}

function activityRates(samples: readonly Sample[]): string[] {
  const seconds = samples.reduce((sum, { wall }) => sum + wall, 0)
  const each = (count: (activity: NetworkActivity) => number): number => total(samples, count) / seconds
  return [...COUNTS.map((count) => digits(each(count))), digits(each(({ instructions }) => instructions) / 1e6)]
}

function total(samples: readonly Sample[], count: (activity: NetworkActivity) => number): number {
  return samples.reduce((sum, { activity }) => sum + (activity === undefined ? Number.NaN : count(activity)), 0)
}
