// The areas of FXSAVE and XSAVE (SDM vol. 1, 10.5 and 13.4): a legacy region of 512 bytes, and for XSAVE a header of 64. Only x87 and SSE state exist.
//
// The functions emit code that moves a component between the area, at a linear address, and the state. The caller has seen to it that no access faults.

import { type Expr, type InstructionEmitter, i32, i64, simd, v128 } from '../instruction/emitter.ts'
import { type HelperFunction, helperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import { X87Code, zero32 } from './emit.ts'
import { CONTROL_INITIAL } from './format.ts'
import { x87LoadControl } from './stack.ts'

export const LEGACY_SIZE = 512
export const HEADER_SIZE = 64
/** Bits of XCR0 and XSTATE_BV. */
export const COMPONENT = { X87: 1, SSE: 2 } as const
/** The bits of MXCSR that exist. */
export const MXCSR_MASK = 0xffff

const AT = { MXCSR: 24, X87_REGISTERS: 32, XMM: 160 } as const
const ZERO = i32.const(0)

export function at(address: Expr, offset: number): Expr {
  return i64.add(address, i64.const(offset))
}
/** How many XMM registers the mode has. */
const xmmCount = (e: InstructionEmitter): number => (e.form.mode64 ? 16 : 8)

/** x87 state: bytes 0–23 and 32–159. REX.W makes the pointers 64 bits wide; otherwise selectors follow them, which are 0. */
export function saveX87(e: InstructionEmitter, address: Expr): void {
  const wide = e.form.operandSize === 8
  const field = (n: number, shift: number): Expr => i64.shl(i64.extend_i32_u(e.stateI32(n)), i64.const(shift))
  e.scope(() => {
    const words = i64.or(
      i64.or(field(STATE.X87_CONTROL, 0), field(STATE.X87_STATUS, 16)),
      i64.or(i64.or(field(STATE.X87_TOP, 27), field(STATE.X87_TAGS, 32)), field(STATE.X87_OPCODE, 48)),
    )
    e.storeInteger(address, 8, words)
    const pointer = (value: Expr): Expr => (wide ? value : i64.and(value, i64.const(0xffffffff)))
    e.storeInteger(at(address, 8), 8, pointer(e.stateI64(STATE.X87_INSTRUCTION)))
    e.storeInteger(at(address, 16), 8, pointer(e.stateI64(STATE.X87_DATA)))
  })
  for (let i = 0; i < 8; i++) {
    e.scope(() => {
      const register = e.x87Offset({ st: i })
      const high = i64.load16_u(register, e.stateOffset(STATE.X87 + 8))
      const value = simd['i64x2.replace_lane'](v128.load64_zero(register, e.stateOffset(STATE.X87)), 1, high)
      e.storeVector(at(address, AT.X87_REGISTERS + i * 16), value)
    })
  }
}
export function restoreX87(e: InstructionEmitter, address: Expr): void {
  const wide = e.form.operandSize === 8
  e.scope(() => {
    const words = e.loadInteger(address, 8)
    const field = (shift: number, mask: number): Expr =>
      i32.and(i32.wrap_i64(i64.shr_u(words, i64.const(shift))), i32.const(mask))
    e.setStateI32(STATE.X87_STATUS, field(16, 0xc7ff))
    e.setStateI32(STATE.X87_TOP, field(27, 7))
    e.setStateI32(STATE.X87_TAGS, field(32, 0xff))
    e.setStateI32(STATE.X87_OPCODE, field(48, 0x7ff))
    e.do(e.helper(x87LoadControl, field(0, 0xffff)))
    e.setStateI64(STATE.X87_INSTRUCTION, e.loadInteger(at(address, 8), wide ? 8 : 4))
    e.setStateI64(STATE.X87_DATA, e.loadInteger(at(address, 16), wide ? 8 : 4))
  })
  for (let i = 0; i < 8; i++) {
    e.scope(() => {
      const register = e.x87Offset({ st: i })
      e.do(v128.store(register, e.loadVector(at(address, AT.X87_REGISTERS + i * 16)), e.stateOffset(STATE.X87)))
    })
  }
}
export function initialiseX87(e: InstructionEmitter): void {
  e.setStateI32(STATE.X87_CONTROL, i32.const(CONTROL_INITIAL))
  for (const field of [STATE.X87_STATUS, STATE.X87_TOP, STATE.X87_TAGS, STATE.X87_OPCODE]) e.setStateI32(field, ZERO)
  e.setStateI64(STATE.X87_INSTRUCTION, i64.const(0))
  e.setStateI64(STATE.X87_DATA, i64.const(0))
  e.memoryFill(i32.const(e.stateOffset(STATE.X87)), ZERO, i32.const(128))
}

/** XMM registers: bytes 160–415 (to 287 outside 64-bit mode). */
export function saveSse(e: InstructionEmitter, address: Expr): void {
  for (let i = 0; i < xmmCount(e); i++) e.scope(() => e.storeVector(at(address, AT.XMM + i * 16), e.xmm(i)))
}
export function restoreSse(e: InstructionEmitter, address: Expr): void {
  for (let i = 0; i < xmmCount(e); i++) e.scope(() => e.setXmm(i, e.loadVector(at(address, AT.XMM + i * 16))))
}
export function initialiseSse(e: InstructionEmitter): void {
  e.memoryFill(i32.const(e.stateOffset(STATE.XMM)), ZERO, i32.const(xmmCount(e) * 16))
}

/** MXCSR and its mask: bytes 24–31. */
export function saveMxcsr(e: InstructionEmitter, address: Expr): void {
  const mask = i64.const(BigInt(MXCSR_MASK) << 32n)
  e.storeInteger(at(address, AT.MXCSR), 8, i64.or(i64.extend_i32_u(e.stateI32(STATE.MXCSR)), mask))
}
/** i32 */
export function loadMxcsr(e: InstructionEmitter, address: Expr): Expr {
  return e.let(i32.wrap_i64(e.loadInteger(at(address, AT.MXCSR), 4)))
}

/** `(registers)`: XINUSE: a bit for each component that is not in its initial state. `registers`: XMM registers of the mode. */
export const componentsInUse: HelperFunction = helperFunction(
  'componentsInUse',
  ['i32'],
  'i32',
  (e, [registers], context) => {
    const x = new X87Code(e, context)
    const any = (from: number, bytes: Expr): Expr => {
      const sum = x.variable(v128.const([]))
      const offset = x.variable(zero32)
      e.loop((again) => {
        sum.value = simd['v128.or'](sum.value, v128.load(offset.value, context.state(from)))
        offset.value = i32.add(offset.value, i32.const(16))
        e.brIf(again, i32.lt_u(offset.value, bytes))
      })
      return simd['v128.any_true'](sum.value)
    }
    const words = i32.or(
      i32.or(i32.xor(x.control(), i32.const(CONTROL_INITIAL)), x.status()),
      i32.or(i32.or(x.load(STATE.X87_TOP), x.load(STATE.X87_TAGS)), x.load(STATE.X87_OPCODE)),
    )
    const pointer = (field: number): Expr => i64.load(i32.const(0), context.state(field))
    const pointers = i64.or(pointer(STATE.X87_INSTRUCTION), pointer(STATE.X87_DATA))
    const x87 = e.let(
      i32.or(i32.or(i32.ne(words, zero32), i64.ne(pointers, i64.const(0))), any(STATE.X87, i32.const(128))),
    )
    const sse = any(STATE.XMM, i32.shl(registers!, i32.const(4)))
    e.return(i32.or(x87, i32.shl(sse, i32.const(1))))
  },
)
