// Measures jobs in guests that are compared: each is warmed up, and then all take turns, so that neighbours in time have the same load on the machine.

import { createProgress } from '../progress.ts'
import type { Activity } from './activity.ts'
import type { Job } from './job.ts'
import type { Sample } from './measured-guest.ts'
import { MAXIMUM_RUNS, warmUp } from './warm-up.ts'

/** What does jobs: a guest, or one of several ways in a guest. */
export interface Subject<J, A extends Activity = Activity> {
  readonly label: string
  readonly run: (job: J, count: number) => Promise<Sample<A>>
}

/** A subject with what was measured. */
export interface Measured<J, A extends Activity = Activity> {
  readonly label: string
  /** Of a job that was measured, in the order of time. */
  readonly samples: (job: J) => readonly Sample<A>[]
}

/** Runs last about `seconds`. Progress goes to standard error; standard output gets a line about each job whose rate has not become steady. */
export async function measure<J extends Pick<Job, 'label' | 'firstCount'>, A extends Activity>(
  subjects: readonly Subject<J, A>[],
  jobs: readonly J[],
  { runs, seconds }: { readonly runs: number; readonly seconds: number },
): Promise<readonly Measured<J, A>[]> {
  const progress = createProgress(jobs.length * subjects.length * (1 + runs))
  const pairs = jobs.flatMap((job) =>
    subjects.map((subject) => ({ job, subject, count: 0, samples: [] as Sample<A>[] })),
  )
  const unsteady: string[] = []
  for (const pair of pairs) {
    const { job, subject } = pair
    const name = `${job.label}: ${subject.label}`
    progress.step(`warming up, ${name}`)
    const { count, steady } = await warmUp((units) => subject.run(job, units), job.firstCount, seconds)
    pair.count = count
    if (!steady) unsteady.push(name)
  }
  for (let run = 0; run < runs; run++) {
    for (const { job, subject, count, samples } of pairs) {
      progress.step(`${job.label}: ${subject.label}`)
      samples.push(await subject.run(job, count))
    }
  }
  progress.clear()
  for (const name of unsteady) console.log(`still changing after ${MAXIMUM_RUNS} runs of warm-up: ${name}`)
  return subjects.map((subject) => ({
    label: subject.label,
    samples: (job) => pairs.find((pair) => pair.job === job && pair.subject === subject)?.samples ?? [],
  }))
}
