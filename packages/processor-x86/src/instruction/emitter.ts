// What the semantics of an instruction is written against: operands, registers, memory, flags, control. The interpreter implements it with
// operands taken from a decoded record, a translator with operands that are fixed.

import { FILE, GPR, SEGMENT, STATE } from '../state-layout.ts'
import { type Expr, f32, f64, i32, i64, select, type ValueType } from '../wasm/expression.ts'
import { FunctionEmitter } from '../wasm/function-emitter.ts'
import { simd, v128 } from '../wasm/simd.ts'
import type { InstructionForm, Operand } from './definition.ts'
import type { HelperFunction } from './helper.ts'

/** Exception vectors (SDM vol. 3, table 6-1). */
export const VECTOR = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
} as const

/** The flags that arithmetic sets, each an i32 of 0 or 1; those left out keep their value. */
export interface FlagValues {
  cf?: Expr
  pf?: Expr
  af?: Expr
  zf?: Expr
  sf?: Expr
  of?: Expr
}

export type FlagName = keyof FlagValues

/** The five lazy-flag variables. */
export interface LazyFlags {
  x: Expr
  y: Expr
  s: Expr
  zero: Expr
  sign: Expr
}

/**
 * Integer values are i64 throughout. {@link InstructionEmitter.read} gives them zero-extended, {@link InstructionEmitter.readSigned} sign-extended from the operand's
 * size; writes use the low bits. Values returned by reads are kept in locals: use them as often as you like, in any order.
 *
 * Order matters for restart: all that can fault comes before the first change of a register, flag or memory.
 */
export abstract class InstructionEmitter extends FunctionEmitter {
  abstract readonly form: InstructionForm

  // --- what an implementation provides

  /** Absolute offset in memory of a STATE field. */
  abstract stateOffset(field: number): number
  /** i32: offset relative to STATE.FILE of the general register that operand `n` names (AH…BH: +1). */
  protected abstract fileOffset(n: number): Expr
  /** i32: number × 16 of the XMM, MMX or x87 register that operand `n` names. */
  protected abstract vectorOffset(n: number): Expr
  /** i64: the immediate of operand `n`, extended as its code says; of a relative target its distance from BLOCK_RIP. */
  protected abstract immediateField(n: number): Expr
  /** i32: number of the segment, control, debug register of operand `n` (0–15). */
  abstract registerNumber(n: number): Expr
  /** i64: the linear address of memory operand `n`, for an access of `bytes`. In legacy modes limits are checked and a violation is raised by the access. */
  abstract address(n: number, bytes: number, access: 'read' | 'write'): Expr
  /** i64: the effective address (offset in the segment), not truncated to the operand size: LEA. */
  abstract effectiveAddress(n: number): Expr
  /** The value that `load` reads at an offset in memory (i32, and a constant to be added); faults leave the instruction. */
  protected abstract hostRead(address: Expr, bytes: number, load: (host: Expr, offset: number) => Expr): Expr
  /** Store; the slow path does it whole. `store` emits the store to an offset in memory (i32, and a constant to be added). */
  protected abstract hostWrite(address: Expr, bytes: number, store: (host: Expr, offset: number) => Expr): void
  /** Read-modify-write: write permission is checked first. */
  protected abstract hostModify(address: Expr, bytes: number, update: (host: Expr) => void): void
  protected abstract getLazyFlags(): LazyFlags
  protected abstract setLazyFlags(flags: Partial<LazyFlags>): void
  /** i32: the ModRM byte of an instruction with a memory operand. */
  abstract modrm(): Expr
  /** i64: RIP (EIP in legacy modes) of the next instruction. */
  abstract nextRip(): Expr
  /** i64: RIP of this instruction. */
  abstract currentRip(): Expr
  /** Leave the instruction with the pending exception of STATE.FAULT_…. */
  abstract leaveWithFault(): void
  /** End the block: control goes on at `target` (i64, wrapped for the mode by the caller). */
  abstract jump(target: Expr): void
  /** Direct jump to the relative operand. */
  abstract jumpRelative(): void
  /** The instruction is done: go on with the next. */
  abstract complete(): void
  /** f64: the clock, in nanoseconds. */
  abstract clock(): Expr
  /** Choose the TLB in use (i32, an offset in memory) and, where given, the jump cache. */
  abstract selectCaches(tlb: Expr, jumps?: Expr): void
  /** End the instruction and execute it again (a string instruction that has more to do). */
  abstract repeatInstruction(): void
  abstract helper(helper: HelperFunction, ...args: Expr[]): Expr
  /**
   * i64: linear address of `offset` in a segment (a number of SEGMENT, or the one that the instruction names by prefix or default). In legacy modes the offset must
   * already be truncated to the address size; limits are checked, and a violation is raised by the access.
   */
  abstract segmentAddress(segment: number | 'instruction', offset: Expr, bytes: number, access: 'read' | 'write'): Expr
  /** i64: all ones in the instruction's address size. */
  abstract addressMask(): Expr
  /** i32: offset in memory of `address` when its page is directly accessible from there to the page's end, else 0. */
  abstract tryHostRange(address: Expr, access: 'read' | 'write'): Expr
  /** Fault unless `[address, address + bytes)` may be written. For stores in several parts. */
  abstract probeWrite(address: Expr, bytes: number): void

