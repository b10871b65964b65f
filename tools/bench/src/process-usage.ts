// What Linux says about another process: memory and processor time (proc(5)).

import { open, readdir, readFile } from 'node:fs/promises'

const PAGE = 4096
const ENTRY = 8
/** Bits 63 and 62 of a page map entry, in its highest byte: the page is in memory, or swapped out. */
const PRESENT_OR_SWAPPED = 0xc0
/** Clock ticks in a second, which Linux has fixed for user space. */
const TICKS = 100

/** Bytes of one process. */
export interface MemoryUsage {
  readonly resident: number
  /** Pages of the guest's RAM that were ever touched. */
  readonly guestRam: number
}

/** Resident memory, and how much of it is RAM of a guest that has `ramSize` bytes. */
export async function memoryUsage(pid: number, ramSize: number): Promise<MemoryUsage> {
  const resident = Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
  let guestRam = 0
  // V8 reserves large writable ranges of its own, of which it touches little there: the RAM is where most was touched.
  for (const address of await ramCandidates(pid, ramSize))
    guestRam = Math.max(guestRam, await touched(pid, address, ramSize))
  return { resident, guestRam }
}

/** Highest resident memory so far. */
export async function peakResident(pid: number): Promise<number> {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

/** Where the RAM may start: it is the end of a writable mapping that is large enough. */
async function ramCandidates(pid: number, ramSize: number): Promise<number[]> {
  const candidates: number[] = []
  for (const line of (await readFile(`/proc/${pid}/maps`, 'utf8')).split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line)
    if (match === null) continue
    const [start, end] = [Number.parseInt(match[1] as string, 16), Number.parseInt(match[2] as string, 16)]
    if (end - start >= ramSize) candidates.push(end - ramSize)
  }
  return candidates
}

async function touched(pid: number, address: number, size: number): Promise<number> {
  await using file = await open(`/proc/${pid}/pagemap`)
  const entries = Buffer.alloc((size / PAGE) * ENTRY)
  const { bytesRead } = await file.read(entries, 0, entries.length, (address / PAGE) * ENTRY)
  let pages = 0
  for (let at = ENTRY - 1; at < bytesRead; at += ENTRY) if ((entries[at] as number) & PRESENT_OR_SWAPPED) pages++
  return pages * PAGE
}

/** Seconds of processor time so far, of all threads, in user and kernel mode. */
export async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The second field is the name in parentheses, which may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** Nanoseconds of processor time so far of each thread that lives now, by its id. */
export async function threadTimes(pid: number): Promise<ReadonlyMap<string, number>> {
  const threads = await readdir(`/proc/${pid}/task`)
  const entries = threads.map(async (thread) => {
    // one that has just ended
    const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '0')
    return [thread, Number(text.split(' ')[0])] as const
  })
  return new Map(await Promise.all(entries))
}
