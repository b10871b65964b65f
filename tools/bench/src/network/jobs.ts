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
/** Of the guest's own server of small exchanges. */
export const ECHO_PORT = 7777
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

/** Where small exchanges go: with the host, or with a server in the guest. */
interface Server {
  readonly name: string
  readonly group: NetworkJob['group']
  at(ports: Ports): string
}
const OF_THE_HOST: Server = { name: '', group: 'network', at: ({ echo }) => `${HOST} ${echo}` }
const OF_THE_GUEST: Server = { name: ', to itself', group: 'processor', at: () => `127.0.0.1 ${ECHO_PORT}` }

function exchanges(server: Server): NetworkJob {
  return {
    label: `a byte there and back${server.name}`,
    group: server.group,
    unit: 'exchanges',
    bytes: 0,
    firstCount: 1000,
    command: (count, ports) => between(`network rr ${server.at(ports)} ${count}`),
  }
}

function connections(atATime: number, server: Server): NetworkJob {
  return {
    label: `connections, ${atATime} at a time${server.name}`,
    group: server.group,
    unit: 'connections',
    bytes: 0,
    firstCount: 200,
    command: (count, ports) => between(`network connect ${server.at(ports)} ${count} ${atATime}`),
  }
}

/** Through the adapter. */
const ADAPTER_JOBS: readonly NetworkJob[] = [
  transfer('1 stream from the guest', ''),
  transfer('1 stream to the guest', '-R'),
  transfer('8 streams from the guest', '-P 8'),
  transfer('8 streams to the guest', '-P 8 -R'),
  exchanges(OF_THE_HOST),
  connections(1, OF_THE_HOST),
  connections(8, OF_THE_HOST),
]

/** Without the adapter: the kernel with a program, a program alone, and the kernel's TCP, with the same programs as through the adapter. */
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
  exchanges(OF_THE_GUEST),
  connections(1, OF_THE_GUEST),
]

export const NETWORK_JOBS: readonly NetworkJob[] = [...PROCESSOR_JOBS, ...ADAPTER_JOBS]
