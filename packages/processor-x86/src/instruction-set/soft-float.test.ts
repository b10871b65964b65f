// What the recorded vectors do not say about soft-float.ts: agreement of its two ways with each other and with JavaScript's own arithmetic on long random
// runs, order between rounding modes, and the exception that is raised when CR4.OSXMMEXCPT is clear.

import { beforeAll, describe, expect, test } from 'vitest'
import type { HelperContext, HelperFunction } from '../instruction/helper.ts'
import { STATE } from '../state-layout.ts'
import type { FunctionReference } from '../wasm/function-emitter.ts'
import { ModuleBuilder } from '../wasm/module-builder.ts'
import { SOFT_ADD, SOFT_DIVIDE, SOFT_MULTIPLY, SOFT_SQRT, SOFT_SUBTRACT } from './soft-arithmetic.ts'
import { begin, end, type FormatName, MXCSR, RAISED } from './soft-float.ts'

const BASE = 1024
const OPERATIONS = ['add', 'sub', 'mul', 'div', 'sqrt'] as const
type Operation = (typeof OPERATIONS)[number]
const BINARY = { add: SOFT_ADD, sub: SOFT_SUBTRACT, mul: SOFT_MULTIPLY, div: SOFT_DIVIDE } as const
type Compiled = (a: bigint, b: bigint) => bigint

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 })
const state = new DataView(memory.buffer)
const compiled = new Map<string, Compiled>()

/** All operations, each in the frame of an instruction, as exports. */
beforeAll(async () => {
  const module = new ModuleBuilder({ initial: 1, maximum: 1, shared: false })
  const helpers = new Map<HelperFunction, FunctionReference>()
  const context: HelperContext = { state: (field) => BASE + field, helper: (h) => helper(h) }
  const helper = (h: HelperFunction): FunctionReference => {
    let reference = helpers.get(h)
    if (!reference) {
      reference = module.declare(h.name, h.params, h.result)
      helpers.set(h, reference)
      module.define(reference, (e) => {
        h.body(
          e,
          h.params.map((_, i) => e.get(e.parameter(i))),
          context,
        )
        if (h.result !== 'void') e.unreachable()
      })
    }
    return reference
  }
  for (const format of ['f32', 'f64'] as const) {
    for (const operation of OPERATIONS) {
      const reference = module.function(`${operation}.${format}`, ['i64', 'i64'], 'i64', (e) => {
        begin(e, context)
        const a = e.get(e.parameter(0))
        const b = e.get(e.parameter(1))
        const value = e.let(
          operation === 'sqrt' ? e.call(helper(SOFT_SQRT[format]), a) : e.call(helper(BINARY[operation][format]), a, b),
        )
        end(e, context)
        e.return(value)
      })
      module.export(reference)
    }
  }
  const table = new WebAssembly.Table({ initial: 0, element: 'anyfunc' })
  const { instance } = await WebAssembly.instantiate(module.build(), { env: { memory, table } })
  for (const [name, f] of Object.entries(instance.exports)) compiled.set(name, f as Compiled)
})

const view = new DataView(new ArrayBuffer(8))
const BITS: Readonly<Record<FormatName, { of: (value: number) => bigint; from: (bits: bigint) => number }>> = {
  f32: {
    of: (value) => {
      view.setFloat32(0, value)
      return BigInt(view.getUint32(0))
    },
    from: (bits) => {
      view.setUint32(0, Number(bits))
      return view.getFloat32(0)
    },
  },
  f64: {
    of: (value) => {
      view.setFloat64(0, value)
      return view.getBigUint64(0)
    },
    from: (bits) => {
      view.setBigUint64(0, BigInt.asUintN(64, bits))
      return view.getFloat64(0)
    },
  },
}
const LEAST_NORMAL = { f32: 2 ** -126, f64: 2 ** -1022 } as const

/** Result and MXCSR afterwards. */
function compute(
  format: FormatName,
  operation: Operation,
  mxcsr: number,
  a: number,
  b: number,
): { value: number; bits: bigint; mxcsr: number } {
  state.setInt32(BASE + STATE.MXCSR, mxcsr, true)
  const bits = (compiled.get(`${operation}.${format}`) as Compiled)(BITS[format].of(a), BITS[format].of(b))
  return {
    value: BITS[format].from(bits),
    bits: BigInt.asUintN(64, bits),
    mxcsr: state.getInt32(BASE + STATE.MXCSR, true),
  }
}
function expected(format: FormatName, operation: Operation, a: number, b: number): number {
  const value = { add: a + b, sub: a - b, mul: a * b, div: a / b, sqrt: Math.sqrt(a) }[operation]
  // rounding a double to single once more is harmless for these five operations
  return format === 'f32' ? Math.fround(value) : value
}

/** Reproducible numbers of many magnitudes, short and long significands, zeros. */
function* numbers(format: FormatName, count: number): Generator<[number, number]> {
  let seed = 0x2545f491
  const next = (): number => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return seed >>> 0
  }
  const single = (value: number): number => (format === 'f32' ? Math.fround(value) : value)
  const one = (): number => {
    const kind = next() & 7
    if (kind === 0) return next() & 1 ? 0 : -0
    if (kind === 1) return single((next() | 0) >> (next() & 31))
    const spread = kind === 2 ? (format === 'f32' ? 120 : 1000) : 20
    const fraction = 1 + (next() + next() / 2 ** 32) / 2 ** 32
    const significand = kind < 5 ? fraction : Math.fround(fraction)
    const value = (next() & 1 ? -1 : 1) * significand * 2 ** ((next() % (2 * spread)) - spread)
    return single(value)
  }
  for (let i = 0; i < count; i++) yield [one(), one()]
}

