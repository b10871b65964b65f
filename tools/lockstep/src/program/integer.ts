// Units of integer instructions. Where results are undefined, `defined` programs set the flags anew at once, so that real processors agree.

import { little, type Random } from '../random.ts'
import { CODE, DATA, PAGE, R12 } from './layout.ts'
import { FREE, free, memory, withEither, withMemory } from './operands.ts'
import { code, instruction, type Piece } from './unit.ts'

/** Operand sizes with their encoding. */
interface Size {
  readonly bytes: 1 | 2 | 4 | 8
  readonly prefix: readonly number[]
  readonly w: boolean
  /** Lowest bit of opcodes that have a form for bytes. */
  readonly bit: 0 | 1
}
const BYTE: Size = { bytes: 1, prefix: [], w: false, bit: 0 }
const WORD: Size = { bytes: 2, prefix: [0x66], w: false, bit: 1 }
const DOUBLE: Size = { bytes: 4, prefix: [], w: false, bit: 1 }
const QUAD: Size = { bytes: 8, prefix: [], w: true, bit: 1 }
const SIZES: readonly Size[] = [BYTE, WORD, DOUBLE, DOUBLE, QUAD, QUAD]
const WIDE: readonly Size[] = [WORD, DOUBLE, QUAD]

export interface Context {
  readonly random: Random
  /** Only what the architecture defines may be seen. */
  readonly defined: boolean
}
export type Maker = (context: Context) => Piece[]

/** CMP of two registers: all status flags are defined after it. */
export function defineFlags(random: Random): Piece {
  return instruction({ w: random.once(2), op: [0x39], reg: free(random), rm: free(random) })
}
function undefinedFlags({ random, defined }: Context, pieces: readonly Piece[]): Piece[] {
  return defined ? [...pieces, defineFlags(random)] : [...pieces]
}
function immediate(random: Random, bytes: number): number[] {
  return little(random.u64(), bytes)
}

/** AF is undefined after AND, OR and XOR: nothing but PUSHF and LAHF see it, and `defined` programs compare before those. */
export const arithmetic: Maker = ({ random }) => {
  const n = random.below(8)
  const { bytes, prefix, w, bit } = random.pick(SIZES)
  switch (random.below(5)) {
    case 0:
      return [instruction({ prefix, w, op: [n * 8 + 4 + bit], imm: immediate(random, Math.min(bytes, 4)) })]
    case 1:
      return withEither(random, bytes, {
        prefix,
        w,
        op: [0x80 + bit],
        reg: n,
        imm: immediate(random, Math.min(bytes, 4)),
      })
    case 2:
      return withEither(random, bytes, {
        prefix,
        w,
        op: bytes === 1 ? [0x80] : [0x83],
        reg: n,
        imm: immediate(random, 1),
      })
    case 3: {
      const reg = free(random)
      return withEither(random, bytes, { prefix, w, op: [n * 8 + 2 + bit], reg }, { avoid: [reg] })
    }
    default: {
      const reg = free(random)
      if (n < 7 && random.once(6)) {
        const target = memory(random, bytes, bytes, [reg])
        return withMemory(target, { prefix: [0xf0, ...prefix], w, op: [n * 8 + bit], reg })
      }
      return withEither(random, bytes, { prefix, w, op: [n * 8 + bit], reg }, { avoid: [reg] })
    }
  }
}
export const test: Maker = ({ random }) => {
  const { bytes, prefix, w, bit } = random.pick(SIZES)
  const reg = free(random)
  if (random.once(2)) return withEither(random, bytes, { prefix, w, op: [0x84 + bit], reg }, { avoid: [reg] })
  return withEither(random, bytes, { prefix, w, op: [0xf6 + bit], reg: 0, imm: immediate(random, Math.min(bytes, 4)) })
}

export const unary: Maker = ({ random }) => {
  const { bytes, prefix, w, bit } = random.pick(SIZES)
  const [op, reg] = random.pick([
    [0xfe, 0],
    [0xfe, 1],
    [0xf6, 2],
    [0xf6, 3],
  ] as const)
  return withEither(random, bytes, { prefix, w, op: [op + bit], reg })
}

export const multiply: Maker = (context) => {
  const { random } = context
  const { bytes, prefix, w, bit } = random.pick(SIZES)
  const avoid = [0, 2]
  if (random.once(2) || bytes === 1) {
    return undefinedFlags(
      context,
      withEither(random, bytes, { prefix, w, op: [0xf6 + bit], reg: random.range(4, 5) }, { avoid }),
    )
  }
  const reg = free(random)
  const size = Math.min(bytes, 4)
  if (random.once(2))
    return undefinedFlags(context, withEither(random, bytes, { prefix, w, op: [0x0f, 0xaf], reg }, { avoid: [reg] }))
  const short = random.once(2)
  return undefinedFlags(
    context,
    withEither(random, bytes, { prefix, w, op: [short ? 0x6b : 0x69], reg, imm: immediate(random, short ? 1 : size) }),
  )
}

