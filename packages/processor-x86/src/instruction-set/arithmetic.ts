// Binary arithmetic (SDM vol. 1, 5.1.2): addition, subtraction, comparison, compare-and-exchange; and decimal arithmetic (5.1.3).

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import {
  type Expr,
  type InstructionEmitter,
  i32,
  i64,
  select,
  signExtend,
  VECTOR,
  zeroExtend,
} from '../instruction/emitter.ts'
import { GPR } from '../state-layout.ts'
import { binaryForms } from './binary-forms.ts'

const add: Semantics = (e) => {
  const b = e.readSigned(1)
  let a = b
  let r = b
  e.modifySigned(0, (old) => {
    a = old
    r = e.let(signExtend(i64.add(old, b), e.size(0)))
    return r
  })
  e.flagsSum(a, b, r)
}
const adc: Semantics = (e) => {
  const b = e.readSigned(1)
  const carry = e.carry()
  let a = b
  let r = b
  e.modifySigned(0, (old) => {
    a = old
    r = e.let(signExtend(i64.add(i64.add(old, b), carry), e.size(0)))
    return r
  })
  e.flagsSum(a, b, r, carry)
}
const sub: Semantics = (e) => {
  const b = e.readSigned(1)
  let a = b
  let r = b
  e.modifySigned(0, (old) => {
    a = old
    r = e.let(signExtend(i64.sub(old, b), e.size(0)))
    return r
  })
  e.flagsDifference(a, b, r)
}
const sbb: Semantics = (e) => {
  const b = e.readSigned(1)
  const borrow = e.carry()
  let a = b
  let r = b
  e.modifySigned(0, (old) => {
    a = old
    r = e.let(signExtend(i64.sub(i64.sub(old, b), borrow), e.size(0)))
    return r
  })
  e.flagsDifference(a, b, r, borrow)
}
const cmp: Semantics = (e) => {
  const a = e.readSigned(0)
  const b = e.readSigned(1)
  e.flagsDifference(a, b, e.let(signExtend(i64.sub(a, b), e.size(0))))
}
const inc: Semantics = (e) => {
  let a: Expr = i64.const(0)
  let r = a
  e.modifySigned(0, (old) => {
    a = old
    r = e.let(signExtend(i64.add(old, i64.const(1)), e.size(0)))
    return r
  })
  e.flagsIncrement(a, r)
}
const dec: Semantics = (e) => {
  let a: Expr = i64.const(0)
  let r = a
  e.modifySigned(0, (old) => {
    a = old
    r = e.let(signExtend(i64.sub(old, i64.const(1)), e.size(0)))
    return r
  })
  e.flagsDecrement(a, r)
}
const neg: Semantics = (e) => {
  const zero = i64.const(0)
  let b = zero
  let r = zero
  e.modifySigned(0, (old) => {
    b = old
    r = e.let(signExtend(i64.sub(zero, old), e.size(0)))
    return r
  })
  e.flagsDifference(zero, b, r)
}

const cmpxchg: Semantics = (e) => {
  const size = e.size(0)
  const source = e.readSigned(1)
  const expected = e.gpr(GPR.RAX, size, true)
  let old = source
  if (e.isMemory(0)) {
    // memory is written in either case
    e.modifySigned(0, (value) => {
      old = value
      return select(i64.eq(value, expected), source, value)
    })
    e.if(i64.ne(old, expected), () => e.setGpr(GPR.RAX, old, size))
  } else {
    old = e.readSigned(0)
    e.if(
      i64.eq(old, expected),
      () => e.write(0, source),
      () => e.setGpr(GPR.RAX, old, size),
    )
  }
  e.flagsDifference(expected, old, e.let(signExtend(i64.sub(expected, old), size)))
}

/** The two halves in a pair of registers as one i64. */
function pair(e: InstructionEmitter, high: number, low: number): Expr {
  return e.let(i64.or(i64.shl(e.gpr(high, 4), i64.const(32)), e.gpr(low, 4)))
}

