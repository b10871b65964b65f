// String instructions (SDM vol. 1, 5.1.8 and 7.3.9): MOVS, STOS, LODS, CMPS, SCAS with their repeat prefixes, and XLAT.
//
// A repeated one loops inside its handler. Registers are written after each element or run of elements, so a fault leaves them after the last completed one.
// Runs inside directly accessible pages are done at once; everything else goes by elements. After a bounded amount of work the instruction ends and is executed again, so
// that interrupts wait no longer than a moment.

import {
  type InstructionDefinition,
  type InstructionOptions,
  instruction,
  type Semantics,
} from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i32, i64, select, signExtend } from '../instruction/emitter.ts'
import { GPR, SEGMENT, STATE } from '../state-layout.ts'
import type { Label, Local } from '../wasm/function-emitter.ts'
import { COPY_RUN, EQUAL_RUN, FILL_RUN, SCAN_RUN } from './string-helpers.ts'

/** Work units of one execution: an element is 1, a run RUN_COST. */
const WORK = 4096
const RUN_COST = 64
const PAGE = 4096
const TRAP_FLAG = 0x100

/** What the parts of one string instruction share. */
class StringOperation {
  readonly e: InstructionEmitter
  readonly size: number
  /** i64: the address size's mask. */
  readonly mask: Expr
  /** i32: DF. */
  readonly backward: Expr
  /** i64: the element size, negative downwards. */
  readonly step: Expr

  constructor(e: InstructionEmitter, size: number) {
    this.e = e
    this.size = size
    this.mask = e.addressMask()
    this.backward = e.stateI32(STATE.DIRECTION)
    this.step = e.let(select(this.backward, i64.const(-size), i64.const(size)))
  }
  /** rSI, rDI or rCX in the address size. */
  register(register: number): Expr {
    return this.e.let(i64.and(this.e.gpr(register), this.mask))
  }
  /** Write it: 16 bits leave the rest alone, 32 bits clear the upper half. */
  setRegister(register: number, value: Expr): void {
    const { e, mask } = this
    const kept = select(i64.eq(mask, i64.const(0xffff)), i64.and(e.gpr(register), i64.const(-0x10000)), i64.const(0))
    e.setGpr(register, i64.or(i64.and(value, mask), kept))
  }
  advance(register: number, by: Expr = this.step): void {
    this.setRegister(register, i64.add(this.e.gpr(register), by))
  }
  /** Linear address of the element at rSI (`offset`) in DS or the overriding segment. */
  source(offset: Expr): Expr {
    return this.e.segmentAddress('instruction', offset, this.size, 'read')
  }
  /** Linear address of the element at ES:rDI. */
  destination(offset: Expr, access: 'read' | 'write'): Expr {
    return this.e.segmentAddress(SEGMENT.ES, offset, this.size, access)
  }
  /** i64: the source element, sign-extended. */
  load(): Expr {
    return this.e.loadInteger(this.source(this.register(GPR.RSI)), this.size, true)
  }
  loadDestination(): Expr {
    return this.e.loadInteger(this.destination(this.register(GPR.RDI), 'read'), this.size, true)
  }
  store(value: Expr): void {
    this.e.storeInteger(this.destination(this.register(GPR.RDI), 'write'), this.size, value)
  }
}

/** One of the two operands of a run. */
interface RunOperand {
  readonly register: number
  readonly access: 'read' | 'write'
}
const SOURCE: RunOperand = { register: GPR.RSI, access: 'read' }
const DESTINATION: RunOperand = { register: GPR.RDI, access: 'write' }
const COMPARED: RunOperand = { register: GPR.RDI, access: 'read' }

/**
 * Tries to do several elements at once. `body` gets the offsets in memory of each operand's lowest byte and the length in bytes, and returns how many bytes it did (i32, 0: none).
 * Control goes to `again` when some were done, else on. `limit`: the most elements (i64).
 */