const MASKED = 0x1f80
// With FTZ the operations cannot use WebAssembly's arithmetic; where nothing is tiny it changes nothing.
const LONG_WAY = MASKED | MXCSR.FTZ
const DOWN = MASKED | 0x2000
const UP = MASKED | 0x4000
const ZERO = MASKED | 0x6000

describe.each(['f32', 'f64'] as const)('%s', (format) => {
  test.each(OPERATIONS)('%s gives what IEEE 754 says, both ways, and the same exceptions', (operation) => {
    let normal = 0
    for (const [a, b] of numbers(format, 12_000)) {
      const want = expected(format, operation, a, b)
      const short = compute(format, operation, MASKED, a, b)
      if (Number.isNaN(want)) {
        expect(short.mxcsr & 0x3f).toBe(MXCSR.IE)
        continue
      }
      expect(Object.is(short.value, want), `${a} ${operation} ${b}: ${short.value}, not ${want}`).toBe(true)
      if (want !== 0 && Math.abs(want) <= LEAST_NORMAL[format]) continue
      if (want === 0 && operation !== 'add' && operation !== 'sub' && a !== 0 && operation !== 'sqrt' && b !== 0)
        continue
      normal++
      const long = compute(format, operation, LONG_WAY, a, b)
      expect(long.bits, `${a} ${operation} ${b}`).toBe(short.bits)
      expect(long.mxcsr & 0x3f, `exceptions of ${a} ${operation} ${b}`).toBe(short.mxcsr & 0x3f)
    }
    expect(normal).toBeGreaterThan(5_000)
  })

  test.each(OPERATIONS)('%s rounds down, up and toward zero around the exact value', (operation) => {
    for (const [a, b] of numbers(format, 3_000)) {
      const nearest = compute(format, operation, MASKED, a, b)
      if (!Number.isFinite(nearest.value) || (nearest.mxcsr & (MXCSR.UE | MXCSR.OE)) !== 0) continue
      const down = compute(format, operation, DOWN, a, b)
      const up = compute(format, operation, UP, a, b)
      const zero = compute(format, operation, ZERO, a, b)
      const inexact = (nearest.mxcsr & MXCSR.PE) !== 0
      expect(down.mxcsr & MXCSR.PE).toBe(inexact ? MXCSR.PE : 0)
      if (!inexact) {
        expect(
          [down.value, up.value].every((value) => value === nearest.value),
          `${a} ${operation} ${b} is exact`,
        ).toBe(true)
        continue
      }
      const text = `${a} ${operation} ${b}: ${down.value} ${nearest.value} ${up.value}`
      // neighbours, one of which is the nearest; magnitudes of neighbours differ by 1 as integers
      const step = BigInt.asIntN(64, up.bits - down.bits)
      expect(step === 1n || step === -1n || down.value < 0 !== up.value < 0, text).toBe(true)
      expect(down.value < up.value, text).toBe(true)
      expect(nearest.bits === down.bits || nearest.bits === up.bits, text).toBe(true)
      expect(zero.bits, text).toBe(nearest.value < 0 || Object.is(nearest.value, -0) ? up.bits : down.bits)
    }
  })
})

test('a sum that cancels is +0, and −0 when rounding down', () => {
  expect(compute('f64', 'sub', MASKED, 1.5, 1.5).bits).toBe(0n)
  expect(compute('f64', 'sub', DOWN, 1.5, 1.5).bits).toBe(1n << 63n)
})

describe('exceptions that are not masked', () => {
  const raised = (): { vector: number } | null =>
    state.getInt32(BASE + RAISED, true) ? { vector: state.getInt32(BASE + STATE.FAULT_VECTOR, true) } : null

  test('are #XM with CR4.OSXMMEXCPT, #UD without', () => {
    const divideUnmasked = MASKED & ~MXCSR.ZM
    state.setBigUint64(BASE + STATE.CR4, 0x400n, true)
    expect(compute('f64', 'div', divideUnmasked, 1, 0).mxcsr).toBe(divideUnmasked | MXCSR.ZE)
    expect(raised()).toEqual({ vector: 19 })
    state.setBigUint64(BASE + STATE.CR4, 0n, true)
    compute('f64', 'div', divideUnmasked, 1, 0)
    expect(raised()).toEqual({ vector: 6 })
  })
  test('are not raised by flags that were set before', () => {
    compute('f64', 'div', (MASKED & ~MXCSR.ZM) | MXCSR.ZE, 1, 4)
    expect(raised()).toBeNull()
  })
  test('underflow counts when tiny, exact or not', () => {
    const exact = compute('f64', 'mul', MASKED, 2 ** -1000, 2 ** -60)
    expect(exact.mxcsr & 0x3f).toBe(0)
    expect(compute('f64', 'mul', MASKED & ~MXCSR.UM, 2 ** -1000, 2 ** -60).mxcsr & 0x3f).toBe(MXCSR.UE)
    expect(raised()).not.toBeNull()
    expect(compute('f64', 'mul', LONG_WAY, 2 ** -1000, 2 ** -60)).toMatchObject({
      value: 0,
      mxcsr: LONG_WAY | MXCSR.UE | MXCSR.PE,
    })
  })
})