/** CMPXCHG8B and, with REX.W, CMPXCHG16B. */
const cmpxchgPair: Semantics = (e) => {
  if (e.form.operandSize !== 8) {
    const address = e.address(0, 8, 'write')
    const expected = pair(e, GPR.RDX, GPR.RAX)
    const source = pair(e, GPR.RCX, GPR.RBX)
    let old = source
    e.modifyInteger(address, 8, (value) => {
      old = value
      return select(i64.eq(value, expected), source, value)
    })
    const equal = e.let(i64.eq(old, expected))
    e.setFlags({ zf: equal })
    e.if(i32.eqz(equal), () => {
      e.setGpr(GPR.RAX, old, 4)
      e.setGpr(GPR.RDX, i64.shr_u(old, i64.const(32)), 4)
    })
    return
  }
  const address = e.address(0, 16, 'write')
  e.raiseIf(i32.wrap_i64(i64.and(address, i64.const(15))), VECTOR.GP, 0)
  const expectedLow = e.gpr(GPR.RAX)
  const expectedHigh = e.gpr(GPR.RDX)
  const sourceLow = e.gpr(GPR.RBX)
  const sourceHigh = e.gpr(GPR.RCX)
  let low = sourceLow
  let high = sourceHigh
  let equal: Expr = i32.const(0)
  e.modifyMemory(address, 16, (host) => {
    low = e.let(i64.load(host))
    high = e.let(i64.load(host, 8))
    equal = e.let(i64.eqz(i64.or(i64.xor(low, expectedLow), i64.xor(high, expectedHigh))))
    e.do(i64.store(host, select(equal, sourceLow, low)))
    e.do(i64.store(host, select(equal, sourceHigh, high), 8))
  })
  e.setFlags({ zf: equal })
  e.if(i32.eqz(equal), () => {
    e.setGpr(GPR.RAX, low)
    e.setGpr(GPR.RDX, high)
  })
}

const xadd: Semantics = (e) => {
  const b = e.readSigned(1)
  let a = b
  let r = b
  if (e.isMemory(0)) {
    e.modifySigned(0, (old) => {
      a = old
      r = e.let(signExtend(i64.add(old, b), e.size(0)))
      return r
    })
    e.write(1, a)
  } else {
    // the sum wins when both operands are the same register
    a = e.readSigned(0)
    r = e.let(signExtend(i64.add(a, b), e.size(0)))
    e.write(1, a)
    e.write(0, r)
  }
  e.flagsSum(a, b, r)
}

/** ADCX (with CF) and ADOX (with OF): the other flags stay. */
const addWith =
  (flag: 'cf' | 'of'): Semantics =>
  (e) => {
    const b = e.read(1)
    const a = e.read(0)
    const carry = i64.extend_i32_u(e.flag(flag))
    const sum = e.let(i64.add(i64.add(a, b), carry))
    e.write(0, sum)
    const out =
      e.size(0) === 4
        ? i32.wrap_i64(i64.shr_u(sum, i64.const(32)))
        : i64.lt_s(i64.or(i64.and(a, b), i64.and(i64.or(a, b), i64.xor(sum, i64.const(-1)))), i64.const(0))
    e.setFlags(flag === 'cf' ? { cf: out } : { of: out })
  }

// --- decimal arithmetic, outside 64-bit mode. Flags that the architecture leaves undefined are those of the byte addition or subtraction inside, as on AMD's Zen

/** i32: whether the low digit needs adjusting. */
function lowDigitAdjust(e: InstructionEmitter, al: Expr): Expr {
  return e.let(i32.or(e.flag('af'), i64.gt_u(i64.and(al, i64.const(15)), i64.const(9))))
}

/** DAA and DAS. */
const decimalAdjust =
  (subtract: boolean): Semantics =>
  (e) => {
    const al = e.gpr(GPR.RAX, 1)
    const af = lowDigitAdjust(e, al)
    const high = e.let(i32.or(e.flag('cf'), i64.gt_u(al, i64.const(0x99))))
    const amount = e.let(i64.or(select(af, i64.const(6), i64.const(0)), select(high, i64.const(0x60), i64.const(0))))
    const result = e.let(zeroExtend(subtract ? i64.sub(al, amount) : i64.add(al, amount), 1))
    e.setGpr(GPR.RAX, result, 1)
    const borrow = i32.and(af, i64.lt_u(al, i64.const(6)))
    const cf = e.let(subtract ? i32.or(high, borrow) : high)
    if (subtract) e.flagsSub(1, al, amount, result)
    else e.flagsAdd(1, al, amount, result)
    e.setFlags({ cf, af })
  }