function run(
  s: StringOperation,
  operands: readonly RunOperand[],
  limit: Expr,
  work: Local,
  again: Label,
  body: (hosts: Expr[], bytes: Expr) => Expr,
): void {
  const { e, size, mask } = s
  const offsets = operands.map(({ register }) => s.register(register))
  const address = (i: number, offset: Expr): Expr => {
    const operand = operands[i] as RunOperand
    return operand.register === GPR.RSI ? s.source(offset) : s.destination(offset, operand.access)
  }
  const addresses = offsets.map((offset, i) => address(i, offset))
  const hosts = addresses.map((a, i) => e.let(e.tryHostRange(a, (operands[i] as RunOperand).access)))
  const all = hosts.map((host) => i32.ne(host, i32.const(0))).reduce(i32.and)
  e.if(all, () => {
    // bytes to the page's end, or down to its start with this element's
    const rooms = addresses.map((a) => {
      const inPage = e.let(i32.and(i32.wrap_i64(a), i32.const(PAGE - 1)))
      const fits = i32.le_u(inPage, i32.const(PAGE - size))
      const down = select(fits, i32.add(inPage, i32.const(size)), i32.const(0))
      return e.let(select(s.backward, down, i32.sub(i32.const(PAGE), inPage)))
    })
    const room = e.let(
      rooms.length === 1
        ? (rooms[0] as Expr)
        : select(i32.lt_u(rooms[0] as Expr, rooms[1] as Expr), rooms[0] as Expr, rooms[1] as Expr),
    )
    // comparisons leave the page's last element, see compareRepeated
    const whole = i32.shr_u(room, i32.const(Math.log2(size)))
    const fitting = e.let(operands.at(-1) === COMPARED ? i32.sub(whole, i32.const(1)) : whole)
    const wanted = e.let(select(i64.gt_u(limit, i64.const(PAGE)), i32.const(PAGE), i32.wrap_i64(limit)))
    const count = e.let(select(i32.lt_s(wanted, fitting), wanted, fitting))
    e.if(i32.gt_s(count, i32.const(1)), () => {
      const bytes = e.let(i32.shl(count, i32.const(Math.log2(size))))
      const span = e.let(i32.sub(bytes, i32.const(size)))
      const good = e.local('i32')
      e.set(good, i32.const(1))
      // with 64-bit addresses a page's worth neither wraps nor meets a limit; otherwise the last element must be where the first one says
      e.if(i64.ne(mask, i64.const(-1)), () => {
        const distance = e.let(i64.mul(i64.extend_i32_u(span), select(s.backward, i64.const(-1), i64.const(1))))
        offsets.forEach((offset, i) => {
          const last = e.let(i64.add(offset, distance))
          const inside = i64.le_u(select(s.backward, last, i64.add(last, i64.const(size - 1))), mask)
          const there = e.let(i64.eq(address(i, e.let(i64.and(last, mask))), i64.add(addresses[i] as Expr, distance)))
          e.set(good, i32.and(e.get(good), i32.and(inside, there)))
        })
        // a refused address says so in the state, for an access that does not follow
        e.setStateI32(STATE.SEGMENT_FAULT, i32.const(0))
      })
      e.if(e.get(good), () => {
        const lowest = hosts.map((host) => e.let(select(s.backward, i32.sub(host, span), host)))
        const done = e.let(body(lowest, bytes))
        e.if(done, () => {
          const distance = i64.extend_i32_u(done)
          const move = e.let(select(s.backward, i64.sub(i64.const(0), distance), distance))
          for (const { register } of operands) s.advance(register, move)
          s.setRegister(GPR.RCX, i64.sub(e.gpr(GPR.RCX), i64.extend_i32_u(i32.shr_u(done, i32.const(Math.log2(size))))))
          e.set(work, i32.sub(e.get(work), i32.const(RUN_COST)))
          e.br(again)
        })
      })
    })
  })
}

/**
 * The loop of a repeated instruction. `bulk` may do runs; `element` does one element, without rCX, and returns whether to stop (i32) or nothing.
 */
