// What integer instructions do outside 64-bit mode, in real-address mode: decimal arithmetic, 16-bit stacks, addresses and branch targets, segment limits.
// Expected values are from the SDM's pseudocode; decimal arithmetic, PUSHA, ENTER and the string forms were also compared with hardware in 32-bit mode.

import type { Clock, Intercepts } from '@partita/interface'
import { silentLogger } from '@partita/interface'
import { beforeEach, describe, expect, test } from 'vitest'
import { SoftwareMemory } from '../memory.ts'
import { GPR, SEGMENT, STATE } from '../state-layout.ts'
import { SoftwareVirtualProcessor } from '../virtual-processor.ts'

const CF = 1
const PF = 4
const AF = 0x10
const ZF = 0x40
const SF = 0x80
const OF = 0x800
const RAM = 4 * 1024 * 1024
/** Segment bases. */
const CODE = 0x10000
const DATA = 0x20000
const EXTRA = 0x40000
const STACK = 0x60000
/** Exception handlers, in segment 0. */
const HANDLERS = 0x7000

const clock: Clock = {
  now: () => 0,
  wallTime: () => 0,
  createTimer: () => ({ arm() {}, cancel() {}, deadline: Number.POSITIVE_INFINITY }),
}
const intercepts: Intercepts = {
  portRead: () => 0xffffffff,
  portWrite() {},
  mmioRead: () => 0xffffffff,
  mmioWrite() {},
  cpuid() {},
  msrRead: () => false,
  msrWrite: () => false,
  hypercall: () => false,
  acknowledgeInterrupt: () => 0,
  endOfInterrupt() {},
  sendInterrupt() {},
}

const memory = new SoftwareMemory(RAM)
memory.map(0, RAM / 4096, memory.ramOffset, 7)
const vp = new SoftwareVirtualProcessor({ index: 0, apicId: 0, memory, intercepts, clock, logger: silentLogger })
const { cpu } = vp
const ram = new DataView(memory.buffer, memory.ramOffset, RAM)

function segment(name: 'cs' | 'ds' | 'es' | 'ss', base: number, limit = 0xffff): void {
  vp.setSegment(name, { selector: base >> 4, base: BigInt(base), limit, attributes: name === 'cs' ? 0x9b : 0x93 })
}
const register = (r: number): number => Number(cpu.gpr(r) & 0xffffffffn)
const set = (r: number, value: number): void => cpu.setGpr(r, BigInt(value >>> 0))
const ip = (): number => Number(cpu.get64(STATE.RIP))
const flags = (): number => cpu.flags & (CF | PF | AF | ZF | SF | OF)

beforeEach(() => {
  for (let vector = 0; vector < 256; vector++) ram.setUint32(vector * 4, HANDLERS + vector, true)
  for (let at = DATA; at < STACK + 0x10000; at += 8) ram.setBigUint64(at, 0n, true)
  segment('cs', CODE)
  segment('ds', DATA)
  segment('es', EXTRA)
  segment('ss', STACK)
  cpu.updateMode()
  for (let r = 0; r < 8; r++) set(r, 0)
  set(GPR.RSP, 0x1000)
  cpu.flags = 2
})

/** Execute one instruction at offset `at`; returns the exception's vector, or -1. */
function execute(bytes: readonly number[], at = 0x100): number {
  for (const [i, byte] of bytes.entries()) ram.setUint8(CODE + at + i, byte)
  memory.written(CODE + at, bytes.length)
  cpu.set64(STATE.RIP, BigInt(at))
  const top = register(GPR.RSP)
  let vector = -1
  do {
    vp.step()
    if (cpu.segmentSelector(SEGMENT.CS) === 0) vector = ip() - HANDLERS
  } while (vector < 0 && ip() === at)
  if (vector >= 0) {
    // undo the delivery
    segment('cs', CODE)
    cpu.updateMode()
    set(GPR.RSP, top)
  }
  return vector
}

