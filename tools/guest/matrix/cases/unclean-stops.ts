// Stops amid writes: the process of the machine is killed. `npm run storage:kills` does that fifty times.

import { deepEqual, ok } from 'node:assert/strict'
import { makeImages, startPartita, uncleanStop } from '../../../storage/unclean-stop.ts'
import type { GuestCase } from '../case.ts'

export const uncleanStops: GuestCase = {
  name: 'unclean-stops',
  description:
    'after a kill amid writes the journal is replayed, e2fsck finds nothing, and all that was flushed is there; three times',
  async run({ directory }) {
    const images = makeImages(directory)
    let replayed = 0
    for (const [stop, acknowledgements] of [20, 60, 110].entries()) {
      const options = { images, stop, acknowledgements, delay: 70 * stop, start: startPartita, directory }
      const result = await uncleanStop(options)
      deepEqual(result.problems, [])
      if (result.replayed) replayed++
    }
    ok(replayed > 0, 'no stop left anything in the journal')
  },
}
