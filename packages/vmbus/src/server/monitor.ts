// The monitor page: a page of the guest's in which it sets bits where it would otherwise signal with a hypercall. The root looks at it now and then.
// A driver in a process of the guest, which cannot make hypercalls, needs it; for all others a signal is faster. Layout: HV_MONITOR_PAGE, a state and a
// reserved word, four groups of 32 pending and 32 armed bits, and what the root may tell about latencies, which nobody reads.

import type { GuestMemory } from '@partita/interface'
import { PAGE_SIZE } from '../protocol/constants.ts'

/** Channels that one page has bits for. */
export const MONITOR_IDS = 128
/** Nanoseconds between two looks at the page. */
export const MONITOR_PERIOD = 1_000_000

const GROUP_OFFSET = 8
const GROUP_SIZE = 8
const IDS_PER_GROUP = 32

/** Whether the guest gave a page that can be looked at. */
export function isMonitorPage(memory: GuestMemory, gpa: number): boolean {
  return gpa !== 0 && gpa % PAGE_SIZE === 0 && memory.isRam(gpa, PAGE_SIZE)
}

/** Take the pending bits of all groups, and call `signal` for each. Nothing happens when the page is gone. */
export function takePending(memory: GuestMemory, page: number, signal: (monitorId: number) => void): void {
  for (let group = 0; group < MONITOR_IDS / IDS_PER_GROUP; group++) {
    const gpa = page + GROUP_OFFSET + group * GROUP_SIZE
    if ((memory.readU32(gpa) ?? 0) === 0) continue
    const bytes = memory.view(gpa, 4, 'write')
    if (bytes === undefined) continue
    // The guest sets bits with locked instructions, on another thread perhaps.
    let pending = Atomics.exchange(new Int32Array(bytes.buffer, bytes.byteOffset, 1), 0, 0)
    memory.written(gpa, 4)
    for (let id = group * IDS_PER_GROUP; pending !== 0; id++, pending >>>= 1) if (pending & 1) signal(id)
  }
}
