import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { differences } from './compare.ts'
import { type FormVectors, Requests, VectorReader, VectorWriter } from './format.ts'
import { allForms } from './forms/index.ts'
import {
  AC,
  AF,
  AT_CODE,
  AT_FCW,
  AT_FSW,
  AT_GPR,
  AT_MXCSR,
  AT_RFLAGS,
  AT_RIP,
  AT_ST,
  AT_TRAP,
  AT_WINDOW,
  AT_XMM,
  CF,
  NO_EXCEPTION,
  OF,
  PF,
  RECORD_SIZE,
  SF,
  STATUS,
  WINDOW_BASE,
  WINDOW_SIZE,
  ZF,
} from './layout.ts'
import { measure, NativeProcessor } from './native.node.ts'
import { hashName, Random } from './random.ts'
import { type Machine, type MachineState, replay, summary } from './replay.ts'
import { ignored } from './undefined.ts'

const SAMPLE = join(import.meta.dirname, '..', '..', '..', 'packages', 'processor-x86', 'vectors', 'sample.vectors.gz')
const sample = new VectorReader(gunzipSync(readFileSync(SAMPLE)))
const forms = allForms()

/** Calls back with the vectors of some forms of the sample. */
function each(name: (form: FormVectors) => boolean, f: (a: DataView, e: DataView, form: FormVectors) => void): number {
  let n = 0
  sample.visit((form, _index, request, expected) => {
    n++
    f(new DataView(request.buffer), new DataView(expected.buffer), form)
  }, name)
  return n
}

describe('forms', () => {
  test('are at least 1,000 with names of their own and codes that fit', () => {
    expect(forms.length).toBeGreaterThan(1000)
    expect(new Set(forms.map((form) => form.name)).size).toBe(forms.length)
    for (const form of forms) expect(form.recipe.code.length, form.name).toBeLessThanOrEqual(16)
  })

  test('name rules that exist', () => {
    for (const form of forms) {
      const requests = new Requests(form, 7)
      requests.next()
      expect(() => ignored(form.undefined, requests.view, form.recipe), form.name).not.toThrow()
    }
    expect(() => ignored(['nonsense'], new DataView(new ArrayBuffer(RECORD_SIZE)), forms[0]!.recipe)).toThrow(
      'nonsense',
    )
  })

  test('get the same inputs from the same seed and others from another', () => {
    const inputs = (seed: number): number[] =>
      forms.slice(0, 20).map((form) => {
        const requests = new Requests(form, seed)
        for (let i = 0; i < 3; i++) requests.next()
        return requests.sum
      })
    expect(inputs(5)).toEqual(inputs(5))
    expect(inputs(5)).not.toEqual(inputs(6))
  })

  test('leave reserved bits of the inputs alone', () => {
    for (const form of forms.filter((_, i) => i % 7 === 0)) {
      const requests = new Requests(form, 3)
      for (let i = 0; i < 4; i++) {
        requests.next()
        const { view } = requests
        expect(view.getUint32(AT_RFLAGS, true) & ~(STATUS | 0x702 | AC), form.name).toBe(0)
        expect(view.getUint32(AT_MXCSR, true) >>> 16, form.name).toBe(0)
        expect(view.getUint16(AT_FCW, true) & 0xe0c0, form.name).toBe(0x40)
      }
    }
  })
})

