// FXSAVE, XSAVE and their restores: what is written, what is left alone, and what is refused (SDM vol. 1, 10.5, 13.7, 13.8).

import { beforeEach, describe, expect, test } from 'vitest'
import { STATE } from '../state-layout.ts'
import { X87Machine } from '../testing/x87-machine.ts'

const [RAX, RCX, RDX] = [0, 1, 2]
const OSXSAVE = 0x40000
const XSAVE = '0FAE27'
const XSAVEOPT = '0FAE37'
const XRSTOR = '0FAE2F'
const FXSAVE = '0FAE07'
const FXSAVE64 = '480FAE07'
const FXRSTOR = '0FAE0F'
const VALUE = { significand: 0x8123456789abcdefn, se: 0xc001 }

const machine = new X87Machine()
const { cpu } = machine
const cr4 = cpu.get32(STATE.CR4)

/** XMM registers: all 0, or register i full of i + 1. */
function xmm(full: boolean): void {
  for (let i = 0; i < 16; i++)
    cpu.u8.fill(full ? i + 1 : 0, cpu.base + STATE.XMM + i * 16, cpu.base + STATE.XMM + i * 16 + 16)
}
function x87(full: boolean): void {
  machine.reset()
  machine.stack(...Array.from({ length: 8 }, () => ({ significand: 0n, se: 0 })))
  machine.reset()
  if (!full) return
  machine.stack(VALUE)
  cpu.set32(STATE.X87_CONTROL, 0x27f)
  cpu.set32(STATE.X87_OPCODE, 0x123)
  cpu.set64(STATE.X87_INSTRUCTION, 0x1122334455667788n)
  cpu.set64(STATE.X87_DATA, 0x99aabbccddeeff00n)
}
function mask(bits: number): void {
  cpu.setGpr(RAX, BigInt(bits))
  cpu.setGpr(RDX, 0n)
}
function area(): DataView {
  return machine.read(0, 640)
}
const fill = (byte: number): void => machine.write(0, new Uint8Array(640).fill(byte))

beforeEach(() => {
  cpu.set32(STATE.CR4, cr4 | OSXSAVE)
  cpu.set64(STATE.XCR0, 3n)
  cpu.set32(STATE.MXCSR, 0x1fa0)
  fill(0xaa)
  x87(true)
  xmm(true)
})

describe('FXSAVE', () => {
  test('writes its fields', () => {
    machine.run(FXSAVE64)
    const view = area()
    expect(view.getBigUint64(0, true)).toBe(0x0123_0080_3800_027fn)
    expect(view.getBigUint64(8, true)).toBe(0x1122334455667788n)
    expect(view.getBigUint64(16, true)).toBe(0x99aabbccddeeff00n)
    expect(view.getUint32(24, true)).toBe(0x1fa0)
    expect(view.getUint32(28, true)).toBe(0xffff)
    expect(view.getBigUint64(32, true)).toBe(VALUE.significand)
    expect(view.getBigUint64(40, true)).toBe(BigInt(VALUE.se))
    expect(view.getUint8(160 + 15 * 16)).toBe(16)
    for (let at = 416; at < 640; at++) expect(view.getUint8(at)).toBe(0xaa)
  })
  test('without REX.W has 32-bit pointers and selectors of 0', () => {
    machine.run(FXSAVE)
    expect(area().getBigUint64(8, true)).toBe(0x55667788n)
    expect(area().getBigUint64(16, true)).toBe(0xddeeff00n)
  })
  test.each([FXSAVE, FXRSTOR])('wants 16-byte alignment: %s', (code) => {
    fill(0)
    const [a, b] = [code.slice(0, -2), Number.parseInt(code.slice(-2), 16) | 0x40]
    expect(machine.run(`${a}${b.toString(16)}08`)).toMatchObject({ exception: 13, errorCode: 0 })
    expect(machine.run(`${a}${b.toString(16)}10`).exception).toBeNull()
  })
  test('FXRSTOR brings everything back', () => {
    machine.run(FXSAVE64)
    const saved = area().buffer
    x87(false)
    xmm(false)
    cpu.set32(STATE.MXCSR, 0x1f80)
    machine.run('480FAE0F')
    expect(machine.st(0)).toEqual(VALUE)
    expect(cpu.get32(STATE.MXCSR)).toBe(0x1fa0)
    fill(0xaa)
    machine.run(FXSAVE64)
    expect(area().buffer).toEqual(saved)
  })
  test('FXRSTOR refuses unknown bits of MXCSR, and changes nothing', () => {
    machine.write(0, new Uint8Array(512))
    machine.write(24, Uint8Array.of(0x80, 0x1f, 1, 0))
    expect(machine.run(FXRSTOR)).toMatchObject({ exception: 13, errorCode: 0 })
    expect(machine.st(0)).toEqual(VALUE)
    expect(cpu.get32(STATE.MXCSR)).toBe(0x1fa0)
  })
  test('FXRSTOR makes an exception pending that is flagged and not masked', () => {
    machine.write(0, new Uint8Array(512))
    machine.write(0, Uint8Array.of(0x40, 3, 4, 0))
    machine.run(FXRSTOR)
    expect(machine.status).toBe(0x8084)
  })
})

