// Random operands: registers that a program may change, and memory of all kinds: inside a page, across two of them, at the end of what is mapped, read-only, nowhere.

import type { Instruction, Memory } from '../../../vectors/src/encode.ts'
import { little, type Random } from '../random.ts'
import { DATA, PAGE, R12, R13, READ_ONLY } from './layout.ts'
import { instruction, type Piece } from './unit.ts'

/** All but RSP and R12 to R15. */
export const FREE: readonly number[] = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]

export interface Operand {
  /** What must come before. */
  readonly before: readonly Piece[]
  readonly memory: Memory
  /** Relative to RIP: the address. */
  readonly address?: bigint
}

const plain = (base: number, displacement: number, extra: Partial<Memory> = {}): Memory => ({
  base,
  index: -1,
  scale: 1,
  displacement,
  segment: 0,
  narrow: false,
  ...extra,
})

export function free(random: Random): number {
  return random.pick(FREE)
}

/** An offset from the middle of a region of two half-regions of `half` bytes each. */
function near(random: Random, size: number, half: number, align: number): number {
  const offset = random.once(3) ? random.range(-size, 0) : random.range(-half, half - size)
  return align > 1 && !random.once(24) ? offset & -align : offset
}

/** A memory operand of `size` bytes; `align`: mostly aligned so. `avoid`: registers that the instruction needs as they are. */
export function memory(random: Random, size: number, align = 1, avoid: readonly number[] = []): Operand {
  const kind = random.weighted([
    [50, 'data'],
    [12, 'index'],
    [10, 'narrow'],
    [8, 'relative'],
    [8, 'stack'],
    [6, 'register'],
    [4, 'read-only'],
    [3, 'end'],
    [2, 'unmapped'],
    [1, 'non-canonical'],
  ] as const)
  const scratch = free(random)
  const clash = avoid.includes(scratch)
  const offset = near(random, size, PAGE, align)
  if (clash && (kind === 'index' || kind === 'register' || kind === 'non-canonical')) {
    return { before: [], memory: plain(R12, offset) }
  }
  switch (kind) {
    case 'data':
      return { before: [], memory: plain(R12, offset) }
    case 'index': {
      const scale = random.pick([1, 2, 4, 8] as const)
      const narrow = { prefix: [], op: [0x0f, 0xb6], rex: true, reg: scratch, rm: scratch } satisfies Instruction
      const masked =
        align > 1
          ? [instruction(narrow), instruction({ op: [0x83], reg: 4, rm: scratch, imm: [0x70] })]
          : [instruction(narrow)]
      return {
        before: masked,
        memory: plain(R12, near(random, size, PAGE - 2048, align), { index: scratch, scale }),
      }
    }
    case 'narrow':
      return { before: [], memory: plain(R13, near(random, size, PAGE / 2, align), { narrow: true }) }
    case 'relative':
      return { before: [], memory: plain(R12, 0), address: DATA + BigInt(PAGE + offset) }
    case 'stack':
      return { before: [], memory: plain(4, (random.range(-64, 64) * 8) & -align) }
    case 'register':
      return {
        before: [instruction({ w: true, op: [0x8d], reg: scratch, rm: plain(R12, offset) })],
        memory: plain(scratch, 0),
      }
    case 'read-only':
      return { before: [], memory: plain(R12, Number(READ_ONLY - DATA) - PAGE + (random.below(PAGE - size) & -align)) }
    case 'end':
      return { before: [], memory: plain(R12, PAGE - size + random.range(0, size)) }
    case 'unmapped':
      return { before: [], memory: plain(R12, 3 * PAGE + random.below(PAGE)) }
    case 'non-canonical':
      return {
        before: [
          instruction({ w: true, op: [0xb8], plus: scratch, imm: little(0x8000_0000_0000n + random.u64() / 4n, 8) }),
        ],
        memory: plain(scratch, 0),
      }
  }
}

/** One that is aligned, always. */
export function alignedMemory(random: Random, size: number): Operand {
  return { before: [], memory: plain(R12, random.range(-PAGE, PAGE - size) & -size) }
}

/** An instruction with a memory operand as pieces. */
export function withMemory(operand: Operand, i: Omit<Instruction, 'rm'>): Piece[] {
  if (operand.address !== undefined) {
    return [...operand.before, { kind: 'relative', instruction: i, target: { address: operand.address } }]
  }
  return [...operand.before, instruction({ ...i, rm: operand.memory })]
}

/** An instruction with a register or a memory operand as pieces. */
export function withEither(
  random: Random,
  size: number,
  i: Omit<Instruction, 'rm'>,
  options: {
    readonly align?: number
    readonly avoid?: readonly number[]
    readonly register?: number
    readonly memoryOnce?: number
  } = {},
): Piece[] {
  if (!random.once(options.memoryOnce ?? 2)) {
    const rm = options.register ?? free(random)
    // SIL and its kin, instead of AH and its kin, by an empty REX
    return [instruction({ ...i, rm, ...(size === 1 && random.once(2) ? { rex: true } : {}) })]
  }
  return withMemory(memory(random, size, options.align, options.avoid), i)
}
