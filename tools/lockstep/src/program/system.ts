// Units that only a supervisor may execute: page tables that change, other address spaces, control registers, interrupts, debug registers, and the way to user mode and back.

import { little, type Random } from '../random.ts'
import type { Position } from './control.ts'
import { CODE, DATA, PAGE, READ_ONLY, STACK } from './layout.ts'
import { free } from './operands.ts'
import { code, instruction, type Piece, type Unit } from './unit.ts'

/** Where supervisor programs find more than others do. */
export const SYSTEM: {
  /** The two pages of the page tables of CODE and DATA, and of READ_ONLY and STACK. */
  readonly TABLES: bigint
  /** The frames of CODE once more, writable and not executable. */
  readonly ALIAS: bigint
  /** Another frame that may become the second page of CODE. */
  readonly OTHER: bigint
  /** Root of the page tables, a physical address. */
  readonly ROOT: number
  readonly CODE64: number
  readonly USER_DATA: number
  readonly USER_CODE: number
} = {
  TABLES: CODE + 0x50_0000n,
  ALIAS: DATA + 0x1_0000n,
  OTHER: DATA + 0x2_0000n,
  ROOT: 0x10_0000,
  CODE64: 0x08,
  USER_DATA: 0x1b,
  USER_CODE: 0x23,
}

const FLUSHED = ['invlpg', 'invlpg', 'cr3', 'pge'] as const
const P = 0
const W = 1
const U = 2
const A = 5
const D = 6
const NX = 63

/** Address of the page-table entry of a page of the regions. */
function entryOf(linear: bigint): bigint {
  const first = CODE & ~0x1f_ffffn
  const table = (linear - first) >> 21n
  return SYSTEM.TABLES + table * BigInt(PAGE) + ((linear >> 12n) & 0x1ffn) * 8n
}

function load(register: number, value: bigint): Piece {
  return instruction({ w: true, op: [0xb8], plus: register, imm: little(value, 8) })
}
const at = (base: number, displacement = 0) =>
  ({ base, index: -1, scale: 1, displacement, segment: 0, narrow: false }) as const
const RAX = 0
const RCX = 1
const RDX = 2
const RSP = 4

/** MOV RCX, CRn; a change; MOV CRn, RCX. */
function changeControl(n: number, change: readonly Piece[]): Piece[] {
  return [code(0x0f, 0x20, 0xc1 | (n << 3)), ...change, code(0x0f, 0x22, 0xc1 | (n << 3))]
}
function toggle(bit: number): Piece {
  return instruction({ w: true, op: [0x0f, 0xba], reg: 7, rm: RCX, imm: [bit] })
}
const PGE = 7
const RELOAD: readonly Piece[] = changeControl(3, [])
/** CR4.PGE off and on: everything goes. */
const FLUSH_ALL: readonly Piece[] = [...changeControl(4, [toggle(PGE)]), ...changeControl(4, [toggle(PGE)])]

function flush(random: Random, page: bigint): readonly Piece[] {
  switch (random.pick(FLUSHED)) {
    case 'invlpg':
      return [load(RCX, page + BigInt(random.below(PAGE))), instruction({ op: [0x0f, 0x01], reg: 7, rm: at(RCX) })]
    case 'cr3':
      return RELOAD
    default:
      return FLUSH_ALL
  }
}

/** Not one of the code's: what a processor has fetched already is its own business. */
function anyPage(random: Random): bigint {
  return random.weighted([
    [12, DATA],
    [12, DATA + BigInt(PAGE)],
    [6, READ_ONLY],
    [2, STACK + BigInt(PAGE)],
  ] as const)
}

/** A bit of an entry, and the flush that it needs. */
function changeEntry({ random }: Position): Piece[] {
  const page = anyPage(random)
  const bit = random.pick([P, P, W, W, U, A, D, NX])
  return [
    load(RAX, entryOf(page)),
    instruction({ prefix: random.once(4) ? [0xf0] : [], w: true, op: [0x0f, 0xba], reg: 7, rm: at(RAX), imm: [bit] }),
    ...flush(random, page),
    // the bit that was there may be A, which a processor may set before it has to
    instruction({ op: [0x39], reg: RAX, rm: RAX }),
  ]
}

