// Turns instruction bytes into records (SDM vol. 2, chapter 2). One instruction at a time; the code cache strings them into blocks.

import type { InstructionDefinition, InstructionForm } from '../instruction/definition.ts'
import { FILE, RECORD, SEGMENT } from '../state-layout.ts'
import { MODE, type Mode } from './mode.ts'
import { buildOpcodeMaps, type DecodedForm, type OpcodeMaps, type OpcodeRow, parseOperand, PREFIX } from './opcode-map.ts'

/** Where bytes come from. Returns -1 when the byte cannot be fetched. */
export type Fetch = (position: number) => number

/** Results of {@link Decoder.decode}. */
export const DECODED = {
  OK: 0,
  /** The instruction is undefined: #UD. */
  UNDEFINED: 1,
  /** A byte could not be fetched. */
  FETCH: 2,
  /** Longer than 15 bytes: #GP(0). */
  TOO_LONG: 3,
} as const

const MAX_LENGTH = 15
const STACK_SEGMENT = /^(?:PUSH|POP|CALL|RET|ENTER|LEAVE|IRET)/
const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3] // BX BX BP BP SI DI BP BX
const INDEX16 = [6, 7, 6, 7, -1, -1, -1, -1] // SI DI SI DI

export class Decoder {
  readonly #maps: OpcodeMaps
  readonly #onForm: (form: DecodedForm) => void
  /** Every form met so far. */
  readonly forms: DecodedForm[] = []

  /** Of the instruction decoded last. */
  form: DecodedForm | undefined
  length = 0
  /** Relative target's displacement. */
  relative = 0
  isRelative = false
  /** Whether an inline handler may compute the address: 0 no memory, 1 base + displacement, 2 full, 3 general function only. */
  addressKind = 0

  #fetch: Fetch = () => -1
  #position = 0
  #failed = 0

  /** `onForm` is called for a form that was not met before: it gives it its handlers. */
  constructor(definitions: readonly InstructionDefinition[], onForm: (form: DecodedForm) => void) {
    this.#maps = buildOpcodeMaps(definitions)
    this.#onForm = onForm
  }

  #u8(): number {
    if (this.#position >= MAX_LENGTH) {
      this.#failed = DECODED.TOO_LONG
      return 0
    }
    const byte = this.#fetch(this.#position)
    if (byte < 0) {
      if (this.#failed === 0) this.#failed = DECODED.FETCH
      return 0
    }
    this.#position++
    return byte
  }
  #s8(): number {
    return (this.#u8() << 24) >> 24
  }
  #u16(): number {
    const low = this.#u8()
    return low | (this.#u8() << 8)
  }
  #s32(): number {
    const low = this.#u16()
    return low | (this.#u16() << 16)
  }

