// The usual case of event delivery and of IRETQ in 64-bit mode, in halves of 32 bits and through the TLBs. What is not usual, and all that faults, is left to the general code:
// nothing has changed then.

import { type Cpu, FLAG } from './cpu.ts'
import { UNUSABLE } from './segmentation.ts'
import { GPR, SEGMENT, STATE } from './state-layout.ts'

/** High words of descriptors of flat 64-bit code and of data: present, accessed, not conforming; DPL apart. */
const CODE_MASK = 0x00609f00
const CODE = 0x00209b00 & ~0x200
const CODE_READABLE = 0x200
const DATA_MASK = 0x00009f00
const DATA = 0x00009300
const DPL = 0x6000

/** Whether the high half belongs to a canonical address. */
function canonicalHigh(high: number): boolean {
  return (high << 16) >> 16 === high
}

/** Offset in memory of a GDT entry with implicit rights, or -1. */
function descriptorAt(cpu: Cpu, selector: number): number {
  if (selector & 4 || (selector | 7) > cpu.get32(STATE.GDTR_LIMIT)) return -1
  const low = (cpu.get32(STATE.GDTR_BASE) >>> 0) + (selector & 0xfff8)
  if (low > 0xffffffff) return -1
  return cpu.reachable(low | 0, cpu.get32(STATE.GDTR_BASE + 4), 8, false, true)
}

/** Whether a descriptor of 64-bit code can be loaded as it is. */
function isCode(high: number): boolean {
  return (high & CODE_MASK & ~CODE_READABLE) === CODE
}

function limitOf(low: number, high: number): number {
  const limit = (low & 0xffff) | (high & 0xf0000)
  return high & 0x800000 ? (limit << 12) | 0xfff : limit
}
/** Load CS or SS from a checked descriptor. */
function setSegment(cpu: Cpu, segment: number, selector: number, low: number, high: number): void {
  const base = ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)) >>> 0
  cpu.setLowSegment(segment, selector, base, limitOf(low, high), ((high >>> 8) & 0xff) | ((high >>> 8) & 0xf000))
}

/** EFLAGS bits that a gate clears. */
const CLEARED = FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM

/**
 * Deliver through a 64-bit gate to ring 0. `errorCode` below 0: none; `pushedFlags`: EFLAGS for the stack; `software`: the gate's DPL counts.
 * Returns false when the general code has to do it.
 */
export function deliverFast(
  cpu: Cpu,
  vector: number,
  software: boolean,
  errorCode: number,
  pushedFlags: number,
): boolean {
  if (vector * 16 + 15 > cpu.get32(STATE.IDTR_LIMIT)) return false
  const gateLow = (cpu.get32(STATE.IDTR_BASE) >>> 0) + vector * 16
  if (gateLow > 0xffffffff) return false
  const gate = cpu.reachable(gateLow | 0, cpu.get32(STATE.IDTR_BASE + 4), 16, false, true)
  if (gate < 0) return false
  const { view, i32 } = cpu
  const word0 = view.getInt32(gate, true)
  const word1 = view.getInt32(gate + 4, true)
  const targetHigh = view.getInt32(gate + 8, true)
  // present, type 14 or 15
  if ((word1 & 0x9e00) !== 0x8e00 || !canonicalHigh(targetHigh)) return false
  const { cpl } = cpu
  if (software && ((word1 >>> 13) & 3) < cpl) return false
  const selector = word0 >>> 16
  const descriptor = descriptorAt(cpu, selector)
  if (descriptor < 0 || (selector & 0xfffc) === 0) return false
  const codeLow = view.getInt32(descriptor, true)
  const codeHigh = view.getInt32(descriptor + 4, true)
  if (!isCode(codeHigh) || codeHigh & DPL) return false

  // the stack
  const state = cpu.base >> 2
  const rspAt = state + ((STATE.FILE + GPR.RSP * 8) >> 2)
  const oldLow = i32[rspAt] as number
  const oldHigh = i32[rspAt + 1] as number
  let low = oldLow
  let high = oldHigh
  const ist = word1 & 7
  if (ist !== 0 || cpl !== 0) {
    const offset = ist !== 0 ? 0x1c + ist * 8 : 4
    if (offset + 7 > cpu.segmentLimit(SEGMENT.TR)) return false
    const taskLow = (cpu.get32(STATE.TR_BASE) >>> 0) + offset
    if (taskLow > 0xffffffff) return false
    const task = cpu.reachable(taskLow | 0, cpu.get32(STATE.TR_BASE + 4), 8, false, true)
    if (task < 0) return false
    low = view.getInt32(task, true)
    high = view.getInt32(task + 4, true)
  }
  if (!canonicalHigh(high)) return false
  const bytes = errorCode < 0 ? 40 : 48
  const bottom = ((low & ~15) >>> 0) - bytes
  if (bottom < 0) return false
  let at = cpu.reachable(bottom | 0, high, bytes, true, true)
  if (at < 0) return false

  // nothing can fault any more
  if (errorCode >= 0) {
    view.setInt32(at, errorCode, true)
    view.setInt32(at + 4, 0, true)
    at += 8
  }
  view.setInt32(at, i32[state + (STATE.RIP >> 2)] as number, true)
  view.setInt32(at + 4, i32[state + (STATE.RIP >> 2) + 1] as number, true)
  view.setInt32(at + 8, cpu.segmentSelector(SEGMENT.CS), true)
  view.setInt32(at + 12, 0, true)
  view.setInt32(at + 16, pushedFlags, true)
  view.setInt32(at + 20, 0, true)
  view.setInt32(at + 24, oldLow, true)
  view.setInt32(at + 28, oldHigh, true)
  view.setInt32(at + 32, cpu.segmentSelector(SEGMENT.SS), true)
  view.setInt32(at + 36, 0, true)
  if (cpl !== 0) cpu.setLowSegment(SEGMENT.SS, 0, 0, 0xffffffff, UNUSABLE | 0x4000)
  i32[rspAt] = bottom
  i32[rspAt + 1] = high
  const interruptGate = !(word1 & 0x100)
  cpu.set32(STATE.FLAGS_REST, cpu.get32(STATE.FLAGS_REST) & ~(interruptGate ? CLEARED | FLAG.IF : CLEARED))
  setSegment(cpu, SEGMENT.CS, selector & 0xfffc, codeLow, codeHigh)
  cpu.set32(STATE.CPL, 0)
  cpu.updateMode()
  i32[state + (STATE.RIP >> 2)] = (word1 & 0xffff0000) | (word0 & 0xffff)
  i32[state + (STATE.RIP >> 2) + 1] = targetHigh
  return true
}

