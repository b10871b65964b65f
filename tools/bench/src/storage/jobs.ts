// Patterns of access to the disk, as fio makes them.

import { fio } from '../guest-jobs/fio.ts'
import type { Job } from '../guest-jobs/job.ts'

/** Where it is done: the shell's word for the disk's name. */
export type DiskJob = Job<string>

const KIBIBYTE = 1024
/** Bytes of the disk that is measured on. */
export const DISK_SIZE: number = 128 * 2 ** 20

type Pattern = 'randread' | 'randwrite' | 'read' | 'write'

function diskJob(label: string, rw: Pattern, bytes: number, iodepth: number, firstCount: number): DiskJob {
  return {
    label: `${label}, depth ${iodepth}`,
    group: 'disk',
    unit: 'requests',
    bytes,
    firstCount,
    command: (count, filename) => {
      const disk = { filename, size: DISK_SIZE, io_size: count * bytes, direct: 1 }
      return fio({ ...disk, ioengine: 'libaio', iodepth, rw, bs: bytes }, count)
    },
  }
}

export const DISK_JOBS: readonly DiskJob[] = [
  diskJob('4 KiB random read', 'randread', 4 * KIBIBYTE, 1, 1000),
  diskJob('4 KiB random read', 'randread', 4 * KIBIBYTE, 32, 2000),
  diskJob('4 KiB random write', 'randwrite', 4 * KIBIBYTE, 1, 1000),
  diskJob('4 KiB random write', 'randwrite', 4 * KIBIBYTE, 32, 2000),
  diskJob('128 KiB sequential read', 'read', 128 * KIBIBYTE, 1, 500),
  diskJob('128 KiB sequential read', 'read', 128 * KIBIBYTE, 32, 500),
  diskJob('128 KiB sequential write', 'write', 128 * KIBIBYTE, 1, 500),
  diskJob('128 KiB sequential write', 'write', 128 * KIBIBYTE, 32, 500),
]

/** Those of them that only read. */
export const READ_JOBS: readonly DiskJob[] = DISK_JOBS.filter(({ label }) => label.includes(' read, '))
