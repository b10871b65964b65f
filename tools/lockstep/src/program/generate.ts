// A program from a seed: a main part, functions that it calls, and what is in registers and memory when it begins.

import { Random } from '../random.ts'
import {
  branch,
  call,
  countZero,
  indirect,
  loop,
  PATCHABLE,
  type Position,
  patch,
  patchable,
  pushReturn,
  ret,
  skip,
} from './control.ts'
import * as floating from './floating.ts'
import * as integer from './integer.ts'
import { CODE_SIZE, DATA, EXIT, FUEL, FUEL_START, IMAGE_SIZE, LOW, PAGE, R12, R13, REGIONS, STACK } from './layout.ts'
import { systemUnit } from './system.ts'
import type { Piece, Program, Unit } from './unit.ts'

export interface GenerateOptions {
  /** Nothing that the architecture leaves undefined becomes visible: for comparisons with real processors. */
  readonly defined: boolean
  /** For a supervisor: page tables, control registers, interrupts. */
  readonly system?: boolean
  /** Units of the whole program, at most. */
  readonly units?: number
}

type Shape = 'plain' | 'control' | 'sse' | 'x87' | 'patches' | 'strings'

const INTEGER: readonly (readonly [number, integer.Maker])[] = [
  [10, integer.arithmetic],
  [3, integer.test],
  [4, integer.unary],
  [3, integer.multiply],
  [2, integer.divide],
  [5, integer.shift],
  [2, integer.doubleShift],
  [3, integer.bits],
  [2, integer.scan],
  [8, integer.move],
  [3, integer.exchange],
  [1, integer.convert],
  [4, integer.conditional],
  [3, integer.flags],
  [4, integer.stack],
  [3, integer.newer],
]
const SSE: readonly (readonly [number, integer.Maker])[] = [
  [5, floating.sseArithmetic],
  [5, floating.sseMove],
  [5, floating.sseInteger],
  [4, floating.sseConvert],
  [3, floating.sseOther],
]

/** What the part of the program consists of: integers, SSE, x87, MMX, strings, faults, control, patches. */
const WEIGHTS: Readonly<Record<Shape, readonly [number, number, number, number, number, number, number, number]>> = {
  plain: [60, 8, 4, 1, 3, 3, 16, 2],
  control: [40, 3, 2, 1, 2, 2, 48, 2],
  sse: [20, 60, 0, 2, 1, 2, 12, 1],
  x87: [20, 4, 60, 2, 0, 2, 12, 1],
  patches: [40, 3, 2, 0, 2, 2, 26, 24],
  strings: [40, 2, 1, 0, 32, 2, 16, 3],
}

