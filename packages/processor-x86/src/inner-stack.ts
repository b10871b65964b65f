// Stacks of inner privilege levels (SDM vol. 3, 5.8.5, 6.12.1, 6.14.2): where the task-state segment says they are, and pushing on them before they are loaded.

import type { Cpu } from './cpu.ts'
import { VECTOR } from './instruction/emitter.ts'
import { type Descriptor, TYPE } from './segmentation.ts'
import { SEGMENT } from './state-layout.ts'

/** SS:ESP for an inner privilege level from the 32-bit or 16-bit TSS. */
export function innerStack(cpu: Cpu, cpl: number, external: number): { ss: number; esp: number } {
  const wide = (cpu.segmentAttributes(SEGMENT.TR) & TYPE.TSS32) === TYPE.TSS32
  const offset = wide ? 4 + cpl * 8 : 2 + cpl * 4
  const size = wide ? 4 : 2
  if (offset + size + 1 > cpu.segmentLimit(SEGMENT.TR))
    cpu.fault(VECTOR.TS, (cpu.segmentSelector(SEGMENT.TR) & 0xfffc) | external)
  const at = cpu.segmentBase(SEGMENT.TR) + BigInt(offset)
  const stack = at & 0xffffffffn
  const selector = (at + BigInt(size)) & 0xffffffffn
  return { esp: wide ? cpu.readU32(stack, true) : cpu.readU16(stack, true), ss: cpu.readU16(selector, true) }
}

/** A 64-bit stack pointer of the 64-bit TSS: RSP0–RSP2 at 4, IST1–IST7 at 0x24. */
export function readTaskStack(cpu: Cpu, offset: number, external: number): bigint {
  if (offset + 7 > cpu.segmentLimit(SEGMENT.TR))
    cpu.fault(VECTOR.TS, (cpu.segmentSelector(SEGMENT.TR) & 0xfffc) | external)
  return cpu.readU64(BigInt.asUintN(64, cpu.segmentBase(SEGMENT.TR) + BigInt(offset)), true)
}

/** Store words below `esp` of a stack segment at `base`, the first word highest; `mask` are the bits that address it. All are checked first. */
export function pushWords(
  cpu: Cpu,
  base: bigint,
  esp: number,
  mask: number,
  words: readonly number[],
  size: number,
  supervisor: boolean,
): void {
  const at = (i: number): bigint => (base + BigInt(((esp - (i + 1) * size) & mask) >>> 0)) & 0xffffffffn
  for (let i = 0; i < words.length; i++) cpu.probeWrite(at(i), size, supervisor)
  words.forEach((word, i) => {
    if (size === 4) cpu.writeU32(at(i), word, supervisor)
    else cpu.writeU16(at(i), word & 0xffff, supervisor)
  })
}

/**
 * Push on a stack segment that is not loaded yet; `error` is the code of #SS when it has no room. Returns the new ESP.
 */
export function pushInner(
  cpu: Cpu,
  stack: Descriptor,
  esp: number,
  words: readonly number[],
  size: number,
  error: number,
): number {
  const mask = stack.attributes & 0x4000 ? -1 : 0xffff
  const bytes = words.length * size
  const bottom = ((esp - bytes) & mask) >>> 0
  const last = bottom + bytes - 1
  const down = (stack.type & 4) !== 0
  const fits = down ? bottom > stack.limit && last <= mask >>> 0 : last <= stack.limit
  if (!fits) cpu.fault(VECTOR.SS, error)
  pushWords(cpu, stack.base, esp, mask, words, size, true)
  return (esp & ~mask) | (bottom & mask)
}
