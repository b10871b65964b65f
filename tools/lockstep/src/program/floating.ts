// Units of SSE, MMX and x87 instructions.

import type { Instruction } from '../../../vectors/src/encode.ts'
import { PACKED, SSE4, SSSE3 } from '../../../vectors/src/forms/simd-tables.ts'
import { little, type Random } from '../random.ts'
import type { Context, Maker } from './integer.ts'
import { defineFlags } from './integer.ts'
import { alignedMemory, free, memory, type Operand, withMemory } from './operands.ts'
import { code, instruction, type Piece } from './unit.ts'

function xmm(random: Random): number {
  return random.below(16)
}
/** XMM, XMM or memory. */
function vector(random: Random, size: number, i: Omit<Instruction, 'rm'>, registers = 16, memoryOnce = 3): Piece[] {
  if (!random.once(memoryOnce)) return [instruction({ ...i, rm: random.below(registers) })]
  return withMemory(memory(random, size, size === 16 ? 16 : 1), i)
}

/** Of sixteen bytes that need not be aligned. With EFLAGS.AC some processors check sixteen bytes all the same (SDM vol. 3, table 6-7), and others do not. */
function anywhere({ random, defined }: Context, size: number): Operand {
  return defined && size === 16 ? alignedMemory(random, size) : memory(random, size)
}

const SINGLE: readonly number[] = [0x51, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f]
const LOGIC: readonly number[] = [0x54, 0x55, 0x56, 0x57, 0x14, 0x15]

/** Prefix of single, double, scalar single and scalar double, with the operand's size. */
const KINDS: readonly (readonly [prefix: readonly number[], size: number])[] = [
  [[], 16],
  [[0x66], 16],
  [[0xf3], 4],
  [[0xf2], 8],
]

export const sseArithmetic: Maker = ({ random }) => {
  const reg = xmm(random)
  const [prefix, size] = random.pick(KINDS)
  switch (random.below(5)) {
    case 0:
    case 1:
      return vector(random, size, { prefix, op: [0x0f, random.pick(SINGLE)], reg })
    case 2:
      return vector(random, 16, { prefix: random.pick([[], [0x66]]), op: [0x0f, random.pick(LOGIC)], reg })
    case 3:
      return vector(random, size, { prefix, op: [0x0f, 0xc2], reg, imm: [random.below(8)] })
    default:
      // HADD, HSUB, ADDSUB
      return vector(random, 16, {
        prefix: [random.pick([0x66, 0xf2])],
        op: [0x0f, random.pick([0x7c, 0x7d, 0xd0])],
        reg,
      })
  }
}

export const sseMove: Maker = (context) => {
  const { random } = context
  const reg = xmm(random)
  switch (random.below(9)) {
    case 0: {
      const op = random.pick([0x28, 0x29])
      return vector(random, 16, { prefix: random.pick([[], [0x66]]), op: [0x0f, op], reg }, 16, 1)
    }
    case 1: {
      const op = random.pick([0x10, 0x11])
      const [prefix, size] = random.pick(KINDS)
      if (random.once(3)) return [instruction({ prefix, op: [0x0f, op], reg, rm: xmm(random) })]
      return withMemory(anywhere(context, size), { prefix, op: [0x0f, op], reg })
    }
    case 2:
      return withMemory(anywhere(context, 16), { prefix: [0xf3], op: [0x0f, random.pick([0x6f, 0x7f])], reg })
    case 3:
      return vector(random, 16, { prefix: [0x66], op: [0x0f, random.pick([0x6f, 0x7f])], reg }, 16, 1)
    case 4: {
      // MOVD, MOVQ with general registers
      return [
        instruction({
          prefix: [0x66],
          w: random.once(2),
          op: [0x0f, random.pick([0x6e, 0x7e])],
          reg,
          rm: free(random),
        }),
      ]
    }
    case 5:
      return withMemory(memory(random, 8), {
        prefix: random.pick([[], [0x66]]),
        op: [0x0f, random.pick([0x12, 0x13, 0x16, 0x17])],
        reg,
      })
    case 6:
      return [instruction({ op: [0x0f, random.pick([0x12, 0x16])], reg, rm: xmm(random) })]
    case 7:
      // MOVMSK, PMOVMSKB
      return [
        instruction({ prefix: [0x66], op: [0x0f, random.pick([0x50, 0xd7])], reg: free(random), rm: xmm(random) }),
      ]
    default:
      // non-temporal stores, LDDQU
      return random.once(2)
        ? withMemory(memory(random, 16, 16), { prefix: [0x66], op: [0x0f, 0xe7], reg })
        : withMemory(anywhere(context, 16), { prefix: [0xf2], op: [0x0f, 0xf0], reg })
  }
}

