// Repeated string instructions over several pages, overlapping, in both directions and into pages that are not mapped, against a model that works by elements.

import { beforeAll, describe, expect, test } from 'vitest'
import { GPR } from '../state-layout.ts'
import { type MachineState, SingleStepMachine } from '../testing/single-step.ts'

const CODE = 0x400000n
const MEMORY = 0x10000000n
const PAGES = 6
const LENGTH = PAGES * 4096
const STATUS = 0x8d5
const DF = 0x400
/** Opcodes for bytes; the other sizes have the next one. */
const OPCODES = { MOVS: 0xa4, CMPS: 0xa6, STOS: 0xaa, LODS: 0xac, SCAS: 0xae } as const
type Operation = keyof typeof OPCODES

interface Case {
  readonly operation: Operation
  readonly size: number
  readonly repeat: number
  readonly backward: boolean
  readonly rcx: number
  /** Offsets in the memory. */
  readonly rsi: number
  readonly rdi: number
  readonly rax: bigint
}
interface Outcome {
  rcx: number
  rsi: number
  rdi: number
  rax: bigint
  flags: number
  fault: boolean
}

/** CF PF AF ZF SF OF of a - b. */
function compare(a: bigint, b: bigint, size: number): number {
  const sign = BigInt(size * 8 - 1)
  const r = BigInt.asUintN(size * 8, a - b)
  let ones = 0
  for (let bit = 0n; bit < 8n; bit++) ones += Number((r >> bit) & 1n)
  return (
    (a < b ? 1 : 0) |
    (ones % 2 === 0 ? 4 : 0) |
    Number((a ^ b ^ r) & 16n) |
    (r === 0n ? 0x40 : 0) |
    ((r >> sign) & 1n ? 0x80 : 0) |
    ((((a ^ b) & (a ^ r)) >> sign) & 1n ? 0x800 : 0)
  )
}

/** What the SDM's pseudocode does, on an array. */
function model(memory: Uint8Array, c: Case, flags: number): Outcome {
  const { operation, size } = c
  const out: Outcome = { rcx: c.rcx, rsi: c.rsi, rdi: c.rdi, rax: c.rax, flags, fault: false }
  const step = c.backward ? -size : size
  const read = (at: number): bigint => {
    let value = 0n
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(memory[at + i] as number)
    return value
  }
  const outside = (at: number): boolean => at < 0 || at + size > LENGTH
  const usesSource = operation === 'MOVS' || operation === 'LODS' || operation === 'CMPS'
  const usesDestination = operation !== 'LODS'
  while (out.rcx > 0) {
    if ((usesSource && outside(out.rsi)) || (usesDestination && outside(out.rdi))) {
      out.fault = true
      break
    }
    let ended = false
    if (operation === 'MOVS') memory.set(memory.slice(out.rsi, out.rsi + size), out.rdi)
    else if (operation === 'STOS')
      for (let i = 0; i < size; i++) memory[out.rdi + i] = Number((out.rax >> BigInt(i * 8)) & 0xffn)
    else if (operation === 'LODS') {
      const bits = BigInt(size * 8)
      out.rax = size >= 4 ? read(out.rsi) : ((out.rax >> bits) << bits) | read(out.rsi)
    } else {
      const a = operation === 'CMPS' ? read(out.rsi) : BigInt.asUintN(size * 8, out.rax)
      out.flags = compare(a, read(out.rdi), size)
      ended = c.repeat === 0xf3 ? (out.flags & 0x40) === 0 : (out.flags & 0x40) !== 0
    }
    if (usesSource) out.rsi += step
    if (usesDestination) out.rdi += step
    out.rcx--
    if (ended) break
  }
  return out
}

/** A reproducible generator (xorshift32). */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

let machine: SingleStepMachine
beforeAll(async () => {
  machine = await SingleStepMachine.create()
  machine.map(CODE, 4096, { write: false, execute: true })
  // frames in another order than the pages
  for (const page of [3, 0, 5, 1, 4, 2])
    machine.map(MEMORY + BigInt(page * 4096), 4096, { write: true, execute: false })
})

function play(c: Case, memory: Uint8Array, flags: number): { outcome: Outcome; memory: Uint8Array } {
  const code = [
    ...(c.size === 2 ? [0x66] : []),
    c.repeat,
    ...(c.size === 8 ? [0x48] : []),
    OPCODES[c.operation] + (c.size === 1 ? 0 : 1),
  ]
  machine.writeMemory(CODE, new Uint8Array(code))
  machine.writeMemory(MEMORY, memory)
  const state: MachineState = {
    gpr: new BigUint64Array(16),
    rip: CODE,
    rflags: BigInt(0x202 | flags | (c.backward ? DF : 0)),
    xmm: new Uint8Array(256),
    mxcsr: 0x1f80,
    x87: new Uint8Array(160),
    fsBase: 0n,
    gsBase: 0n,
  }
  state.gpr[GPR.RAX] = c.rax
  state.gpr[GPR.RCX] = BigInt(c.rcx)
  state.gpr[GPR.RSI] = MEMORY + BigInt(c.rsi)
  state.gpr[GPR.RDI] = MEMORY + BigInt(c.rdi)
  machine.set(state)
  let result = machine.step()
  let after = machine.get()
  // bounded work: an execution may leave the rest to the next
  for (let n = 0; result.exception === null && after.rip === CODE && n < 100; n++) {
    result = machine.step()
    after = machine.get()
  }
  const offset = (register: number): number => Number(BigInt.asIntN(64, (after.gpr[register] as bigint) - MEMORY))
  return {
    outcome: {
      rcx: Number(after.gpr[GPR.RCX]),
      rsi: offset(GPR.RSI),
      rdi: offset(GPR.RDI),
      rax: after.gpr[GPR.RAX] as bigint,
      flags: Number(after.rflags) & STATUS,
      fault: result.exception === 14,
    },
    memory: machine.readMemory(MEMORY, LENGTH),
  }
}

describe('repeated string instructions', () => {
  test.each(Object.keys(OPCODES) as Operation[])('%s', (operation) => {
    const random = generator(0x2545f491 + OPCODES[operation])
    for (let round = 0; round < 60; round++) {
      const size = [1, 2, 4, 8][random(4)] as number
      const memory = new Uint8Array(LENGTH)
      // all different, all equal, or nearly all equal, so that comparisons stop early, never, or late
      const kind = random(3)
      const common = random(256)
      for (let i = 0; i < LENGTH; i++)
        memory[i] = kind === 0 || (kind === 2 && random(2000) === 0) ? random(256) : common
      const rsi = random(LENGTH - 8)
      const near = Math.min(LENGTH - 8, Math.max(0, rsi + random(80) - 40))
      let rax = BigInt.asUintN(64, BigInt(common) * 0x0101010101010101n)
      if (random(2)) rax ^= 1n
      const c: Case = {
        operation,
        size,
        repeat: random(2) ? 0xf3 : 0xf2,
        backward: random(3) === 0,
        rcx: [random(4), random(40), random(600), random(6000), random(30000)][random(5)] as number,
        rsi,
        rdi: random(3) ? random(LENGTH - 8) : near,
        rax,
      }
      const flags = random(2) ? STATUS : 0
      const expected = memory.slice()
      const outcome = model(expected, c, flags)
      const got = play(c, memory, flags)
      const about = `round ${round}: ${JSON.stringify(c, (_, v: unknown) => (typeof v === 'bigint' ? v.toString(16) : v))}`
      expect(got.outcome, about).toEqual(outcome)
      expect(Buffer.compare(got.memory, expected), about).toBe(0)
    }
  })
})
