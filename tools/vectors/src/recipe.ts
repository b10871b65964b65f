/**
 * A recipe says how to make a test's machine state from random numbers. It is plain data: vector files carry the recipes of their forms,
 * so that a file can be replayed without the tables that it was generated from.
 */
import {
  AT_CODE,
  AT_ERROR,
  AT_FCW,
  AT_FSW,
  AT_FTW,
  AT_GPR,
  AT_MXCSR,
  AT_RFLAGS,
  AT_RIP,
  AT_ST,
  AT_TRAP,
  AT_WINDOW,
  AT_XMM,
  CODE_ROOM,
  CODE_START,
  FS_BASE,
  GS_BASE,
  IF,
  RECORD_SIZE,
  STATUS,
  WINDOW_BASE,
  WINDOW_SIZE,
  WINDOWS,
  type Window,
} from './layout.ts'
import type { Random } from './random.ts'

/** A distribution of values; the size comes from the step. */
export type Kind = 'int' | 'bits' | 'lanes' | 'f32' | 'f64' | 'f80' | 'bcd' | 'text' | 'zero'

export type Step =
  /** The lower `size` bytes of a general register. */
  | readonly ['gpr', register: number, size: number, kind: Kind]
  /** The lower `size` bytes of a general register: an integer from `low` to `high`. */
  | readonly ['range', register: number, size: number, low: number, high: number]
  /** A register holds this (hexadecimal) plus `step` times a number below `count`. */
  | readonly ['pointer', register: number, address: string, step: number, count: number]
  /**
   * The operand's address is `address + step * n`, n below `count`; the registers of the effective address (-1: none) are set so that it
   * results. `segment` is 0, 1 (FS) or 2 (GS); with `narrow` the address size is 32 bits and the upper halves are noise.
   */
  | readonly [
      'address',
      address: string,
      step: number,
      count: number,
      base: number,
      index: number,
      scale: number,
      displacement: number,
      segment: number,
      narrow: boolean,
    ]
  /** Memory at the operand's address. */
  | readonly ['operand', size: number, kind: Kind]
  /** Memory at an offset of the window. */
  | readonly ['memory', offset: number, size: number, kind: Kind]
  /** Eight bytes at an offset of the window: hexadecimal plus a number below `count`. */
  | readonly ['quad', offset: number, value: string, count: number]
  /** `size` bytes at an offset of the window: the present value AND a mask, OR bits (both hexadecimal). */
  | readonly ['and', offset: number, size: 1 | 2 | 4 | 8, and: string, or: string]
  | readonly ['xmm', register: number, kind: Kind]
  /** ST(i); all eight with -1. */
  | readonly ['st', register: number, kind: Kind]
  /** `full`: all registers valid. `some`: any stack state. `word`: as `some`, with any masked control word. `trap`: any control word. `pending`: an exception waits. */
  | readonly ['x87', state: 'full' | 'some' | 'word' | 'trap' | 'pending']
  /** `round`: any rounding, FTZ, DAZ and sticky flags, all masked. `trap`: any masks. */
  | readonly ['mxcsr', state: 'round' | 'trap']
  /** Flags: the present value AND `and`, OR `or`. */
  | readonly ['flags', and: number, or: number]
  | readonly ['direction']
  /** `size` bytes of the code from offset `at` on. */
  | readonly ['immediate', at: number, size: number, kind: Kind]
  /** One byte of code, from `low` to `high`; `at` counts from the end when it is negative. */
  | readonly ['byte', at: number, low: number, high: number]
  /** RDX:RAX (or DX:AX, AX) such that a division by a random number does not overflow most of the time. */
  | readonly ['dividend', size: number, signed: boolean]
  /** With one chance in `n`, register or memory operand `to` becomes equal to the `size` low bytes of register `from`. */
  | readonly ['equal', n: number, from: number, size: number, to: 'operand' | number]

export interface Recipe {
  /** The machine code; steps may change immediates. */
  readonly code: readonly number[]
  readonly window: Window
  /** Where the code starts, as an offset from `CODE_START`. */
  readonly start?: number
  readonly steps: readonly Step[]
}

const MASK64 = (1n << 64n) - 1n

/** Makes the request of a form's next test. `record` is `RECORD_SIZE` bytes. */
export class Cook {
  readonly view: DataView
  readonly #random: Random
  #operand = 0

