// Regions: the pieces of guest code that are translated as one WebAssembly function. A region begins at the head of a block and takes in what direct jumps and
// the code that follows lead to inside one physical page, so that nothing in it depends on paging.

import { DECODED, type Decoder } from '../decoder/decoder.ts'
import { MODE, type Mode } from '../decoder/mode.ts'
import type { DecodedForm } from '../decoder/opcode-map.ts'
import { RECORD } from '../state-layout.ts'

const PAGE = 4096

/** What translated code may be made of: measured defaults. */
export interface RegionLimits {
  readonly instructions: number
}

/** How control leaves an instruction. */
export const FLOW = {
  /** to the next one */
  NEXT: 0,
  /** to the next one or to a target */
  CONDITIONAL: 1,
  /** to a target */
  JUMP: 2,
  /** to a target, and perhaps back to the next one later */
  CALL: 3,
  /** somewhere */
  INDIRECT: 4,
  /** behind some call */
  RETURN: 5,
} as const

/** A decoded instruction. Places are counted in bytes from the region's entry. */
export interface RegionInstruction {
  readonly at: number
  readonly length: number
  readonly decoded: DecodedForm
  /** Offset of its record. */
  readonly record: number
  readonly flow: number
  /** Of direct jumps. */
  readonly target: number
}

/** Instructions that are entered at the first only. */
export interface RegionBlock {
  readonly at: number
  readonly instructions: RegionInstruction[]
  /** Where control goes after the last one, if not by a jump. */
  readonly next: number | undefined
}

export interface Region {
  /** Offset of the entry in its page. */
  readonly entry: number
  readonly mode: Mode
  /** Records of the instructions. */
  readonly view: DataView
  /** By place; the first is the entry. */
  readonly blocks: ReadonlyMap<number, RegionBlock>
  readonly instructions: number
  /** Bytes of the page that the region depends on, `[start, end)`. */
  readonly ranges: readonly (readonly [number, number])[]
}

/** Makes regions. */
export class RegionFinder {
  readonly #decoder: Decoder
  readonly #limits: RegionLimits
  readonly #view: DataView

  constructor(decoder: Decoder, limits: RegionLimits) {
    this.#decoder = decoder
    this.#limits = limits
    this.#view = new DataView(new ArrayBuffer((limits.instructions + 1) * RECORD.SIZE))
  }

  /**
   * The region at offset `entry` of a page. `known` tells whether an offset in the page has been executed as the start of a block. Undefined when its first instruction is not
   * for translated code. The region's records are good until the next one is made.
   */
  find(page: Uint8Array, entry: number, mode: Mode, known: (offset: number) => boolean): Region | undefined {
    const found = new Map<number, RegionInstruction>()
    const leaders = new Set<number>([0])
    const work = [0]
    let start = work.shift()
    while (start !== undefined) {
      for (let at = start; ; ) {
        if (found.has(at)) {
          leaders.add(at)
          break
        }
        if (found.size === this.#limits.instructions) break
        const instruction = this.#decode(page, entry, at, mode, found.size * RECORD.SIZE)
        if (!instruction) break
        found.set(at, instruction)
        const { flow, target } = instruction
        at += instruction.length
        if (flow === FLOW.CONDITIONAL || flow === FLOW.JUMP || flow === FLOW.CALL) {
          const offset = entry + target
          if (offset >= 0 && offset < PAGE && (found.has(target) || known(offset))) {
            leaders.add(target)
            work.push(target)
            if (flow === FLOW.CALL) {
              leaders.add(at)
              work.push(at)
            }
          }
        }
        if (flow === FLOW.CONDITIONAL) {
          // by breadth: the limit shall not be used up by what follows the way out of a loop
          leaders.add(at)
          work.push(at)
        }
        if (flow !== FLOW.NEXT) break
      }
      start = work.shift()
    }
    if (!found.has(0)) return undefined
    return {
      entry,
      mode,
      view: this.#view,
      blocks: blocksOf(found, leaders),
      instructions: found.size,
      ranges: rangesOf(found, entry),
    }
  }

  #decode(page: Uint8Array, entry: number, at: number, mode: Mode, record: number): RegionInstruction | undefined {
    const decoder = this.#decoder
    const start = entry + at
    const fetch = (position: number): number => {
      const offset = start + position
      return offset < PAGE ? (page[offset] as number) : -1
    }
    if (start < 0 || start >= PAGE) return undefined
    if (decoder.decode(mode, fetch, this.#view, record, at) !== DECODED.OK) return undefined
    const decoded = decoder.form
    if (!decoded) return undefined
    const { definition, operandSize } = decoded.form
    const { semantics, options } = definition
    if (typeof semantics !== 'function' && !semantics.usual) return undefined
    // 16-bit jumps wrap
    if (mode !== MODE.LONG && decoder.isRelative && operandSize === 2) return undefined
    const { length } = decoder
    const flow = decoder.isRelative
      ? options.ends
        ? definition.mnemonic === 'CALL'
          ? FLOW.CALL
          : FLOW.JUMP
        : FLOW.CONDITIONAL
      : options.ends
        ? definition.mnemonic === 'RET'
          ? FLOW.RETURN
          : FLOW.INDIRECT
        : definition.mnemonic.startsWith('UD')
          ? FLOW.INDIRECT
          : FLOW.NEXT
    return { at, length, decoded, record, flow, target: decoder.isRelative ? at + length + decoder.relative : 0 }
  }
}

function blocksOf(
  found: ReadonlyMap<number, RegionInstruction>,
  leaders: ReadonlySet<number>,
): Map<number, RegionBlock> {
  const blocks = new Map<number, RegionBlock>()
  for (const leader of leaders) {
    const instructions: RegionInstruction[] = []
    let next: number | undefined = leader
    for (;;) {
      const instruction = found.get(next)
      if (!instruction) break
      instructions.push(instruction)
      next = instruction.at + instruction.length
      if (instruction.flow === FLOW.CONDITIONAL) break
      if (instruction.flow !== FLOW.NEXT) {
        next = undefined
        break
      }
      if (leaders.has(next)) break
    }
    if (instructions.length > 0) blocks.set(leader, { at: leader, instructions, next })
  }
  return blocks
}

function rangesOf(found: ReadonlyMap<number, RegionInstruction>, entry: number): [number, number][] {
  const sorted = [...found.values()].sort((a, b) => a.at - b.at)
  const ranges: [number, number][] = []
  for (const { at, length } of sorted) {
    const last = ranges.at(-1)
    const start = entry + at
    if (last && start <= last[1]) last[1] = Math.max(last[1], start + length)
    else ranges.push([start, start + length])
  }
  return ranges
}
