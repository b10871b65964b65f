// What samples say: rates, ratios of neighbours in time, counts of a unit, and the ratio of the processors.

import { harmonicMean, median } from '../statistics.ts'
import { table } from '../table.ts'
import type { Activity } from './activity.ts'
import type { Job } from './job.ts'
import type { Measured } from './measure.ts'
import type { Sample } from './measured-guest.ts'

type Rate = (sample: Sample) => number

/** Units a second of the clock. */
export const perSecond: Rate = ({ count, wall }) => count / wall
/** Units a second of the guest: of its process's processor time. */
export const perProcessorSecond: Rate = ({ count, processor }) => count / processor

/** The median of the ratios of runs that follow each other: they have the same load on the machine. */
export function ratio<J>(of: Measured<J>, to: Measured<J>, job: J, rate: Rate): number {
  return median(of.samples(job).map((sample, run) => rate(sample) / rate(to.samples(job)[run] as Sample)))
}

/** The sum of a count over all runs, divided by that of another: counts hardly depend on the load of the machine. */
export function countFor<A extends Activity>(
  samples: readonly Sample<A>[],
  count: (activity: A) => number,
  divisor: (sample: Sample<A>) => number,
): number {
  const sum = (value: (sample: Sample<A>) => number): number =>
    samples.reduce((total, sample) => total + value(sample), 0)
  return sum(({ activity }) => (activity === undefined ? Number.NaN : count(activity))) / sum(divisor)
}

/**
 * Print how fast the processors are, by work without a device.
 * @param all that the ratio is made of
 * @returns the ratio, which is the target of the device; undefined where not all of that was measured
 */
export function processorsRatio<J extends Pick<Job, 'label' | 'group'>>(
  own: Measured<J>,
  peer: Measured<J>,
  all: readonly J[],
  device: string,
): number | undefined {
  const jobs = all.filter(({ group }) => group === 'processor')
  if (jobs.some((job) => own.samples(job).length === 0)) return undefined
  const speeds = jobs.map((job) => ratio(own, peer, job, perProcessorSecond))
  const mean = harmonicMean(speeds)
  console.log(
    `\nThe processor's speed: work without a ${device} that gets done in a second of the guest, against QEMU TCG`,
  )
  console.log(
    table([
      ...jobs.map(({ label }, i) => [label, (speeds[i] as number).toFixed(3)]),
      [`harmonic mean, which is the target of the ${device}`, `${mean.toFixed(3)} (1/${(1 / mean).toFixed(1)})`],
    ]),
  )
  return mean
}