describe('the sample', () => {
  test('covers the forms with several vectors each', () => {
    expect(sample.forms.length).toBeGreaterThan(1000)
    for (const form of sample.forms) expect(form.count).toBeGreaterThanOrEqual(4)
    const known = new Set(sample.forms.map((form) => form.name))
    expect(forms.filter((form) => !known.has(form.name)).map((form) => form.name)).toEqual([])
  })

  test('holds what ADD and SUB of 64 bits compute', () => {
    const mask = (1n << 64n) - 1n
    const n = each(
      (form) => form.name === 'ADD64 rm,r: rcx,rdx' || form.name === 'SUB64 rm,r: rcx,rdx',
      (a, e, form) => {
        const x = a.getBigUint64(AT_GPR + 8, true)
        const y = a.getBigUint64(AT_GPR + 16, true)
        const add = form.name.startsWith('ADD')
        const wide = add ? x + y : x - y
        const r = wide & mask
        expect(e.getBigUint64(AT_GPR + 8, true)).toBe(r)
        let flags = wide !== r ? CF : 0
        if (r === 0n) flags |= ZF
        if (r >> 63n) flags |= SF
        if ((x ^ y ^ r) & 16n) flags |= AF
        if ((add ? (x ^ r) & (y ^ r) : (x ^ y) & (x ^ r)) >> 63n) flags |= OF
        let parity = Number(r & 255n)
        parity ^= parity >> 4
        parity ^= parity >> 2
        if (!((parity ^ (parity >> 1)) & 1)) flags |= PF
        expect(e.getUint32(AT_RFLAGS, true) & STATUS).toBe(flags)
        expect(e.getUint32(AT_TRAP, true)).toBe(NO_EXCEPTION)
        expect(e.getBigUint64(AT_RIP, true)).toBe(a.getBigUint64(AT_RIP, true) + 3n)
      },
    )
    expect(n).toBeGreaterThanOrEqual(8)
  })

  test('holds what DIV of 64 bits computes, and its divide errors', () => {
    let errors = 0
    each(
      (form) => form.name === 'DIV64 r15' || form.name === 'DIV64 rdx small',
      (a, e, form) => {
        const d = a.getBigUint64(AT_GPR + (form.name === 'DIV64 r15' ? 15 : 2) * 8, true)
        const n = (a.getBigUint64(AT_GPR + 16, true) << 64n) | a.getBigUint64(AT_GPR, true)
        if (d === 0n || (n / d) >> 64n) {
          errors++
          expect(e.getUint32(AT_TRAP, true)).toBe(0)
          expect(e.getBigUint64(AT_RIP, true)).toBe(a.getBigUint64(AT_RIP, true))
        } else {
          expect(e.getBigUint64(AT_GPR, true)).toBe(n / d)
          expect(e.getBigUint64(AT_GPR + 16, true)).toBe(n % d)
        }
      },
    )
    expect(errors).toBeGreaterThan(0)
  })

  test('holds what MULSD computes where nothing is special', () => {
    let plain = 0
    each(
      (form) => form.name === 'MULSD xmm1,xmm2',
      (a, e) => {
        const r = a.getFloat64(AT_XMM + 16, true) * a.getFloat64(AT_XMM + 32, true)
        if (!Number.isFinite(r)) return
        plain++
        expect(e.getFloat64(AT_XMM + 16, true)).toBe(r)
      },
    )
    expect(plain).toBeGreaterThan(0)
  })

  test('holds stores through every kind of address', () => {
    const n = each(
      (form) =>
        form.name.startsWith('MOV64 rm,r: ') && !/read-only|unmapped|canonical|edge|\[rsp\]|,r9$/.test(form.name),
      (a, e) => {
        const stored = a.getBigUint64(AT_GPR + 16, true)
        let found = false
        for (let i = 0; i <= WINDOW_SIZE - 8; i++) found ||= e.getBigUint64(AT_WINDOW + i, true) === stored
        expect(found).toBe(true)
      },
    )
    expect(n).toBeGreaterThanOrEqual(14 * 4)
  })
})

