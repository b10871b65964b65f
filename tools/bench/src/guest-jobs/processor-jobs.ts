// Work without a device, which tells the processors' speeds: in the kernel with fio, and in a program alone.

import { fio } from './fio.ts'
import type { Job } from './job.ts'
import { between } from './marks.ts'

/** A file in RAM where programs run, and its bytes. */
export const RAM_FILE = 'ram'
export const RAM_FILE_SIZE: number = 4 * 2 ** 20

function ramJob(bytes: number): Job {
  return {
    label: `${bytes} bytes random read of a file in RAM`,
    group: 'processor',
    unit: 'reads',
    bytes,
    firstCount: 4000,
    command: (count) => {
      const file = { filename: RAM_FILE, size: RAM_FILE_SIZE, io_size: count * bytes, invalidate: 0 }
      return fio({ ...file, ioengine: 'psync', rw: 'randread', bs: bytes }, count)
    },
  }
}

export const PROCESSOR_JOBS: readonly Job[] = [
  ramJob(4096),
  ramJob(512),
  {
    label: 'rounds of a loop in the shell',
    group: 'processor',
    unit: 'rounds',
    bytes: 0,
    firstCount: 10_000,
    command: (count) => between(`i=0; while [ $i -lt ${count} ]; do i=$((i + 1)); done`),
  },
]
