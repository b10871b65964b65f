// Work that is done in guests and measured.

import { UsageError } from '../arguments.ts'

/** One kind of work in units: requests, mebibytes, connections, or rounds of a loop. */
export interface Job<Where = unknown> {
  readonly label: string
  /** `processor`: work that tells the speeds of the processors alone. */
  readonly group: 'processor' | 'disk' | 'network'
  /** What units are called. */
  readonly unit: string
  /** Bytes that a unit moves; 0 where that means nothing. */
  readonly bytes: number
  /** Units of the first run, whose rate says how many the others take. */
  readonly firstCount: number
  /**
   * Words for the guest's shell. They print the marks around the work alone: it takes a large program a while to start.
   * @param where the work is done: a disk, a server
   */
  readonly command: (count: number, where: Where) => string
}

/**
 * The jobs that `--only` names: each of its parts stands for those whose group or label has all of the part's words.
 * @throws UsageError when it names none
 */
export function chosenJobs<J extends Pick<Job, 'label' | 'group'>>(
  jobs: readonly J[],
  only: readonly string[] | undefined,
): readonly J[] {
  if (only === undefined) return jobs
  const has = ({ group, label }: J, part: string): boolean =>
    part.split(' ').every((word) => `${group} ${label}`.includes(word))
  const chosen = jobs.filter((job) => only.some((part) => has(job, part)))
  if (chosen.length === 0) {
    throw new UsageError(`--only names none of these: ${jobs.map(({ label }) => label).join('; ')}`)
  }
  return chosen
}
