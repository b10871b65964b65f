// Runs before those that count. A translator needs tens of thousands of requests until all that they execute is its best code, and a run has to be long enough to be measured.

import type { Sample } from './measured-guest.ts'

const MAXIMUM_COUNT = 500_000
/** Runs of the time wanted, at most, and by how much of its rate one may differ from that before it to be the last. */
export const MAXIMUM_RUNS = 16
const STEADY = 0.1

export interface WarmUp {
  /** Units that take the time wanted. */
  readonly count: number
  /** The rate no longer changed. */
  readonly steady: boolean
}

/**
 * Repeat a job until two runs of about `seconds` have the same rate within a tenth, per second of the process: other programs on the machine do not count.
 * @param firstCount units of the first run, which only tells how many the others take; none has fewer
 */
export async function warmUp(
  run: (count: number) => Promise<Pick<Sample, 'wall' | 'processor'>>,
  firstCount: number,
  seconds: number,
): Promise<WarmUp> {
  const lasting = (count: number, wall: number): number =>
    Math.min(MAXIMUM_COUNT, Math.max(firstCount, Math.ceil((count / wall) * seconds)))
  let count = lasting(firstCount, (await run(firstCount)).wall)
  for (let runs = 0, before = 0; runs < MAXIMUM_RUNS; runs++) {
    const { wall, processor } = await run(count)
    const rate = count / processor
    const steady = Math.abs(rate - before) < STEADY * rate
    count = lasting(count, wall)
    if (steady) return { count, steady }
    before = rate
  }
  return { count, steady: false }
}