function repeated(
  s: StringOperation,
  bulk: ((count: Expr, work: Local, again: Label) => void) | undefined,
  element: () => Expr | undefined,
): void {
  const { e } = s
  const work = e.local('i32')
  // with EFLAGS.TF one iteration is a step
  const trap = i32.and(e.stateI32(STATE.FLAGS_REST), i32.const(TRAP_FLAG))
  e.set(work, select(trap, i32.const(1), i32.const(WORK)))
  e.block((done) => {
    e.loop((again) => {
      const count = s.register(GPR.RCX)
      e.brIf(done, i64.eqz(count))
      e.if(i32.le_s(e.get(work), i32.const(0)), () => e.repeatInstruction())
      if (bulk) e.if(i32.gt_s(e.get(work), i32.const(1)), () => bulk(count, work, again))
      const stop = element()
      s.advance(GPR.RCX, i64.const(-1))
      e.set(work, i32.sub(e.get(work), i32.const(1)))
      if (stop) e.brIf(again, i32.eqz(stop))
      else e.br(again)
    })
  })
}

/** An element's size: given, or the operand size. */
type Size = 1 | undefined
const sizeOf = (e: InstructionEmitter, size: Size): number => size ?? e.form.operandSize

const movs =
  (given: Size): Semantics =>
  (e) => {
    const s = new StringOperation(e, sizeOf(e, given))
    const element = (): undefined => {
      s.store(s.load())
      s.advance(GPR.RSI)
      s.advance(GPR.RDI)
    }
    if (e.form.repeat === 'none') return element()
    repeated(
      s,
      (count, work, again) =>
        run(s, [SOURCE, DESTINATION], count, work, again, ([source, target], bytes) =>
          i32.mul(bytes, e.helper(COPY_RUN, target as Expr, source as Expr, bytes, i32.const(s.size), s.backward)),
        ),
      element,
    )
  }

/** i64: `value`'s low element repeated to 8 bytes. */
function pattern(value: Expr, size: number): Expr {
  if (size === 1) return i64.mul(value, i64.const(0x0101010101010101n))
  if (size === 2) return i64.mul(value, i64.const(0x0001000100010001n))
  return size === 4 ? i64.mul(value, i64.const(0x0000000100000001n)) : value
}
const stos =
  (given: Size): Semantics =>
  (e) => {
    const s = new StringOperation(e, sizeOf(e, given))
    const value = e.gpr(GPR.RAX, s.size)
    const element = (): undefined => {
      s.store(value)
      s.advance(GPR.RDI)
    }
    if (e.form.repeat === 'none') return element()
    repeated(
      s,
      (count, work, again) =>
        run(s, [DESTINATION], count, work, again, ([target], bytes) => {
          e.do(e.helper(FILL_RUN, target as Expr, bytes, pattern(value, s.size)))
          return bytes
        }),
      element,
    )
  }

const lods =
  (given: Size): Semantics =>
  (e) => {
    const s = new StringOperation(e, sizeOf(e, given))
    const element = (): undefined => {
      e.setGpr(GPR.RAX, s.load(), s.size)
      s.advance(GPR.RSI)
    }
    if (e.form.repeat === 'none') return element()
    repeated(s, undefined, element)
  }

/** i32: whether a comparison ends the repetition: REPE (F3) at the first difference, REPNE (F2) at the first equality. */
function stops(e: InstructionEmitter, a: Expr, b: Expr): Expr {
  return e.let(e.form.repeat === 'F3' ? i64.ne(a, b) : i64.eq(a, b))
}
/** Flags of the comparison a - b, both sign-extended. */
function compareFlags(e: InstructionEmitter, a: Expr, b: Expr, size: number): void {
  e.flagsDifference(a, b, e.let(signExtend(i64.sub(a, b), size)))
}
/**
 * A repeated comparison. After a fault the flags are those of the last completed comparison, as on AMD's processors (Intel's would have the ones from before): so runs
 * leave the last element of the count and of the page to the element loop, which sets flags.
 */