describe('the format', () => {
  test('gives back any result', () => {
    const random = new Random(hashName('format'))
    const writer = new VectorWriter()
    const results: Uint8Array[] = []
    const chosen = forms.filter((_, i) => i % 101 === 0)
    for (const form of chosen) {
      const requests = new Requests(form, 9)
      for (let i = 0; i < 5; i++) {
        requests.next()
        const result = requests.record.slice()
        const view = new DataView(result.buffer)
        for (let k = random.below(12); k > 0; k--)
          result[random.pick([AT_GPR, AT_XMM, AT_WINDOW]) + random.below(128)] = random.below(256)
        for (let k = 0; k < 8; k++) if (random.once(3)) random.bytes(view, AT_ST + k * 16, 10)
        view.setUint16(AT_FSW, random.below(0x10000), true)
        if (random.once(2)) view.setUint16(AT_MXCSR, random.below(0x10000), true)
        if (random.once(2)) view.setUint32(AT_RFLAGS, random.u32(), true)
        view.setUint32(AT_TRAP, random.pick([NO_EXCEPTION, 0, 6, 13, 14]), true)
        const vector = view.getUint32(AT_TRAP, true)
        view.setUint32(AT_TRAP + 4, vector === NO_EXCEPTION ? 0 : random.below(0x10000), true)
        view.setBigUint64(AT_TRAP + 8, vector === 14 ? random.u64() : 0n, true)
        view.setBigUint64(AT_RIP, random.u64(), true)
        writer.add(requests.record, result)
        results.push(result)
      }
      writer.form(form, 5, 9, requests.sum)
    }
    const reader = new VectorReader(writer.finish())
    let n = 0
    reader.visit((_form, _index, _request, expected) => expect(expected).toEqual(results[n++]))
    expect(n).toBe(results.length)
  })

  test('refuses other files and inputs that are no longer the same', () => {
    expect(() => new VectorReader(new Uint8Array(20))).toThrow('not a vector file')
    const writer = new VectorWriter()
    const requests = new Requests(forms[0]!, 1)
    requests.next()
    writer.add(requests.record, requests.record)
    writer.form(forms[0]!, 1, 1, requests.sum ^ 1)
    expect(() => new VectorReader(writer.finish()).visit(() => {})).toThrow('generate')
  })
})

describe('comparison', () => {
  const requests = new Requests({ ...forms[0]!, undefined: ['af'] }, 1)
  requests.next()
  const expected = requests.record.slice()
  new DataView(expected.buffer).setUint32(AT_TRAP, NO_EXCEPTION, true)
  const change = (rules: string[], f: (v: DataView) => void): string[] | null => {
    const actual = expected.slice()
    f(new DataView(actual.buffer))
    return differences(
      { ...forms[0]!, undefined: rules, count: 1, seed: 1, inputs: 0, length: 0 },
      requests.record,
      expected,
      actual,
    )
  }

  test('sees each part of the state', () => {
    expect(change([], () => {})).toBeNull()
    for (const at of [
      AT_GPR + 3,
      AT_GPR + 127,
      AT_RIP,
      AT_RFLAGS,
      AT_TRAP,
      AT_FCW,
      AT_FSW,
      AT_FSW + 2,
      AT_MXCSR,
      AT_ST + 9,
      AT_ST + 112,
      AT_XMM,
      AT_XMM + 255,
      AT_WINDOW,
      RECORD_SIZE - 1,
    ])
      expect(
        change([], (v) => v.setUint8(at, v.getUint8(at) ^ 1)),
        String(at),
      ).toHaveLength(1)
    expect(AT_CODE).toBe(160)
  })

  test('passes over what is undefined, and no more', () => {
    const flip = (bit: number) => (v: DataView) => v.setUint32(AT_RFLAGS, v.getUint32(AT_RFLAGS, true) ^ bit, true)
    expect(change(['af'], flip(AF))).toBeNull()
    expect(change(['af'], flip(AF | CF))).toHaveLength(1)
    expect(change(['shift:8:one'], flip(AF))).toBeNull()
    expect(change(['shift:8:one'], flip(OF))).toHaveLength(1)
    expect(change(['memory:4,2'], (v) => v.setUint16(AT_WINDOW + 4, ~v.getUint16(AT_WINDOW + 4)))).toBeNull()
    expect(change(['memory:4,2'], (v) => v.setUint8(AT_WINDOW + 6, ~v.getUint8(AT_WINDOW + 6)))).toHaveLength(1)
  })

  test('allows one unit in the last place where it is to', () => {
    const step = (by: bigint) => (v: DataView) => v.setBigUint64(AT_ST, v.getBigUint64(AT_ST, true) + by, true)
    const even = expected.slice()
    new DataView(even.buffer).setBigUint64(AT_ST, 0x8000_0000_0000_1000n, true)
    expected.set(even)
    expect(change(['transcendental'], step(1n))).toBeNull()
    expect(change(['transcendental'], step(-1n))).toBeNull()
    expect(change(['transcendental'], step(2n))).toHaveLength(1)
    expect(change([], step(1n))).toHaveLength(1)
  })
})

