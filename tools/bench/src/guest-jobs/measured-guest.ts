// A booted guest in which jobs are measured, whoever runs it.

import { GuestProcess, type Machine } from '../guest-process.ts'
import { processorSeconds } from '../process-usage.ts'
import { type Activity, activityBetween } from './activity.ts'
import type { MarkMessage } from './counted-machine.ts'
import { BEGIN, END } from './marks.ts'
import { RAM_FILE, RAM_FILE_SIZE } from './processor-jobs.ts'

/** One job, once. */
export interface Sample<A extends Activity = Activity> {
  readonly count: number
  /** Seconds by the host's clock, and of processor time of the whole process. */
  readonly wall: number
  readonly processor: number
  /** Undefined where the machine counts nothing. */
  readonly activity: A | undefined
  /** What the guest counted by itself. */
  readonly counter: number
  /** What the job's program measured by itself. */
  readonly measured: readonly number[]
}

/** What a guest is told before its first job, in words of its shell. */
export interface SetUp {
  /** Sets `root` to the name of the disk with the programs. */
  readonly find: string
  /** Once the programs are in `/mnt`; succeeds if all is well. Nothing: all is. */
  readonly prepare?: string
  /** Prints a number that grows with what the guest shall count. Nothing: it counts nothing. */
  readonly counter?: string
  /** Prints whole numbers out of what a job's program printed, which is in the file {@link JOB_LOG}. Nothing: there are none. */
  readonly measured?: string
}

/** Where the output of a job is, in the guest. */
export const JOB_LOG = '/mnt/tmp/log'

const READY = 'set-up-done'
const DONE = 'job-done'

/** Makes the programs available, and defines `job`, which runs one of them. */
function setUpCommands({ find, prepare = ':', counter = 'echo 0', measured = ':' }: SetUp): string {
  return `
${find}
mount -t ext4 -o ro,noload $root /mnt
for directory in dev proc sys; do mount -o bind /$directory /mnt/$directory; done
mount -t tmpfs none /mnt/tmp
dd if=/dev/zero of=/mnt/tmp/${RAM_FILE} bs=1M count=${RAM_FILE_SIZE / 2 ** 20} 2>/dev/null
counter() { ${counter}; }
measured() { ${measured}; }
job() { before=$(counter); chroot /mnt sh -c 'cd /tmp && PATH=/tmp:$PATH && exec "$@"' sh "$@" >${JOB_LOG} 2>&1 && echo ${DONE} $(($(counter) - before)) $(measured) . || cat ${JOB_LOG}; }
${prepare} && [ -x /mnt/bin/fio ] && echo ${READY.replace('-', "''-")}
`.trim()
}

export class MeasuredGuest<A extends Activity = Activity> implements AsyncDisposable {
  readonly label: string
  readonly #process: GuestProcess

  constructor(machine: Machine) {
    this.label = machine.label
    this.#process = new GuestProcess(machine)
  }

  async setUp(words: SetUp): Promise<void> {
    await this.#process.prompt()
    await this.#process.command(setUpCommands(words), READY)
  }

  /** Run a command that prints the marks around `count` units of work. */
  async run(command: string, count: number): Promise<Sample<A>> {
    const guest = this.#process
    guest.messages.length = 0
    await guest.command(`job ${command}`, BEGIN)
    const begin = performance.now()
    const processorBegin = await processorSeconds(guest.pid)
    await guest.printed(END)
    const wall = (performance.now() - begin) / 1000
    const processor = (await processorSeconds(guest.pid)) - processorBegin
    await guest.printed(' .')
    const [counter = Number.NaN, ...measured] = (new RegExp(`${DONE} ([\\d ]+) \\.`).exec(guest.text)?.[1] ?? '')
      .split(' ')
      .map(Number)
    const messages = guest.messages as MarkMessage<A>[]
    const [first, last] = [BEGIN, END].map((text) => messages.find(({ mark }) => mark === text))
    const activity = first && last && activityBetween(first.activity, last.activity)
    return { count, wall, processor, activity, counter, measured }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]()
  }
}
