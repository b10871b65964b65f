// `boot`: from the start of the process to the guest's first prompt. `memory`: what the host needs beside the guest's RAM. `idle`: processor time of a
// guest that waits at its prompt. Each on Partita and on QEMU TCG.

import { setTimeout as sleep } from 'node:timers/promises'
import { type BenchGuest, benchGuest } from './bench-guest.ts'
import { buildPackages } from './build-packages.ts'
import { GuestProcess, type Machine, partitaMachine, partitaSources, qemuMachine } from './guest-process.ts'
import { memoryUsage, peakResident, processorSeconds, threadTimes } from './process-usage.ts'
import { QEMU, QEMU_MISSING, qemuVersion } from './qemu.ts'
import { median } from './statistics.ts'
import { table } from './table.ts'
import { verdict } from './verdict.ts'

/** Times of QEMU TCG. */
const BOOT_TARGET = 1.3
/** MiB beside the guest's RAM. */
const MEMORY_TARGET = 300
/** Percent of one core. */
const IDLE_TARGET = 3
const IDLE_SECONDS = 20
/** Until what became hot during the boot is compiled. */
const SETTLE_SECONDS = 10
/** Milliseconds between two looks at the memory. */
const MEMORY_INTERVAL = 100
const MEBIBYTE = 2 ** 20

/** Partita first, then the peer if it is installed. */
async function prepare(): Promise<Machine[]> {
  const guest: BenchGuest = await benchGuest()
  buildPackages()
  const version = await qemuVersion()
  console.log(`Linux ${guest.version}, ${guest.memory / MEBIBYTE} MiB; ${guest.commandLine}`)
  if (version === undefined) console.log(QEMU_MISSING)
  else console.log(`peer: QEMU ${version}, TCG`)
  return [partitaMachine(guest), ...(version === undefined ? [] : [qemuMachine(guest)])]
}

export async function boot(runs: number): Promise<void> {
  const machines = await prepare()
  await bootTimes([...machines, partitaSources(await benchGuest())], runs)
  await atPrompt(machines, { memory: true, idle: true })
}

export async function memory(runs: number): Promise<void> {
  const machines = await prepare()
  for (let run = 0; run < runs; run++) await atPrompt(machines, { memory: true, idle: false })
}

export async function idle(runs: number): Promise<void> {
  const machines = await prepare()
  for (let run = 0; run < runs; run++) await atPrompt(machines, { memory: false, idle: true })
}

/** Seconds. */
interface BootTime {
  readonly wall: number
  /** Processor time of the busiest thread: what the clock would say if nothing else ran on the host. */
  readonly thread: number
  /** Processor time of all threads. */
  readonly processor: number
}

async function bootTimes(machines: readonly Machine[], runs: number): Promise<void> {
  const times = machines.map((): BootTime[] => [])
  for (let run = 0; run < runs; run++) {
    for (const [i, machine] of machines.entries()) {
      await using guest = new GuestProcess(machine)
      const wall = await guest.prompt()
      const thread = Math.max(...(await threadTimes(guest.pid)).values()) / 1e9
      times[i]?.push({ wall, thread, processor: await processorSeconds(guest.pid) })
    }
  }
  const line = (label: string, values: readonly number[]): string[] => [
    label,
    ...values.map((value) => value.toFixed(2)),
    median(values).toFixed(2),
  ]
  console.log(`\nSeconds to the prompt, ${runs} alternating runs`)
  console.log(
    table([
      ['', ...Array.from({ length: runs }, (_, run) => `run ${run + 1}`), 'median'],
      ...machines.flatMap(({ label }, i) => [
        line(label, times[i]?.map(({ wall }) => wall) ?? []),
        line(`${label}, busiest thread`, times[i]?.map(({ thread }) => thread) ?? []),
        line(`${label}, processor`, times[i]?.map(({ processor }) => processor) ?? []),
      ]),
    ]),
  )
  const peer = machines.findIndex(({ command }) => command === QEMU)
  if (peer < 0) return
  // Neighbours in time have the same load on the machine.
  const ratios = (machine: number, kind: keyof BootTime): number[] =>
    (times[machine] ?? []).map((one, run) => one[kind] / (times[peer]?.[run]?.[kind] ?? Number.NaN))
  const show = (machine: number, kind: keyof BootTime): string => {
    const all = ratios(machine, kind)
    return `${median(all).toFixed(2)} (${Math.min(...all).toFixed(2)} to ${Math.max(...all).toFixed(2)})`
  }
  for (const [i, { label }] of machines.entries())
    if (i !== peer)
      console.log(
        `ratio ${label}/QEMU TCG: ${show(i, 'wall')} by the clock, ${show(i, 'thread')} of the busiest threads, ${show(i, 'processor')} by processor time`,
      )
  console.log(verdict('boot', median(ratios(0, 'wall')), BOOT_TARGET, 'times QEMU TCG'))
  console.log(verdict('boot, busiest thread', median(ratios(0, 'thread')), BOOT_TARGET, 'times QEMU TCG'))
}

/** Measurements of one boot each. */
async function atPrompt(machines: readonly Machine[], what: { memory: boolean; idle: boolean }): Promise<void> {
  const { memory: ramSize } = await benchGuest()
  for (const machine of machines) {
    await using guest = new GuestProcess(machine)
    let overhead = 0
    const look = async (): Promise<void> => {
      const { resident, guestRam } = await memoryUsage(guest.pid, ramSize)
      overhead = Math.max(overhead, resident - guestRam)
    }
    const prompt = guest.prompt()
    if (what.memory) {
      const arrived = prompt.then(() => true)
      do await look()
      while (!(await Promise.race([arrived, sleep(MEMORY_INTERVAL, false)])))
    }
    await prompt
    const own = machine === machines[0]
    console.log('')
    if (what.memory) {
      const { guestRam } = await memoryUsage(guest.pid, ramSize)
      const peak = await peakResident(guest.pid)
      const mib = (bytes: number): string => `${(bytes / MEBIBYTE).toFixed(0)} MiB`
      console.log(
        `${machine.label}: peak resident memory ${mib(peak)}; touched RAM of the guest ${mib(guestRam)}; at most ${mib(overhead)} beside it`,
      )
      if (own) console.log(verdict('memory', overhead / MEBIBYTE, MEMORY_TARGET, 'MiB beside the RAM'))
    }
    if (what.idle) {
      await sleep(SETTLE_SECONDS * 1000)
      const before = await processorSeconds(guest.pid)
      const start = performance.now()
      await sleep(IDLE_SECONDS * 1000)
      const percent = (100_000 * ((await processorSeconds(guest.pid)) - before)) / (performance.now() - start)
      // A guest that has stopped would idle best of all.
      await guest.command('echo idle $((6 * 7))', 'idle 42')
      console.log(
        `${machine.label}: ${percent.toFixed(2)} % of a core while the guest idles for ${IDLE_SECONDS} s, ${SETTLE_SECONDS} s after its prompt`,
      )
      if (own) console.log(verdict('idle', percent, IDLE_TARGET, '% of a core'))
    }
  }
}