  // --- state fields

  stateI32(field: number): Expr {
    return this.let(i32.load(i32.const(0), this.stateOffset(field)))
  }
  setStateI32(field: number, value: Expr): void {
    this.do(i32.store(i32.const(0), value, this.stateOffset(field)))
  }
  stateI64(field: number): Expr {
    return this.let(i64.load(i32.const(0), this.stateOffset(field)))
  }
  setStateI64(field: number, value: Expr): void {
    this.do(i64.store(i32.const(0), value, this.stateOffset(field)))
  }

  // --- operands

  operand(n: number): Operand {
    const operand = this.form.operands[n]
    if (!operand) throw new RangeError(`${this.form.definition.mnemonic} has no operand ${n}`)
    return operand
  }
  /** Bytes of operand `n`. */
  size(n: number): number {
    return this.operand(n).size
  }
  isMemory(n: number): boolean {
    const { kind } = this.operand(n)
    return kind === 'memory' || (this.form.memory && (kind === 'gpr-rm' || kind === 'xmm-rm' || kind === 'mmx-rm'))
  }

  /** Operand `n`, zero-extended to i64 (immediates as encoded: sign-extended ones fill 64 bits, mask them as you need). */
  read(n: number): Expr {
    return this.#read(n, false)
  }
  /** Operand `n`, sign-extended to i64. */
  readSigned(n: number): Expr {
    return this.#read(n, true)
  }
  #read(n: number, signed: boolean): Expr {
    const { kind, size, value } = this.operand(n)
    if (kind === 'immediate') return this.#immediate(n, size, signed)
    if (kind === 'constant') return i64.const(value ?? 0)
    if (kind === 'gpr-fixed') return this.gpr(value ?? 0, size, signed)
    if (this.isMemory(n)) return this.loadInteger(this.address(n, size, 'read'), size, signed)
    return this.readRegister(n, size, signed)
  }
  /** The general register that operand `n` names, extended. */
  protected readRegister(n: number, size: number, signed: boolean): Expr {
    return this.let(loadBytes(this.fileOffset(n), size, signed, this.stateOffset(STATE.FILE)))
  }
  protected writeRegister(n: number, size: number, value: Expr): void {
    storeRegister(this, this.fileOffset(n), this.stateOffset(STATE.FILE), size, value)
  }
  /** Immediates are stored sign- or zero-extended as their code says, and are given in the size of operand 0. */
  #immediate(n: number, size: number, signed: boolean): Expr {
    const field = this.immediateField(n)
    return this.let(signed ? signExtend(field, size) : zeroExtend(field, size))
  }
  /** i32: the (first) immediate's low byte. */
  immediateByte(): Expr {
    const n = this.form.operands.findIndex((operand) => operand.kind === 'immediate')
    const field = this.immediateField(n)
    if (field.constant !== undefined) return i32.const(Number(BigInt(field.constant) & 0xffn))
    return this.let(i32.and(i32.wrap_i64(field), i32.const(0xff)))
  }

  /** Write operand `n` (general register or memory). A 32-bit register write clears the upper half. */
  write(n: number, value: Expr): void {
    const { kind, size } = this.operand(n)
    if (kind === 'gpr-fixed') this.setGpr(this.operand(n).value ?? 0, value, size)
    else if (this.isMemory(n)) this.storeInteger(this.address(n, size, 'write'), size, value)
    else this.writeRegister(n, size, value)
  }
  /** Replace operand `n` by `update(old)`; `old` is zero-extended. For memory, permission to write is checked before anything else. */
  modify(n: number, update: (old: Expr) => Expr): void {
    const { size } = this.operand(n)
    if (!this.isMemory(n)) {
      this.modifyRegister(n, false, update)
      return
    }
    this.hostModify(this.address(n, size, 'write'), size, (host) => {
      const old = this.let(loadBytes(host, size, false, 0))
      this.do(storeBytes(host, size, update(old), 0))
    })
  }

  /** Reads and writes a register whose place is computed once. */
  protected modifyRegister(n: number, signed: boolean, update: (old: Expr) => Expr): void {
    const { kind, size, value = 0 } = this.operand(n)
    const fixed = kind === 'gpr-fixed'
    const at = fixed ? i32.const(0) : this.let(this.fileOffset(n))
    const offset = this.stateOffset(STATE.FILE + (fixed ? value * 8 : 0))
    storeRegister(this, at, offset, size, update(this.let(loadBytes(at, size, signed, offset))))
  }
  /** As {@link InstructionEmitter.modify}, with `old` sign-extended. */
  modifySigned(n: number, update: (old: Expr) => Expr): void {
    const { size } = this.operand(n)
    if (!this.isMemory(n)) {
      this.modifyRegister(n, true, update)
      return
    }
    this.hostModify(this.address(n, size, 'write'), size, (host) => {
      const old = this.let(loadBytes(host, size, true, 0))
      this.do(storeBytes(host, size, update(old), 0))
    })
  }

  // --- general registers by number

  gpr(register: number, size: number = 8, signed = false): Expr {
    return this.let(loadBytes(i32.const(0), size, signed, this.stateOffset(STATE.FILE + register * 8)))
  }
  setGpr(register: number, value: Expr, size: number = 8): void {
    storeRegister(this, i32.const(0), this.stateOffset(STATE.FILE + register * 8), size, value)
  }
  /** AH (register 0) … BH. */
  highByte(register: number): Expr {
    return this.let(i64.load8_u(i32.const(0), this.stateOffset(STATE.FILE + register * 8 + 1)))
  }
  setHighByte(register: number, value: Expr): void {
    this.do(i64.store8(i32.const(0), value, this.stateOffset(STATE.FILE + register * 8 + 1)))
  }

  // --- memory at a linear address

  loadInteger(address: Expr, bytes: number, signed = false): Expr {
    return this.hostRead(address, bytes, (host, offset) => loadBytes(host, bytes, signed, offset))
  }
  storeInteger(address: Expr, bytes: number, value: Expr): void {
    const kept = this.let(value)
    this.hostWrite(address, bytes, (host, offset) => storeBytes(host, bytes, kept, offset))
  }
  /** 16 bytes, or 4 or 8 zero-extended. */
  loadVector(address: Expr, bytes: number = 16): Expr {
    return this.hostRead(address, bytes, (host, offset) => {
      if (bytes === 16) return v128.load(host, offset)
      if (bytes === 8) return v128.load64_zero(host, offset)
      if (bytes === 4) return v128.load32_zero(host, offset)
      return simd['i64x2.replace_lane'](v128.const([]), 0, loadBytes(host, bytes, false, offset))
    })
  }
  storeVector(address: Expr, value: Expr): void {
    const kept = this.let(value)
    this.hostWrite(address, 16, (host, offset) => v128.store(host, kept, offset))
  }
  /** Replace memory at a linear address, `old` zero-extended. */
  modifyInteger(address: Expr, bytes: number, update: (old: Expr) => Expr): void {
    this.hostModify(address, bytes, (host) => {
      const old = this.let(loadBytes(host, bytes, false, 0))
      this.do(storeBytes(host, bytes, update(old), 0))
    })
  }

  /** Replace `bytes` of memory at a linear address; `update` emits loads and stores at the offset in memory that it is given. */
  modifyMemory(address: Expr, bytes: number, update: (host: Expr) => void): void {
    this.hostModify(address, bytes, update)
  }
  /** i64: the linear address of stack offset `offset` (i64), for PUSH, CALL and the like, which are `modal`. */
  stackAddress(offset: Expr, bytes: number, access: 'read' | 'write'): Expr {
    if (this.form.mode64) return offset
    const mask = i64.extend_i32_u(this.stateI32(STATE.STACK_MASK))
    return this.segmentAddress(SEGMENT.SS, this.let(i64.and(offset, mask)), bytes, access)
  }
  /** Set RSP, ESP or SP (by the stack address size), in a `modal` instruction. */
  setStackPointer(value: Expr): void {
    if (this.form.mode64) {
      this.setGpr(GPR.RSP, value)
      return
    }
    const mask = this.let(i64.extend_i32_u(this.stateI32(STATE.STACK_MASK)))
    const old = this.gpr(GPR.RSP, 4)
    this.setGpr(GPR.RSP, i64.or(i64.and(old, i64.xor(mask, i64.const(0xffffffff))), i64.and(value, mask)))
  }
  /** i64: where the relative operand `n` goes, wrapped for a `modal` instruction's mode and operand size. */
  relativeTarget(n: number): Expr {
    const target = i64.add(this.stateI64(STATE.FILE + FILE.BLOCK_RIP), this.immediateField(n))
    return this.let(this.form.mode64 ? target : zeroExtend(target, this.form.operandSize))
  }

  // --- vector operands

  /** XMM operand `n`, or memory of the operand's size zero-extended to v128. An `aligned` instruction faults on a misaligned 16-byte operand. */
  readVector(n: number): Expr {
    const { size } = this.operand(n)
    if (this.isMemory(n)) {
      const address = this.address(n, size, 'read')
      this.#align(address, size)
      return this.loadVector(address, size)
    }
    return this.let(v128.load(this.vectorOffset(n), this.stateOffset(STATE.XMM)))
  }
  /** All 16 bytes of an XMM register, or 16 bytes to memory. */
  writeVector(n: number, value: Expr): void {
    if (this.isMemory(n)) {
      const address = this.address(n, 16, 'write')
      this.#align(address, 16)
      this.storeVector(address, value)
      return
    }
    this.do(v128.store(this.vectorOffset(n), value, this.stateOffset(STATE.XMM)))
  }
  /** #GP(0) when `address` is not a multiple of 16 and the instruction asks for alignment. */
  #align(address: Expr, bytes: number): void {
    if (!this.form.definition.options.aligned || bytes !== 16) return
    this.raiseIf(i32.wrap_i64(i64.and(address, i64.const(15))), VECTOR.GP, 0)
  }
  /** The low `bytes` (1, 2, 4 or 8) of XMM operand `n` or memory, as i64, zero-extended. */
  readVectorLow(n: number, bytes: number): Expr {
    if (this.isMemory(n)) return this.loadInteger(this.address(n, bytes, 'read'), bytes)
    return this.let(loadBytes(this.vectorOffset(n), bytes, false, this.stateOffset(STATE.XMM)))
  }
  /** Write the low `bytes` of an XMM register, the rest unchanged, or memory. */
  writeVectorLow(n: number, bytes: number, value: Expr): void {
    if (this.isMemory(n)) this.storeInteger(this.address(n, bytes, 'write'), bytes, value)
    else this.do(storeBytes(this.vectorOffset(n), bytes, value, this.stateOffset(STATE.XMM)))
  }
  /** i64 at byte 8 of an XMM register. */
  readVectorHigh(n: number): Expr {
    return this.let(i64.load(this.vectorOffset(n), this.stateOffset(STATE.XMM + 8)))
  }
  writeVectorHigh(n: number, value: Expr): void {
    this.do(i64.store(this.vectorOffset(n), value, this.stateOffset(STATE.XMM + 8)))
  }
  /** XMM register by number (implicit operands). */
  xmm(register: number): Expr {
    return this.let(v128.load(i32.const(0), this.stateOffset(STATE.XMM + register * 16)))
  }
  setXmm(register: number, value: Expr): void {
    this.do(v128.store(i32.const(0), value, this.stateOffset(STATE.XMM + register * 16)))
  }
  /** MMX operand `n` (register or memory) as i64. The x87 side effects are up to {@link InstructionEmitter.enterMmx}. */
  readMmx(n: number): Expr {
    const { size } = this.operand(n)
    if (this.isMemory(n)) return this.loadInteger(this.address(n, size, 'read'), size)
    return this.let(loadBytes(this.vectorOffset(n), size, false, this.stateOffset(STATE.X87)))
  }
  /** Write an MMX register: its exponent becomes all ones. */
  writeMmx(n: number, value: Expr): void {
    if (this.isMemory(n)) {
      this.storeInteger(this.address(n, this.size(n), 'write'), this.size(n), value)
      return
    }
    const kept = this.let(value)
    this.do(i64.store(this.vectorOffset(n), kept, this.stateOffset(STATE.X87)))
    this.do(i32.store16(this.vectorOffset(n), i32.const(0xffff), this.stateOffset(STATE.X87 + 8)))
  }
  /** Every MMX instruction but EMMS: TOP becomes 0, all registers are in use (SDM vol. 1, 9.5.1). Call after what can fault. */
  enterMmx(): void {
    this.setStateI32(STATE.X87_TOP, i32.const(0))
    this.setStateI32(STATE.X87_TAGS, i32.const(0xff))
  }

  // --- x87 registers

  /** i32: i of operand `n` (STi). */
  x87Index(n: number): Expr {
    return this.let(i32.shr_u(this.vectorOffset(n), i32.const(4)))
  }

  /** i32: byte offset, to be used with STATE.X87, of ST(i): i is operand `n` (STi), or a number. */
  x87Offset(which: { operand: number } | { st: number }): Expr {
    const top = i32.load(i32.const(0), this.stateOffset(STATE.X87_TOP))
    const index = 'st' in which ? i32.const(which.st) : i32.shr_u(this.vectorOffset(which.operand), i32.const(4))
    return this.let(i32.shl(i32.and(i32.add(top, index), i32.const(7)), i32.const(4)))
  }

  // --- flags

  /**
   * Flags of `r = a + b` (+ carry), all of `size` bytes.
   *
   * The lazy form: five i64 x, y, s, zero, sign with CF = bit 63 of (x & y) | ((x | y) & ~s), OF = bit 63 of (x ^ s) & (y ^ s),
   * AF = bit 4 of x ^ y ^ s, ZF = (zero == 0), SF = bit 63 of sign, PF = even parity of sign's low byte. A sum x + y = s has exactly these flags, and a
   * difference a - b = r is the sum r + b = a.
   */
  flagsAdd(size: number, a: Expr, b: Expr, r: Expr): void {
    const s = this.let(signExtend(r, size))
    this.setLazyFlags({ x: signExtend(a, size), y: signExtend(b, size), s, zero: s, sign: s })
  }
  /** Flags of `r = a - b` (- borrow). */
  flagsSub(size: number, a: Expr, b: Expr, r: Expr): void {
    const x = this.let(signExtend(r, size))
    this.setLazyFlags({ x, y: signExtend(b, size), s: signExtend(a, size), zero: x, sign: x })
  }
  /** CF = OF = AF = 0, ZF SF PF by the result. */
  flagsLogic(size: number, r: Expr): void {
    const v = this.let(signExtend(r, size))
    const zero = i64.const(0)
    this.setLazyFlags({ x: zero, y: zero, s: zero, zero: v, sign: v })
  }
  /** CF, ZF and PF of 0 or 1 (i32), OF = SF = AF = 0: comparisons of vectors and floating-point values. */
  flagsCarryZeroParity(cf: Expr, zf: Expr, pf: Expr): void {
    const carry = this.let(i64.shl(i64.extend_i32_u(cf), i64.const(63)))
    const zero = this.let(i64.extend_i32_u(i32.eqz(zf)))
    const sign = this.let(i64.extend_i32_u(i32.eqz(pf)))
    this.setLazyFlags({ x: carry, y: carry, s: carry, zero, sign })
  }
  /** ZF, SF and PF by the result; the others stay. */
  flagsZeroSignParity(size: number, r: Expr): void {
    const v = this.let(signExtend(r, size))
    this.setLazyFlags({ zero: v, sign: v })
  }
  /** Flags of `r = a + b` (+ `carry`), all three sign-extended. */
  flagsSum(a: Expr, b: Expr, r: Expr, _carry?: Expr): void {
    this.setLazyFlags({ x: a, y: b, s: r, zero: r, sign: r })
  }
  /** Flags of `r = a - b` (- `borrow`), all three sign-extended. */
  flagsDifference(a: Expr, b: Expr, r: Expr, _borrow?: Expr): void {
    this.setLazyFlags({ x: r, y: b, s: a, zero: r, sign: r })
  }
  /** CF = OF = AF = 0, ZF SF PF by the result, which is sign-extended. */
  flagsBitwise(r: Expr): void {
    const v = this.let(r)
    const zero = i64.const(0)
    this.setLazyFlags({ x: zero, y: zero, s: zero, zero: v, sign: v })
  }
  /** Flags of `r = a + 1`, both sign-extended: CF stays. */
  flagsIncrement(a: Expr, r: Expr): void {
    this.flagsStep(a, r, r)
  }
  /** Flags of `r = a - 1`, both sign-extended: CF stays. */
  flagsDecrement(a: Expr, r: Expr): void {
    this.flagsStep(a, r, a)
  }
  /** OF: the sign changed, to or from that of `overflow`. AF: bit 4 changed. With x = y, CF is x's sign, OF that of x ^ s, AF bit 4 of s ^ x ^ y. */
  protected flagsStep(a: Expr, r: Expr, overflow: Expr): void {
    const carry = this.let(i64.and(this.carryWord(), i64.const(-1n << 63n)))
    const changed = i64.and(i64.xor(a, r), i64.or(overflow, i64.const(16)))
    this.setLazyFlags({ x: carry, y: carry, s: this.let(i64.xor(carry, changed)), zero: r, sign: r })
  }
  /**
   * Flags given by words whose bit 63 counts: CF of `carry`, CF ^ OF of `difference`; AF is bit 4 of `difference`. ZF, SF and PF by `r` (sign-extended), or
   * as they were.
   */
  flagsCarry(carry: Expr, difference: Expr, r?: Expr): void {
    const kept = this.let(carry)
    this.setLazyFlags({ x: kept, y: kept, s: difference, ...(r ? { zero: r, sign: r } : {}) })
  }
  /** CF is bit 63 of `carry`, whose other bits are 0; OF = AF = 0; ZF when `zero` is 0; SF and PF by `sign`. */
  flagsResult(carry: Expr, zero: Expr, sign: Expr): void {
    const kept = this.let(carry)
    this.setLazyFlags({ x: kept, y: kept, s: kept, zero, sign })
  }
  /** i64: bit 63 is CF, the other bits mean nothing. */
  carryWord(): Expr {
    const { x, y, s } = this.getLazyFlags()
    return i64.or(i64.and(x, y), i64.and(i64.or(x, y), i64.xor(s, i64.const(-1))))
  }
  /** i64: CF, 0 or 1. */
  carry(): Expr {
    return this.let(i64.shr_u(this.carryWord(), i64.const(63)))
  }
  /** i64: AF at bit 4, the other bits 0. */
  adjustWord(): Expr {
    const { x, y, s } = this.getLazyFlags()
    return this.let(i64.and(i64.xor(i64.xor(x, y), s), i64.const(16)))
  }
  /** Set some flags to values of 0 or 1; the others stay. */
  setFlags(values: FlagValues): void {
    const given: FlagValues = {}
    for (const name of ['cf', 'pf', 'af', 'zf', 'sf', 'of'] as const) {
      const value = values[name]
      if (value) given[name] = this.let(value)
    }
    const update: Partial<LazyFlags> = {}
    if (given.cf || given.of || given.af) {
      const cf = given.cf ?? this.flag('cf')
      const of = given.of ?? this.flag('of')
      const af = given.af ?? this.flag('af')
      const sign = i64.shl(i64.extend_i32_u(i32.xor(cf, of)), i64.const(63))
      const carry = this.let(i64.shl(i64.extend_i32_u(cf), i64.const(63)))
      update.x = carry
      update.y = carry
      update.s = this.let(i64.or(sign, i64.extend_i32_u(i32.shl(af, i32.const(4)))))
    }
    if (given.zf) update.zero = this.let(i64.extend_i32_u(i32.xor(given.zf, i32.const(1))))
    if (given.sf || given.pf) {
      const sf = given.sf ?? this.flag('sf')
      const pf = given.pf ?? this.flag('pf')
      update.sign = this.let(
        i64.or(i64.shl(i64.extend_i32_u(sf), i64.const(63)), i64.extend_i32_u(i32.xor(pf, i32.const(1)))),
      )
    }
    this.setLazyFlags(update)
  }
  /** i32 0 or 1. */
  flag(name: FlagName): Expr {
    const { x, y, s, zero, sign } = this.getLazyFlags()
    const zeroConst = i64.const(0)
    switch (name) {
      case 'cf':
        return this.let(i64.lt_s(i64.or(i64.and(x, y), i64.and(i64.or(x, y), i64.xor(s, i64.const(-1)))), zeroConst))
      case 'of':
        return this.let(i64.lt_s(i64.and(i64.xor(x, s), i64.xor(y, s)), zeroConst))
      case 'af':
        return this.let(i32.and(i32.wrap_i64(i64.shr_u(i64.xor(i64.xor(x, y), s), i64.const(4))), i32.const(1)))
      case 'zf':
        return this.let(i64.eqz(zero))
      case 'sf':
        return this.let(i64.lt_s(sign, zeroConst))
      case 'pf':
        return this.let(
          i32.xor(i32.and(i32.popcnt(i32.and(i32.wrap_i64(sign), i32.const(0xff))), i32.const(1)), i32.const(1)),
        )
    }
  }
  /** i32: condition `cc` (0–15: O NO B NB Z NZ BE NBE S NS P NP L NL LE NLE): 1 when it holds, else 0. */
  condition(cc: number): Expr {
    const positive = (): Expr => {
      const { x, y, s, zero, sign } = this.getLazyFlags()
      switch (cc >> 1) {
        case 0:
          return this.flag('of')
        case 1:
          return this.flag('cf')
        case 2:
          return i64.eqz(zero)
        case 3:
          return i32.or(this.flag('cf'), i64.eqz(zero))
        case 4:
          return i64.lt_s(sign, i64.const(0))
        case 5:
          return this.flag('pf')
        case 6:
          return i64.lt_s(i64.xor(sign, i64.and(i64.xor(x, s), i64.xor(y, s))), i64.const(0))
        default:
          return i32.or(i64.lt_s(i64.xor(sign, i64.and(i64.xor(x, s), i64.xor(y, s))), i64.const(0)), i64.eqz(zero))
      }
    }
    return this.let(cc & 1 ? i32.eqz(positive()) : positive())
  }
  /** i32: CF PF AF ZF SF OF at their places in EFLAGS. */
  statusFlags(): Expr {
    const at = (name: FlagName, bit: number): Expr => i32.shl(this.flag(name), i32.const(bit))
    return this.let(
      i32.or(
        i32.or(i32.or(this.flag('cf'), at('pf', 2)), i32.or(at('af', 4), at('zf', 6))),
        i32.or(at('sf', 7), at('of', 11)),
      ),
    )
  }
  /** Set CF PF AF ZF SF (and OF unless `keepOverflow`) from their places in an EFLAGS image (i32). */
  setStatusFlags(eflags: Expr, keepOverflow = false): void {
    const image = this.let(eflags)
    const bit = (n: number): Expr => i32.and(i32.shr_u(image, i32.const(n)), i32.const(1))
    this.setFlags({
      cf: bit(0),
      pf: bit(2),
      af: bit(4),
      zf: bit(6),
      sf: bit(7),
      ...(keepOverflow ? {} : { of: bit(11) }),
    })
  }

  // --- exceptions

  /** Raise an exception and leave. Error code only for the vectors that have one. */
  raise(vector: Expr | number, errorCode: Expr | number = 0): void {
    this.setStateI32(STATE.FAULT_VECTOR, typeof vector === 'number' ? i32.const(vector) : vector)
    this.setStateI32(STATE.FAULT_ERROR, typeof errorCode === 'number' ? i32.const(errorCode) : errorCode)
    this.leaveWithFault()
  }
  raiseIf(condition: Expr, vector: number, errorCode: Expr | number = 0): void {
    this.if(condition, () => this.raise(vector, errorCode), undefined, false)
  }
}

