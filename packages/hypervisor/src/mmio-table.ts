// Dispatch of memory intercepts to devices: claims sorted by address, the last hit remembered. An access allocates nothing.

import type { AccessSize, Mmio, MmioHandler } from '@partita/interface'
import { HypervisorError } from './error.ts'
import { checkPages, type GpaMap } from './gpa-map.ts'
import { allOnes } from './port-table.ts'

interface MmioClaim {
  readonly base: number
  /** Address after the last byte. */
  readonly end: number
  readonly handler: MmioHandler
}

/** The memory-mapped registers of a partition. Unclaimed addresses read as all ones and ignore writes. */
export class MmioTable implements Mmio {
  readonly #memory: GpaMap
  readonly #claims: MmioClaim[] = []
  #last: MmioClaim | undefined

  constructor(memory: GpaMap) {
    this.#memory = memory
  }

  claim(gpa: number, length: number, handler: MmioHandler): Disposable {
    checkPages(gpa, length)
    const claims = this.#claims
    const end = gpa + length
    if (this.#memory.overlaps(gpa, length) || claims.some((other) => other.base < end && gpa < other.end)) {
      throw new HypervisorError(
        'ERR_MMIO_CONFLICT',
        `Something is already at 0x${gpa.toString(16)}–0x${(end - 1).toString(16)}`,
        {
          data: { gpa, length },
        },
      )
    }
    const claim: MmioClaim = { base: gpa, end, handler }
    claims.push(claim)
    claims.sort((a, b) => a.base - b.base)
    return {
      [Symbol.dispose]: (): void => {
        const index = claims.indexOf(claim)
        if (index >= 0) claims.splice(index, 1)
        if (this.#last === claim) this.#last = undefined
      },
    }
  }

  /** Read `size` bytes at `gpa`; an access that leaves a claim is split into bytes. */
  read(gpa: number, size: AccessSize): number {
    const claim = this.#find(gpa)
    if (claim !== undefined && gpa + size <= claim.end) return claim.handler.read(gpa - claim.base, size) >>> 0
    if (claim === undefined && this.#find(gpa + size - 1) === undefined) return allOnes(size)
    let value = 0
    for (let index = 0; index < size; index++) {
      const byteClaim = this.#find(gpa + index)
      const byte = byteClaim === undefined ? 0xff : byteClaim.handler.read(gpa + index - byteClaim.base, 1) & 0xff
      value |= byte << (8 * index)
    }
    return value >>> 0
  }

  /** Write `value` of `size` bytes; ignored where nothing is. */
  write(gpa: number, size: AccessSize, value: number): void {
    const claim = this.#find(gpa)
    if (claim !== undefined && gpa + size <= claim.end) {
      claim.handler.write(gpa - claim.base, size, value)
      return
    }
    for (let index = 0; index < size; index++) {
      const byteClaim = this.#find(gpa + index)
      byteClaim?.handler.write(gpa + index - byteClaim.base, 1, (value >>> (8 * index)) & 0xff)
    }
  }

  #find(gpa: number): MmioClaim | undefined {
    const last = this.#last
    if (last !== undefined && gpa >= last.base && gpa < last.end) return last
    const claims = this.#claims
    let low = 0
    let high = claims.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const claim = claims[middle] as MmioClaim
      if (gpa < claim.base) high = middle - 1
      else if (gpa >= claim.end) low = middle + 1
      else {
        this.#last = claim
        return claim
      }
    }
    return undefined
  }
}
