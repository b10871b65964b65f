// What is done in the guests: transfers, small exchanges and connections through the network adapter, and work without one, which tells the processors' speeds.

import { BEGIN, END } from '../storage/marks.ts'

/** Ports of this host's loopback, where its servers are. */
export interface Ports {
  readonly iperf3: number
  readonly echo: number
}

/** One kind of work in units: mebibytes, exchanges, connections, requests, or rounds of a loop. */
export interface NetworkJob {
  readonly label: string
  /** What a unit is called. */
  readonly unit: string
  /** Units of the first run, whose rate says how many the others take. */
  readonly firstCount: number
  /** Words for the guest's shell. They print the marks around the work alone, as far as a program lets them. */
  readonly command: (count: number, ports: Ports) => string
}

/** The gateway's address: for Partita's NAT and for QEMU's the loopback of the host. */
const HOST = '10.0.2.2'
/** A file in RAM, its bytes, and its name where fio runs. */
export const RAM_FILE_SIZE: number = 4 * 2 ** 20
const RAM_FILE = 'ram'

const say = (mark: string): string => `echo ${mark} >/dev/ttyS0`
const between = (command: string): string => `sh -c '${say(BEGIN)}; ${command} && ${say(END)}'`

function transfer(label: string, options: string): NetworkJob {
  return {
    label: `iperf3, ${label}`,
    unit: 'MiB',
    firstCount: 32,
    command: (count, { iperf3 }) => between(`iperf3 -c ${HOST} -p ${iperf3} -n ${count}M ${options}`),
  }
}

function connections(atATime: number): NetworkJob {
  return {
    label: `connections, ${atATime} at a time`,
    unit: 'connections',
    firstCount: 200,
    command: (count, { echo }) => between(`network connect ${HOST} ${echo} ${count} ${atATime}`),
  }
}

/** Through the adapter. */
export const NETWORK_JOBS: readonly NetworkJob[] = [
  transfer('1 stream from the guest', ''),
  transfer('1 stream to the guest', '-R'),
  transfer('8 streams from the guest', '-P 8'),
  transfer('8 streams to the guest', '-P 8 -R'),
  {
    label: 'a byte there and back',
    unit: 'exchanges',
    firstCount: 1000,
    command: (count, { echo }) => between(`network rr ${HOST} ${echo} ${count}`),
  },
  connections(1),
  connections(8),
]

function ramJob(bytes: number, firstCount: number): NetworkJob {
  return {
    label: `${bytes} bytes random read of a file in RAM`,
    unit: 'reads',
    firstCount,
    command: (count) => {
      const options = {
        ...{ name: 'job', filename: RAM_FILE, size: RAM_FILE_SIZE, io_size: count * bytes, invalidate: 0 },
        ...{ ioengine: 'psync', rw: 'randread', bs: bytes, number_ios: count, norandommap: 1, randseed: count },
        // fio adds a redirection of its own at the end.
        ...{ exec_prerun: `'${say(BEGIN)}; :'`, exec_postrun: `'${say(END)}; :'` },
      }
      const words = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
      return ['fio', '--thread', '--gtod_reduce=1', ...words].join(' ')
    },
  }
}

/** Without the adapter: the kernel with a program, a program alone, and the kernel's TCP. */
export const PROCESSOR_JOBS: readonly NetworkJob[] = [
  ramJob(4096, 4000),
  ramJob(512, 4000),
  {
    label: 'rounds of a loop in the shell',
    unit: 'rounds',
    firstCount: 10_000,
    command: (count) => between(`i=0; while [ $i -lt ${count} ]; do i=$((i + 1)); done`),
  },
  {
    label: 'iperf3 to itself',
    unit: 'MiB',
    firstCount: 64,
    command: (count) => between(`iperf3 -c 127.0.0.1 -n ${count}M`),
  },
]
