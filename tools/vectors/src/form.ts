/** Instruction forms, and what the families in `forms/` build them with. */
import { encode, type Instruction, type Memory } from './encode.ts'
import { READ_ONLY_PAGE, UNMAPPED, WINDOW_BASE, WINDOW_SIZE, type Window } from './layout.ts'
import type { Recipe, Step } from './recipe.ts'

export interface Form {
  /** Unique: the mnemonic and its operands. */
  readonly name: string
  readonly family: string
  readonly recipe: Recipe
  /** Rules of `undefined.ts`: what is not compared. */
  readonly undefined: readonly string[]
}

export const RAX = 0
export const RCX = 1
export const RDX = 2
export const RBX = 3
export const RSP = 4
export const RBP = 5
export const RSI = 6
export const RDI = 7

export const REGISTERS = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'] as const

/** `n` zero bytes, to be replaced by an `immediate` step. */
export function zeros(n: number): number[] {
  return new Array<number>(n).fill(0)
}

export function hex(value: bigint): string {
  return BigInt.asUintN(64, value).toString(16)
}

/** Where a memory operand lies and how its address is written. */
export interface Place {
  readonly memory: Memory
  readonly steps: readonly Step[]
  readonly window: Window
  readonly text: string
}

interface Shape {
  readonly text: string
  readonly base?: number
  readonly index?: number
  readonly scale?: 1 | 2 | 4 | 8
  readonly displacement?: number
  readonly segment?: 0 | 1 | 2
  readonly narrow?: boolean
  readonly relative?: boolean
  /** The address has no register, so it is one fixed number. */
  readonly fixed?: boolean
  readonly window?: Window
}

/** Addressing forms; none uses RAX, RCX, RDX, R8, R10 or R15, which are left to operands. */
const SHAPES: readonly Shape[] = [
  { text: '[rbx]', base: RBX },
  { text: '[rsi+8]', base: RSI, displacement: 0x35 },
  { text: '[r13+r9*4+32]', base: 13, index: 9, scale: 4, displacement: -0x12345 },
  { text: '[rip+32]', relative: true, fixed: true },
  { text: '[rbp+r14*8+8]', base: RBP, index: 14, scale: 8, displacement: -0x40 },
  { text: 'a32 [ebx+edi*2+32]', base: RBX, index: RDI, scale: 2, displacement: 0x1234567, narrow: true, window: 'low' },
  { text: '[r12]', base: 12 },
  { text: 'gs:[rdi]', base: RDI, segment: 2 },
  { text: '[abs32]', fixed: true, window: 'low' },
  { text: 'fs:[r11+8]', base: 11, displacement: 0x7f, segment: 1 },
  { text: '[rsp+8]', base: RSP, displacement: -0x80 },
  { text: '[r13+r12]', base: 13, index: 12, scale: 1 },
  { text: '[rdi*8+32]', index: RDI, scale: 8, displacement: 0x1000, window: 'low' },
  { text: 'a32 [r9d]', base: 9, narrow: true, window: 'low' },
]
export const SHAPE_COUNT: number = SHAPES.length

export interface PlaceOptions {
  /** Alignment of the operand in bytes; 1 lets it lie anywhere, also across two pages. */
  readonly align?: number
  /** Operand size in bytes. */
  readonly size?: number
  /** Offset in the window instead of the usual one. */
  readonly offset?: number
}