/** AAA and AAS. */
const asciiAdjust =
  (subtract: boolean): Semantics =>
  (e) => {
    const ax = e.gpr(GPR.RAX, 2)
    const adjust = lowDigitAdjust(e, ax)
    const amount = e.let(select(adjust, i64.const(0x106), i64.const(0)))
    const sum = e.let(subtract ? i64.sub(ax, amount) : i64.add(ax, amount))
    e.setGpr(GPR.RAX, i64.and(sum, i64.const(0xff0f)), 2)
    if (subtract) e.flagsSub(1, ax, amount, sum)
    else e.flagsAdd(1, ax, amount, sum)
    e.setFlags({ cf: adjust, af: adjust })
  }

const aam: Semantics = (e) => {
  const al = e.gpr(GPR.RAX, 1)
  const base = e.let(i64.extend_i32_u(e.immediateByte()))
  e.raiseIf(i64.eqz(base), VECTOR.DE)
  const digit = e.let(i64.rem_u(al, base))
  e.setGpr(GPR.RAX, i64.or(i64.shl(i64.div_u(al, base), i64.const(8)), digit), 2)
  e.flagsLogic(1, digit)
}
const aad: Semantics = (e) => {
  const al = e.gpr(GPR.RAX, 1)
  const product = e.let(i64.mul(e.highByte(GPR.RAX), i64.extend_i32_u(e.immediateByte())))
  const sum = e.let(zeroExtend(i64.add(al, product), 1))
  e.setGpr(GPR.RAX, sum, 2)
  e.flagsAdd(1, al, product, sum)
}

export const ARITHMETIC: readonly InstructionDefinition[] = [
  ...binaryForms('ADD', 0x00, add, true),
  ...binaryForms('ADC', 0x10, adc, true),
  ...binaryForms('SBB', 0x18, sbb, true),
  ...binaryForms('SUB', 0x28, sub, true),
  ...binaryForms('CMP', 0x38, cmp, false),
  instruction('INC', '40+r', 'Zv', inc, { mode: 'legacy' }),
  instruction('DEC', '48+r', 'Zv', dec, { mode: 'legacy' }),
  instruction('NEG', 'F6 /3', 'Eb', neg, { lock: true }),
  instruction('NEG', 'F7 /3', 'Ev', neg, { lock: true }),
  instruction('INC', 'FE /0', 'Eb', inc, { lock: true }),
  instruction('DEC', 'FE /1', 'Eb', dec, { lock: true }),
  instruction('INC', 'FF /0', 'Ev', inc, { lock: true }),
  instruction('DEC', 'FF /1', 'Ev', dec, { lock: true }),
  instruction('CMPXCHG', '0F B0 /r', 'Eb Gb', cmpxchg, { lock: true }),
  instruction('CMPXCHG', '0F B1 /r', 'Ev Gv', cmpxchg, { lock: true }),
  instruction('CMPXCHG8B', '0F C7 /1', 'M', cmpxchgPair, { lock: true }),
  instruction('XADD', '0F C0 /r', 'Eb Gb', xadd, { lock: true }),
  instruction('XADD', '0F C1 /r', 'Ev Gv', xadd, { lock: true }),
  instruction('ADCX', '66 0F 38 F6 /r', 'Gy Ey', addWith('cf')),
  instruction('ADOX', 'F3 0F 38 F6 /r', 'Gy Ey', addWith('of')),
  instruction('DAA', '27', '', decimalAdjust(false), { mode: 'legacy' }),
  instruction('DAS', '2F', '', decimalAdjust(true), { mode: 'legacy' }),
  instruction('AAA', '37', '', asciiAdjust(false), { mode: 'legacy' }),
  instruction('AAS', '3F', '', asciiAdjust(true), { mode: 'legacy' }),
  instruction('AAM', 'D4 ib', 'Ib', aam, { mode: 'legacy' }),
  instruction('AAD', 'D5 ib', 'Ib', aad, { mode: 'legacy' }),
]