export const divide: Maker = (context) => {
  const { random } = context
  const { bytes, prefix, w, bit } = random.pick(SIZES)
  const reg = random.range(6, 7)
  // a dividend that fits, most of the time
  const before = random.once(4)
    ? []
    : bytes === 1
      ? [code(0xb4, 0)]
      : reg === 6
        ? [code(0x31, 0xd2)]
        : [instruction({ prefix, w, op: [0x99] })]
  const divisor = random.pick(FREE.filter((r) => r !== 0 && r !== 2))
  const odd = random.once(6) ? [] : [instruction({ w: true, op: [0x83], reg: 1, rm: divisor, imm: [1] })]
  const pieces = [
    ...odd,
    ...before,
    ...withEither(
      random,
      bytes,
      { prefix, w, op: [0xf6 + bit], reg },
      { register: divisor, avoid: [0, 2], memoryOnce: 4 },
    ),
  ]
  return undefinedFlags(context, pieces)
}

export const shift: Maker = (context) => {
  const { random } = context
  const { bytes, prefix, w, bit } = random.pick(SIZES)
  const reg = random.below(8)
  const op = random.pick([0xc0, 0xd0, 0xd2])
  const imm = op === 0xc0 ? [random.once(8) ? random.below(256) : random.below(bytes * 8)] : undefined
  return undefinedFlags(
    context,
    withEither(
      random,
      bytes,
      { prefix, w, op: [op + bit], reg, ...(imm ? { imm } : {}) },
      { avoid: [1], memoryOnce: 3 },
    ),
  )
}

export const doubleShift: Maker = (context) => {
  const { random, defined } = context
  // counts above the size leave the result undefined for words
  const { bytes, prefix, w } = random.pick(defined ? [DOUBLE, QUAD] : WIDE)
  const reg = free(random)
  const byCl = random.once(2)
  const op = random.pick([0xa4, 0xac]) + (byCl ? 1 : 0)
  return undefinedFlags(
    context,
    withEither(
      random,
      bytes,
      { prefix, w, op: [0x0f, op], reg, ...(byCl ? {} : { imm: [random.below(256)] }) },
      { avoid: [1, reg] },
    ),
  )
}

export const bits: Maker = (context) => {
  const { random } = context
  const { bytes, prefix, w } = random.pick(WIDE)
  const n = random.range(4, 7)
  if (random.once(2)) {
    return undefinedFlags(
      context,
      withEither(random, bytes, { prefix, w, op: [0x0f, 0xba], reg: n, imm: [random.below(256)] }),
    )
  }
  // a register as offset may lead far away from the operand
  const offset = free(random)
  const near = instruction({ op: [0x81], reg: 4, rm: offset, imm: little(0x3fff, 4) })
  const pieces = withEither(random, bytes, { prefix, w, op: [0x0f, 0x83 + n * 8], reg: offset }, { avoid: [offset] })
  return undefinedFlags(context, random.once(8) ? pieces : [near, ...pieces])
}

export const scan: Maker = (context) => {
  const { random } = context
  const { bytes, prefix, w } = random.pick(WIDE)
  const reg = free(random)
  const [f3, op] = random.pick([
    [false, 0xbc],
    [false, 0xbd],
    [true, 0xbc],
    [true, 0xbd],
    [true, 0xb8],
  ] as const)
  return undefinedFlags(
    context,
    withEither(random, bytes, { prefix: f3 ? [...prefix, 0xf3] : prefix, w, op: [0x0f, op], reg }, { avoid: [reg] }),
  )
}

export const move: Maker = ({ random }) => {
  const { bytes, prefix, w, bit } = random.pick(SIZES)
  const reg = free(random)
  switch (random.below(8)) {
    case 0:
      return [instruction({ prefix, w, op: [bytes === 1 ? 0xb0 : 0xb8], plus: reg, imm: immediate(random, bytes) })]
    case 1:
      return withEither(
        random,
        bytes,
        { prefix, w, op: [0xc6 + bit], reg: 0, imm: immediate(random, Math.min(bytes, 4)) },
        { memoryOnce: 1 },
      )
    case 2:
      return withEither(random, bytes, { prefix, w, op: [0x88 + bit], reg }, { avoid: [reg], memoryOnce: 1 })
    case 3:
      return withEither(random, bytes, { prefix, w, op: [0x8a + bit], reg }, { avoid: [reg] })
    case 4: {
      const from = random.pick([BYTE, WORD])
      const to = random.pick([WORD, DOUBLE, QUAD])
      const op = random.pick([0xb6, 0xbe]) + from.bit
      return withEither(random, from.bytes, { prefix: to.prefix, w: to.w, op: [0x0f, op], reg })
    }
    case 5:
      return withEither(random, 4, { w: random.once(2), op: [0x63], reg })
    case 6: {
      // LEA: any address will do
      const { memory: address, before } = memory(random, 1)
      return [...before, instruction({ prefix: bytes === 1 ? [] : prefix, w, op: [0x8d], reg, rm: address })]
    }
    default: {
      // moffs
      const address = DATA + BigInt(random.below(2 * PAGE + 8))
      return [instruction({ prefix, w, op: [random.pick([0xa0, 0xa2]) + bit], imm: little(address, 8) })]
    }
  }
}