export const sseInteger: Maker = ({ random }) => {
  const reg = xmm(random)
  switch (random.below(6)) {
    case 0:
    case 1:
      return vector(random, 16, { prefix: [0x66], op: [0x0f, random.pick(PACKED)[1]], reg })
    case 2:
      return vector(random, 16, { prefix: [0x66], op: [0x0f, 0x38, random.pick(SSSE3)[1]], reg })
    case 3: {
      const [, op, size] = random.pick(SSE4)
      return vector(random, size, { prefix: [0x66], op: [0x0f, 0x38, op], reg })
    }
    case 4: {
      // shuffles, PALIGNR, blends, and shifts by a constant
      const [prefix, op] = random.pick([
        [[0x66], [0x0f, 0x70]],
        [[0xf3], [0x0f, 0x70]],
        [[0xf2], [0x0f, 0x70]],
        [[], [0x0f, 0xc6]],
        [[0x66], [0x0f, 0xc6]],
        [[0x66], [0x0f, 0x3a, 0x0f]],
        [[0x66], [0x0f, 0x3a, 0x0e]],
        [[0x66], [0x0f, 0x3a, 0x0c]],
        [[0x66], [0x0f, 0x3a, 0x0d]],
        [[0x66], [0x0f, 0x3a, 0x42]],
        [[0x66], [0x0f, 0x3a, 0x44]],
      ] as const)
      return vector(random, 16, { prefix, op, reg, imm: [random.below(256)] })
    }
    default: {
      const [op, extension] = random.pick([
        [0x71, 2],
        [0x71, 4],
        [0x71, 6],
        [0x72, 2],
        [0x72, 4],
        [0x72, 6],
        [0x73, 2],
        [0x73, 3],
        [0x73, 6],
        [0x73, 7],
      ] as const)
      return [instruction({ prefix: [0x66], op: [0x0f, op], reg: extension, rm: xmm(random), imm: [random.below(70)] })]
    }
  }
}

export const sseConvert: Maker = ({ random }) => {
  const reg = xmm(random)
  switch (random.below(6)) {
    case 0:
      return vector(random, 16, { prefix: random.pick([[], [0x66], [0xf3]]), op: [0x0f, 0x5b], reg })
    case 1: {
      const [prefix, size] = random.pick([
        [[], 8],
        [[0x66], 16],
        [[0xf3], 4],
        [[0xf2], 8],
      ] as const)
      return vector(random, size, { prefix, op: [0x0f, 0x5a], reg })
    }
    case 2: {
      const [prefix, size] = random.pick([
        [[0x66], 16],
        [[0xf3], 8],
        [[0xf2], 16],
      ] as const)
      return vector(random, size, { prefix, op: [0x0f, 0xe6], reg })
    }
    case 3:
      return [
        instruction({
          prefix: [random.pick([0xf3, 0xf2])],
          w: random.once(2),
          op: [0x0f, 0x2a],
          reg,
          rm: free(random),
        }),
      ]
    case 4: {
      const [prefix, size] = random.pick([
        [0xf3, 4],
        [0xf2, 8],
      ] as const)
      return vector(random, size, {
        prefix: [prefix],
        w: random.once(2),
        op: [0x0f, random.pick([0x2c, 0x2d])],
        reg: free(random),
      })
    }
    default: {
      // ROUND
      const [op, size] = random.pick([
        [0x08, 16],
        [0x09, 16],
        [0x0a, 4],
        [0x0b, 8],
      ] as const)
      return vector(random, size, { prefix: [0x66], op: [0x0f, 0x3a, op], reg, imm: [random.below(16)] })
    }
  }
}

