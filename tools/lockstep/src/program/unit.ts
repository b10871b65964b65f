// Programs are made of units: one instruction or a few that belong together. Where a unit lies is not known until all are put together, so that units can be taken out
// again when a program that fails is made smaller. An exception goes on with the unit that follows.

import { encode, type Instruction } from '../../../vectors/src/encode.ts'
import { CODE_START } from '../../../vectors/src/layout.ts'
import { little } from '../random.ts'
import { CODE, CODE_SIZE, EXIT } from './layout.ts'

/** Another unit by its number, an address, or a unit's first byte plus an offset. */
export type Target = { readonly unit: number; readonly offset?: number } | { readonly address: bigint }

export type Piece =
  /** Goes anywhere. */
  | { readonly kind: 'code'; readonly bytes: readonly number[] }
  /** An instruction whose memory operand is relative to RIP. */
  | { readonly kind: 'relative'; readonly instruction: Instruction; readonly target: Target }
  /** Opcode and a displacement of four bytes, or `short` and one of a byte where it reaches. */
  | { readonly kind: 'branch'; readonly op: readonly number[]; readonly short?: number; readonly target: Target }
  /** Eight bytes: an address. */
  | { readonly kind: 'address'; readonly target: Target }

export interface Unit {
  readonly name: string
  readonly pieces: readonly Piece[]
}

export interface Program {
  readonly seed: number
  readonly units: readonly Unit[]
  /** Offset of the first unit in the code. */
  readonly start: number
  /** The registers at the beginning, 16. */
  readonly registers: readonly bigint[]
  readonly flags: number
  readonly mxcsr: number
  /** Seed of what is in memory, and in the registers of x87 and SSE. */
  readonly contents: number
}

export interface PlacedProgram {
  readonly bytes: Uint8Array
  /** Offset of each unit from the beginning of the code, and the end. */
  readonly offsets: readonly number[]
}

export function code(...bytes: readonly number[]): Piece {
  return { kind: 'code', bytes }
}
export function instruction(i: Instruction): Piece {
  return { kind: 'code', bytes: encode(i) }
}

function lengthOf(piece: Piece, short: boolean): number {
  switch (piece.kind) {
    case 'code':
      return piece.bytes.length
    case 'relative':
      return encode({ ...piece.instruction, rm: relativeOperand(CODE_START) }).length
    case 'branch':
      return short ? 2 : piece.op.length + 4
    case 'address':
      return 8
  }
}
function relativeOperand(relative: bigint): Exclude<Instruction['rm'], number | undefined> {
  return { base: -1, index: -1, scale: 1, displacement: 0, segment: 0, narrow: false, relative }
}

/** @returns undefined where the program is longer than its room */
export function place(program: Program): PlacedProgram | undefined {
  const { units } = program
  const shorts = new Set<Piece>()
  const layout = (): number[] => {
    const offsets = [program.start]
    for (const unit of units) {
      const length = unit.pieces.reduce((sum, piece) => sum + lengthOf(piece, shorts.has(piece)), 0)
      offsets.push((offsets.at(-1) as number) + length)
    }
    return offsets
  }
  const resolve = (offsets: readonly number[], target: Target): bigint => {
    if ('address' in target) return target.address
    // what was taken out is where its successor is; behind the last one the program ends
    if (target.unit >= units.length) return EXIT
    return CODE + BigInt((offsets[target.unit] as number) + (target.offset ?? 0))
  }
  const each = (offsets: readonly number[], body: (piece: Piece, at: number, length: number) => void): void => {
    units.forEach((unit, n) => {
      let at = offsets[n] as number
      for (const piece of unit.pieces) {
        const length = lengthOf(piece, shorts.has(piece))
        body(piece, at, length)
        at += length
      }
    })
  }
  const long = layout()
  // with other branches short too, distances can only become less
  const near: Piece[] = []
  each(long, (piece, at) => {
    if (piece.kind !== 'branch' || piece.short === undefined) return
    const distance = resolve(long, piece.target) - CODE - BigInt(at)
    if (distance > -100n && distance < 100n) near.push(piece)
  })
  for (const piece of near) shorts.add(piece)
  const offsets = layout()
  if ((offsets.at(-1) as number) > CODE_SIZE) return undefined
  const bytes = new Uint8Array(CODE_SIZE).fill(0xcc)
  each(offsets, (piece, at, length) => {
    bytes.set(
      encodePiece(piece, at, length, shorts.has(piece), (target) => resolve(offsets, target)),
      at,
    )
  })
  return { bytes, offsets }
}

function encodePiece(
  piece: Piece,
  at: number,
  length: number,
  short: boolean,
  resolve: (target: Target) => bigint,
): readonly number[] {
  switch (piece.kind) {
    case 'code':
      return piece.bytes
    case 'relative': {
      const distance = resolve(piece.target) - (CODE + BigInt(at))
      return encode({ ...piece.instruction, rm: relativeOperand(CODE_START + distance) })
    }
    case 'branch': {
      const distance = resolve(piece.target) - (CODE + BigInt(at + length))
      return short ? [piece.short as number, ...little(distance, 1)] : [...piece.op, ...little(distance, 4)]
    }
    case 'address':
      return little(resolve(piece.target), 8)
  }
}

/** The program without the units `from` to `to`; jumps into them go to what follows. */
export function without(program: Program, from: number, to: number): Program {
  const move = (target: Target): Target => {
    if ('address' in target || target.unit < from) return target
    if (target.unit >= to) return { ...target, unit: target.unit - (to - from) }
    return { unit: from }
  }
  const units = program.units
    .filter((_, n) => n < from || n >= to)
    .map((unit) => ({
      ...unit,
      pieces: unit.pieces.map((piece) => (piece.kind === 'code' ? piece : { ...piece, target: move(piece.target) })),
    }))
  return { ...program, units }
}