/** i64 `value`'s low `size` bytes, sign-extended. */
export function signExtend(value: Expr, size: number): Expr {
  if (value.constant !== undefined) return i64.const(BigInt.asIntN(size * 8, BigInt(value.constant)))
  if (size === 1) return i64.extend8_s(value)
  if (size === 2) return i64.extend16_s(value)
  if (size === 4) return i64.extend32_s(value)
  return value
}

/** i64 `value`'s low `size` bytes, zero-extended. */
export function zeroExtend(value: Expr, size: number): Expr {
  if (size === 8) return value
  const mask = (1n << BigInt(size * 8)) - 1n
  if (value.constant !== undefined) return i64.const(BigInt(value.constant) & mask)
  return i64.and(value, i64.const(mask))
}

/** Load an integer of 1, 2, 4 or 8 bytes as i64. */
export function loadBytes(host: Expr, bytes: number, signed: boolean, offset: number): Expr {
  switch (bytes) {
    case 1:
      return signed ? i64.load8_s(host, offset) : i64.load8_u(host, offset)
    case 2:
      return signed ? i64.load16_s(host, offset) : i64.load16_u(host, offset)
    case 4:
      return signed ? i64.load32_s(host, offset) : i64.load32_u(host, offset)
    case 8:
      return i64.load(host, offset)
    default:
      throw new RangeError(`no integer of ${bytes} bytes`)
  }
}

/** Store the low 1, 2, 4 or 8 bytes of an i64. */
export function storeBytes(host: Expr, bytes: number, value: Expr, offset: number): Expr {
  switch (bytes) {
    case 1:
      return i64.store8(host, value, offset)
    case 2:
      return i64.store16(host, value, offset)
    case 4:
      return i64.store32(host, value, offset)
    case 8:
      return i64.store(host, value, offset)
    default:
      throw new RangeError(`no integer of ${bytes} bytes`)
  }
}

function storeRegister(e: FunctionEmitter, at: Expr, offset: number, size: number, value: Expr): void {
  if (size === 4) e.do(i64.store(at, zeroExtend(value, 4), offset))
  else e.do(storeBytes(at, size, value, offset))
}

export type { Expr, ValueType }
export { f32, f64, i32, i64, select, simd, v128 }