/** Comparisons to EFLAGS, MXCSR, transfers of lanes, strings of SSE4.2. */
export const sseOther: Maker = (context) => {
  const { random, defined } = context
  const reg = xmm(random)
  switch (random.below(5)) {
    case 0: {
      const double = random.once(2)
      return vector(random, double ? 8 : 4, {
        prefix: double ? [0x66] : [],
        op: [0x0f, random.pick([0x2e, 0x2f])],
        reg,
      })
    }
    case 1: {
      // LDMXCSR: any rounding and FTZ, DAZ; rarely an exception that is not masked
      const masks = random.once(6) ? random.u32() & 0x1f80 : 0x1f80
      const value = masks | (random.u32() & 0xe07f)
      const word = { base: 4, index: -1, scale: 1, displacement: -64, segment: 0, narrow: false } as const
      return [
        instruction({ op: [0xc7], reg: 0, rm: word, imm: little(value, 4) }),
        instruction({ op: [0x0f, 0xae], reg: random.once(3) ? 3 : 2, rm: word }),
      ]
    }
    case 2: {
      const [op, size, w] = random.pick([
        [0x14, 1, false],
        [0x16, 4, false],
        [0x16, 8, true],
        [0x17, 4, false],
      ] as const)
      const imm = [random.below(256)]
      if (random.once(2)) return [instruction({ prefix: [0x66], w, op: [0x0f, 0x3a, op], reg, rm: free(random), imm })]
      return withMemory(memory(random, size), { prefix: [0x66], w, op: [0x0f, 0x3a, op], reg, imm })
    }
    case 3: {
      const [op, size, w] = random.pick([
        [0x20, 1, false],
        [0x22, 4, false],
        [0x22, 8, true],
        [0x21, 4, false],
      ] as const)
      const imm = [random.below(256)]
      if (random.once(2) && op !== 0x21)
        return [instruction({ prefix: [0x66], w, op: [0x0f, 0x3a, op], reg, rm: free(random), imm })]
      return withMemory(memory(random, size), { prefix: [0x66], w, op: [0x0f, 0x3a, op], reg, imm })
    }
    default: {
      // PCMPESTRM to PCMPISTRI
      const i = { prefix: [0x66], op: [0x0f, 0x3a, random.range(0x60, 0x63)], reg, imm: [random.below(256)] }
      const pieces = random.once(3)
        ? withMemory(anywhere(context, 16), i)
        : [instruction({ ...i, rm: random.below(16) })]
      return defined ? [...pieces, defineFlags(random)] : pieces
    }
  }
}

export const mmx: Maker = ({ random }) => {
  const reg = random.below(8)
  switch (random.below(5)) {
    case 0:
      return [instruction({ w: random.once(2), op: [0x0f, random.pick([0x6e, 0x7e])], reg, rm: free(random) })]
    case 1:
      return withMemory(memory(random, 8), { op: [0x0f, random.pick([0x6f, 0x7f])], reg })
    case 2:
      return [code(0x0f, 0x77)]
    default:
      return vector(
        random,
        8,
        { op: [0x0f, random.pick(PACKED.filter(([, op]) => op !== 0x6c && op !== 0x6d))[1]], reg },
        8,
      )
  }
}

