// Turns instruction bytes into records (SDM vol. 2, chapter 2). One instruction at a time; the code cache strings them into blocks.

import type { InstructionDefinition, InstructionForm } from '../instruction/definition.ts'
import { FILE, RECORD, SEGMENT } from '../state-layout.ts'
import { MODE, type Mode } from './mode.ts'
import {
  buildOpcodeMaps,
  type DecodedForm,
  FLOW_AFTER,
  IMMEDIATE,
  type OpcodeMaps,
  type OpcodeRow,
  PREFIX,
  parseOperand,
  REGISTER,
  REGISTER_SIZE,
  registersOf,
} from './opcode-map.ts'

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
const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3] // BX BX BP BP SI DI BP BX
const INDEX16 = [6, 7, 6, 7, -1, -1, -1, -1] // SI DI SI DI

const NO_BYTES: Uint8Array = new Uint8Array(0)

/** What decides, beside prefixes, which form an opcode is: nothing, ModRM.reg and whether ModRM names memory, or more than that. */
const KIND = { PLAIN: 0, MODRM: 1, OTHER: 2 } as const
function kindOf(rows: readonly OpcodeRow[]): number {
  const long = rows.filter(({ legacy }) => !legacy)
  if (long.some(({ modrmLow }) => modrmLow >= 0)) return KIND.OTHER
  const withModrm = long.filter(({ hasModrm }) => hasModrm).length
  if (withModrm === 0) return KIND.PLAIN
  return withModrm === long.length ? KIND.MODRM : KIND.OTHER
}

/** What a combination of opcode, prefixes and ModRM came to before. */
interface Known {
  readonly row: OpcodeRow
  readonly operandSize: 2 | 4 | 8
  readonly decoded: DecodedForm
}

export class Decoder {
  readonly #maps: OpcodeMaps
  /** By map and opcode: what else decides which form it is, see {@link KIND}. */
  readonly #kinds: Uint8Array = new Uint8Array(0x400)
  /** Of 64-bit code: numbers of `#known`, 0 not known. */
  readonly #shortcuts: Uint16Array = new Uint16Array(0x400 << 8)
  readonly #known: (Known | undefined)[] = [undefined]
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
  /** The instruction's first bytes, where they can be read without asking. */
  #bytes: Uint8Array = NO_BYTES
  #at = 0
  #direct = 0
  #position = 0
  #failed = 0

  // the instruction under way, in fields: decoding is split into functions that the engine optimises one by one
  #long = false
  #mode: Mode = MODE.LONG
  #operandOverride = false
  #addressOverride = false
  #repeat = 0
  #lock = false
  /** Of a prefix, or -1. */
  #segment = -1
  #rex = 0
  #opcode = 0
  /** The opcode map, 0 to 3, in the bits above an opcode. */
  #map = 0
  #prefix: number = PREFIX.ANY
  #vex = false
  #vexL = 0
  #vexW = 0
  #vvvv = 0
  #modrm = -1
  #reg = 0
  #rm = 0
  #memory = false
  #defaultSegment: number = SEGMENT.DS
  #ripRelative = false
  #displacement = 0