  constructor(record: Uint8Array, random: Random) {
    this.view = new DataView(record.buffer, record.byteOffset, RECORD_SIZE)
    this.#random = random
  }

  make(recipe: Recipe): void {
    const { view } = this
    const random = this.#random
    for (let i = 0; i < 16; i++) random.register(view, AT_GPR + i * 8)
    if (random.once(8)) this.#copyRegister(random.below(16), random.below(16))
    view.setBigUint64(AT_RIP, CODE_START + BigInt(recipe.start ?? 0), true)
    view.setBigUint64(AT_RFLAGS, BigInt((random.u32() & STATUS) | IF | 2), true)
    view.setUint32(AT_TRAP, recipe.code.length, true)
    view.setUint32(AT_ERROR, WINDOWS.indexOf(recipe.window), true)
    for (let i = 0; i < CODE_ROOM; i++) view.setUint8(AT_CODE + i, recipe.code[i] ?? 0xcc)
    for (let i = 0; i < 32; i += 4) view.setUint32(AT_FCW + i, 0, true)
    view.setUint16(AT_FCW, 0x37f, true)
    view.setUint32(AT_MXCSR, 0x1f80, true)
    for (let i = 0; i < 8; i++) {
      random.bytes(view, AT_ST + i * 16, 10)
      view.setUint16(AT_ST + i * 16 + 10, 0, true)
      view.setUint32(AT_ST + i * 16 + 12, 0, true)
    }
    for (let i = 0; i < 16; i++) random.lanes(view, AT_XMM + i * 16, 16)
    random.bytes(view, AT_WINDOW, WINDOW_SIZE)
    this.#operand = 0x100
    for (const step of recipe.steps) this.#do(step, recipe)
  }