/** x87: memory operands as [opcode, extension, size]. */
const X87_MEMORY: readonly (readonly [op: number, extension: number, size: number])[] = [
  ...[0, 1, 4, 5, 6, 7].flatMap((n) => [
    [0xd8, n, 4] as const,
    [0xdc, n, 8] as const,
    [0xda, n, 4] as const,
    [0xde, n, 2] as const,
  ]),
  [0xd9, 0, 4],
  [0xdd, 0, 8],
  [0xdb, 5, 10],
  [0xdf, 0, 2],
  [0xdb, 0, 4],
  [0xdf, 5, 8],
  [0xd9, 2, 4],
  [0xd9, 3, 4],
  [0xdd, 2, 8],
  [0xdd, 3, 8],
  [0xdb, 7, 10],
  [0xdf, 2, 2],
  [0xdf, 3, 2],
  [0xdb, 2, 4],
  [0xdb, 3, 4],
  [0xdf, 7, 8],
  [0xdf, 1, 2],
  [0xdb, 1, 4],
  [0xdd, 1, 8],
  [0xdf, 4, 10],
  [0xdf, 6, 10],
]
/** Without an operand, or on the stack: first byte, second byte and how many of them follow. */
const X87_STACK: readonly (readonly [op: number, from: number, count: number])[] = [
  ...[0xc0, 0xc8, 0xe0, 0xe8, 0xf0, 0xf8].flatMap((from) => [
    [0xd8, from, 8] as const,
    [0xdc, from, 8] as const,
    [0xde, from, 8] as const,
  ]),
  [0xd9, 0xc0, 8],
  [0xd9, 0xc8, 8],
  [0xdd, 0xd0, 8],
  [0xdd, 0xd8, 8],
  [0xdd, 0xc0, 8],
  [0xd9, 0xe0, 2],
  [0xd9, 0xe8, 7],
  [0xd9, 0xf4, 1],
  [0xd9, 0xf6, 2],
  [0xd9, 0xfa, 1],
  [0xd9, 0xfc, 2],
  [0xda, 0xc0, 32],
  [0xdb, 0xc0, 32],
]
/** The last place of their results is the processor's own. */
const X87_TRANSCENDENTAL: readonly number[] = [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff]
/** Those that compare, and so define the condition codes. */
const X87_COMPARE: readonly (readonly [number, number])[] = [
  [0xd8, 0xd1],
  [0xd8, 0xd9],
  [0xdd, 0xe1],
  [0xdd, 0xe9],
  [0xda, 0xe9],
  [0xde, 0xd9],
  [0xd9, 0xe4],
  [0xd9, 0xe5],
]

export const x87: Maker = (context: Context) => {
  const { random, defined } = context
  switch (random.below(10)) {
    case 0:
    case 1:
    case 2: {
      const [op, reg, size] = random.pick(X87_MEMORY)
      return withMemory(memory(random, size), { op: [op], reg })
    }
    case 3:
    case 4:
    case 5:
    case 6: {
      const [op, from, count] = random.pick(X87_STACK)
      return [code(op, from + random.below(count))]
    }
    case 7: {
      const compare = code(...random.pick(X87_COMPARE))
      return [compare, code(0xdf, 0xe0)]
    }
    case 8: {
      // FLDCW: any precision and rounding; rarely an exception that is not masked
      const masks = random.once(6) ? random.u32() & 0x3f : 0x3f
      const value = 0x40 | masks | (random.pick([0, 2, 3, 3]) << 8) | (random.below(4) << 10)
      const word = { base: 4, index: -1, scale: 1, displacement: -64, segment: 0, narrow: false } as const
      return [
        instruction({ op: [0xc7], reg: 0, rm: word, imm: little(value, 4) }),
        instruction({ op: [0xd9], reg: random.once(4) ? 7 : 5, rm: word }),
      ]
    }
    default:
      if (!defined && random.once(2)) return [code(0xd9, random.pick(X87_TRANSCENDENTAL))]
      return [
        code(
          ...random.pick([
            [0xdb, 0xe3],
            [0xdb, 0xe2],
            [0x9b],
            [0xdb, 0xf0],
            [0xdb, 0xe8],
            [0xdf, 0xf1],
            [0xdf, 0xe9],
          ] as const),
        ),
      ]
  }
}