/** @param seed of everything */
export function generate(seed: number, { defined, system = false, units: limit = 60 }: GenerateOptions): Program {
  const random = new Random(seed)
  const shape = random.weighted<Shape>([
    [4, 'plain'],
    [4, 'control'],
    [2, 'sse'],
    [2, 'x87'],
    [2, 'patches'],
    [1, 'strings'],
  ])
  const mainLength = random.range(4, Math.max(5, Math.floor(limit * 0.6)))
  const functionCount = random.below(4)
  // the functions' first units, behind the main part and its exit
  const starts: number[] = []
  let end = mainLength + 1
  for (let n = 0; n < functionCount; n++) {
    starts.push(end)
    end += random.range(2, Math.max(3, Math.floor((limit * 0.4) / 4)))
  }
  starts.push(end)

  const names: (Unit | undefined)[] = Array.from({ length: end })
  // what may be patched is chosen first: it may stand in front of what patches it and behind it
  const patchRate = shape === 'patches' ? 6 : 30
  for (let at = 0; at < end; at++) {
    if (at !== mainLength && !starts.includes(at + 1) && random.once(patchRate))
      names[at] = { name: PATCHABLE, pieces: patchable(random) }
  }
  const part = (first: number, last: number, functions: readonly number[], closing: Piece[]): void => {
    for (let at = first; at < last; at++) {
      const position = { random, at, first, last, functions }
      names[at] ??= system && random.once(4) ? systemUnit(position) : unit(position, defined, shape, names)
    }
    names[last] = { name: 'end', pieces: closing }
  }
  const exit: Piece = { kind: 'branch', op: [0xe9], target: { address: EXIT } }
  part(0, mainLength, starts.slice(0, -1), [exit])
  for (let n = 0; n < functionCount; n++) {
    // a function calls those behind it: no recursion
    part(starts[n] as number, (starts[n + 1] as number) - 1, starts.slice(n + 1, -1), ret(random))
  }

  const registers = Array.from({ length: 16 }, () => random.u64())
  registers[4] = STACK + BigInt(PAGE)
  registers[R12] = DATA + BigInt(PAGE)
  registers[R13] = LOW + BigInt(PAGE / 2)
  registers[FUEL] = BigInt(FUEL_START)
  // often so that the program crosses a page
  const start = random.once(3) ? random.below(CODE_SIZE / 4) : PAGE - random.range(1, 300)
  return {
    seed,
    units: names as Unit[],
    start,
    registers,
    flags: 0x202 | (random.u32() & 0x8d5),
    mxcsr: random.once(3) ? 0x1f80 | (random.u32() & 0xe03f) : 0x1f80,
    contents: random.u32(),
  }
}

function unit(position: Position, defined: boolean, shape: Shape, units: readonly (Unit | undefined)[]): Unit {
  const { random } = position
  const context = { random, defined }
  const weights = WEIGHTS[shape]
  const make = (name: string, pieces: Piece[]): Unit => ({ name, pieces })
  switch (random.weighted(weights.map((weight, n) => [weight, n] as const))) {
    case 0: {
      const maker = random.weighted(INTEGER)
      return make(maker.name, maker(context))
    }
    case 1: {
      const maker = random.weighted(SSE)
      return make(maker.name, maker(context))
    }
    case 2:
      return make('x87', floating.x87(context))
    case 3:
      return make('mmx', floating.mmx(context))
    case 4:
      return make('strings', integer.strings(context))
    case 5:
      return make('faults', integer.faults(context))
    case 6: {
      const maker = random.weighted([
        [8, branch],
        [6, loop],
        [2, skip],
        [1, countZero],
        [3, indirect],
        [4, call],
        [1, pushReturn],
      ] as const)
      return make(maker.name, maker(position))
    }
    default:
      return make('patch', patch(position, units))
  }
}

/** What is in the regions when a program begins, one after the other; the code is already there. */
export function image(program: Program, code: Uint8Array): Uint8Array {
  const out = new Uint8Array(IMAGE_SIZE)
  out.set(code)
  const random = new Random(program.contents)
  // noise of one page, shifted for each: much cheaper than noise for all
  const noise = new Uint8Array(PAGE + 64)
  random.bytes(noise)
  let at = CODE_SIZE
  for (const { pages } of REGIONS.slice(1)) {
    for (let page = 0; page < pages; page++) {
      const shift = random.below(64)
      out.set(noise.subarray(shift, shift + PAGE), at)
      at += PAGE
    }
  }
  return out
}

/** XMM registers (256 bytes) and x87 registers (8 of 16 bytes) at the beginning. */
export function vectors(program: Program): { readonly xmm: Uint8Array; readonly st: Uint8Array } {
  const random = new Random(program.contents ^ 0x5bd1e995)
  const xmm = new Uint8Array(256)
  random.bytes(xmm)
  const st = new Uint8Array(128)
  for (let i = 0; i < 8; i++) {
    const register = st.subarray(i * 16, i * 16 + 10)
    random.bytes(register)
    // mostly ordinary numbers
    if (!random.once(4)) {
      register[7] = (register[7] as number) | 0x80
      register[9] = 0x3f | (register[9] as number & 0x80)
      register[8] = 0xf0 + random.below(24)
    }
  }
  return { xmm, st }
}
