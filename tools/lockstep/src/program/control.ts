// Units that change where a program goes, and units that change the program.

import { little, type Random } from '../random.ts'
import { defineFlags } from './integer.ts'
import { FUEL } from './layout.ts'
import { free } from './operands.ts'
import { code, instruction, type Piece, type Target, type Unit } from './unit.ts'

/** Where the program is when a unit is made. */
export interface Position {
  readonly random: Random
  /** Number of this unit. */
  readonly at: number
  /** Units of this part: jumps stay inside it. */
  readonly first: number
  readonly last: number
  /** First units of the functions that may be called from here. */
  readonly functions: readonly number[]
}

function forward({ random, at, last }: Position): Target {
  return { unit: Math.min(at + random.range(1, 7), last) }
}
function backward({ random, at, first }: Position): Target {
  return { unit: Math.max(first, at - random.below(8)) }
}
function jump(condition: number | undefined, target: Target): Piece {
  return condition === undefined
    ? { kind: 'branch', op: [0xe9], short: 0xeb, target }
    : { kind: 'branch', op: [0x0f, 0x80 + condition], short: 0x70 + condition, target }
}
/** Takes from the fuel; the flags say whether some is left. */
const BURN: Piece = instruction({ op: [0x83], reg: 5, rm: FUEL, imm: [1] })
const GREATER = 0xf

export function branch(position: Position): Piece[] {
  const { random } = position
  const compare = random.once(2) ? [defineFlags(random)] : []
  return [...compare, jump(random.below(16), forward(position))]
}

export function loop(position: Position): Piece[] {
  const { random } = position
  if (random.once(4)) {
    // LOOP, LOOPE, LOOPNE: as long as there is fuel
    const back: Piece = jump(undefined, backward(position))
    return [BURN, code(0x7e, 9), code(random.range(0xe0, 0xe2), 2), code(0xeb, 5), ...longJump(back)]
  }
  return [BURN, jump(GREATER, backward(position))]
}
/** Five bytes whatever the distance, for what jumps over it. */
function longJump(piece: Piece): Piece[] {
  return piece.kind === 'branch' ? [{ kind: 'branch', op: piece.op, target: piece.target }] : [piece]
}

export function skip(position: Position): Piece[] {
  return [jump(undefined, forward(position))]
}

/** JRCXZ over a jump. */
export function countZero(position: Position): Piece[] {
  return [code(0xe3, 5), ...longJump(jump(undefined, forward(position)))]
}

/** JMP r, JMP m: an address that is computed, or one of a table that stands in the code. */
export function indirect(position: Position): Piece[] {
  const { random } = position
  const reg = free(random)
  const target = forward(position)
  if (random.once(2)) {
    return [
      { kind: 'relative', instruction: { w: true, op: [0x8d], reg }, target },
      instruction({ op: [0xff], reg: 4, rm: reg }),
    ]
  }
  // lea reg, [rip + table]; and index, 3; jmp [reg + index * 8]; the table follows
  const index = random.pick([0, 1, 2, 3, 5, 6, 7, 8, 9].filter((r) => r !== reg))
  const dispatch = instruction({
    op: [0xff],
    reg: 4,
    rm: { base: reg, index, scale: 8, displacement: 0, segment: 0, narrow: false },
  })
  const mask = instruction({ op: [0x83], reg: 4, rm: index, imm: [3] })
  const offset = 7 + bytesOf(mask) + bytesOf(dispatch)
  return [
    { kind: 'relative', instruction: { w: true, op: [0x8d], reg }, target: { unit: position.at, offset } },
    mask,
    dispatch,
    ...Array.from({ length: 4 }, (): Piece => ({ kind: 'address', target: forward(position) })),
  ]
}
function bytesOf(piece: Piece): number {
  return piece.kind === 'code' ? piece.bytes.length : 0
}

export function call(position: Position): Piece[] {
  const { random, functions } = position
  if (functions.length === 0) return skip(position)
  const target: Target = { unit: random.pick(functions) }
  if (random.once(3)) {
    const reg = free(random)
    return [
      { kind: 'relative', instruction: { w: true, op: [0x8d], reg }, target },
      instruction({ op: [0xff], reg: 2, rm: reg }),
    ]
  }
  return [{ kind: 'branch', op: [0xe8], target }]
}

export function ret(random: Random): Piece[] {
  return random.once(8) ? [code(0xc2, random.below(3) * 8, 0)] : [code(0xc3)]
}

/** A return that goes where no call came from: PUSH of an address, RET. */
export function pushReturn(position: Position): Piece[] {
  const reg = free(position.random)
  return [
    { kind: 'relative', instruction: { w: true, op: [0x8d], reg }, target: forward(position) },
    instruction({ op: [0x50], plus: reg }),
    code(0xc3),
  ]
}

/** MOV r32, imm32 that another unit changes; the immediate is at the end. */
export function patchable(random: Random): Piece[] {
  const reg = random.pick([0, 1, 2, 3, 5, 6, 7])
  return [instruction({ op: [0xb8], plus: reg, imm: little(random.u32(), 4) })]
}
export const PATCHABLE = 'patchable'
/** Offset and bytes of what may be changed in such a unit. */
const PATCH_OFFSET = 1

/** Change a byte or all of the immediate of a patchable unit, or make another instruction of it. */
export function patch(position: Position, units: readonly (Unit | undefined)[]): Piece[] {
  const { random } = position
  const places = units.flatMap((unit, n) => (unit?.name === PATCHABLE ? [n] : []))
  // also one that stands right behind, in the same block
  const unit = places.length > 0 && !random.once(6) ? random.pick(places) : undefined
  if (unit === undefined) return [...patchNext(random)]
  switch (random.below(4)) {
    case 0:
      return [
        {
          kind: 'relative',
          instruction: { op: [0xc6], reg: 0, imm: [random.below(256)] },
          target: { unit, offset: PATCH_OFFSET + random.below(4) },
        },
      ]
    case 1:
      return [
        { kind: 'relative', instruction: { op: [0x89], reg: free(random) }, target: { unit, offset: PATCH_OFFSET } },
      ]
    case 2:
      // INC r: FF /0 and a NOP of three bytes
      return [
        {
          kind: 'relative',
          instruction: { op: [0xc7], reg: 0, imm: [0xff, 0xc0 + random.pick([0, 1, 2, 3]), 0x0f, 0x1f] },
          target: { unit },
        },
        { kind: 'relative', instruction: { op: [0xc6], reg: 0, imm: [0x00] }, target: { unit, offset: 4 } },
      ]
    default:
      return [
        {
          kind: 'relative',
          instruction: { op: [0x80], reg: random.below(7), imm: [random.below(256)] },
          target: { unit, offset: PATCH_OFFSET + random.below(4) },
        },
      ]
  }
}
/** MOV byte [rip + 1], imm; MOV eax, imm32: the store changes the instruction that follows it. */
function patchNext(random: Random): Piece[] {
  return [code(0xc6, 0x05, ...little(1, 4), random.below(256)), code(0xb8, ...little(random.u32(), 4))]
}