  /**
   * Decode one instruction and write its record at `record` of `view`: all but HANDLER, FUNCTION, OFFSET and COUNT. `offset` is the instruction's offset from
   * the block's start, needed for RIP-relative addresses.
   */
  decode(mode: Mode, fetch: Fetch, view: DataView, record: number, offset: number): number {
    this.#fetch = fetch
    this.#position = 0
    this.#failed = 0
    this.isRelative = false
    this.addressKind = 0
    this.form = undefined
    const long = mode === MODE.LONG
    let operandOverride = false
    let addressOverride = false
    let repeat = 0
    let lock = false
    let segment = -1
    let rex = 0
    let opcode: number
    for (;;) {
      opcode = this.#u8()
      if (this.#failed) return this.#failed
      if (long && (opcode & 0xf0) === 0x40) {
        rex = opcode
        opcode = this.#u8()
        if (this.#failed) return this.#failed
        if (!isPrefix(opcode, long)) break
        rex = 0
        if ((opcode & 0xf0) === 0x40) {
          // a REX that another REX follows is ignored
          this.#position--
          continue
        }
      }
      if (opcode === 0x66) operandOverride = true
      else if (opcode === 0x67) addressOverride = true
      else if (opcode === 0xf2 || opcode === 0xf3) repeat = opcode
      else if (opcode === 0xf0) lock = true
      else if (opcode === 0x2e) segment = long ? segment : SEGMENT.CS
      else if (opcode === 0x36) segment = long ? segment : SEGMENT.SS
      else if (opcode === 0x3e) segment = long ? segment : SEGMENT.DS
      else if (opcode === 0x26) segment = long ? segment : SEGMENT.ES
      else if (opcode === 0x64) segment = SEGMENT.FS
      else if (opcode === 0x65) segment = SEGMENT.GS
      else break
    }

    let rows: readonly OpcodeRow[] | undefined
    let vex = false
    let vexL = 0
    let vexW = 0
    let vvvv = 0
    let prefix = repeat === 0xf3 ? PREFIX.F3 : repeat === 0xf2 ? PREFIX.F2 : operandOverride ? PREFIX.P66 : PREFIX.NP
    const vexPossible = opcode === 0xc4 || opcode === 0xc5
    if (vexPossible && (long || (mode !== MODE.REAL && (this.#peek() & 0xc0) === 0xc0))) {
      vex = true
      if (rex || operandOverride || repeat || lock) return DECODED.UNDEFINED
      let select = 1
      const second = this.#u8()
      let last = second
      let extension = second & 0x80 ? 0 : 4
      if (opcode === 0xc4) {
        if (!(second & 0x40)) extension |= 2
        if (!(second & 0x20)) extension |= 1
        select = second & 0x1f
        last = this.#u8()
        vexW = last >> 7
      }
      if (this.#failed) return this.#failed
      rex = 0x40 | extension | (vexW ? 8 : 0)
      if (!long) rex &= ~7
      vvvv = (~last >> 3) & (long ? 15 : 7)
      vexL = (last >> 2) & 1
      prefix = [PREFIX.NP, PREFIX.P66, PREFIX.F3, PREFIX.F2][last & 3] ?? PREFIX.NP
      const code = this.#u8()
      const map = select === 1 ? 'VEX.0F' : select === 2 ? 'VEX.0F38' : select === 3 ? 'VEX.0F3A' : undefined
      if (map === undefined) return this.#failed || DECODED.UNDEFINED
      opcode = code
      rows = this.#maps[map][code]
    } else if (opcode === 0x0f) {
      opcode = this.#u8()
      if (opcode === 0x38) rows = this.#maps['0F38'][(opcode = this.#u8())]
      else if (opcode === 0x3a) rows = this.#maps['0F3A'][(opcode = this.#u8())]
      else rows = this.#maps['0F'][opcode]
    } else {
      rows = this.#maps[''][opcode]
    }
    if (this.#failed) return this.#failed
    if (!rows || rows.length === 0) return DECODED.UNDEFINED

    // the row: the first that matches
    let modrm = -1
    let row: OpcodeRow | undefined
    for (const candidate of rows) {
      if (candidate.prefix !== PREFIX.ANY && candidate.prefix !== prefix) {
        // 66 with F3 or F2: the repeat prefix wins, unless no row has it; NP rows need no prefix at all
        if (!(candidate.prefix === PREFIX.P66 && operandOverride && !vex && !rows.some((r) => r.prefix === prefix))) continue
      }
      const { options } = candidate.definition
      if (options.mode !== undefined && (options.mode === '64') !== long) continue
      // 90 is NOP, but with REX.B it exchanges R8 and rAX
      if (opcode === 0x90 && rex & 1 && candidate.operandCodes.length === 0) continue
      if (candidate.hasModrm) {
        if (modrm < 0) {
          modrm = this.#peek()
          if (this.#failed) return this.#failed
        }
        if (candidate.digit >= 0 && ((modrm >> 3) & 7) !== candidate.digit) continue
        if (candidate.modrmLow >= 0 && (modrm < candidate.modrmLow || modrm > candidate.modrmHigh)) continue
        if (candidate.mod === 1 && modrm >= 0xc0) continue
        if (candidate.mod === 2 && modrm < 0xc0 && candidate.digit < 0 && candidate.modrmLow < 0 && !isControlMove(candidate)) continue
        if (candidate.mod === 2 && modrm < 0xc0 && candidate.digit >= 0) continue
      }
      if (vex && candidate.vexL >= 0 && candidate.vexL !== vexL) continue
      if (vex && candidate.vexW >= 0 && candidate.vexW !== vexW) continue
      row = candidate
      break
    }
    if (!row) return DECODED.UNDEFINED
    const { definition } = row
    const { options } = definition
    if (vex && !row.operandCodes.some((c) => c.startsWith('B')) && vvvv !== 0) return DECODED.UNDEFINED

    // sizes
    const default32 = mode === MODE.LONG || mode === MODE.CODE32
    let operandSize: 2 | 4 | 8
    if (long) {
      if (options.size === 'f64') operandSize = 8
      else if (rex & 8) operandSize = 8
      else if (operandOverride && row.prefix !== PREFIX.P66) operandSize = 2
      else operandSize = options.size === 'd64' ? 8 : 4
    } else {
      operandSize = default32 !== (operandOverride && row.prefix !== PREFIX.P66) ? 4 : 2
      if (vex && vexW === 1) operandSize = 4
    }
    const addressSize = long ? (addressOverride ? 1 : 0) : default32 !== addressOverride ? 1 : 2

    // ModRM, SIB, displacement
    view.setBigInt64(record + 8, 0n, true)
    view.setBigInt64(record + RECORD.IMMEDIATE, 0n, true)
    view.setUint32(record + RECORD.CHAIN, 0, true)
    view.setUint8(record + RECORD.RM, 0)
    view.setUint8(record + RECORD.REG, 0)
    view.setUint8(record + RECORD.BASE, FILE.ZERO)
    view.setUint8(record + RECORD.INDEX, FILE.ZERO)
    let memory = row.moffs
    let rm = 0
    let reg = row.hasModrm ? 0 : (opcode & 7) | (rex & 1 ? 8 : 0)
    let defaultSegment: number = STACK_SEGMENT.test(definition.mnemonic) ? SEGMENT.SS : SEGMENT.DS
    let ripRelative = false
    let displacement = 0
    if (row.hasModrm) {
      modrm = this.#u8()
      reg = ((modrm >> 3) & 7) | (rex & 4 ? 8 : 0)
      rm = modrm & 7
      if (modrm < 0xc0 && !isControlMove(row)) {
        memory = true
        view.setUint8(record + RECORD.RM, modrm)
        defaultSegment = SEGMENT.DS
        const mod = modrm >> 6
        let base = -1
        let index = -1
        let scale = 0
        if (addressSize === 2) {
          if (mod === 0 && rm === 6) displacement = (this.#u16() << 16) >> 16
          else {
            base = BASE16[rm] ?? -1
            index = INDEX16[rm] ?? -1
            if (base === 5) defaultSegment = SEGMENT.SS
            displacement = mod === 1 ? this.#s8() : mod === 2 ? (this.#u16() << 16) >> 16 : 0
          }
        } else {
          if (rm === 4) {
            const sib = this.#u8()
            scale = sib >> 6
            index = ((sib >> 3) & 7) | (rex & 2 ? 8 : 0)
            if (index === 4) index = -1
            base = (sib & 7) | (rex & 1 ? 8 : 0)
            if ((sib & 7) === 5 && mod === 0) {
              base = -1
              displacement = this.#s32()
            }
          } else if (rm === 5 && mod === 0) {
            displacement = this.#s32()
            ripRelative = long
          } else {
            base = rm | (rex & 1 ? 8 : 0)
          }
          if (base === 4 || base === 5) defaultSegment = SEGMENT.SS
          if (mod === 1) displacement = this.#s8()
          else if (mod === 2) displacement = this.#s32()
        }
        if (base >= 0) view.setUint8(record + RECORD.BASE, base * 8)
        if (index >= 0) view.setUint8(record + RECORD.INDEX, index * 8)
        view.setUint8(record + RECORD.SCALE, scale)
      } else {
        rm |= rex & 1 ? 8 : 0
      }
    }
    if (lock && !(options.lock && memory)) return this.#failed || DECODED.UNDEFINED

    // the form
    const repeatKind = options.repeat ? (repeat === 0xf3 ? 1 : repeat === 0xf2 ? 2 : 0) : 0
    const mode64 = long || !options.modal
    const sizeKey = row.sized ? operandSize : 4
    const decoded = this.#form(row, sizeKey as 2 | 4 | 8, memory, mode64, repeatKind)
    if (decoded.functionIndex < 0) this.#onForm(decoded)
    this.form = decoded

    // registers
    for (const operand of decoded.form.operands) {
      switch (operand.kind) {
        case 'gpr-rm':
          if (!memory) view.setUint8(record + RECORD.RM, registerOffset(rm, operand.size, rex))
          break
        case 'gpr-reg':
        case 'gpr-opcode':
          view.setUint8(record + RECORD.REG, registerOffset(reg, operand.size, rex))
          break
        case 'gpr-vvvv':
          view.setUint8(record + RECORD.CHAIN, vvvv * 8)
          break
        case 'xmm-rm':
          if (!memory) view.setUint8(record + RECORD.RM, rm * 16)
          break
        case 'xmm-reg':
          view.setUint8(record + RECORD.REG, reg * 16)
          break
        case 'mmx-rm':
          if (!memory) view.setUint8(record + RECORD.RM, (rm & 7) * 16)
          break
        case 'mmx-reg':
          view.setUint8(record + RECORD.REG, (reg & 7) * 16)
          break
        case 'x87':
          view.setUint8(record + RECORD.REG, (modrm & 7) * 16)
          break
        case 'segment':
        case 'control':
        case 'debug':
          view.setUint8(record + RECORD.REG, row.hasModrm ? (operand.kind === 'segment' ? reg & 7 : reg) : (opcode >> 3) & 7)
          break
      }
    }

    // immediates
    if (row.moffs) {
      const low = addressSize === 2 ? this.#u16() : this.#s32() >>> 0
      const high = addressSize === 0 ? this.#s32() : 0
      view.setInt32(record + RECORD.IMMEDIATE, low, true)
      view.setInt32(record + RECORD.IMMEDIATE + 4, high, true)
    }
    let immediateCount = 0
    for (const code of row.immediates) {
      let low = 0
      let high = 0
      switch (code) {
        case 'Ib':
          low = this.#u8()
          break
        case 'Ibs':
        case 'Jb':
          low = this.#s8()
          high = low >> 31
          break
        case 'Iw':
          low = this.#u16()
          break
        case 'Iz':
        case 'Jz':
          low = operandSize === 2 && !(code === 'Jz' && long) ? (this.#u16() << 16) >> 16 : this.#s32()
          high = low >> 31
          break
        case 'Iv':
          if (operandSize === 2) low = this.#u16()
          else {
            low = this.#s32()
            high = operandSize === 8 ? this.#s32() : 0
          }
          break
        case 'Ap':
          low = operandSize === 2 ? this.#u16() : this.#s32()
          high = this.#u16()
          break
        default:
          throw new Error(`immediate ${code}?`)
      }
      if (code === 'Jb' || code === 'Jz') {
        this.isRelative = true
        this.relative = low
      } else if (immediateCount++ === 0) {
        view.setInt32(record + RECORD.IMMEDIATE, low, true)
        view.setInt32(record + RECORD.IMMEDIATE + 4, high, true)
      } else {
        displacement = low
      }
    }
    if (this.#failed) return this.#failed
    this.length = this.#position
    view.setUint8(record + RECORD.LENGTH, this.length)
    if (this.isRelative) {
      const target = offset + this.length + this.relative
      view.setBigInt64(record + RECORD.IMMEDIATE, BigInt(target), true)
    }

    // segment and address
    const used = segment >= 0 ? segment : defaultSegment
    const segmentHasBase = !long || used === SEGMENT.FS || used === SEGMENT.GS
    view.setUint8(record + RECORD.SEGMENT_BASE, segmentHasBase ? FILE.SEGMENT_BASE + used * 8 : FILE.ZERO)
    view.setUint8(record + RECORD.FLAGS, addressSize | (long ? 0 : 4) | (used << 3))
    if (ripRelative) {
      view.setUint8(record + RECORD.BASE, FILE.BLOCK_RIP)
      const sum = displacement + offset + this.length
      if (sum === (sum | 0)) displacement = sum
      else {
        view.setUint8(record + RECORD.INDEX, FILE.PAGE)
        displacement = sum - 4096
      }
    }
    view.setInt32(record + RECORD.DISPLACEMENT, displacement, true)
    if (memory) {
      if (addressSize !== 0 || !long || row.moffs) this.addressKind = 3
      else if (view.getUint8(record + RECORD.INDEX) === FILE.ZERO && !segmentHasBase) this.addressKind = 1
      else this.addressKind = 2
    }
    return DECODED.OK
  }

  #form(row: OpcodeRow, size: 2 | 4 | 8, memory: boolean, mode64: boolean, repeatKind: number): DecodedForm {
    const key = size | (memory ? 16 : 0) | (mode64 ? 32 : 0) | (repeatKind << 6)
    let decoded = row.forms.get(key)
    if (decoded) return decoded
    const { definition } = row
    const form: InstructionForm = {
      definition,
      operands: row.operandCodes.map((code) => parseOperand(code, size)),
      operandSize: size,
      memory,
      mode64,
      repeat: repeatKind === 1 ? 'F3' : repeatKind === 2 ? 'F2' : 'none',
      key: `${definition.mnemonic} ${definition.opcode} ${definition.operands}/${size}${memory ? 'm' : 'r'}${mode64 ? '' : 'l'}${repeatKind || ''}`,
    }
    decoded = { form, row, id: this.forms.length, functionIndex: -1, inlineSimple: -1, inlineFull: -1 }
    row.forms.set(key, decoded)
    this.forms.push(decoded)
    return decoded
  }

  /** The forms in 64-bit mode of the rows that `select` names, for making handlers before they are met. */
  enumerate(select: (definition: InstructionDefinition, size: 2 | 4 | 8, memory: boolean) => boolean): DecodedForm[] {
    const found: DecodedForm[] = []
    const seen = new Set<OpcodeRow>()
    for (const map of Object.values(this.#maps)) {
      for (const rows of map) {
        for (const row of rows) {
          if (seen.has(row)) continue
          seen.add(row)
          if (row.definition.options.mode === 'legacy') continue
          for (const size of row.sized ? ([2, 4, 8] as const) : ([4] as const)) {
            for (const memory of row.moffs || row.mod === 1 ? [true] : row.mod === 2 || !row.hasModrm ? [false] : [false, true]) {
              if (select(row.definition, size, memory)) found.push(this.#form(row, size, memory, true, 0))
            }
          }
        }
      }
    }
    return found
  }

  #peek(): number {
    if (this.#position >= MAX_LENGTH) {
      this.#failed = DECODED.TOO_LONG
      return 0
    }
    const byte = this.#fetch(this.#position)
    if (byte < 0) {
      this.#failed = DECODED.FETCH
      return 0
    }
    return byte
  }
}

function isPrefix(opcode: number, long: boolean): boolean {
  switch (opcode) {
    case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3: case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65:
      return true
    default:
      return long && (opcode & 0xf0) === 0x40
  }
}

/** MOV to and from control and debug registers ignores ModRM.mod. */
function isControlMove(row: OpcodeRow): boolean {
  return row.operandCodes.some((c) => c[0] === 'C' && c !== 'CL') || row.operandCodes.some((c) => c[0] === 'D' && c !== 'DX')
}

/** Offset in the register file; without REX the byte registers 4–7 are AH CH DH BH. */
function registerOffset(register: number, size: number, rex: number): number {
  if (size === 1 && rex === 0 && register >= 4 && register < 8) return (register - 4) * 8 + 1
  return register * 8
}