describe('decimal arithmetic', () => {
  const cases: { al: number; cf: number; af: number }[] = []
  for (let al = 0; al < 256; al++) for (const cf of [0, 1]) for (const af of [0, 1]) cases.push({ al, cf, af })
  const parity = (v: number): number => (v.toString(2).replaceAll('0', '').length % 2 === 0 ? PF : 0)
  const ofResult = (v: number): number => (v === 0 ? ZF : 0) | (v & 0x80 ? SF : 0) | parity(v)

  test.each([
    { name: 'DAA', opcode: 0x27, sign: 1 },
    { name: 'DAS', opcode: 0x2f, sign: -1 },
  ])('$name', ({ opcode, sign }) => {
    for (const { al, cf, af } of cases) {
      set(GPR.RAX, 0x5500 | al)
      cpu.flags = 2 | (cf ? CF : 0) | (af ? AF : 0)
      expect(execute([opcode])).toBe(-1)
      let result = al
      let carry = 0
      const low = (al & 15) > 9 || af === 1
      if (low) {
        result += sign * 6
        carry = cf | (result < 0 || result > 255 ? 1 : 0)
      }
      if (al > 0x99 || cf) {
        result += sign * 0x60
        carry = 1
      } else if (sign > 0) carry = 0
      result &= 0xff
      expect([register(GPR.RAX), flags() & ~OF]).toEqual([
        0x5500 | result,
        ofResult(result) | (carry ? CF : 0) | (low ? AF : 0),
      ])
    }
  })
  test.each([
    { name: 'AAA', opcode: 0x37, sign: 1 },
    { name: 'AAS', opcode: 0x3f, sign: -1 },
  ])('$name', ({ opcode, sign }) => {
    for (const { al, cf, af } of cases) {
      set(GPR.RAX, 0x5500 | al)
      cpu.flags = 2 | (cf ? CF : 0) | (af ? AF : 0)
      expect(execute([opcode])).toBe(-1)
      const adjust = (al & 15) > 9 || af === 1
      const result = (adjust ? 0x5500 + al + sign * 0x106 : 0x5500 + al) & 0xff0f
      expect([register(GPR.RAX), flags() & (CF | AF)]).toEqual([result, adjust ? CF | AF : 0])
    }
  })
  test('AAM divides, by 0 with #DE; AAD multiplies', () => {
    for (const base of [10, 7, 16, 255]) {
      for (let al = 0; al < 256; al++) {
        set(GPR.RAX, al)
        expect(execute([0xd4, base])).toBe(-1)
        const quotient = Math.floor(al / base)
        expect([register(GPR.RAX), flags() & (SF | ZF | PF)]).toEqual([
          (quotient << 8) | (al % base),
          ofResult(al % base),
        ])
        expect(execute([0xd5, base])).toBe(-1)
        expect([register(GPR.RAX), flags() & (SF | ZF | PF)]).toEqual([al, ofResult(al)])
      }
    }
    expect(execute([0xd4, 0])).toBe(0)
  })
  test('SALC', () => {
    execute([0xd6])
    expect(register(GPR.RAX)).toBe(0)
    cpu.flags = 3
    execute([0xd6])
    expect(register(GPR.RAX)).toBe(0xff)
  })
})

