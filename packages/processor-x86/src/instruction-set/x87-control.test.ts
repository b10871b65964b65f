// What recorded vectors do not compare: pending exceptions and CR0, the instruction and data pointers, environments of all layouts.

import { beforeEach, describe, expect, test } from 'vitest'
import { FLAG } from '../cpu.ts'
import { STATE } from '../state-layout.ts'
import { DATA, X87Machine } from '../testing/x87-machine.ts'
import { restoreEnvironment, saveEnvironment } from '../x87/environment.ts'

const ONE = { significand: 1n << 63n, se: 0x3fff }
const ZERO = { significand: 0n, se: 0 }
const NE = 0x20
const [MP, EM, TS] = [2, 4, 8]
const UNMASKED = 0x340

const machine = new X87Machine()
const { cpu } = machine
const cr0 = cpu.get32(STATE.CR0)
beforeEach(() => {
  cpu.set32(STATE.CR0, cr0)
  machine.reset()
})

describe('a pending exception', () => {
  const divideByZero = (): void => {
    machine.reset(UNMASKED)
    machine.stack(ONE, ZERO)
    expect(machine.run('D8F1').exception).toBeNull()
    expect(machine.status).toBe(0x8084)
    expect(machine.st(0)).toEqual(ONE)
  }
  test.each([
    ['FADD', 'D8C1'],
    ['FLD m64', 'DD07'],
    ['FSTP m80', 'DB3F'],
    ['FXCH', 'D9C9'],
    ['FLDCW', 'D92F'],
    ['FLDENV', 'D927'],
    ['FRSTOR', 'DD27'],
    ['FSIN', 'D9FE'],
    ['FNOP', 'D9D0'],
    ['FINCSTP', 'D9F7'],
    ['FWAIT', '9B'],
    ['EMMS', '0F77'],
    ['PADDB', '0FFCC1'],
  ])('is reported by %s', (_, code) => {
    divideByZero()
    expect(machine.run(code)).toMatchObject({ exception: 16 })
    expect(machine.status).toBe(0x8084)
  })
  test.each([
    ['FNSTSW AX', 'DFE0'],
    ['FNSTCW', 'D93F'],
    ['FNSTENV', 'D937'],
    ['FNSAVE', 'DD37'],
    ['FNINIT', 'DBE3'],
    ['FNCLEX', 'DBE2'],
    ['FXSAVE', '0FAE07'],
    ['FXRSTOR', '0FAE4F40'],
  ])('is not by %s', (_, code) => {
    machine.write(64, new Uint8Array(512))
    divideByZero()
    expect(machine.run(code).exception).toBeNull()
  })
  test('with CR0.NE clear is left to the interrupt controller', () => {
    divideByZero()
    cpu.set32(STATE.CR0, cr0 & ~NE)
    expect(machine.run('D9C9', '9B').exception).toBeNull()
    expect(machine.st(0)).toEqual(ZERO)
  })
  test('goes away with its mask', () => {
    divideByZero()
    machine.run('DBE2') // FNCLEX
    expect(machine.status).toBe(0)
    divideByZero()
    machine.run('D937') // FNSTENV masks everything, and saves the masks that were
    expect(cpu.get32(STATE.X87_CONTROL)).toBe(0x37f)
    expect(machine.status).toBe(4)
    expect(machine.run('D927').exception).toBeNull()
    expect(machine.status).toBe(0x8084)
  })
})

describe('device not available', () => {
  test.each([
    ['FADD', 'D8C1', 0, EM],
    ['FADD', 'D8C1', 0, TS],
    ['FNSTENV', 'D937', 0, EM],
    ['FSIN', 'D9FE', 0, TS],
    ['FXSAVE', '0FAE07', 0, TS],
    ['FXSAVE', '0FAE07', 0, EM],
    ['XSAVE', '0FAE27', 0, TS],
    ['WAIT', '9B', 0, MP | TS],
  ])('%s (%s)', (_, code, clear, set) => {
    cpu.set32(STATE.CR0, (cr0 & ~(MP | clear)) | set)
    expect(machine.run(code)).toMatchObject({ exception: 7 })
  })
  test('WAIT does not mind EM, nor TS alone', () => {
    cpu.set32(STATE.CR0, (cr0 & ~MP) | EM | TS)
    expect(machine.run('9B').exception).toBeNull()
  })
})