/**
 * IRETQ in 64-bit mode to 64-bit code. `mask` are the flags that it may change. Returns false when the general code has to do it.
 */
export function returnFast(cpu: Cpu, mask: number): boolean {
  const { view, i32, cpl } = cpu
  const state = cpu.base >> 2
  const rspAt = state + ((STATE.FILE + GPR.RSP * 8) >> 2)
  const frame = cpu.reachable(i32[rspAt] as number, i32[rspAt + 1] as number, 40, false, false)
  if (frame < 0) return false
  const ripHigh = view.getInt32(frame + 4, true)
  if (!canonicalHigh(ripHigh)) return false
  const selector = view.getUint16(frame + 8, true)
  const rpl = selector & 3
  const code = descriptorAt(cpu, selector)
  if (code < 0 || (selector & 0xfffc) === 0 || rpl < cpl) return false
  const codeLow = view.getInt32(code, true)
  const codeHigh = view.getInt32(code + 4, true)
  if (!isCode(codeHigh) || ((codeHigh >>> 13) & 3) !== rpl) return false
  const stackSelector = view.getUint16(frame + 32, true)
  if ((stackSelector & 3) !== rpl) return false
  let stackLow = 0
  let stackHigh = 0
  const nullStack = (stackSelector & 0xfffc) === 0
  if (nullStack) {
    if (rpl === 3) return false
  } else {
    const stack = descriptorAt(cpu, stackSelector)
    if (stack < 0) return false
    stackLow = view.getInt32(stack, true)
    stackHigh = view.getInt32(stack + 4, true)
    if ((stackHigh & DATA_MASK) !== DATA || ((stackHigh >>> 13) & 3) !== rpl) return false
  }

  // nothing can fault any more
  const image = view.getInt32(frame + 16, true)
  if (nullStack) cpu.setLowSegment(SEGMENT.SS, stackSelector, 0, 0xffffffff, UNUSABLE | 0x4000 | (rpl << 5))
  else setSegment(cpu, SEGMENT.SS, stackSelector, stackLow, stackHigh)
  cpu.flags = (cpu.flags & ~mask) | (image & mask)
  i32[state + (STATE.RIP >> 2)] = view.getInt32(frame, true)
  i32[state + (STATE.RIP >> 2) + 1] = ripHigh
  i32[rspAt] = view.getInt32(frame + 24, true)
  i32[rspAt + 1] = view.getInt32(frame + 28, true)
  setSegment(cpu, SEGMENT.CS, selector, codeLow, codeHigh)
  cpu.set32(STATE.CPL, rpl)
  cpu.updateMode()
  return true
}
