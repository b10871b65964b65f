// Sets of virtual processors in hypercall input: a mask of 64, and HV_VP_SET (TLFS, "HV_VP_SET").

import type { Hypercall } from '../hypercall-table.ts'

const FORMAT = { SPARSE: 0n, ALL: 1n } as const
const BANK_SIZE = 64
const FIXED_SIZE = 16

/** Bytes of HV_VP_SET without its banks: they are the variable header. */
export const VP_SET_SIZE: number = FIXED_SIZE

/** Call `each` for the processors below `count` in a mask. */
export function eachInMask(mask: bigint, base: number, count: number, each: (vpIndex: number) => void): void {
  let rest = mask
  for (let index = base; rest !== 0n && index < count; index++, rest >>= 1n) if ((rest & 1n) !== 0n) each(index)
}

/**
 * Call `each` for the processors below `count` in the HV_VP_SET at `offset` of the input, whose banks are the variable header. False, and nothing called, when it is
 * malformed: an unknown format, or fewer banks than the mask of valid banks says.
 */
export function eachInVpSet(call: Hypercall, offset: number, count: number, each: (vpIndex: number) => void): boolean {
  const { input } = call
  const format = input.getBigUint64(offset, true)
  if (format === FORMAT.ALL) {
    for (let index = 0; index < count; index++) each(index)
    return true
  }
  if (format !== FORMAT.SPARSE) return false
  const valid = input.getBigUint64(offset + 8, true)
  if (population(valid) * 8 > call.variableHeaderSize) return false
  let at = offset + FIXED_SIZE
  for (let bank = 0; bank < BANK_SIZE; bank++) {
    if (((valid >> BigInt(bank)) & 1n) === 0n) continue
    eachInMask(input.getBigUint64(at, true), bank * BANK_SIZE, count, each)
    at += 8
  }
  return true
}

function population(mask: bigint): number {
  let count = 0
  for (let rest = mask; rest !== 0n; rest &= rest - 1n) count++
  return count
}