export const exchange: Maker = ({ random }) => {
  const { bytes, prefix, w, bit } = random.pick(SIZES)
  const reg = free(random)
  const locked = random.once(3) ? [0xf0] : []
  switch (random.below(5)) {
    case 0:
      return withEither(random, bytes, { prefix, w, op: [0x86 + bit], reg }, { avoid: [reg] })
    case 1:
      return withMemory(memory(random, bytes, bytes, [0, reg]), {
        prefix: [...locked, ...prefix],
        w,
        op: [0x0f, 0xb0 + bit],
        reg,
      })
    case 2:
      return withMemory(memory(random, bytes, bytes, [reg]), {
        prefix: [...locked, ...prefix],
        w,
        op: [0x0f, 0xc0 + bit],
        reg,
      })
    case 3: {
      const wide = random.once(2)
      return withMemory(memory(random, wide ? 16 : 8, wide ? 16 : 8, [0, 1, 2, 3]), {
        prefix: locked,
        w: wide,
        op: [0x0f, 0xc7],
        reg: 1,
      })
    }
    default:
      return [instruction({ w: random.once(2), op: [0x0f, 0xc8], plus: reg })]
  }
}

export const convert: Maker = ({ random }) => {
  const { prefix, w } = random.pick(WIDE)
  return [instruction({ prefix, w, op: [random.pick([0x98, 0x99])] })]
}

export const conditional: Maker = ({ random }) => {
  const condition = random.below(16)
  const reg = free(random)
  if (random.once(2)) return withEither(random, 1, { op: [0x0f, 0x90 + condition], reg: 0 })
  const { bytes, prefix, w } = random.pick(WIDE)
  return withEither(random, bytes, { prefix, w, op: [0x0f, 0x40 + condition], reg }, { avoid: [reg] })
}

export const flags: Maker = ({ random, defined }) => {
  const define = defined ? [defineFlags(random)] : []
  switch (random.below(6)) {
    case 0:
      return [...define, code(0x9f)]
    case 1:
      return [code(0x9e)]
    case 2:
      return [code(random.pick([0xf5, 0xf8, 0xf9]))]
    case 3:
      // PUSHF, POP
      return [...define, code(0x9c), instruction({ op: [0x58], plus: free(random) })]
    case 4: {
      // PUSHF, a change of some bits (NT, AC, TF and DF rarely), POPF. An operating system does not keep NT and ID across signals.
      const bit = random.weighted([
        [12, random.pick([0, 2, 4, 6, 7, 11])],
        [2, 10],
        [2, 18],
        [2, 8],
        [1, defined ? 18 : 14],
        [1, defined ? 8 : 21],
      ] as const)
      return [
        code(0x9c),
        instruction({
          op: [0x81],
          reg: 6,
          rm: { base: 4, index: -1, scale: 1, displacement: 0, segment: 0, narrow: false },
          imm: little(1 << bit, 4),
        }),
        code(0x9d),
      ]
    }
    default:
      return [code(random.pick([0xfc, 0xfc, 0xfd]))]
  }
}

export const stack: Maker = ({ random }) => {
  const reg = free(random)
  switch (random.below(7)) {
    case 0:
      return [instruction({ op: [0x50], plus: reg })]
    case 1:
      return [instruction({ op: [0x58], plus: reg })]
    case 2:
      return [code(0x68, ...immediate(random, 4)), instruction({ op: [0x58], plus: reg })]
    case 3:
      return withMemory(memory(random, 8), { op: [0xff], reg: 6 })
    case 4:
      return withMemory(memory(random, 8), { op: [0x8f], reg: 0 })
    case 5:
      return [
        instruction({ prefix: [0x66], op: [0x50], plus: reg }),
        instruction({ prefix: [0x66], op: [0x58], plus: free(random) }),
      ]
    default: {
      // ENTER, LEAVE
      const level = random.once(3) ? random.below(4) : 0
      return [code(0xc8, random.below(8) * 8, 0, level), code(0xc9)]
    }
  }
}