describe('XSAVE', () => {
  test('writes the components asked for', () => {
    mask(1)
    machine.run(XSAVE)
    expect(area().getUint16(0, true)).toBe(0x27f)
    expect(area().getUint32(24, true)).toBe(0xaaaaaaaa)
    expect(area().getUint8(160)).toBe(0xaa)
    expect(area().getBigUint64(512, true)).toBe(0xaaaaaaaaaaaaaaabn)
    fill(0xaa)
    mask(2)
    machine.run(XSAVE)
    expect(area().getUint16(0, true)).toBe(0xaaaa)
    expect(area().getUint32(24, true)).toBe(0x1fa0)
    expect(area().getUint8(160)).toBe(1)
    expect(area().getBigUint64(512, true)).toBe(0xaaaaaaaaaaaaaaaan)
    expect(area().getBigUint64(520, true)).toBe(0xaaaaaaaaaaaaaaaan)
  })
  test('says which components are in use, and XSAVEOPT writes those alone', () => {
    x87(false)
    xmm(false)
    mask(3)
    machine.run(XSAVE)
    expect(area().getUint8(512)).toBe(0xa8)
    expect(area().getUint16(0, true)).toBe(0x37f)
    fill(0xaa)
    machine.run(XSAVEOPT)
    expect(area().getUint8(512)).toBe(0xa8)
    expect(area().getUint16(0, true)).toBe(0xaaaa)
    expect(area().getUint8(160)).toBe(0xaa)
    expect(area().getUint32(24, true)).toBe(0x1fa0)
    cpu.u8[cpu.base + STATE.XMM + 255] = 1
    machine.run(XSAVEOPT)
    expect(area().getUint8(512)).toBe(0xaa)
    expect(area().getUint8(415)).toBe(1)
  })
  test('is undefined without CR4.OSXSAVE', () => {
    cpu.set32(STATE.CR4, cr4 & ~OSXSAVE)
    for (const code of [XSAVE, XRSTOR, XSAVEOPT, '0F01D0', '0F01D1'])
      expect(machine.run(code)).toMatchObject({ exception: 6 })
  })
  test('wants 64-byte alignment', () => {
    mask(3)
    expect(machine.run('0FAE6710')).toMatchObject({ exception: 13, errorCode: 0 })
    expect(machine.run('0FAE6F20')).toMatchObject({ exception: 13, errorCode: 0 })
  })
})

