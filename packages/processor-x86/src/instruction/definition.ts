// How an instruction is described: one row of a table as in the opcode maps of the Intel SDM (vol. 2, appendix A), with the function that
// emits what it does. The decoder, the interpreter and the translator are all made from these rows.

import type { InstructionEmitter } from './emitter.ts'
import type { SystemSemantics } from './system.ts'

/** Emits WebAssembly for one instruction. */
export type Semantics = (e: InstructionEmitter) => void

export interface InstructionOptions {
  /** A LOCK prefix is allowed with a memory destination (operand 0). */
  readonly lock?: boolean
  /** Only in 64-bit mode, or only outside it. */
  readonly mode?: '64' | 'legacy'
  /** In 64-bit mode the operand size is 64 bits unless 66 makes it 16 (`d64`), or always (`f64`). */
  readonly size?: 'd64' | 'f64'
  /** What the instruction does differs between 64-bit mode and the others: it gets a handler for each. */
  readonly modal?: boolean
  /** The block ends here: control goes to STATE.RIP. */
  readonly ends?: boolean
  /** A string instruction: handlers for no prefix, F3 and F2. */
  readonly repeat?: boolean
  /** Memory operands of 16 bytes must be aligned (#GP(0)). */
  readonly aligned?: boolean
  /** What CR0/CR4 must allow: `sse` (#UD if CR0.EM or !CR4.OSFXSR, #NM if TS), `x87` (#NM if EM or TS), `mmx` (#UD if EM, #NM if TS). */
  readonly unit?: 'sse' | 'x87' | 'mmx'
}

/**
 * One instruction form.
 *
 * `opcode` is written as in the SDM: `00 /r`, `80 /0 ib`, `F3 0F 10 /r`, `66 0F 38 00 /r`, `NP 0F 58 /r`, `B8+r`, `D9 E8` (whole ModRM byte), `D8 C0+i`,
 * `VEX.LZ.NP.0F38.W F2 /r` (W, W0, W1 or WIG). Mandatory prefixes: `NP`, `66`, `F3`, `F2`; a row without one ignores prefixes (66 is then the operand
 * size). Immediates are implied by the operands and may be left out.
 *
 * `operands` are separated by spaces, destination first, with the addressing codes of appendix A.2.1 and the sizes of A.2.2:
 * - `E` general register or memory by ModRM.rm, `G` general register by ModRM.reg, `M` memory only, `R` general register by rm only, `Z` general register by the
 *   opcode's low bits, `B` general register by VEX.vvvv, each with `b` `w` `d` `q` `v` (16/32/64 by operand size) `y` (32/64) `z`
 * - `V` XMM by reg, `W` XMM or memory, `U` XMM by rm only; sizes `d`/`ss` 4, `q`/`sd`/`pi` 8, `w` 2, `b` 1, `dq`/`ps`/`pd`/`x` 16 bytes of memory
 * - `P` MMX by reg, `Q` MMX or memory, `N` MMX by rm only (size `d` 4 or `q` 8)
 * - `I` immediate: `Ib` zero-extended byte, `Ibs` sign-extended byte, `Iw`, `Iz` (16/32 sign-extended), `Iv` (up to 64)
 * - `Jb` `Jz` relative target; `Ob` `Ov` moffs; `Ap` far pointer; `S` segment register, `C` control, `D` debug register by reg
 * - `M` alone: memory of any size (LEA, FXSAVE …); `Mb Mw Md Mq Mdq Mt` (10 bytes) `Ms` (descriptor table) `Mp` (far pointer)
 * - fixed registers: `AL CL AX DX rAX` (by operand size) `eAX` and the constant `1`; `STi` x87 register by the opcode's low bits
 */
export interface InstructionDefinition {
  readonly mnemonic: string
  readonly opcode: string
  readonly operands: string
  /** Emitted semantics, or a system instruction in TypeScript. */
  readonly semantics: Semantics | SystemSemantics
  readonly options: InstructionOptions
}

/** Makes a row. */
export function instruction(
  mnemonic: string,
  opcode: string,
  operands: string,
  semantics: Semantics | SystemSemantics,
  options: InstructionOptions = {},
): InstructionDefinition {
  return { mnemonic, opcode, operands, semantics, options }
}

/** An operand code taken apart, sizes resolved for one operand size. */
export interface Operand {
  readonly kind:
    | 'gpr-rm'
    | 'gpr-reg'
    | 'gpr-opcode'
    | 'gpr-vvvv'
    | 'gpr-fixed'
    | 'memory'
    | 'xmm-rm'
    | 'xmm-reg'
    | 'mmx-rm'
    | 'mmx-reg'
    | 'x87'
    | 'immediate'
    | 'relative'
    | 'far'
    | 'segment'
    | 'control'
    | 'debug'
    | 'constant'
  /** Bytes. 0: any. */
  readonly size: number
  /** Register number of `gpr-fixed`, value of `constant`. */
  readonly value?: number
  /** Immediate is sign-extended. */
  readonly signed?: boolean
  /** The operand is addressed with a moffs. */
  readonly moffs?: boolean
}

/** One handler's worth of an instruction: everything that the emitted code may depend on. */
export interface InstructionForm {
  readonly definition: InstructionDefinition
  readonly operands: readonly Operand[]
  /** 1 is not used: byte instructions say so with their operands. */
  readonly operandSize: 2 | 4 | 8
  /** ModRM.rm (or moffs) is memory. */
  readonly memory: boolean
  /** 64-bit mode; meaningful when the definition is `modal`. */
  readonly mode64: boolean
  /** REP prefix of a `repeat` instruction. */
  readonly repeat: 'none' | 'F3' | 'F2'
  /** REX.W or VEX.W. */
  readonly key: string
}
