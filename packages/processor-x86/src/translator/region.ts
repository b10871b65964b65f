// Regions: the pieces of guest code that are translated as one WebAssembly function. A region begins at the head of a block and takes in what direct jumps and
// the code that follows lead to, in its own page and in others. Nothing changes a mapping while a region runs; that another page is where it was when the region was made is asked of
// the jump cache when control comes there first.

import { DECODED, type Decoder } from '../decoder/decoder.ts'
import { MODE, type Mode } from '../decoder/mode.ts'
import type { DecodedForm } from '../decoder/opcode-map.ts'
import type { InstructionDefinition } from '../instruction/definition.ts'
import { RECORD } from '../state-layout.ts'

const PAGE = 4096
const STATE_SAVING = /^(?:FXSAVE|FXRSTOR|XSAVE|XSAVEOPT|XRSTOR)$/

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
  /** Page, counted from the entry's, whose mapping must be known to be the one that the region was made for; 0: the entry's, which is. */
  readonly page: number
  /** The record of its block, which the jump cache gives for its RIP if the mapping is right. Only needed where control comes from another page. */
  readonly block: number
}

/** Code that a region may take in. */
export interface RegionPage {
  /** Distance in linear pages from the entry's. */
  readonly distance: number
  readonly bytes: Uint8Array
  /** Records of blocks that have been executed, by offset; without them all that jumps inside the page lead to is taken in. */
  readonly blocks: ReadonlyMap<number, number> | undefined
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
  /** Bytes that the region depends on: `[start, end)` of the page at a distance. */
  readonly ranges: readonly RegionRange[]
  /** The record of a block in the entry's page that is not part of the region, or 0. Who asks depends on it. */
  readonly records: (place: number) => number
  /** Records that were asked for. */
  readonly asked: ReadonlySet<number>
}
type RegionRange = readonly [start: number, end: number, distance: number]

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
   * The region at offset `entry` of the page at distance 0. Undefined when its first instruction is not for translated code. The region's records are good until the next one is
   * made.
   */
  find(pages: ReadonlyMap<number, RegionPage>, entry: number, mode: Mode): Region | undefined {
    const found = new Map<number, RegionInstruction>()
    const leaders = new Set<number>([0])
    /** Places to go on at: first those of the same function. */
    const near = [0]
    const calls: number[] = []
    const pageOf = (place: number): RegionPage | undefined => pages.get(Math.floor((entry + place) / PAGE))
    /** Whether control may come to a place from another one. */
    const follow = (from: number, place: number): boolean => {
      const page = pageOf(place)
      if (!page) return false
      const offset = (entry + place) & (PAGE - 1)
      if (pageOf(from) === page && (found.has(place) || !page.blocks)) return true
      return page.blocks?.has(offset) ?? false
    }
    for (let start = near.shift() ?? calls.shift(); start !== undefined; start = near.shift() ?? calls.shift()) {
      for (let at = start; ; ) {
        if (found.has(at)) {
          leaders.add(at)
          break
        }
        if (found.size === this.#limits.instructions) break
        const instruction = this.#decode(pages, entry, at, mode, found.size * RECORD.SIZE)
        if (!instruction) break
        if (crosses(instruction, entry)) leaders.add(at)
        found.set(at, instruction)
        const { flow, target } = instruction
        const from = at
        at += instruction.length
        if (flow === FLOW.CONDITIONAL || flow === FLOW.JUMP || flow === FLOW.CALL) {
          if (follow(from, target)) {
            leaders.add(target)
            ;(flow === FLOW.CALL ? calls : near).push(target)
            if (flow === FLOW.CALL) {
              leaders.add(at)
              calls.push(at)
            }
          }
        }
        if (flow === FLOW.CONDITIONAL) {
          // by breadth: the limit shall not be used up by what follows the way out of a loop
          leaders.add(at)
          near.push(at)
        }
        if (flow !== FLOW.NEXT) break
        if (((entry + at) & (PAGE - 1)) < instruction.length) {
          // another page begins
          if (crosses(instruction, entry) || follow(from, at)) {
            leaders.add(at)
            near.push(at)
          }
          break
        }
      }
    }
    if (!found.has(0)) return undefined
    const asked = new Set<number>()
    return {
      entry,
      mode,
      view: this.#view,
      blocks: blocksOf(found, leaders, entry, pages),
      instructions: found.size,
      ranges: rangesOf(found, entry),
      records(place) {
        const offset = entry + place
        const record = mode === MODE.LONG && offset >= 0 && offset < PAGE ? (pages.get(0)?.blocks?.get(offset) ?? 0) : 0
        if (record !== 0) asked.add(record)
        return record
      },
      asked,
    }
  }

  #decode(
    pages: ReadonlyMap<number, RegionPage>,
    entry: number,
    at: number,
    mode: Mode,
    record: number,
  ): RegionInstruction | undefined {
    const decoder = this.#decoder
    const distance = Math.floor((entry + at) / PAGE)
    const page = pages.get(distance)
    if (!page) return undefined
    const next = pages.get(distance + 1)
    const start = (entry + at) & (PAGE - 1)
    const fetch = (position: number): number => {
      const offset = start + position
      if (offset < PAGE) return page.bytes[offset] as number
      // one that crosses has a block of its own, and depends on one page beside the entry's
      if (!next?.blocks || !page.blocks?.has(start) || (distance !== 0 && distance !== -1)) return -1
      return next.bytes[offset - PAGE] as number
    }
    if (decoder.decode(mode, fetch, this.#view, record, at) !== DECODED.OK) return undefined
    const decoded = decoder.form
    if (!decoded) return undefined
    const { definition, operandSize } = decoded.form
    const { semantics, mnemonic } = definition
    if (typeof semantics !== 'function' && !semantics.usual) return undefined
    // they read and write vector registers as memory
    if (STATE_SAVING.test(mnemonic)) return undefined
    // 16-bit jumps wrap
    if (mode !== MODE.LONG && decoder.isRelative && operandSize === 2) return undefined
    const { length } = decoder
    return {
      at,
      length,
      decoded,
      record,
      flow: flowOf(definition, decoder.isRelative),
      target: decoder.isRelative ? at + length + decoder.relative : 0,
    }
  }
}

function flowOf({ mnemonic, options }: InstructionDefinition, relative: boolean): number {
  if (relative) return options.ends ? (mnemonic === 'CALL' ? FLOW.CALL : FLOW.JUMP) : FLOW.CONDITIONAL
  if (options.ends) return mnemonic === 'RET' ? FLOW.RETURN : FLOW.INDIRECT
  return mnemonic.startsWith('UD') ? FLOW.INDIRECT : FLOW.NEXT
}
/** Whether an instruction ends in another page than it begins in. */
function crosses({ at, length }: RegionInstruction, entry: number): boolean {
  return ((entry + at) & (PAGE - 1)) + length > PAGE
}

function blocksOf(
  found: ReadonlyMap<number, RegionInstruction>,
  leaders: ReadonlySet<number>,
  entry: number,
  pages: ReadonlyMap<number, RegionPage>,
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
    const first = instructions[0]
    if (!first) continue
    const distance = Math.floor((entry + leader) / PAGE)
    blocks.set(leader, {
      at: leader,
      instructions,
      next,
      page: distance === 0 && crosses(first, entry) ? 1 : distance,
      block: pages.get(distance)?.blocks?.get((entry + leader) & (PAGE - 1)) ?? 0,
    })
  }
  return blocks
}

function rangesOf(found: ReadonlyMap<number, RegionInstruction>, entry: number): RegionRange[] {
  const sorted = [...found.values()].sort((a, b) => a.at - b.at)
  const ranges: [number, number, number][] = []
  const add = (start: number, end: number, distance: number): void => {
    const last = ranges.at(-1)
    if (last && last[2] === distance && start <= last[1]) last[1] = Math.max(last[1], end)
    else ranges.push([start, end, distance])
  }
  for (const { at, length } of sorted) {
    const distance = Math.floor((entry + at) / PAGE)
    const start = (entry + at) & (PAGE - 1)
    add(start, Math.min(start + length, PAGE), distance)
    if (start + length > PAGE) add(0, start + length - PAGE, distance + 1)
  }
  return ranges
}
