// A booted guest with what was measured in it.

import { GuestProcess, type Machine } from '../guest-process.ts'
import { processorSeconds } from '../process-usage.ts'
import { activityBetween } from '../storage/activity.ts'
import { BEGIN, END } from '../storage/marks.ts'
import { type NetworkJob, type Ports, RAM_FILE_SIZE } from './jobs.ts'
import type { MarkMessage, NetworkActivity } from './machine.node.ts'

/** Seconds that a measurement shall take, about. */
const DURATION = 3
const MAXIMUM_COUNT = 500_000
/** Runs before the first that counts, at most, and by how much of its rate one may differ from that before it to be the last. */
const WARM_UPS = 6
const STEADY = 0.1

/** Typed into the guest's shell: gives the adapter an address, makes the programs available, and defines `job`. */
const SET_UP = `
modprobe -q hv_netvsc; modprobe -q virtio_net; modprobe -q virtio_blk
until root=$(findfs LABEL=partita) && [ -e /sys/class/net/eth0 ]; do usleep 50000; done
mount -t ext4 -o ro,noload $root /mnt
for directory in dev proc sys; do mount -o bind /$directory /mnt/$directory; done
mount -t tmpfs none /mnt/tmp
cp /bin/network /mnt/tmp
ip link set lo up; ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2
dd if=/dev/zero of=/mnt/tmp/ram bs=1M count=${RAM_FILE_SIZE / 2 ** 20} 2>/dev/null
job() { chroot /mnt sh -c 'cd /tmp && PATH=/tmp:$PATH && exec "$@"' sh "$@" >/mnt/tmp/log 2>&1 && echo job-done || cat /mnt/tmp/log; }
until ping -c 1 -W 1 10.0.2.2 >/dev/null; do :; done
chroot /mnt iperf3 -s -D && [ -x /mnt/bin/fio ] && echo set-up''-done
`.trim()

/** One job on one machine, once. */
export interface Sample {
  readonly count: number
  /** Seconds by the host's clock, and of processor time of the whole process. */
  readonly wall: number
  readonly processor: number
  readonly activity: NetworkActivity | undefined
}

export class MeasuredGuest implements AsyncDisposable {
  readonly label: string
  readonly #process: GuestProcess
  readonly #ports: Ports
  readonly #samples = new Map<NetworkJob, Sample[]>()
  readonly #counts = new Map<NetworkJob, number>()

  constructor(machine: Machine, ports: Ports) {
    this.label = machine.label
    this.#process = new GuestProcess(machine)
    this.#ports = ports
  }

  async setUp(): Promise<void> {
    await this.#process.prompt()
    await this.#process.command(SET_UP, 'set-up-done')
  }

  /** Learn how many units take the time wanted; the processor's best code is made on the way. */
  async calibrate(job: NetworkJob): Promise<void> {
    let count = job.firstCount
    for (let run = 0, before = 0; run < WARM_UPS; run++) {
      const { wall, processor } = await this.#run(job, count)
      const rate = count / processor
      const steady = Math.abs(rate - before) < STEADY * rate
      count = Math.min(MAXIMUM_COUNT, Math.max(job.firstCount, Math.ceil((count / wall) * DURATION)))
      if (steady) break
      before = rate
    }
    this.#counts.set(job, count)
  }

  async measure(job: NetworkJob): Promise<void> {
    const samples = this.#samples.get(job) ?? []
    samples.push(await this.#run(job, this.#counts.get(job) as number))
    this.#samples.set(job, samples)
  }

  samples(job: NetworkJob): readonly Sample[] {
    return this.#samples.get(job) ?? []
  }

  async #run(job: NetworkJob, count: number): Promise<Sample> {
    const guest = this.#process
    guest.messages.length = 0
    await guest.command(`job ${job.command(count, this.#ports)}`, BEGIN)
    const begin = performance.now()
    const processorBegin = await processorSeconds(guest.pid)
    await guest.printed(END)
    const wall = (performance.now() - begin) / 1000
    const processor = (await processorSeconds(guest.pid)) - processorBegin
    await guest.printed('job-done')
    const messages = guest.messages as MarkMessage[]
    const first = messages.find(({ mark }) => mark === BEGIN)
    const last = messages.find(({ mark }) => mark === END)
    const activity = first && last && (activityBetween(first.activity, last.activity) as NetworkActivity)
    return { count, wall, processor, activity }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]()
  }
}