describe('replay', () => {
  /** A machine that answers with the results that were measured, but for what `spoil` does. */
  class Echo implements Machine {
    readonly #answers: Uint8Array[] = []
    readonly #memory = new Map<bigint, Uint8Array>()
    #state: MachineState | undefined
    spoil = false

    constructor(wanted: (form: FormVectors) => boolean) {
      sample.visit((_form, _index, _request, expected) => void this.#answers.push(expected.slice()), wanted)
    }

    map(): void {}

    writeMemory(linear: bigint, bytes: Uint8Array): void {
      this.#memory.set(linear, bytes.slice())
    }

    readMemory(linear: bigint): Uint8Array {
      return this.#memory.get(linear)!
    }

    set(state: MachineState): void {
      this.#state = state
    }

    get(): MachineState {
      return this.#state!
    }

    step(): ReturnType<Machine['step']> {
      const e = this.#answers.shift()!
      const v = new DataView(e.buffer)
      const state = this.#state!
      for (let i = 0; i < 16; i++) state.gpr[i] = v.getBigUint64(AT_GPR + i * 8, true)
      state.rip = v.getBigUint64(AT_RIP, true)
      state.rflags = v.getBigUint64(AT_RFLAGS, true) ^ (this.spoil ? 1n : 0n)
      state.xmm = e.slice(AT_XMM, AT_XMM + 256)
      state.x87 = e.slice(AT_FCW, AT_FCW + 160)
      state.mxcsr = v.getUint32(AT_MXCSR, true)
      for (const base of Object.values(WINDOW_BASE))
        if (this.#memory.has(base)) this.#memory.set(base, e.slice(AT_WINDOW))
      const vector = v.getUint32(AT_TRAP, true)
      if (vector === NO_EXCEPTION) return { exception: null }
      return { exception: vector, errorCode: v.getUint32(AT_TRAP + 4, true), cr2: v.getBigUint64(AT_TRAP + 8, true) }
    }
  }

  test('finds no fault in a machine that answers right, and each in one that does not', () => {
    const wanted = (form: FormVectors): boolean =>
      form.family === 'arithmetic' || form.family === 'state' || form.family === 'exceptions'
    const right = replay(sample, new Echo(wanted), { wanted })
    expect(summary(right).split('\n').slice(5)).toEqual([])
    expect(right.vectors).toBeGreaterThan(1000)
    const few = (form: FormVectors): boolean => form.name.startsWith('ADD64 rm,r')
    const echo = new Echo(few)
    echo.spoil = true
    const wrong = replay(sample, echo, { wanted: few })
    expect(wrong.wrong).toBe(wrong.vectors)
    expect(summary(wrong)).toContain('rflags')
  })
})

const native =
  process.arch === 'x64' &&
  process.platform === 'linux' &&
  ['/usr/bin/gcc', '/usr/local/bin/gcc'].some((p) => existsSync(p))

describe.skipIf(!native)('this machine', () => {
  test('gives the same results twice', () => {
    using processor = new NativeProcessor()
    const some = forms.filter((_, i) => i % 97 === 0)
    expect(Buffer.compare(measure(processor, some, 8, 11), measure(processor, some, 8, 11))).toBe(0)
  })
})