  #copyRegister(to: number, from: number): void {
    this.view.setBigUint64(AT_GPR + to * 8, this.view.getBigUint64(AT_GPR + from * 8, true), true)
  }

  #fill(at: number, size: number, kind: Kind): void {
    const { view } = this
    const random = this.#random
    switch (kind) {
      case 'int':
        for (let i = 0; i < size; i += 8) random.putInteger(view, at + i, Math.min(8, size - i))
        break
      case 'bits':
        random.bytes(view, at, size)
        break
      case 'lanes':
        random.lanes(view, at, size)
        break
      case 'text':
        random.text(view, at, size)
        break
      case 'f32':
        for (let i = 0; i < size; i += 4) random.float(view, at + i, 'f32')
        break
      case 'f64':
        for (let i = 0; i < size; i += 8) random.float(view, at + i, 'f64')
        break
      case 'f80':
        random.extended(view, at)
        break
      case 'bcd':
        random.decimal(view, at)
        break
      case 'zero':
        for (let i = 0; i < size; i++) view.setUint8(at + i, 0)
    }
  }

  #do(step: Step, recipe: Recipe): void {
    const { view } = this
    const random = this.#random
    switch (step[0]) {
      case 'gpr':
        this.#fill(AT_GPR + step[1] * 8, step[2], step[3])
        break
      case 'range':
        random.put(view, AT_GPR + step[1] * 8, step[2], BigInt(step[3] + random.below(step[4] - step[3] + 1)))
        break
      case 'pointer':
        view.setBigUint64(
          AT_GPR + step[1] * 8,
          (BigInt(`0x${step[2]}`) + BigInt(step[3] * random.below(step[4]))) & MASK64,
          true,
        )
        break
      case 'address':
        this.#address(step, recipe)
        break
      case 'operand':
        this.#fill(AT_WINDOW + Math.min(this.#operand, WINDOW_SIZE - step[1]), step[1], step[2])
        break
      case 'memory':
        this.#fill(AT_WINDOW + step[1], step[2], step[3])
        break
      case 'quad':
        view.setBigUint64(AT_WINDOW + step[1], BigInt(`0x${step[2]}`) + BigInt(random.below(step[3])), true)
        break
      case 'and': {
        const at = AT_WINDOW + step[1]
        let value = 0n
        for (let i = step[2] - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(at + i))
        random.put(view, at, step[2], (value & BigInt(`0x${step[3]}`)) | BigInt(`0x${step[4]}`))
        break
      }
      case 'xmm':
        this.#fill(AT_XMM + step[1] * 16, 16, step[2])
        break
      case 'st':
        if (step[1] >= 0) this.#fill(AT_ST + step[1] * 16, 10, step[2])
        else for (let i = 0; i < 8; i++) this.#fill(AT_ST + i * 16, 10, step[2])
        break
      case 'x87':
        this.#x87(step[1])
        break
      case 'mxcsr': {
        const masks = step[1] === 'trap' ? random.u32() & 0x1f80 : 0x1f80
        // A flag that is set while its exception is not masked raises nothing; it is a state that tests may start from.
        const rest = random.once(4) ? 0 : random.u32() & (random.once(2) ? 0xe07f : 0x603f)
        view.setUint32(AT_MXCSR, masks | rest, true)
        break
      }
      case 'flags':
        view.setBigUint64(
          AT_RFLAGS,
          (view.getBigUint64(AT_RFLAGS, true) & BigInt(step[1] >>> 0)) | BigInt(step[2]),
          true,
        )
        break
      case 'direction':
        if (random.once(3)) view.setBigUint64(AT_RFLAGS, view.getBigUint64(AT_RFLAGS, true) | 0x400n, true)
        break
      case 'immediate':
        this.#fill(AT_CODE + step[1], step[2], step[3])
        break
      case 'byte':
        view.setUint8(
          AT_CODE + (step[1] < 0 ? recipe.code.length + step[1] : step[1]),
          step[2] + random.below(step[3] - step[2] + 1),
        )
        break
      case 'dividend':
        this.#dividend(step[1], step[2])
        break
      case 'equal':
        if (random.once(step[1])) {
          const to =
            step[4] === 'operand' ? AT_WINDOW + Math.min(this.#operand, WINDOW_SIZE - step[3]) : AT_GPR + step[4] * 8
          for (let i = 0; i < step[3]; i++) view.setUint8(to + i, view.getUint8(AT_GPR + step[2] * 8 + i))
        }
    }
  }

  #address(step: Extract<Step, readonly ['address', ...unknown[]]>, recipe: Recipe): void {
    const { view } = this
    const [, address, stride, count, base, index, scale, displacement, segment, narrow] = step
    const target = BigInt(`0x${address}`) + BigInt(stride * this.#random.below(count))
    const offset = target - WINDOW_BASE[recipe.window]
    this.#operand = offset >= 0n && offset < BigInt(WINDOW_SIZE) ? Number(offset) : 0
    let ea = target - BigInt(displacement)
    if (segment === 1) ea -= FS_BASE
    if (segment === 2) ea -= GS_BASE
    if (index >= 0 && base >= 0) ea -= view.getBigUint64(AT_GPR + index * 8, true) * BigInt(scale)
    else if (index >= 0) ea /= BigInt(scale)
    const register = base >= 0 ? base : index
    if (register < 0) return
    const at = AT_GPR + register * 8
    if (narrow) view.setUint32(at, Number(ea & 0xffff_ffffn), true)
    else view.setBigUint64(at, ea & MASK64, true)
  }

  #x87(state: 'full' | 'some' | 'word' | 'trap' | 'pending'): void {
    const { view } = this
    const random = this.#random
    let control = 0x37f
    let status = random.below(8) << 11
    let tags = 0xff
    if (state !== 'full') {
      if (random.once(3)) tags = random.below(256)
      status |= random.u32() & 0x4700
    }
    if (state !== 'full' && state !== 'some')
      control = 0x7f | (random.pick([0, 2, 3, 3]) << 8) | (random.below(4) << 10)
    if (state === 'word' && random.once(2)) status |= random.u32() & 0x3f
    if (state === 'trap') control &= ~(random.u32() & 0x3f)
    if (state === 'pending') {
      const which = 1 << random.below(6)
      control &= ~which
      status |= which | 0x8080
    }
    view.setUint16(AT_FCW, control, true)
    view.setUint16(AT_FSW, status, true)
    view.setUint16(AT_FTW, tags, true)
  }

  #dividend(size: number, signed: boolean): void {
    const { view } = this
    const random = this.#random
    if (random.once(6)) return
    const bits = BigInt(size * 8)
    let high: bigint
    if (random.once(2)) high = signed && random.once(2) ? MASK64 : 0n
    else high = (random.u64() >> BigInt(random.below(60) + 4)) * (signed && random.once(2) ? -1n : 1n)
    high = BigInt.asUintN(Number(bits), high)
    if (size === 1) view.setUint8(AT_GPR + 1, Number(high))
    else random.put(view, AT_GPR + 16, size, high)
  }
}