describe('the stack', () => {
  test('PUSH wraps inside 64 KiB and leaves the rest of ESP alone', () => {
    set(GPR.RSP, 0x12340000)
    set(GPR.RAX, 0xbeef)
    expect(execute([0x50])).toBe(-1)
    expect(register(GPR.RSP)).toBe(0x1234fffe)
    expect(ram.getUint16(STACK + 0xfffe, true)).toBe(0xbeef)
    expect(execute([0x5b])).toBe(-1)
    expect([register(GPR.RSP), register(GPR.RBX)]).toEqual([0x12340000, 0xbeef])
  })
  test('PUSHA and POPA', () => {
    for (let r = 0; r < 8; r++) if (r !== GPR.RSP) set(r, 0x11110000 * (r + 1) + r)
    expect(execute([0x60])).toBe(-1)
    expect(register(GPR.RSP)).toBe(0xff0)
    for (let r = 0; r < 8; r++) expect(ram.getUint16(STACK + 0xffe - r * 2, true)).toBe(r === GPR.RSP ? 0x1000 : r)
    for (let r = 0; r < 8; r++) ram.setUint16(STACK + 0xffe - r * 2, 0xa0 + r, true)
    expect(execute([0x61])).toBe(-1)
    expect(register(GPR.RSP)).toBe(0x1000)
    expect(register(GPR.RDI)).toBe(0x888800a7)
    expect(register(GPR.RAX)).toBe(0x111100a0)
    expect(execute([0x66, 0x60])).toBe(-1)
    expect(ram.getUint32(STACK + 0x1000 - 32, true)).toBe(0x888800a7)
  })
  test('PUSHA across the end of the segment changes nothing', () => {
    set(GPR.RSP, 0x9)
    expect(execute([0x60])).toBe(12)
    expect(register(GPR.RSP)).toBe(0x9)
  })
  test('segment registers', () => {
    expect(execute([0x0e])).toBe(-1)
    expect(ram.getUint16(STACK + 0xffe, true)).toBe(CODE >> 4)
    expect(execute([0x66, 0x1e])).toBe(-1)
    expect(ram.getUint32(STACK + 0xffa, true)).toBe(DATA >> 4)
  })
  test('ENTER copies frame pointers, LEAVE undoes it', () => {
    set(GPR.RBP, 0x800)
    ram.setUint16(STACK + 0x7fe, 0x1111, true)
    ram.setUint16(STACK + 0x7fc, 0x2222, true)
    expect(execute([0xc8, 0x10, 0x00, 0x03])).toBe(-1)
    expect([
      ram.getUint16(STACK + 0xffe, true),
      ram.getUint16(STACK + 0xffc, true),
      ram.getUint16(STACK + 0xffa, true),
      ram.getUint16(STACK + 0xff8, true),
    ]).toEqual([0x800, 0x1111, 0x2222, 0xffe])
    expect([register(GPR.RBP), register(GPR.RSP)]).toEqual([0xffe, 0xff8 - 0x10])
    expect(execute([0xc9])).toBe(-1)
    expect([register(GPR.RBP), register(GPR.RSP)]).toEqual([0x800, 0x1000])
  })
  test('outside the limit of SS is #SS', () => {
    segment('ss', STACK, 0xfff)
    cpu.updateMode()
    set(GPR.RSP, 0x1002)
    set(GPR.RAX, 7)
    expect(execute([0x58])).toBe(12)
    expect([register(GPR.RAX), register(GPR.RSP)]).toEqual([7, 0x1002])
  })
})

describe('control transfer', () => {
  test('CALL and RET keep 16 bits', () => {
    expect(execute([0xe8, 0x00, 0x80])).toBe(-1)
    expect([ip(), ram.getUint16(STACK + 0xffe, true)]).toEqual([0x8103, 0x103])
    expect(execute([0xc2, 0x04, 0x00])).toBe(-1)
    expect([ip(), register(GPR.RSP)]).toEqual([0x103, 0x1004])
  })
  test('a short jump wraps at 64 KiB', () => {
    expect(execute([0xeb, 0x7f], 0xfff0)).toBe(-1)
    expect(ip()).toBe(0x71)
  })
  test('a 32-bit target beyond the limit of CS is #GP before anything changes', () => {
    set(GPR.RAX, 0x10000)
    expect(execute([0x66, 0xff, 0xd0])).toBe(13)
    expect(register(GPR.RSP)).toBe(0x1000)
    expect(execute([0x66, 0xe8, 0x00, 0x00, 0x01, 0x00])).toBe(13)
    expect(execute([0x66, 0x0f, 0x81, 0x00, 0x00, 0x01, 0x00])).toBe(13)
    cpu.flags = 2 | OF
    expect(execute([0x66, 0x0f, 0x81, 0x00, 0x00, 0x01, 0x00])).toBe(-1)
  })
  test('LOOP and JCXZ count CX, with an address prefix ECX', () => {
    set(GPR.RCX, 0x10000)
    expect(execute([0xe3, 0x10])).toBe(-1)
    expect(ip()).toBe(0x112)
    expect(execute([0x67, 0xe3, 0x10])).toBe(-1)
    expect(ip()).toBe(0x103)
    expect(execute([0xe2, 0x10])).toBe(-1)
    expect([ip(), register(GPR.RCX)]).toEqual([0x112, 0x1ffff])
    set(GPR.RCX, 0x10001)
    expect(execute([0xe2, 0x10])).toBe(-1)
    expect([ip(), register(GPR.RCX)]).toEqual([0x102, 0x10000])
    expect(execute([0x67, 0xe2, 0x10])).toBe(-1)
    expect([ip(), register(GPR.RCX)]).toEqual([0x113, 0xffff])
  })
  test('BOUND', () => {
    ram.setInt16(DATA + 0x200, -5, true)
    ram.setInt16(DATA + 0x202, 5, true)
    for (const [index, vector] of [
      [0, -1],
      [0xfffb, -1],
      [5, -1],
      [6, 5],
      [0xfffa, 5],
    ] as const) {
      set(GPR.RAX, index)
      expect(execute([0x62, 0x06, 0x00, 0x02])).toBe(vector)
    }
  })
})