describe('pointers', () => {
  test('FIP is that of the last instruction that is not a control instruction', () => {
    machine.run('D9E8', '90', 'D9EB', 'DFE0') // FLD1, NOP, FLDPI, FNSTSW
    expect(cpu.get64(STATE.X87_INSTRUCTION)).toBe(X87Machine.CODE + 3n)
    expect(cpu.get64(STATE.X87_DATA)).toBe(0n)
    expect(cpu.get32(STATE.X87_OPCODE)).toBe(0)
  })
  test('FOP and FDP follow an unmasked exception', () => {
    machine.write(32, new Uint8Array(8))
    machine.reset(UNMASKED)
    machine.stack(ONE)
    machine.run('DC7720') // FDIV m64 [rdi+32]
    expect(cpu.get64(STATE.X87_INSTRUCTION)).toBe(X87Machine.CODE)
    expect(cpu.get64(STATE.X87_DATA)).toBe(DATA + 32n)
    expect(cpu.get32(STATE.X87_OPCODE)).toBe(0x477)
    machine.reset(UNMASKED)
    machine.stack(ONE, ONE, ZERO)
    machine.run('D8F2') // FDIV ST(0), ST(2)
    expect(cpu.get32(STATE.X87_OPCODE)).toBe(0x0f2)
    expect(cpu.get64(STATE.X87_DATA)).toBe(0n)
    machine.reset(UNMASKED)
    machine.run('D9FE') // FSIN of nothing
    expect(cpu.get32(STATE.X87_OPCODE)).toBe(0x1fe)
  })
  test('a memory fault changes nothing', () => {
    machine.stack(ONE)
    expect(machine.run('D9E8', 'DD1C2500007000')).toMatchObject({ exception: 14, cr2: 0x700000n }) // FSTP m64 [0x700000]
    expect(cpu.get64(STATE.X87_INSTRUCTION)).toBe(X87Machine.CODE)
    expect(cpu.get32(STATE.X87_TOP)).toBe(6)
    // the second part of ten bytes
    machine.reset()
    machine.stack(ONE)
    expect(machine.run('DBBFF81F0000')).toMatchObject({ exception: 14, cr2: DATA + 8192n }) // FSTP m80 at the end
    expect(cpu.get32(STATE.X87_TOP)).toBe(7)
  })
})

describe('the environment', () => {
  const set = (): void => {
    machine.reset(0x27f)
    machine.stack(ONE, ZERO, { significand: 5n, se: 0 }, { significand: 1n << 63n, se: 0x7fff })
    cpu.set32(STATE.X87_STATUS, 0x4121)
    cpu.set32(STATE.X87_OPCODE, 0x5a3)
    cpu.set64(STATE.X87_INSTRUCTION, 0x123456789n)
    cpu.set64(STATE.X87_DATA, 0x9abcdef01n)
  }
  const TAGS = 0b10_10_01_00_11_11_11_11
  test('28 bytes, protected mode', () => {
    set()
    const view = new DataView(saveEnvironment(cpu, 4, false).buffer)
    const words = Array.from({ length: 7 }, (_, i) => view.getUint32(i * 4, true))
    expect(words).toEqual([0xffff027f, 0xffff6121, 0xffff0000 + TAGS, 0x23456789, 0x05a30000, 0xabcdef01, 0xffff0000])
  })
  test('14 bytes, protected mode', () => {
    set()
    const view = new DataView(saveEnvironment(cpu, 2, false).buffer)
    const words = Array.from({ length: 7 }, (_, i) => view.getUint16(i * 2, true))
    expect(words).toEqual([0x27f, 0x6121, TAGS, 0x6789, 0, 0xef01, 0])
  })
  test.each([
    ['real-address mode', () => cpu.set32(STATE.CR0, cr0 & ~1)],
    ['virtual-8086 mode', () => cpu.set32(STATE.FLAGS_REST, cpu.get32(STATE.FLAGS_REST) | FLAG.VM)],
  ])('in %s', (_, enter) => {
    set()
    const rest = cpu.get32(STATE.FLAGS_REST)
    enter()
    try {
      const narrow = new DataView(saveEnvironment(cpu, 2, false).buffer)
      expect(Array.from({ length: 7 }, (_, i) => narrow.getUint16(i * 2, true))).toEqual([
        0x27f,
        0x6121,
        TAGS,
        0x6789,
        0x55a3,
        0xef01,
        0xd000,
      ])
      const bytes = saveEnvironment(cpu, 4, false)
      const wide = new DataView(bytes.buffer)
      expect(wide.getUint32(12, true)).toBe(0xffff6789)
      expect(wide.getUint32(16, true)).toBe(0x02345000 + 0x5a3)
      expect(wide.getUint32(20, true)).toBe(0xffffef01)
      expect(wide.getUint32(24, true)).toBe(0x0abcd000)
      machine.reset()
      restoreEnvironment(cpu, 4, bytes, false)
      expect(cpu.get64(STATE.X87_INSTRUCTION)).toBe(0x23456789n)
      expect(cpu.get64(STATE.X87_DATA)).toBe(0xabcdef01n)
      expect(cpu.get32(STATE.X87_OPCODE)).toBe(0x5a3)
    } finally {
      cpu.set32(STATE.FLAGS_REST, rest)
    }
  })
  test.each([2, 4])('FNSAVE and FRSTOR are each other’s opposite (operand size %i)', (size) => {
    set()
    const before = [saveEnvironment(cpu, 4, true), cpu.get32(STATE.X87_TOP)]
    const prefix = size === 2 ? '66' : ''
    machine.run(`${prefix}DD37`)
    expect(cpu.get32(STATE.X87_CONTROL)).toBe(0x37f)
    expect(cpu.get32(STATE.X87_TAGS)).toBe(0)
    machine.run(`${prefix}DD27`)
    if (size === 2) {
      cpu.set32(STATE.X87_OPCODE, 0x5a3)
      cpu.set64(STATE.X87_INSTRUCTION, 0x123456789n)
      cpu.set64(STATE.X87_DATA, 0x9abcdef01n)
    }
    expect([saveEnvironment(cpu, 4, true), cpu.get32(STATE.X87_TOP)]).toEqual(before)
  })
})