function compareRepeated(
  s: StringOperation,
  bulk: ((limit: Expr, work: Local, again: Label) => void) | undefined,
  operands: () => [Expr, Expr],
  advance: () => void,
): void {
  const { e, size } = s
  repeated(s, bulk && ((count, work, again) => bulk(e.let(i64.sub(count, i64.const(1))), work, again)), () => {
    const [a, b] = operands()
    compareFlags(e, a, b, size)
    advance()
    return stops(e, a, b)
  })
}

const cmps =
  (given: Size): Semantics =>
  (e) => {
    const s = new StringOperation(e, sizeOf(e, given))
    const operands = (): [Expr, Expr] => {
      const a = s.load()
      return [a, s.loadDestination()]
    }
    const advance = (): void => {
      s.advance(GPR.RSI)
      s.advance(GPR.RDI)
    }
    if (e.form.repeat === 'none') {
      const [a, b] = operands()
      advance()
      compareFlags(e, a, b, s.size)
      return
    }
    // upwards, REPE skips what is equal; REPNE is rare
    const bulk =
      e.form.repeat === 'F3'
        ? (limit: Expr, work: Local, again: Label): void =>
            e.if(i32.eqz(s.backward), () =>
              run(s, [SOURCE, COMPARED], limit, work, again, ([a, b], bytes) =>
                i32.and(e.helper(EQUAL_RUN, a as Expr, b as Expr, bytes), i32.const(-s.size)),
              ),
            )
        : undefined
    compareRepeated(s, bulk, operands, advance)
  }

const scas =
  (given: Size): Semantics =>
  (e) => {
    const s = new StringOperation(e, sizeOf(e, given))
    const value = e.gpr(GPR.RAX, s.size, true)
    const operands = (): [Expr, Expr] => [value, s.loadDestination()]
    const advance = (): void => s.advance(GPR.RDI)
    if (e.form.repeat === 'none') {
      const [a, b] = operands()
      advance()
      compareFlags(e, a, b, s.size)
      return
    }
    const scan = SCAN_RUN[s.size]
    if (!scan) throw new RangeError(`SCAS of ${s.size} bytes`)
    const unsigned = e.gpr(GPR.RAX, s.size)
    compareRepeated(
      s,
      (limit, work, again) =>
        e.if(i32.eqz(s.backward), () =>
          run(s, [COMPARED], limit, work, again, ([a], bytes) =>
            e.helper(scan, a as Expr, bytes, unsigned, i32.const(e.form.repeat === 'F3' ? 1 : 0)),
          ),
        ),
      operands,
      advance,
    )
  }

/** AL = the byte at rBX + AL. */
const xlat: Semantics = (e) => {
  const offset = e.let(i64.and(i64.add(e.gpr(GPR.RBX), e.gpr(GPR.RAX, 1)), e.addressMask()))
  e.setGpr(GPR.RAX, e.loadInteger(e.segmentAddress('instruction', offset, 1, 'read'), 1), 1)
}

const REPEAT: InstructionOptions = { repeat: true }

export const STRING: readonly InstructionDefinition[] = [
  instruction('MOVS', 'A4', '', movs(1), REPEAT),
  instruction('MOVS', 'A5', '', movs(undefined), REPEAT),
  instruction('CMPS', 'A6', '', cmps(1), REPEAT),
  instruction('CMPS', 'A7', '', cmps(undefined), REPEAT),
  instruction('STOS', 'AA', '', stos(1), REPEAT),
  instruction('STOS', 'AB', '', stos(undefined), REPEAT),
  instruction('LODS', 'AC', '', lods(1), REPEAT),
  instruction('LODS', 'AD', '', lods(undefined), REPEAT),
  instruction('SCAS', 'AE', '', scas(1), REPEAT),
  instruction('SCAS', 'AF', '', scas(undefined), REPEAT),
  instruction('XLAT', 'D7', '', xlat),
]