describe('16-bit addresses', () => {
  test('wrap at 64 KiB; BP means SS', () => {
    ram.setUint16(DATA + 0x10, 0x1234, true)
    ram.setUint16(STACK + 0x10, 0x5678, true)
    set(GPR.RBX, 0xabcd8000)
    set(GPR.RSI, 0x8010)
    expect(execute([0x8b, 0x00])).toBe(-1)
    expect(register(GPR.RAX)).toBe(0x1234)
    set(GPR.RBP, 0x8000)
    expect(execute([0x8b, 0x02])).toBe(-1)
    expect(register(GPR.RAX)).toBe(0x5678)
  })
  test('a word at the last byte is #GP', () => {
    set(GPR.RBX, 0xffff)
    expect(execute([0x8b, 0x07])).toBe(13)
    expect(execute([0x8a, 0x07])).toBe(-1)
  })
  test('bit strings reach before the operand', () => {
    ram.setUint16(DATA + 0x1fe, 0x8000, true)
    set(GPR.RBX, 0x200)
    set(GPR.RAX, 0xffff)
    expect(execute([0x0f, 0xb3, 0x07])).toBe(-1)
    expect([flags() & CF, ram.getUint16(DATA + 0x1fe, true)]).toEqual([CF, 0])
  })
  test('XLAT, with a segment override', () => {
    ram.setUint8(DATA + 0x305, 0x77)
    ram.setUint8(EXTRA + 0x305, 0x88)
    set(GPR.RBX, 0x300)
    set(GPR.RAX, 0x05)
    execute([0xd7])
    expect(register(GPR.RAX)).toBe(0x77)
    set(GPR.RAX, 0x05)
    execute([0x26, 0xd7])
    expect(register(GPR.RAX)).toBe(0x88)
  })
  test('REP MOVSB wraps SI and DI', () => {
    for (let i = 0; i < 64; i++) ram.setUint8(DATA + ((0xffe0 + i) & 0xffff), i + 1)
    set(GPR.RSI, 0xffff_ffe0)
    set(GPR.RDI, 0xfff0)
    set(GPR.RCX, 0xabcd_0040)
    expect(execute([0xf3, 0xa4])).toBe(-1)
    for (let i = 0; i < 64; i++) expect(ram.getUint8(EXTRA + ((0xfff0 + i) & 0xffff))).toBe(i + 1)
    expect([register(GPR.RSI), register(GPR.RDI), register(GPR.RCX)]).toEqual([0xffff_0020, 0x30, 0xabcd_0000])
  })
  test('REP STOSD stops at the limit, with the completed elements counted', () => {
    segment('es', EXTRA, 0x20ff)
    set(GPR.RDI, 0x2000)
    set(GPR.RCX, 0x100)
    set(GPR.RAX, 0x01020304)
    expect(execute([0x66, 0xf3, 0xab])).toBe(13)
    expect([register(GPR.RDI), register(GPR.RCX)]).toEqual([0x2100, 0x100 - 0x40])
    expect([ram.getUint32(EXTRA + 0x20fc, true), ram.getUint32(EXTRA + 0x2100, true)]).toEqual([0x01020304, 0])
  })
})