describe('XRSTOR', () => {
  const header = (...bytes: number[]): void =>
    machine.write(
      512,
      Uint8Array.from({ length: 64 }, (_, i) => bytes[i] ?? 0),
    )
  beforeEach(() => {
    mask(3)
    machine.run(XSAVE)
    header(3)
  })
  test('restores what is present and initialises the rest', () => {
    x87(false)
    xmm(false)
    machine.run(XRSTOR)
    expect(machine.st(0)).toEqual(VALUE)
    expect(cpu.u8[cpu.base + STATE.XMM + 16]).toBe(2)
    header(0)
    machine.write(24, Uint8Array.of(0x80, 0x1e, 0, 0))
    machine.run(XRSTOR)
    expect(cpu.get32(STATE.X87_CONTROL)).toBe(0x37f)
    expect(cpu.get32(STATE.X87_TAGS)).toBe(0)
    expect(cpu.get64(STATE.X87 + 7 * 16)).toBe(0n)
    expect(cpu.u8[cpu.base + STATE.XMM + 16]).toBe(0)
    expect(cpu.get32(STATE.MXCSR)).toBe(0x1e80)
  })
  test('leaves alone what is not asked for', () => {
    header(0)
    mask(2)
    machine.run(XRSTOR)
    expect(machine.st(0)).toEqual(VALUE)
    mask(1)
    xmm(true)
    machine.write(24, Uint8Array.of(0x80, 0x1f, 1, 0))
    expect(machine.run(XRSTOR).exception).toBeNull()
    expect(cpu.get32(STATE.X87_TAGS)).toBe(0)
    expect(cpu.u8[cpu.base + STATE.XMM + 16]).toBe(2)
  })
  test.each([
    ['a component that XCR0 lacks', () => header(7)],
    ['XCOMP_BV', () => header(3, 0, 0, 0, 0, 0, 0, 0, 1)],
    ['a compacted format', () => header(3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80)],
    ['a reserved byte', () => header(3, ...new Array<number>(22).fill(0), 1)],
    ['MXCSR', () => machine.write(24, Uint8Array.of(0x80, 0x1f, 1, 0))],
  ])('refuses %s', (_, prepare) => {
    prepare()
    cpu.set32(STATE.X87_CONTROL, 0x77f)
    expect(machine.run(XRSTOR)).toMatchObject({ exception: 13, errorCode: 0 })
    expect(cpu.get32(STATE.X87_CONTROL)).toBe(0x77f)
  })
  test('does not mind the bytes behind the reserved ones', () => {
    header(3, ...new Array<number>(23).fill(0), 0xff)
    expect(machine.run(XRSTOR).exception).toBeNull()
  })
})

describe('XCR0', () => {
  test('is read by XGETBV', () => {
    cpu.setGpr(RCX, 0n)
    cpu.setGpr(RDX, -1n)
    machine.run('0F01D0')
    expect(cpu.gpr(RAX)).toBe(3n)
    expect(cpu.gpr(RDX)).toBe(0n)
    cpu.setGpr(RCX, 1n)
    expect(machine.run('0F01D0')).toMatchObject({ exception: 13 })
  })
  test('is not written by user code', () => {
    cpu.setGpr(RCX, 0n)
    mask(1)
    expect(machine.run('0F01D1')).toMatchObject({ exception: 13 })
    expect(cpu.get64(STATE.XCR0)).toBe(3n)
  })
  test.each([
    [0, 1n, true],
    [0, 3n, true],
    [0, 2n, false],
    [0, 0n, false],
    [0, 7n, false],
    [0, 1n << 63n, false],
    [1, 1n, false],
  ])('XSETBV of register %i to %i at privilege level 0', (index, value, allowed) => {
    cpu.setGpr(RCX, BigInt(index))
    cpu.setGpr(RAX, value & 0xffffffffn)
    cpu.setGpr(RDX, value >> 32n)
    machine.machine.writeMemory(X87Machine.CODE, Uint8Array.of(0x0f, 0x01, 0xd1))
    cpu.set64(STATE.RIP, X87Machine.CODE)
    cpu.setCpl(0)
    machine.machine.vp.step()
    cpu.setCpl(3)
    expect(cpu.get64(STATE.RIP) === X87Machine.CODE + 3n).toBe(allowed)
    expect(cpu.get64(STATE.XCR0)).toBe(allowed ? value : 3n)
  })
})
