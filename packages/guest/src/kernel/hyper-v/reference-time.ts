// The partition's time (TLFS, "Timers"): a counter of 100 ns, which a page of the hypervisor's lets the guest compute from its time-stamp counter, without an intercept.

import type { Cpu } from '@partita/processor-typescript'
import { PAGE_SIZE } from '../boot/page-allocator.ts'
import { HV_MSR, PAGE_ENABLE } from './msr.ts'

/** Offsets in HV_REFERENCE_TSC_PAGE. */
const PAGE = { SEQUENCE: 0, SCALE: 8, OFFSET: 16 } as const
/** The page is not valid: read the MSR. */
const SEQUENCE_INVALID = 0

/** The clock. */
export class ReferenceTime {
  readonly #cpu: Cpu
  readonly #page: number
  #last = 0n

  /** `page` is one that nothing else uses. */
  constructor(cpu: Cpu, page: number) {
    this.#cpu = cpu
    this.#page = page * PAGE_SIZE
  }

  enable(): void {
    this.#cpu.writeMsr(HV_MSR.REFERENCE_TSC, BigInt(this.#page) | PAGE_ENABLE)
  }

  /** Units of 100 ns since the partition was created. */
  now(): bigint {
    const { memory } = this.#cpu
    for (;;) {
      const sequence = memory.readU32(this.#page + PAGE.SEQUENCE)
      if (sequence === undefined || sequence === SEQUENCE_INVALID) break
      const scale = memory.readU64(this.#page + PAGE.SCALE) ?? 0n
      const offset = BigInt.asIntN(64, memory.readU64(this.#page + PAGE.OFFSET) ?? 0n)
      const time = ((this.#cpu.timeStampCounter * scale) >> 64n) + offset
      // The hypervisor changes the page with the guest's clock, on the way to another host.
      if (memory.readU32(this.#page + PAGE.SEQUENCE) === sequence) return time
    }
    if (this.#cpu.inSlice) this.#last = this.#cpu.readMsr(HV_MSR.TIME_REF_COUNT)
    return this.#last
  }
}