const BMI: readonly (readonly [
  op: readonly number[],
  map: number,
  pp: number,
  reg: 'any' | number,
  imm: boolean,
  flags: boolean,
])[] = [
  [[0xf2], 2, 0, 'any', false, true], // ANDN
  [[0xf7], 2, 0, 'any', false, true], // BEXTR
  [[0xf3], 2, 0, 1, false, true], // BLSR
  [[0xf3], 2, 0, 2, false, true], // BLSMSK
  [[0xf3], 2, 0, 3, false, true], // BLSI
  [[0xf5], 2, 0, 'any', false, true], // BZHI
  [[0xf5], 2, 3, 'any', false, false], // PDEP
  [[0xf5], 2, 2, 'any', false, false], // PEXT
  [[0xf6], 2, 3, 'any', false, false], // MULX
  [[0xf7], 2, 1, 'any', false, false], // SHLX
  [[0xf7], 2, 2, 'any', false, false], // SARX
  [[0xf7], 2, 3, 'any', false, false], // SHRX
  [[0xf0], 3, 3, 'any', true, false], // RORX
]
export const newer: Maker = (context) => {
  const { random } = context
  const w = random.once(2)
  const bytes = w ? 8 : 4
  const reg = free(random)
  switch (random.below(4)) {
    case 0: {
      const { prefix, bytes: size, w: wide } = random.pick(WIDE)
      // MOVBE
      return withMemory(memory(random, size, 1, [reg]), {
        prefix,
        w: wide,
        op: [0x0f, 0x38, random.pick([0xf0, 0xf1])],
        reg,
      })
    }
    case 1:
      // ADCX, ADOX
      return withEither(
        random,
        bytes,
        { prefix: [random.pick([0x66, 0xf3])], w, op: [0x0f, 0x38, 0xf6], reg },
        { avoid: [reg] },
      )
    case 2:
      // CRC32
      return withEither(random, 1, { prefix: [0xf2], w, op: [0x0f, 0x38, 0xf0], reg }, { avoid: [reg] })
    default: {
      const [op, map, pp, extension, imm, changes] = random.pick(BMI)
      const v = imm ? 0 : free(random)
      const pieces = withEither(
        random,
        bytes,
        {
          op,
          w,
          reg: extension === 'any' ? reg : extension,
          vex: { map, pp, v },
          ...(imm ? { imm: [random.below(256)] } : {}),
        },
        { avoid: [reg, v, 2] },
      )
      return changes ? undefinedFlags(context, pieces) : pieces
    }
  }
}

/** Places in RSI and RDI, a count, a direction, and a string instruction. */
export const strings: Maker = ({ random }) => {
  const place = (register: number): Piece => {
    const offset = random.once(3) ? random.range(-40, 40) : random.range(-PAGE, PAGE)
    return instruction({
      w: true,
      op: [0x8d],
      reg: register,
      rm: { base: R12, index: -1, scale: 1, displacement: offset, segment: 0, narrow: false },
    })
  }
  const { prefix, w, bit } = random.pick(SIZES)
  const op = random.pick([0xa4, 0xa4, 0xaa, 0xaa, 0xac, 0xa6, 0xae]) + bit
  const repeat = random.weighted([
    [2, []],
    [5, [0xf3]],
    [2, [0xf2]],
  ] as const)
  const count = random.once(10) ? random.below(3000) : random.below(40)
  const down = random.once(5)
  return [
    place(6),
    place(7),
    instruction({ op: [0xb8], plus: 1, imm: little(count, 4) }),
    ...(down ? [code(0xfd)] : random.once(3) ? [code(0xfc)] : []),
    instruction({ prefix: [...repeat, ...prefix], w, op: [op] }),
    ...(down && !random.once(4) ? [code(0xfc)] : []),
  ]
}

/** What ends in an exception, mostly. */
export const faults: Maker = ({ random }) => {
  switch (random.below(9)) {
    case 0:
      return [code(0x0f, 0x0b)]
    case 1:
      return [code(0xcc)]
    case 2:
      return [code(0x31, 0xc9, 0xf7, 0xf1)]
    case 3:
      return [code(random.pick([0xf4, 0xfa, 0xfb]))]
    case 4:
      return [code(random.pick([0xe4, 0xe6]), 0x80)]
    case 5:
      return [code(0x0f, random.pick([0x30, 0x32, 0x06, 0x09]))]
    case 6:
      return [code(0x0f, random.pick([0x20, 0x22]), random.pick([0xc0, 0xd8, 0xe0]))]
    case 7:
      // a jump to nowhere: the program may end here
      return random.once(3)
        ? [
            instruction({ w: true, op: [0xb8], plus: 0, imm: little(CODE - BigInt(random.below(PAGE)), 8) }),
            code(0xff, 0xe0),
          ]
        : [code(0x06)]
    default:
      return withMemory(memory(random, 16, 1), { op: [0x0f, 0x28], reg: random.below(16) })
  }
}
