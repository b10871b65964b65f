// Transfers, small exchanges and connections through the network adapter, and TCP without one.

import type { Job } from '../guest-jobs/job.ts'
import { between } from '../guest-jobs/marks.ts'
import { PROCESSOR_JOBS as COMMON_PROCESSOR_JOBS } from '../guest-jobs/processor-jobs.ts'

/** Ports of this host's loopback, where its servers are. */
export interface Ports {
  readonly iperf3: number
  readonly echo: number
}

export type NetworkJob = Job<Ports>

/** The gateway's address: for Partita's NAT and for QEMU's the loopback of the host. */
const HOST = '10.0.2.2'
const MEBIBYTE = 2 ** 20

function transfer(label: string, options: string): NetworkJob {
  return {
    label: `iperf3, ${label}`,
    group: 'network',
    unit: 'MiB',
    bytes: MEBIBYTE,
    firstCount: 32,
    command: (count, { iperf3 }) => between(`iperf3 -c ${HOST} -p ${iperf3} -n ${count}M ${options}`),
  }
}

function connections(atATime: number): NetworkJob {
  return {
    label: `connections, ${atATime} at a time`,
    group: 'network',
    unit: 'connections',
    bytes: 0,
    firstCount: 200,
    command: (count, { echo }) => between(`network connect ${HOST} ${echo} ${count} ${atATime}`),
  }
}

/** Through the adapter. */
const ADAPTER_JOBS: readonly NetworkJob[] = [
  transfer('1 stream from the guest', ''),
  transfer('1 stream to the guest', '-R'),
  transfer('8 streams from the guest', '-P 8'),
  transfer('8 streams to the guest', '-P 8 -R'),
  {
    label: 'a byte there and back',
    group: 'network',
    unit: 'exchanges',
    bytes: 0,
    firstCount: 1000,
    command: (count, { echo }) => between(`network rr ${HOST} ${echo} ${count}`),
  },
  connections(1),
  connections(8),
]

/** Without the adapter: the kernel with a program, a program alone, and the kernel's TCP. */
const PROCESSOR_JOBS: readonly NetworkJob[] = [
  ...COMMON_PROCESSOR_JOBS,
  {
    label: 'iperf3 to itself',
    group: 'processor',
    unit: 'MiB',
    bytes: MEBIBYTE,
    firstCount: 64,
    command: (count) => between(`iperf3 -c 127.0.0.1 -n ${count}M`),
  },
]

export const NETWORK_JOBS: readonly NetworkJob[] = [...PROCESSOR_JOBS, ...ADAPTER_JOBS]