function exchangeEntries(random: Random, one: bigint, other: bigint): Piece[] {
  return [
    load(RAX, entryOf(one)),
    load(RCX, entryOf(other)),
    instruction({ w: true, op: [0x8b], reg: RDX, rm: at(RAX) }),
    instruction({ w: true, op: [0x87], reg: RDX, rm: at(RCX) }),
    instruction({ w: true, op: [0x89], reg: RDX, rm: at(RAX) }),
    ...flush(random, one),
    load(RCX, other),
    instruction({ op: [0x0f, 0x01], reg: 7, rm: at(RCX) }),
    instruction({ op: [0x31], reg: RDX, rm: RDX }),
  ]
}

/** Other frames for data, or for the second page of the code. */
function exchangePages({ random }: Position): Piece[] {
  return random.once(2)
    ? exchangeEntries(random, DATA, DATA + BigInt(PAGE))
    : exchangeEntries(random, CODE + BigInt(PAGE), SYSTEM.OTHER)
}

/** A store into the code through another mapping of it. */
function patchAlias({ random }: Position): Piece[] {
  const offset = random.once(3) ? random.below(2 * PAGE) : PAGE + random.range(-300, 300)
  const bytes = random.pick([1, 4])
  return [
    load(RAX, SYSTEM.ALIAS + BigInt(offset)),
    // a byte exclusive-or itself changes nothing: the code is dropped all the same
    random.once(3)
      ? instruction({ op: [0x80], reg: 6, rm: at(RAX), imm: [random.once(2) ? 0 : 1] })
      : instruction({ op: [bytes === 1 ? 0x8a : 0x8b], reg: RDX, rm: at(RAX) }),
    instruction({ op: [bytes === 1 ? 0x88 : 0x89], reg: RDX, rm: at(RAX) }),
  ]
}

/** Another PCID. */
function addressSpace({ random }: Position): Piece[] {
  return [load(RAX, BigInt(SYSTEM.ROOT + random.below(3))), code(0x0f, 0x22, 0xd8)]
}

/** WP, TS, EM; SMAP, UMIP, FSGSBASE; each back again soon, mostly. */
function control({ random }: Position): Piece[] {
  const [register, bit] = random.pick([
    [0, 16],
    [0, 16],
    [0, 3],
    [0, 2],
    [0, 18],
    [4, 21],
    [4, 11],
    [4, 16],
  ] as const)
  const change = changeControl(register, [toggle(bit)])
  const access = [instruction({ op: [0x01], reg: free(random), rm: at(12, random.range(-16, 16)) })]
  if (random.once(4)) return change
  return [...change, ...access, ...(random.once(4) ? [code(0x0f, 0x57, 0xc1)] : []), ...change]
}

const MSR = { EFER: 0xc000_0080, FS_BASE: 0xc000_0100, GS_BASE: 0xc000_0101, KERNEL_GS_BASE: 0xc000_0102 } as const

function modelSpecific({ random }: Position): Piece[] {
  switch (random.below(6)) {
    case 0: {
      // FS.base or GS.base is where the data is, and an access with the prefix
      const number = random.pick([MSR.FS_BASE, MSR.GS_BASE, MSR.KERNEL_GS_BASE])
      const segment = number === MSR.FS_BASE ? 1 : 2
      const base = DATA + BigInt(random.below(2 * PAGE))
      return [
        code(0xb9, ...little(number, 4), 0xb8, ...little(base & 0xffff_ffffn, 4), 0xba, ...little(base >> 32n, 4)),
        code(0x0f, 0x30),
        instruction({ w: true, op: [0x8b], reg: free(random), rm: { ...at(-1, random.below(64)), segment } }),
      ]
    }
    case 1:
      return [code(0x0f, 0x01, 0xf8)]
    case 2:
      // RDFSBASE to WRGSBASE
      return [
        instruction({ prefix: [0xf3], w: random.once(2), op: [0x0f, 0xae], reg: random.below(4), rm: free(random) }),
      ]
    case 3:
      return [code(0xb9, ...little(MSR.EFER, 4), 0x0f, 0x32)]
    case 4:
      return [code(0x0f, 0x31)]
    default:
      return [code(0x31, 0xc9, 0x0f, 0x01, 0xd0)]
  }
}