/** Addressing form number `n`. */
export function shape(n: number, options: PlaceOptions = {}): Place {
  const s = SHAPES[n % SHAPES.length]!
  const align = Math.max(options.align ?? 1, s.index !== undefined && s.base === undefined ? 8 : 1)
  const size = options.size ?? 8
  const window = s.window ?? 'near'
  // Operands of any alignment lie around the page boundary at offset 0x200 of the window.
  const offset = options.offset ?? (align === 1 ? 0x200 - Math.max(size, 4) : 0x1c0)
  const count = s.fixed ? 1 : align === 1 ? Math.max(size, 4) + 4 : 0x80 / align
  const start = WINDOW_BASE[window] + BigInt(offset)
  const base = s.base ?? -1
  const index = s.index ?? -1
  const displacement = s.fixed && !s.relative ? Number(start) : (s.displacement ?? 0)
  const memory: Memory = {
    base,
    index,
    scale: s.scale ?? 1,
    displacement,
    segment: s.segment ?? 0,
    narrow: s.narrow ?? false,
    ...(s.relative ? { relative: start } : {}),
  }
  const steps: Step[] = [
    ['address', hex(start), align, count, base, index, memory.scale, displacement, memory.segment, memory.narrow],
  ]
  return { memory, steps, window, text: s.text }
}

/** Places that fault: beyond the end of memory, read-only, not mapped, not canonical (by RBX, by RSP), not aligned. */
export type Fault = 'edge' | 'read-only' | 'unmapped' | 'non-canonical' | 'stack' | 'misaligned'

export function faulty(fault: Fault, size = 8): Place {
  const base = fault === 'stack' ? RSP : RBX
  const memory: Memory = { base, index: -1, scale: 1, displacement: 0, segment: 0, narrow: false }
  const at = (address: bigint, step: number, count: number): Step => [
    'address',
    hex(address),
    step,
    count,
    base,
    -1,
    1,
    0,
    0,
    false,
  ]
  const text = `${fault} [r${REGISTERS[base]!}]`
  switch (fault) {
    case 'edge':
      return { memory, steps: [at(WINDOW_BASE.edge + BigInt(WINDOW_SIZE - size), 1, size + 4)], window: 'edge', text }
    case 'read-only':
      return { memory, steps: [at(READ_ONLY_PAGE + 0x100n, 1, 0x100)], window: 'near', text }
    case 'unmapped':
      return { memory, steps: [at(UNMAPPED + 0xff0n - 8n, 1, 16)], window: 'near', text }
    case 'misaligned':
      return { memory, steps: [at(WINDOW_BASE.near + 0x1e0n, 1, 33)], window: 'near', text }
    default:
      return { memory, steps: [at(0x8000_0000_0000n + 0x1234_5678n, 0x10001, 1000)], window: 'near', text }
  }
}

/** Collects the forms of one family. */
export class Family {
  readonly forms: Form[] = []
  readonly name: string
  #shape = 0

  constructor(name: string) {
    this.name = name
  }

  /** A form from raw code. */
  raw(
    name: string,
    code: readonly number[],
    steps: readonly Step[] = [],
    undefined_: readonly string[] = [],
    window: Window = 'near',
    start = 0,
  ): void {
    this.forms.push({
      name,
      family: this.name,
      recipe: { code, window, steps, ...(start ? { start } : {}) },
      undefined: undefined_,
    })
  }

  /** A form whose immediate, if it has one, is random. */
  add(
    name: string,
    instruction: Instruction,
    steps: readonly Step[] = [],
    undefined_: readonly string[] = [],
    window: Window = 'near',
  ): void {
    const code = encode(instruction)
    const n = instruction.imm?.length ?? 0
    const all: Step[] = n ? [['immediate', code.length - n, n, 'int'], ...steps] : [...steps]
    this.raw(name, code, all, undefined_, window)
  }

  /** A form with a memory operand at `place`; `%` in the name stands for the address. */
  at(
    place: Place,
    name: string,
    instruction: Omit<Instruction, 'rm'>,
    steps: readonly Step[] = [],
    undefined_: readonly string[] = [],
  ): void {
    this.add(
      name.replace('%', place.text),
      { ...instruction, rm: place.memory },
      [...place.steps, ...steps],
      undefined_,
      place.window,
    )
  }

  /** The next addressing form in turn. */
  place(options: PlaceOptions = {}): Place {
    return shape(this.#shape++, options)
  }
}
