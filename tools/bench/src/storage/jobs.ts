// What is done in the guests: patterns of access to the disk, as fio makes them, and work without a disk, which tells the processors' speeds.

import { BEGIN, END } from './marks.ts'

/** One kind of work in units: requests, or rounds of a loop. */
export interface Job {
  readonly label: string
  /** Bytes that a unit moves; 0 where that means nothing. */
  readonly bytes: number
  /** Units of the first run, whose rate says how many the others take. */
  readonly firstCount: number
  /**
   * Words for the guest's shell. They print the marks around the work alone: it takes a program as large as fio a while to start.
   * @param disk The shell's word for the disk's name
   */
  readonly command: (count: number, disk: string) => string
}

const KIBIBYTE = 1024
/** Bytes of the disk that is measured on. */
export const DISK_SIZE: number = 128 * 2 ** 20
/** Bytes of the file in RAM, and its name where fio runs. */
export const RAM_FILE_SIZE: number = 4 * 2 ** 20
const RAM_FILE = 'ram'

const say = (mark: string): string => `echo ${mark} >/dev/ttyS0`

function fio(options: Readonly<Record<string, string | number>>, count: number): string {
  const words = Object.entries({
    name: 'job',
    ...options,
    number_ios: count,
    // No map of the blocks that were visited: all memory is the page cache's and the program's own.
    norandommap: 1,
    // Other blocks each time.
    randseed: count,
    // fio adds a redirection of its own at the end.
    exec_prerun: `'${say(BEGIN)}; :'`,
    exec_postrun: `'${say(END)}; :'`,
  })
  return ['fio', '--thread', '--gtod_reduce=1', ...words.map(([name, value]) => `--${name}=${value}`)].join(' ')
}

type Pattern = 'randread' | 'randwrite' | 'read' | 'write'

function diskJob(label: string, rw: Pattern, bytes: number, iodepth: number, firstCount: number): Job {
  return {
    label: `${label}, depth ${iodepth}`,
    bytes,
    firstCount,
    command: (count, filename) => {
      const disk = { filename, size: DISK_SIZE, io_size: count * bytes, direct: 1 }
      return fio({ ...disk, ioengine: 'libaio', iodepth, rw, bs: bytes }, count)
    },
  }
}

/** Patterns on the disk. */
export const DISK_JOBS: readonly Job[] = [
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
export const READ_JOBS: readonly Job[] = DISK_JOBS.filter(({ label }) => label.includes(' read, '))

function ramJob(bytes: number, firstCount: number): Job {
  return {
    label: `${bytes} bytes random read of a file in RAM`,
    bytes,
    firstCount,
    command: (count) => {
      const file = { filename: RAM_FILE, size: RAM_FILE_SIZE, io_size: count * bytes, invalidate: 0 }
      return fio({ ...file, ioengine: 'psync', rw: 'randread', bs: bytes }, count)
    },
  }
}

/** Work without a disk: in the kernel and the same fio, and in a program alone. */
export const PROCESSOR_JOBS: readonly Job[] = [
  ramJob(4 * KIBIBYTE, 4000),
  ramJob(512, 4000),
  {
    label: 'rounds of a loop in the shell',
    bytes: 0,
    firstCount: 10_000,
    command: (count) => `sh -c '${say(BEGIN)}; i=0; while [ $i -lt ${count} ]; do i=$((i + 1)); done; ${say(END)}'`,
  },
]