const SELF_IPI = 0x83f

/** An interrupt to oneself: taken at once, or when IF allows it. */
function interrupt({ random }: Position): Piece[] {
  switch (random.below(4)) {
    case 0:
      return [code(0xfa)]
    case 1:
      return [code(0xfb), ...(random.once(2) ? [code(0x90)] : [])]
    case 2:
      return [code(0xb9, ...little(SELF_IPI, 4), 0xb8, ...little(0x40 + random.below(64), 4), 0x31, 0xd2, 0x0f, 0x30)]
    default:
      // PUSHF; IF changes; POPF
      return [code(0x9c), instruction({ op: [0x81], reg: 6, rm: at(RSP), imm: little(0x200, 4) }), code(0x9d)]
  }
}

/** IRETQ to the next unit, in user mode or where the program is. */
function interruptReturn(position: Position): Piece[] {
  const { random } = position
  const user = random.once(2)
  const reg = free(random)
  const push = (value: number): Piece => code(0x68, ...little(value, 4))
  return [
    load(reg, STACK + BigInt(PAGE)),
    push(user ? SYSTEM.USER_DATA : 0),
    instruction({ op: [0x50], plus: reg }),
    push(0x202 | (random.u32() & 0x8d5)),
    push(user ? SYSTEM.USER_CODE : SYSTEM.CODE64),
    { kind: 'relative', instruction: { w: true, op: [0x8d], reg }, target: { unit: position.at + 1 } },
    instruction({ op: [0x50], plus: reg }),
    code(0x48, 0xcf),
  ]
}

/** From user mode: INT 0x80, or SYSCALL and back. */
function enterSupervisor({ random }: Position): Piece[] {
  return random.once(2) ? [code(0xcd, 0x80)] : [code(0x0f, 0x05)]
}

/** A breakpoint on data, or on one of the units that follow. */
function breakpoint(position: Position): Piece[] {
  const { random, at: unit } = position
  const n = random.below(4)
  const data = random.once(2)
  const kind = data ? random.pick([1, 3]) : 0
  const length = data ? random.pick([0, 1, 3, 2]) : 0
  const set = [code(0x0f, 0x23, 0xc0 | (n << 3))]
  const dr7 = random.once(4) ? 0x400 : 0x400 | (2 << (n * 2)) | (((kind | (length << 2)) << (16 + n * 4)) >>> 0)
  const where: Piece = data
    ? load(RAX, (DATA + BigInt(PAGE + random.range(-64, 64))) & -8n)
    : { kind: 'relative', instruction: { w: true, op: [0x8d], reg: RAX }, target: { unit: unit + random.range(1, 4) } }
  return [where, ...set, code(0xb8, ...little(dr7, 4), 0x0f, 0x23, 0xf8)]
}

/** FXSAVE and FXRSTOR, XSAVE and XRSTOR: states that were saved before, or that nobody saved. */
function saveState({ random }: Position): Piece[] {
  const place = at(12, (random.range(-4096, 2048) & -64) as number)
  const save = random.once(2)
  const wide = random.once(2)
  if (random.once(2)) {
    const area = instruction({ w: wide, op: [0x0f, 0xae], reg: save ? 0 : 1, rm: place })
    return save ? [area] : [instruction({ w: wide, op: [0x0f, 0xae], reg: 0, rm: place }), area]
  }
  return [
    code(0xb8, ...little(random.below(4), 4), 0x31, 0xd2),
    instruction({ w: wide, op: [0x0f, 0xae], reg: save ? 4 : 5, rm: place }),
  ]
}

/** Names of units by weight. */
const MAKERS: readonly (readonly [number, (position: Position) => Piece[]])[] = [
  [8, changeEntry],
  [5, exchangePages],
  [5, patchAlias],
  [4, addressSpace],
  [4, control],
  [4, modelSpecific],
  [6, interrupt],
  [5, interruptReturn],
  [4, enterSupervisor],
  [3, breakpoint],
  [3, saveState],
]

export function systemUnit(position: Position): Unit {
  const maker = position.random.weighted(MAKERS)
  return { name: maker.name, pieces: maker(position) }
}