  /** `onForm` is called for a form that was not met before: it gives it its handlers. */
  constructor(definitions: readonly InstructionDefinition[], onForm: (form: DecodedForm) => void) {
    this.#maps = buildOpcodeMaps(definitions)
    for (const [map, name] of (['', '0F', '0F38', '0F3A'] as const).entries()) {
      for (const [opcode, rows] of this.#maps[name].entries()) this.#kinds[(map << 8) | opcode] = kindOf(rows)
    }
    // REX.B makes it another instruction
    this.#kinds[0x90] = KIND.OTHER
    this.#onForm = onForm
  }

  #u8(): number {
    if (this.#position >= MAX_LENGTH) {
      this.#failed = DECODED.TOO_LONG
      return 0
    }
    const byte =
      this.#position < this.#direct ? (this.#bytes[this.#at + this.#position] as number) : this.#fetch(this.#position)
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
   * the block's start, needed for RIP-relative addresses. The first `direct` bytes are not fetched but read from `bytes` at `at`.
   */
  decode(
    mode: Mode,
    fetch: Fetch,
    view: DataView,
    record: number,
    offset: number,
    bytes: Uint8Array = NO_BYTES,
    at = 0,
    direct = 0,
  ): number {
    this.#fetch = fetch
    this.#bytes = bytes
    this.#at = at
    this.#direct = direct
    this.#position = 0
    this.#failed = 0
    this.isRelative = false
    this.addressKind = 0
    this.form = undefined
    this.#mode = mode
    const long = mode === MODE.LONG
    this.#long = long
    this.#prefixes()
    if (this.#failed) return this.#failed
    const rows = this.#rows()
    if (this.#failed) return this.#failed
    if (!rows || rows.length === 0) return DECODED.UNDEFINED
    const place = this.#shortcut()
    let known = place < 0 ? undefined : this.#known[this.#shortcuts[place] as number]
    let row: OpcodeRow | undefined
    let operandSize: 2 | 4 | 8
    if (known) {
      row = known.row
      operandSize = known.operandSize
    } else {
      row = this.#row(rows)
      if (this.#failed) return this.#failed
      if (!row || (this.#vex && !row.vvvv && this.#vvvv !== 0)) return DECODED.UNDEFINED
      operandSize = this.#operandSize(row)
    }
    const addressSize = long ? (this.#addressOverride ? 1 : 0) : this.#default32() !== this.#addressOverride ? 1 : 2

    // RM and REG 0, no base, no index
    view.setInt32(record + RECORD.RM, (FILE.ZERO << 16) | (FILE.ZERO << 24), true)
    view.setInt32(record + RECORD.SCALE, 0, true)
    view.setInt32(record + RECORD.IMMEDIATE, 0, true)
    view.setInt32(record + RECORD.IMMEDIATE + 4, 0, true)
    view.setInt32(record + RECORD.CHAIN, 0, true)
    this.#operands(row, view, record, addressSize)
    if (this.#lock && !(row.lock && this.#memory)) return this.#failed || DECODED.UNDEFINED

    if (!known) {
      const repeatKind = row.repeat ? (this.#repeat === 0xf3 ? 1 : this.#repeat === 0xf2 ? 2 : 0) : 0
      const decoded = this.#form(row, row.sized ? operandSize : 4, this.#memory, long || !row.modal, repeatKind)
      if (decoded.functionIndex < 0) this.#onForm(decoded)
      known = { row, operandSize, decoded }
      if (place >= 0) {
        this.#shortcuts[place] = this.#known.length
        this.#known.push(known)
      }
    }
    const { decoded } = known
    this.form = decoded
    this.#registers(row, decoded, view, record)
    this.#immediates(row, operandSize, addressSize, view, record)
    if (this.#failed) return this.#failed
    this.length = this.#position
    view.setUint8(record + RECORD.LENGTH, this.length)
    if (this.isRelative) {
      const target = offset + this.length + this.relative
      view.setInt32(record + RECORD.IMMEDIATE, target, true)
      view.setInt32(record + RECORD.IMMEDIATE + 4, target < 0 ? -1 : 0, true)
    }
    this.#address(row, addressSize, offset, view, record)
    return DECODED.OK
  }
  /** What is known of an instruction by its opcode, prefixes and the parts of ModRM that choose among forms: an index in `#shortcuts`; -1 when that is not all. */
  #shortcut(): number {
    if (!this.#long || this.#vex) return -1
    const opcode = this.#map | this.#opcode
    const kind = this.#kinds[opcode]
    if (kind === KIND.OTHER) return -1
    let bits = (this.#rex & 8) | (this.#operandOverride ? 4 : 0) | (this.#repeat & 3)
    if (kind === KIND.MODRM) {
      const modrm = this.#peek()
      if (this.#failed) {
        // the rows tell whether it is needed
        this.#failed = 0
        return -1
      }
      bits |= ((modrm & 0x38) << 1) | (modrm >= 0xc0 ? 128 : 0)
    }
    return (opcode << 8) | bits
  }
  /** Prefixes, REX and the first opcode byte. */
  #prefixes(): void {
    const long = this.#long
    this.#operandOverride = false
    this.#addressOverride = false
    this.#repeat = 0
    this.#lock = false
    this.#segment = -1
    this.#rex = 0
    for (;;) {
      let opcode = this.#u8()
      if (this.#failed) return
      if (long && (opcode & 0xf0) === 0x40) {
        this.#rex = opcode
        opcode = this.#u8()
        if (this.#failed) return
        if (!isPrefix(opcode, long)) {
          this.#opcode = opcode
          return
        }
        this.#rex = 0
        if ((opcode & 0xf0) === 0x40) {
          // a REX that another REX follows is ignored
          this.#position--
          continue
        }
      }
      if (!isPrefix(opcode, false)) {
        this.#opcode = opcode
        return
      }
      this.#applyPrefix(opcode)
    }
  }
  #applyPrefix(prefix: number): void {
    const long = this.#long
    switch (prefix) {
      case 0x66:
        this.#operandOverride = true
        break
      case 0x67:
        this.#addressOverride = true
        break
      case 0xf2:
      case 0xf3:
        this.#repeat = prefix
        break
      case 0xf0:
        this.#lock = true
        break
      case 0x64:
        this.#segment = SEGMENT.FS
        break
      case 0x65:
        this.#segment = SEGMENT.GS
        break
      case 0x26:
        if (!long) this.#segment = SEGMENT.ES
        break
      case 0x2e:
        if (!long) this.#segment = SEGMENT.CS
        break
      case 0x36:
        if (!long) this.#segment = SEGMENT.SS
        break
      case 0x3e:
        if (!long) this.#segment = SEGMENT.DS
        break
    }
  }

  /** The rows of the opcode. */
  #rows(): readonly OpcodeRow[] | undefined {
    const opcode = this.#opcode
    const repeat = this.#repeat
    this.#vex = false
    this.#vvvv = 0
    this.#vexW = 0
    this.#prefix =
      repeat === 0xf3 ? PREFIX.F3 : repeat === 0xf2 ? PREFIX.F2 : this.#operandOverride ? PREFIX.P66 : PREFIX.NP
    if (
      (opcode === 0xc4 || opcode === 0xc5) &&
      (this.#long || (this.#mode !== MODE.REAL && (this.#peek() & 0xc0) === 0xc0))
    ) {
      return this.#vexRows()
    }
    this.#map = 0
    if (opcode !== 0x0f) return this.#maps[''][opcode]
    const second = this.#u8()
    this.#map = 0x100
    if (second === 0x38 || second === 0x3a) {
      this.#map = second === 0x38 ? 0x200 : 0x300
      this.#opcode = this.#u8()
      return this.#maps[second === 0x38 ? '0F38' : '0F3A'][this.#opcode]
    }
    this.#opcode = second
    return this.#maps['0F'][second]
  }
  #vexRows(): readonly OpcodeRow[] | undefined {
    if (this.#rex || this.#operandOverride || this.#repeat || this.#lock) return undefined
    this.#vex = true
    const long = this.#long
    let select = 1
    const second = this.#u8()
    let last = second
    let extension = second & 0x80 ? 0 : 4
    if (this.#opcode === 0xc4) {
      if (!(second & 0x40)) extension |= 2
      if (!(second & 0x20)) extension |= 1
      select = second & 0x1f
      last = this.#u8()
      this.#vexW = last >> 7
    }
    if (this.#failed) return undefined
    this.#rex = 0x40 | extension | (this.#vexW ? 8 : 0)
    if (!long) this.#rex &= ~7
    this.#vvvv = (~last >> 3) & (long ? 15 : 7)
    this.#vexL = (last >> 2) & 1
    this.#prefix = [PREFIX.NP, PREFIX.P66, PREFIX.F3, PREFIX.F2][last & 3] ?? PREFIX.NP
    this.#opcode = this.#u8()
    const map = select === 1 ? 'VEX.0F' : select === 2 ? 'VEX.0F38' : select === 3 ? 'VEX.0F3A' : undefined
    return map === undefined ? undefined : this.#maps[map][this.#opcode]
  }

  /** The row: the first that matches. */
  #row(rows: readonly OpcodeRow[]): OpcodeRow | undefined {
    const prefix = this.#prefix
    const vex = this.#vex
    this.#modrm = -1
    for (const row of rows) {
      if (row.prefix !== PREFIX.ANY && row.prefix !== prefix) {
        // 66 with F3 or F2: the repeat prefix wins, unless no row has it; NP rows need no prefix at all
        if (!(row.prefix === PREFIX.P66 && this.#operandOverride && !vex && !rows.some((r) => r.prefix === prefix)))
          continue
      }
      if (this.#long ? row.legacy : row.long) continue
      // 90 is NOP, but with REX.B it exchanges R8 and rAX
      if (this.#opcode === 0x90 && this.#rex & 1 && row.operandCodes.length === 0) continue
      if (row.hasModrm) {
        if (this.#modrm < 0) {
          this.#modrm = this.#peek()
          if (this.#failed) return undefined
        }
        if (!matchesModrm(row, this.#modrm)) continue
      }
      if (vex && ((row.vexL >= 0 && row.vexL !== this.#vexL) || (row.vexW >= 0 && row.vexW !== this.#vexW))) continue
      return row
    }
    return undefined
  }

  #default32(): boolean {
    return this.#mode === MODE.LONG || this.#mode === MODE.CODE32
  }
  #operandSize(row: OpcodeRow): 2 | 4 | 8 {
    const override = this.#operandOverride && row.prefix !== PREFIX.P66
    if (this.#long) {
      if (row.size === 'f64' || this.#rex & 8) return 8
      if (override) return 2
      return row.size === 'd64' ? 8 : 4
    }
    if (this.#vex && this.#vexW === 1) return 4
    return this.#default32() !== override ? 4 : 2
  }

  /** ModRM, SIB, displacement. */
  #operands(row: OpcodeRow, view: DataView, record: number, addressSize: number): void {
    const rex = this.#rex
    this.#memory = row.moffs
    this.#rm = 0
    this.#displacement = 0
    this.#ripRelative = false
    this.#defaultSegment = row.stackSegment ? SEGMENT.SS : SEGMENT.DS
    if (!row.hasModrm) {
      this.#reg = (this.#opcode & 7) | (rex & 1 ? 8 : 0)
      return
    }
    const modrm = this.#u8()
    this.#modrm = modrm
    this.#reg = ((modrm >> 3) & 7) | (rex & 4 ? 8 : 0)
    this.#rm = modrm & 7
    if (modrm >= 0xc0 || row.controlMove) {
      this.#rm |= rex & 1 ? 8 : 0
      return
    }
    this.#memory = true
    view.setUint8(record + RECORD.RM, modrm)
    this.#defaultSegment = SEGMENT.DS
    if (addressSize === 2) this.#operands16(modrm, view, record)
    else this.#operands32(modrm, view, record)
  }
  #operands16(modrm: number, view: DataView, record: number): void {
    const mod = modrm >> 6
    const rm = modrm & 7
    if (mod === 0 && rm === 6) {
      this.#displacement = (this.#u16() << 16) >> 16
      return
    }
    const base = BASE16[rm] as number
    const index = INDEX16[rm] as number
    if (base === 5) this.#defaultSegment = SEGMENT.SS
    this.#displacement = mod === 1 ? this.#s8() : mod === 2 ? (this.#u16() << 16) >> 16 : 0
    view.setUint8(record + RECORD.BASE, base * 8)
    if (index >= 0) view.setUint8(record + RECORD.INDEX, index * 8)
  }
  #operands32(modrm: number, view: DataView, record: number): void {
    const rex = this.#rex
    const mod = modrm >> 6
    const rm = modrm & 7
    let base = -1
    if (rm === 4) {
      const sib = this.#u8()
      const index = ((sib >> 3) & 7) | (rex & 2 ? 8 : 0)
      view.setUint8(record + RECORD.SCALE, sib >> 6)
      if (index !== 4) view.setUint8(record + RECORD.INDEX, index * 8)
      base = (sib & 7) | (rex & 1 ? 8 : 0)
      if ((sib & 7) === 5 && mod === 0) {
        base = -1
        this.#displacement = this.#s32()
      }
    } else if (rm === 5 && mod === 0) {
      this.#displacement = this.#s32()
      this.#ripRelative = this.#long
    } else {
      base = rm | (rex & 1 ? 8 : 0)
    }
    if (base === 4 || base === 5) this.#defaultSegment = SEGMENT.SS
    if (mod === 1) this.#displacement = this.#s8()
    else if (mod === 2) this.#displacement = this.#s32()
    if (base >= 0) view.setUint8(record + RECORD.BASE, base * 8)
  }

  #registers(row: OpcodeRow, decoded: DecodedForm, view: DataView, record: number): void {
    const { registers } = decoded
    const rex = this.#rex
    const memory = this.#memory
    const rm = this.#rm
    const reg = this.#reg
    for (let n = 0; n < registers.length; n++) {
      const code = registers[n] as number
      const size = code >> REGISTER_SIZE
      switch (code & ((1 << REGISTER_SIZE) - 1)) {
        case REGISTER.GPR_RM:
          if (!memory) view.setUint8(record + RECORD.RM, registerOffset(rm, size, rex))
          break
        case REGISTER.GPR_REG:
          view.setUint8(record + RECORD.REG, registerOffset(reg, size, rex))
          break
        case REGISTER.GPR_VVVV:
          view.setUint8(record + RECORD.CHAIN, this.#vvvv * 8)
          break
        case REGISTER.VECTOR_RM:
          if (!memory) view.setUint8(record + RECORD.RM, rm * 16)
          break
        case REGISTER.VECTOR_REG:
          view.setUint8(record + RECORD.REG, reg * 16)
          break
        case REGISTER.MMX_RM:
          if (!memory) view.setUint8(record + RECORD.RM, (rm & 7) * 16)
          break
        case REGISTER.MMX_REG:
          view.setUint8(record + RECORD.REG, (reg & 7) * 16)
          break
        case REGISTER.X87:
          view.setUint8(record + RECORD.REG, (this.#modrm & 7) * 16)
          break
        case REGISTER.SEGMENT:
          view.setUint8(record + RECORD.REG, row.hasModrm ? reg & 7 : (this.#opcode >> 3) & 7)
          break
        default:
          view.setUint8(record + RECORD.REG, row.hasModrm ? reg : (this.#opcode >> 3) & 7)
      }
    }
  }

  #immediates(row: OpcodeRow, operandSize: number, addressSize: number, view: DataView, record: number): void {
    if (row.moffs) {
      const low = addressSize === 2 ? this.#u16() : this.#s32() >>> 0
      const high = addressSize === 0 ? this.#s32() : 0
      view.setInt32(record + RECORD.IMMEDIATE, low, true)
      view.setInt32(record + RECORD.IMMEDIATE + 4, high, true)
    }
    const codes = row.immediateCodes
    let count = 0
    for (let n = 0; n < codes.length; n++) {
      const code = codes[n] as number
      let low = 0
      let high = 0
      switch (code) {
        case IMMEDIATE.Ib:
          low = this.#u8()
          break
        case IMMEDIATE.Ibs:
        case IMMEDIATE.Jb:
          low = this.#s8()
          high = low >> 31
          break
        case IMMEDIATE.Iw:
          low = this.#u16()
          break
        case IMMEDIATE.Iz:
          low = operandSize === 2 ? (this.#u16() << 16) >> 16 : this.#s32()
          high = low >> 31
          break
        case IMMEDIATE.Jz:
          low = operandSize === 2 && !this.#long ? (this.#u16() << 16) >> 16 : this.#s32()
          high = low >> 31
          break
        case IMMEDIATE.Iv:
          if (operandSize === 2) low = this.#u16()
          else {
            low = this.#s32()
            high = operandSize === 8 ? this.#s32() : 0
          }
          break
        default:
          // Ap
          low = operandSize === 2 ? this.#u16() : this.#s32()
          high = this.#u16()
      }
      if (code === IMMEDIATE.Jb || code === IMMEDIATE.Jz) {
        this.isRelative = true
        this.relative = low
      } else if (count++ === 0) {
        view.setInt32(record + RECORD.IMMEDIATE, low, true)
        view.setInt32(record + RECORD.IMMEDIATE + 4, high, true)
      } else {
        this.#displacement = low
      }
    }
  }

  /** Segment and displacement, and who can compute the address. */
  #address(row: OpcodeRow, addressSize: number, offset: number, view: DataView, record: number): void {
    const long = this.#long
    const used = this.#segment >= 0 ? this.#segment : this.#defaultSegment
    const segmentHasBase = !long || used === SEGMENT.FS || used === SEGMENT.GS
    view.setUint8(record + RECORD.SEGMENT_BASE, segmentHasBase ? FILE.SEGMENT_BASE + used * 8 : FILE.ZERO)
    view.setUint8(record + RECORD.FLAGS, addressSize | (long ? 0 : 4) | (used << 3))
    let displacement = this.#displacement
    if (this.#ripRelative) {
      view.setUint8(record + RECORD.BASE, FILE.BLOCK_RIP)
      const sum = displacement + offset + this.length
      if (sum === (sum | 0)) displacement = sum
      else {
        view.setUint8(record + RECORD.INDEX, FILE.PAGE)
        displacement = sum - 4096
      }
    }
    view.setInt32(record + RECORD.DISPLACEMENT, displacement, true)
    if (this.#memory) {
      if (addressSize !== 0 || !long || row.moffs) this.addressKind = 3
      else if (view.getUint8(record + RECORD.INDEX) === FILE.ZERO && !segmentHasBase) this.addressKind = 1
      else this.addressKind = 2
    }
  }

  #form(row: OpcodeRow, size: 2 | 4 | 8, memory: boolean, mode64: boolean, repeatKind: number): DecodedForm {
    const key = size | (memory ? 16 : 0) | (mode64 ? 32 : 0) | (repeatKind << 6)
    let decoded = row.forms.get(key)
    if (decoded) return decoded
    const { definition } = row
    const operands = row.operandCodes.map((code) => parseOperand(code, size))
    const form: InstructionForm = {
      definition,
      operands,
      operandSize: size,
      memory,
      mode64,
      repeat: repeatKind === 1 ? 'F3' : repeatKind === 2 ? 'F2' : 'none',
      key: `${definition.mnemonic} ${definition.opcode} ${definition.operands}/${size}${memory ? 'm' : 'r'}${mode64 ? '' : 'l'}${repeatKind || ''}`,
    }
    decoded = {
      form,
      row,
      id: this.forms.length,
      functionIndex: -1,
      inlineSimple: -1,
      inlineFull: -1,
      registers: registersOf(operands),
      after: definition.options.ends
        ? FLOW_AFTER.END
        : typeof definition.semantics === 'function'
          ? FLOW_AFTER.NEXT
          : FLOW_AFTER.NEW_BLOCK,
    }
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
            for (const memory of row.moffs || row.mod === 1
              ? [true]
              : row.mod === 2 || !row.hasModrm
                ? [false]
                : [false, true]) {
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
    const byte =
      this.#position < this.#direct ? (this.#bytes[this.#at + this.#position] as number) : this.#fetch(this.#position)
    if (byte < 0) {
      this.#failed = DECODED.FETCH
      return 0
    }
    return byte
  }
}

function isPrefix(opcode: number, long: boolean): boolean {
  switch (opcode) {
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x26:
    case 0x64:
    case 0x65:
      return true
    default:
      return long && (opcode & 0xf0) === 0x40
  }
}

/** Whether a row is meant by a ModRM byte. */
function matchesModrm(row: OpcodeRow, modrm: number): boolean {
  if (row.digit >= 0 && ((modrm >> 3) & 7) !== row.digit) return false
  if (row.modrmLow >= 0 && (modrm < row.modrmLow || modrm > row.modrmHigh)) return false
  if (row.mod === 1 && modrm >= 0xc0) return false
  if (row.mod === 2 && modrm < 0xc0) {
    if (row.digit >= 0) return false
    if (row.modrmLow < 0 && !row.controlMove) return false
  }
  return true
}

/** Offset in the register file; without REX the byte registers 4–7 are AH CH DH BH. */
function registerOffset(register: number, size: number, rex: number): number {
  if (size === 1 && rex === 0 && register >= 4 && register < 8) return (register - 4) * 8 + 1
  return register * 8
}
