// TLFS, "Hypercall Reference": flushes, interrupts, registers, start of processors, extended hypercalls.

import { describe, expect, it } from 'vitest'
import {
  CHILD_PRIVILEGES,
  HV_MSR,
  HV_STATUS,
  PartitionPrivileges,
  PRIVILEGE,
  type PrivilegeName,
} from '../src/index.ts'
import { bytes, HyperVMachine, PAGES } from './hyper-v-machine.ts'

const SELF = 0xffff_ffff_ffff_ffffn
const VP_SELF = 0xfffffffe
const FAST = 1n << 16n
const rep = (count: number, start = 0): bigint => (BigInt(count) << 32n) | (BigInt(start) << 48n)
const variable = (qwords: number): bigint => BigInt(qwords) << 17n
const status = (name: keyof typeof HV_STATUS): bigint => BigInt(HV_STATUS[name])

function machine(virtualProcessors = 3): HyperVMachine {
  const result = new HyperVMachine({ virtualProcessors })
  result.enableHypercalls()
  return result
}

const flushes = (m: HyperVMachine): number[] => m.processor.processors.map((vp) => vp.flushes)

describe('Flushes of the virtual TLB', () => {
  it('reach the processors of a mask, or all', () => {
    const m = machine()
    expect(m.call(0x02, bytes([8, 0x1000], [8, 0], [8, 0b101]))).toBe(0n)
    expect(flushes(m)).toEqual([1, 0, 1])
    expect(m.call(0x02, bytes([8, 0x1000], [8, 0b111], [8, 0]))).toBe(0n)
    expect(flushes(m)).toEqual([2, 1, 2])
    expect(m.call(0x02, bytes([8, 0], [8, 2], [8, SELF]))).toBe(0n)
    expect(flushes(m)).toEqual([3, 2, 3])
  })

  it('complete a list of addresses', () => {
    const m = machine()
    const header = bytes([8, 0x1000], [8, 0], [8, 0b10])
    expect(m.call(0x03n | rep(3), Uint8Array.from([...header, ...bytes([8, 0x7000], [8, 0x8fff], [8, SELF])]))).toBe(
      3n << 32n,
    )
    expect(flushes(m)).toEqual([0, 1, 0])
    // 509 addresses fill the page.
    expect(m.call(0x03n | rep(509), header)).toBe(509n << 32n)
    expect(m.call(0x03n | rep(510), header)).toBe(status('INVALID_ALIGNMENT'))
    expect(m.call(0x03, header)).toBe(status('INVALID_HYPERCALL_INPUT'))
  })

  it('take sparse sets of processors', () => {
    const m = machine()
    const sparse = (valid: bigint, ...banks: bigint[]) =>
      bytes([8, 0], [8, 0], [8, 0], [8, valid], ...banks.map((bank) => [8, bank] as const))
    expect(m.call(0x13n | variable(1), sparse(1n, 0b110n))).toBe(0n)
    expect(flushes(m)).toEqual([0, 1, 1])
    // Banks without processors, and one that is not given.
    expect(m.call(0x13n | variable(3), sparse(0b1101n, 0b1n, SELF, SELF))).toBe(0n)
    expect(flushes(m)).toEqual([1, 1, 1])
    expect(m.call(0x13n | variable(1), sparse(0b11n, 0b1n))).toBe(status('INVALID_PARAMETER'))
    expect(m.call(0x13n, sparse(0n))).toBe(0n)
    expect(m.call(0x13n, bytes([8, 0], [8, 0], [8, 1], [8, 0]))).toBe(0n)
    expect(flushes(m)).toEqual([2, 2, 2])
    expect(m.call(0x13n, bytes([8, 0], [8, 0], [8, 2], [8, 0]))).toBe(status('INVALID_PARAMETER'))
    expect(m.call(0x14n | variable(1) | rep(2), sparse(1n, 0b100n, 0n, 0n))).toBe(2n << 32n)
    expect(flushes(m)).toEqual([2, 2, 3])
  })

  it('refuse flags that they do not know', () => {
    const m = machine()
    for (const [call, flags] of [
      [0x02n, 8],
      [0x02n, 1n << 63n],
      [0x13n, 8],
      [0x03n | rep(1), 4],
      [0x14n | rep(1), 4],
      [0x14n | rep(1), 8],
    ] as const)
      expect(m.call(call, bytes([8, 0], [8, flags], [8, 1], [8, 0]))).toBe(status('INVALID_PARAMETER'))
    expect(flushes(m)).toEqual([0, 0, 0])
  })

  it('may have a variable header in the Ex forms alone', () => {
    const m = machine()
    expect(m.call(0x02n | variable(1))).toBe(status('INVALID_HYPERCALL_INPUT'))
    expect(m.call(0x0bn | variable(1))).toBe(status('INVALID_HYPERCALL_INPUT'))
  })
})

describe('Synthetic cluster IPIs', () => {
  const received = (m: HyperVMachine): number[][] => [0, 1, 2].map((index) => m.interrupts(index))

  it('interrupt the processors of a mask, from registers and from memory', () => {
    const m = machine()
    expect(m.raw(0x0bn | FAST, 0xfbn, 0b110n)).toBe(0n)
    expect(received(m)).toEqual([[], [0xfb], [0xfb]])
    expect(m.call(0x0b, bytes([4, 0x10], [4, 0], [8, SELF]))).toBe(0n)
    expect(received(m)).toEqual([[0x10], [0x10], [0x10]])
    expect(m.vp(1).options.index).toBe(1)
  })

  it('take sparse sets, in XMM registers too', () => {
    const m = machine()
    expect(m.call(0x15n | variable(1), bytes([4, 0xff], [4, 0], [8, 0], [8, 1], [8, 0b1]))).toBe(0n)
    expect(received(m)).toEqual([[0xff], [], []])
    m.vp().setXmm(0, bytes([8, 1], [8, 0b100]))
    expect(m.raw(0x15n | FAST | variable(1), 0x40n, 0n)).toBe(0n)
    expect(received(m)).toEqual([[], [], [0x40]])
    expect(m.call(0x15n, bytes([4, 0x41], [4, 0], [8, 1], [8, 0]))).toBe(0n)
    expect(received(m)).toEqual([[0x41], [0x41], [0x41]])
    expect(m.call(0x15n, bytes([4, 0x41], [4, 0], [8, 0], [8, 1]))).toBe(status('INVALID_PARAMETER'))
  })

  it('have vectors from 0x10 to 0xFF and no other trust level', () => {
    const m = machine()
    for (const vector of [0n, 0x0fn, 0x100n, 0xffffffffn])
      expect(m.raw(0x0bn | FAST, vector, 1n)).toBe(status('INVALID_PARAMETER'))
    for (const vtl of [0x11n, 0x20n, 0x80n])
      expect(m.raw(0x0bn | FAST, 0x20n | (vtl << 32n), 1n)).toBe(status('INVALID_PARAMETER'))
    expect(received(m)).toEqual([[], [], []])
    expect(m.raw(0x0bn | FAST, 0x20n | (0x10n << 32n), 1n)).toBe(0n)
  })
})

describe('HvCallNotifyLongSpinWait', () => {
  it('always succeeds, and lets another processor run', () => {
    const m = machine()
    expect(m.raw(0x08n | FAST, 0xffffn, 0n)).toBe(0n)
    expect(m.vp().exitRequested).toBe(true)
    const single = machine(1)
    expect(single.raw(0x08n | FAST, 0xffffn, 0n)).toBe(0n)
    expect(single.vp().exitRequested).toBe(false)
  })
})

describe('HvCallGetVpRegisters', () => {
  const get = (names: readonly number[], vp: number = VP_SELF, partition: bigint = SELF, vtl = 0): Uint8Array =>
    bytes([8, partition], [4, vp], [4, vtl], ...names.map((name) => [4, name] as const))
  const out = (m: HyperVMachine, index: number): bigint =>
    m.partition.memory.readU64(PAGES.OUTPUT + index * 16) as bigint

  it('reads processor and synthetic registers of the caller and of others', () => {
    const m = machine()
    m.vp(1).setRegister('rax', 0x1234n)
    m.vp(1).setRegister('cr3', 0x5000n)
    m.vp(1).setXmm(
      3,
      Uint8Array.from({ length: 16 }, (_, index) => index),
    )
    m.vp(1).setSegment('cs', { selector: 0x10, base: 0x1_0000_0000n, limit: 0xffffffff, attributes: 0xa09b })
    m.vp(1).msrs.set(0x10, 77n)
    const names = [
      0x00020000, 0x00040002, 0x00030003, 0x00060001, 0x00080000, 0x0008000c, 0x00090003, 0x00090002, 0x000a0002,
      0x00000200,
    ]
    expect(m.call(0x50n | rep(names.length), get(names, 1))).toBe(BigInt(names.length) << 32n)
    expect(out(m, 0)).toBe(0x1234n)
    expect(out(m, 1)).toBe(0x5000n)
    expect(out(m, 2)).toBe(0x0706050403020100n)
    expect(out(m, 3)).toBe(0x1_0000_0000n)
    expect(m.partition.memory.readU64(PAGES.OUTPUT + 3 * 16 + 8)).toBe(0xa09b_0010_ffff_ffffn)
    expect(out(m, 4)).toBe(77n)
    expect([out(m, 5), out(m, 6)]).toEqual([1n, 1n])
    expect(out(m, 7)).toBe(m.read(HV_MSR.GUEST_OS_ID))
    expect(out(m, 8)).toBe(0x10000n)
    expect(out(m, 9) & 0xffffffffn).toBe(0x2effn)
    expect(m.call(0x50n | rep(1), get([0x00090003]), 2)).toBe(1n << 32n)
    expect(out(m, 0)).toBe(2n)
  })

  it('says what is wrong, and how far it came', () => {
    const m = machine()
    expect(m.call(0x50n | rep(3), get([0x00090003, 0x12345678, 0x00090003]))).toBe(
      (1n << 32n) | status('INVALID_PARAMETER'),
    )
    expect(m.call(0x50n | rep(1), get([0x00090003], 3))).toBe(status('INVALID_VP_INDEX'))
    expect(m.call(0x50n | rep(1), get([0x00090003], 0, 1n))).toBe(status('ACCESS_DENIED'))
    expect(m.call(0x50n | rep(1), get([0x00090003], 0, SELF, 0x11))).toBe(status('INVALID_PARAMETER'))
    // Six values do not fit in the registers.
    expect(m.call(0x50n | rep(6) | FAST, get([0x00090003]))).toBe(status('INVALID_HYPERCALL_INPUT'))
    expect(m.call(0x50n | rep(2, 1), get([1, 0x00090003]))).toBe(2n << 32n)
    // EOI cannot be read.
    expect(m.call(0x50n | rep(1), get([0x00090010]))).toBe(status('ACCESS_DENIED'))
  })

  it('tells frequencies in kHz, what CPUID says, and nothing of registers that the processor does not have', () => {
    const m = machine()
    expect(m.call(0x50n | rep(3), get([0x00000240, 0x00000241, 0x00000207]))).toBe(3n << 32n)
    expect([0, 1, 2].map((index) => out(m, index))).toEqual([2_000_000n, 1_000_000n, 0n])
    for (const name of [0x00080005, 0x0008001f, 0x00084802, 0x00000000, 0x00010006, 0x000d0002])
      expect(m.call(0x50n | rep(1), get([name])), name.toString(16)).toBe(status('INVALID_PARAMETER'))
  })

  it('needs its privilege, and those of the registers', () => {
    const names = CHILD_PRIVILEGES.filter((name) => name !== 'ACCESS_SYNIC_REGS')
    const m = new HyperVMachine({ privileges: new PartitionPrivileges(names) })
    m.enableHypercalls()
    expect(m.call(0x50n | rep(1), get([0x000a0002]))).toBe(status('ACCESS_DENIED'))
    const n = new HyperVMachine({
      privileges: new PartitionPrivileges(names.filter((name) => name !== 'ACCESS_VP_REGISTERS')),
    })
    n.enableHypercalls()
    expect(n.call(0x50n | rep(1), get([0x00090003]))).toBe(status('ACCESS_DENIED'))
  })
})

describe('HvCallSetVpRegisters', () => {
  const set = (elements: readonly (readonly [number, bigint])[], vp = VP_SELF): Uint8Array =>
    bytes(
      [8, SELF],
      [4, vp],
      [4, 0],
      ...elements.flatMap(
        ([name, value]) =>
          [
            [4, name],
            [4, 0],
            [8, 0],
            [8, value],
            [8, 0],
          ] as [4 | 8, number | bigint][],
      ),
    )

  /** One register of 128 bits. */
  const element = (name: number, low: bigint, high: bigint, vp = VP_SELF): Uint8Array =>
    bytes([8, SELF], [4, vp], [4, 0], [4, name], [4, 0], [8, 0], [8, low], [8, high])

  it('writes processor and synthetic registers', () => {
    const m = machine()
    const elements = [
      [0x00020003, 0xabcn],
      [0x00030001, 0x1122n],
      [0x00040004, 5n],
      [0x000a0003, 0x10055n],
    ] as const
    expect(m.call(0x51n | rep(4), set(elements))).toBe(4n << 32n)
    expect(m.vp().getRegister('rbx')).toBe(0xabcn)
    expect(m.vp().getXmm(1).slice(0, 2)).toEqual(Uint8Array.of(0x22, 0x11))
    expect(m.vp().getRegister('cr8')).toBe(5n)
    expect(m.read(HV_MSR.SINT0 + 3)).toBe(0x10055n)
    expect(
      m.call(
        0x51n | rep(2),
        set(
          [
            [0x00020010, 0x4000n],
            [0x00020011, 2n],
          ],
          1,
        ),
      ),
    ).toBe(2n << 32n)
    expect(m.vp(1).getRegister('rip')).toBe(0x4000n)
  })

  it('refuses values that a register cannot hold, read-only registers, and the caller’s own RIP', () => {
    const m = machine()
    m.vp().msrs.set(0x174, 0n)
    for (const [name, value, expected] of [
      [0x00020011, 2n, 'INVALID_VP_STATE'],
      [0x00020010, 0n, 'INVALID_VP_STATE'],
      [0x00040000, 0x1_0000_0011n, 'INVALID_REGISTER_VALUE'],
      [0x00040000, 0x8000_0010n, 'INVALID_REGISTER_VALUE'],
      [0x00040000, 0x2000_0011n, 'INVALID_REGISTER_VALUE'],
      [0x00040002, 1n << 40n, 'INVALID_REGISTER_VALUE'],
      [0x00040003, 0x2000n, 'INVALID_REGISTER_VALUE'],
      [0x00040004, 16n, 'INVALID_REGISTER_VALUE'],
      [0x00040005, 2n, 'INVALID_REGISTER_VALUE'],
      [0x00040005, 5n, 'INVALID_REGISTER_VALUE'],
      [0x00050004, 1n << 32n, 'INVALID_REGISTER_VALUE'],
      [0x00050005, 1n << 32n, 'INVALID_REGISTER_VALUE'],
      [0x00080001, 0x2000n, 'INVALID_REGISTER_VALUE'],
      [0x00080004, 2n, 'INVALID_REGISTER_VALUE'],
      [0x00080005, 0xbadn, 'INVALID_REGISTER_VALUE'],
      [0x000a0003, 5n, 'INVALID_REGISTER_VALUE'],
      [0x00090003, 1n, 'INVALID_REGISTER_VALUE'],
      // Read-only, or not there.
      [0x00000200, 1n, 'INVALID_PARAMETER'],
      [0x00000240, 1n, 'INVALID_PARAMETER'],
      [0x0008000c, 1n, 'INVALID_PARAMETER'],
      [0x00080006, 1n, 'INVALID_PARAMETER'],
      [0x0008001f, 1n, 'INVALID_PARAMETER'],
    ] as const)
      expect(
        m.call(
          0x51n | rep(2),
          set([
            [0x00020003, 1n],
            [name, value],
          ]),
        ),
        `${name.toString(16)} ${value}`,
      ).toBe((1n << 32n) | status(expected))
    for (const flags of [0n, (1n << 17n) | 2n, (1n << 22n) | 2n, (1n << 63n) | 2n, 8n | 2n])
      expect(m.call(0x51n | rep(1), set([[0x00020011, flags]], 1))).toBe(status('INVALID_REGISTER_VALUE'))
    // A reserved bit of MXCSR; a segment with a reserved bit, and one in pages whose limit ends inside of a page.
    m.vp().floatState[28] = 0xff
    for (const [name, low, high] of [
      [0x00030019, 0n, 0x100n],
      [0x00060003, 0n, 0xc193_0010_ffff_ffffn],
      [0x00060003, 0n, 0xc093_0010_ffff_f000n],
    ] as const)
      expect(m.call(0x51n | rep(1), element(name, low, high))).toBe(status('INVALID_REGISTER_VALUE'))
    expect(m.vp().segments.size).toBe(0)
  })

  it('writes control, debug, segment and table registers, and the processor’s MSRs, of any processor of the partition', () => {
    const m = machine()
    const target = m.vp(2)
    const names = [
      [0x00040000, 'cr0', 0x80050033n],
      [0x00040001, 'cr2', 0x1_2345_6789_abcdn],
      [0x00040002, 'cr3', 0xff_ffff_f000n],
      [0x00040003, 'cr4', 0x370220n],
      [0x00040005, 'xcr0', 3n],
      [0x00050000, 'dr0', 0xffff_8000_0000_0000n],
      [0x00050003, 'dr3', 4n],
      [0x00050004, 'dr6', 0xffff_0ff0n],
      [0x00050005, 'dr7', 0x400n],
      [0x00080001, 'efer', 0xd01n],
      [0x00080004, 'pat', 0x0007040600070406n],
    ] as const
    expect(
      m.call(
        0x51n | rep(names.length),
        set(
          names.map(([name, , value]) => [name, value]),
          2,
        ),
      ),
    ).toBe(BigInt(names.length) << 32n)
    for (const [, name, value] of names) expect(target.getRegister(name), name).toBe(value)

    expect(m.call(0x51n | rep(1), element(0x00060001, 0x1000n, 0xa09b_0010_ffff_ffffn, 2))).toBe(1n << 32n)
    expect(target.getSegment('cs')).toEqual({ selector: 0x10, base: 0x1000n, limit: 0xffffffff, attributes: 0xa09b })
    // A segment that is not present cannot be used.
    expect(m.call(0x51n | rep(1), element(0x00060003, 0n, 0n, 2))).toBe(1n << 32n)
    expect(target.getSegment('ds')).toEqual({ selector: 0, base: 0n, limit: 0, attributes: 0x1_0000 })
    expect(m.call(0x51n | rep(1), element(0x00070000, 0x0fff_dead_dead_deadn, 0x9000n, 2))).toBe(1n << 32n)
    expect(m.call(0x51n | rep(1), element(0x00070001, 0x007f_0000_0000_0000n, 0xa000n, 2))).toBe(1n << 32n)
    expect(Object.fromEntries(target.tables)).toEqual({
      idtr: { base: 0x9000n, limit: 0xfff },
      gdtr: { base: 0xa000n, limit: 0x7f },
    })
    expect(m.call(0x50n | rep(1), bytes([8, SELF], [4, 2], [4, 0], [4, 0x00070001]))).toBe(1n << 32n)
    expect(m.partition.memory.readU64(PAGES.OUTPUT)).toBe(0x007f_0000_0000_0000n)
    expect(m.partition.memory.readU64(PAGES.OUTPUT + 8)).toBe(0xa000n)

    const msrs = [
      [0x00080000, 0x10],
      [0x00080002, 0xc0000102],
      [0x00080003, 0x1b],
      [0x00080005, 0x174],
      [0x00080006, 0x176],
      [0x00080007, 0x175],
      [0x00080008, 0xc0000081],
      [0x0008000b, 0xc0000084],
      [0x0008000e, 0x2ff],
      [0x00080010, 0x200],
      [0x00080047, 0x20f],
      [0x00080070, 0x250],
      [0x00080072, 0x259],
      [0x0008007a, 0x26f],
      [0x0008007b, 0xc0000103],
      [0x00080095, 0x6e0],
      [0x00080096, 0x3b],
      [0x00084808, 0x808],
    ] as const
    for (const [, index] of msrs) target.msrs.set(index, 0n)
    const values = msrs.map(([name, index]) => [name, BigInt(index) + 1n] as const)
    expect(m.call(0x51n | rep(values.length), set(values, 2))).toBe(BigInt(values.length) << 32n)
    for (const [, index] of msrs) expect(target.msrs.get(index), index.toString(16)).toBe(BigInt(index) + 1n)
    // What cannot be read.
    target.msrs.set(0x49, 0n)
    expect(m.call(0x51n | rep(1), set([[0x00080085, 1n]], 2))).toBe(1n << 32n)
    expect(target.msrs.get(0x49)).toBe(1n)
  })

  it('writes and reads x87 and SSE state as FXSAVE has it', () => {
    const m = machine()
    const { floatState } = m.vp()
    floatState.set([0xff, 0xff], 28)
    m.vp().setFloatState(floatState)
    const state = (): Uint8Array => m.vp().getFloatState()
    expect(m.call(0x51n | rep(1), element(0x00030012, 0x8000_0000_0000_0001n, 0xdead_dead_dead_4000n))).toBe(1n << 32n)
    expect([...state().slice(64, 76)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0x80, 0, 0x40, 0, 0])
    expect(m.call(0x51n | rep(1), element(0x00030018, 0x0123_00ff_3800_037fn, 0x40_1234n))).toBe(1n << 32n)
    expect(new DataView(state().buffer).getBigUint64(0, true)).toBe(0x0123_00ff_3800_037fn)
    expect(m.call(0x51n | rep(1), element(0x00030019, 0x5678n, 0xdead_dead_0000_1f80n))).toBe(1n << 32n)
    expect([16, 24].map((at) => new DataView(state().buffer).getBigUint64(at, true))).toEqual([
      0x5678n,
      0xffff_0000_1f80n,
    ])
    expect(
      m.call(0x50n | rep(3), bytes([8, SELF], [4, VP_SELF], [4, 0], [4, 0x00030012], [4, 0x00030018], [4, 0x00030019])),
    ).toBe(3n << 32n)
    expect([0, 8, 16, 24, 32, 40].map((at) => m.partition.memory.readU64(PAGES.OUTPUT + at))).toEqual([
      0x8000_0000_0000_0001n,
      0x4000n,
      0x0123_00ff_3800_037fn,
      0x40_1234n,
      0x5678n,
      0xffff_0000_1f80n,
    ])
  })

  it('needs its privilege, and takes no other partition or trust level', () => {
    const m = machine()
    const input = (partition: bigint, vtl: number): Uint8Array =>
      bytes([8, partition], [4, 0], [4, vtl], [4, 0x00020000])
    expect(m.call(0x51n | rep(1), input(1n, 0))).toBe(status('ACCESS_DENIED'))
    expect(m.call(0x51n | rep(1), input(SELF, 0x11))).toBe(status('INVALID_PARAMETER'))
    expect(m.call(0x51n | rep(1), set([[0x00020000, 1n]], 3))).toBe(status('INVALID_VP_INDEX'))
    const n = new HyperVMachine({
      privileges: new PartitionPrivileges(CHILD_PRIVILEGES.filter((name) => name !== 'ACCESS_VP_REGISTERS')),
    })
    n.enableHypercalls()
    expect(n.call(0x51n | rep(1), set([[0x00020000, 1n]]))).toBe(status('ACCESS_DENIED'))
  })
})

/** HV_INITIAL_VP_CONTEXT of a processor in 64-bit mode. */
function context(
  changes: Partial<Record<'rip' | 'rflags' | 'efer' | 'cr0' | 'cr3' | 'cr4' | 'pat', bigint>> & { cs?: number } = {},
): Uint8Array {
  const value = {
    rip: 0xffff_8000_0000_1000n,
    rflags: 2n,
    efer: 0xd00n,
    cr0: 0x80050033n,
    cr3: 0x5000n,
    cr4: 0x20n,
    pat: 0x0007040600070406n,
    cs: 0xa09b,
    ...changes,
  }
  const segment = (attributes: number): [4 | 8 | 2, number][] => [
    [8, 0],
    [4, 0xffffffff],
    [2, 0x10],
    [2, attributes],
  ]
  return bytes(
    [8, value.rip],
    [8, 0x7000],
    [8, value.rflags],
    ...segment(value.cs),
    ...segment(0xc093),
    ...segment(0xc093),
    ...segment(0xc093),
    ...segment(0xc093),
    ...segment(0xc093),
    ...segment(0x8b),
    ...segment(0x82),
    [2, 0],
    [2, 0],
    [2, 0],
    [2, 0xfff],
    [8, 0x9000],
    [2, 0],
    [2, 0],
    [2, 0],
    [2, 0x7f],
    [8, 0xa000],
    [8, value.efer],
    [8, value.cr0],
    [8, value.cr3],
    [8, value.cr4],
    [8, value.pat],
  )
}

describe('HvCallStartVirtualProcessor', () => {
  const start = (vp: number, state: Uint8Array, partition: bigint = SELF, vtl = 0): Uint8Array =>
    Uint8Array.from([...bytes([8, partition], [4, vp], [4, vtl]), ...state])

  it('starts a waiting processor with the given state', () => {
    const m = machine()
    expect(context().length).toBe(224)
    expect(m.call(0x99, start(1, context()))).toBe(0n)
    const vp = m.vp(1)
    expect(vp.waitingForStartup).toBe(false)
    const registers = ['rip', 'rsp', 'rflags', 'efer', 'cr0', 'cr3', 'cr4', 'pat'] as const
    expect(registers.map((name) => vp.getRegister(name))).toEqual([
      0xffff_8000_0000_1000n,
      0x7000n,
      2n,
      0xd00n,
      0x80050033n,
      0x5000n,
      0x20n,
      0x0007040600070406n,
    ])
    expect(vp.getSegment('cs')).toEqual({ selector: 0x10, base: 0n, limit: 0xffffffff, attributes: 0xa09b })
    expect(vp.getSegment('tr').attributes).toBe(0x8b)
    expect(Object.fromEntries(vp.tables)).toEqual({
      idtr: { base: 0x9000n, limit: 0xfff },
      gdtr: { base: 0xa000n, limit: 0x7f },
    })
    expect(m.call(0x99, start(1, context()))).toBe(status('INVALID_VP_STATE'))
  })

  it('takes real mode and 32-bit paging as well', () => {
    const m = machine()
    expect(m.call(0x99, start(1, context({ rip: 0x8000n, efer: 0n, cr0: 0x10n, cr4: 0n, cs: 0x9b })))).toBe(0n)
    expect(m.call(0x99, start(2, context({ rip: 0x8000n, efer: 0n, cr0: 0x80000011n, cr4: 0n, cs: 0xc09b })))).toBe(0n)
  })

  it('says what is wrong, with nothing started', () => {
    const m = machine()
    expect(m.call(0x99, start(1, context(), 0n))).toBe(status('INVALID_PARTITION_ID'))
    expect(m.call(0x99, start(3, context()))).toBe(status('INVALID_VP_INDEX'))
    expect(m.call(0x99, start(0, context()))).toBe(status('INVALID_VP_STATE'))
    expect(m.call(0x99, start(1, context(), SELF, 1))).toBe(status('INVALID_VTL_STATE'))
    for (const changes of [
      { rflags: 0n },
      { rflags: 0x20002n },
      { efer: 0x2000n },
      { efer: 0x800n },
      { efer: 0x400n },
      { cr0: 0x80050032n },
      { cr0: 0x20000011n, efer: 0n, rip: 0n },
      { cr0: 0x1_80050033n },
      { cr3: 1n << 40n },
      { cr4: 0n },
      { cr4: 0x2020n },
      { pat: 2n },
      { pat: 8n << 56n },
      { rip: 0x8000_0000_0000n },
      { cs: 0xe09b },
      { cs: 0xa01b },
      { cs: 0xa093 },
      { cs: 0xab9b },
      { cs: 0xc09b, rip: 1n << 32n },
    ])
      expect(
        m.call(0x99, start(1, context(changes))),
        JSON.stringify(changes, (_, value) => String(value)),
      ).toBe(status('INVALID_REGISTER_VALUE'))
    expect(m.vp(1).waitingForStartup).toBe(true)
    expect(m.vp(1).getRegister('rip')).toBe(0n)
  })

  it('needs its privilege', () => {
    const m = new HyperVMachine({
      privileges: new PartitionPrivileges(CHILD_PRIVILEGES.filter((name) => name !== 'START_VIRTUAL_PROCESSOR')),
    })
    m.enableHypercalls()
    expect(m.call(0x99, start(1, context()))).toBe(status('ACCESS_DENIED'))
    expect(m.call(0x9an | rep(1))).toBe(status('ACCESS_DENIED'))
  })
})

describe('HvCallGetVpIndexFromApicId', () => {
  it('gives the index of each APIC id, up to one that is nobody’s', () => {
    const m = machine()
    const ids = (partition: bigint, vtl: number, ...list: number[]) =>
      bytes([8, partition], [8, vtl], ...list.map((id) => [4, id] as const))
    expect(m.call(0x9an | rep(2), ids(SELF, 0, 2, 1))).toBe(2n << 32n)
    expect([0, 4].map((at) => m.partition.memory.readU32(PAGES.OUTPUT + at))).toEqual([2, 1])
    expect(m.call(0x9an | rep(2), ids(SELF, 0, 0, 9))).toBe((1n << 32n) | status('INVALID_PARAMETER'))
    expect(m.call(0x9an | rep(1), ids(5n, 0, 0))).toBe(status('INVALID_PARTITION_ID'))
    expect(m.call(0x9an | rep(1), ids(SELF, 1, 0))).toBe(status('INVALID_VTL_STATE'))
  })
})

describe('Extended hypercalls', () => {
  it('can be asked for, and are none', () => {
    const m = machine()
    m.partition.memory.writeU64(PAGES.OUTPUT, SELF)
    expect(m.call(0x8001)).toBe(0n)
    expect(m.partition.memory.readU64(PAGES.OUTPUT)).toBe(0n)
    expect(m.raw(0x8001n | FAST, 0n, 0n)).toBe(0n)
    expect(m.call(0x8003)).toBe(status('INVALID_HYPERCALL_CODE'))
    const n = new HyperVMachine({
      privileges: new PartitionPrivileges(CHILD_PRIVILEGES.filter((name) => name !== 'ENABLE_EXTENDED_HYPERCALLS')),
    })
    n.enableHypercalls()
    expect(n.call(0x8001)).toBe(status('ACCESS_DENIED'))
  })
})

describe('Privileges of hypercalls', () => {
  /** Of each privilege of the second half: call codes that are served, and such that are restricted and not served. */
  const GUARDED: Partial<Record<PrivilegeName, { served?: readonly number[]; restricted?: readonly number[] }>> = {
    CREATE_PARTITIONS: { restricted: [0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x47, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x94] },
    ACCESS_PARTITION_ID: { restricted: [0x46] },
    ACCESS_MEMORY_POOL: { restricted: [0x48, 0x49, 0x4a] },
    POST_MESSAGES: { served: [0x5c] },
    SIGNAL_EVENTS: { served: [0x5d] },
    CREATE_PORT: { restricted: [0x95, 0x58] },
    CONNECT_PORT: { restricted: [0x96, 0x5b] },
    ACCESS_STATS: { restricted: [0x6c, 0x6d, 0x131] },
    DEBUGGING: { restricted: [0x69, 0x6a, 0x6b] },
    CPU_MANAGEMENT: { restricted: [0x76] },
    ACCESS_VSM: { restricted: [0x0c, 0x0d, 0x0f] },
    ACCESS_VP_REGISTERS: { served: [0x50, 0x51] },
    ENABLE_EXTENDED_HYPERCALLS: { served: [0x8001], restricted: [0x8002, 0x8003] },
    START_VIRTUAL_PROCESSOR: { served: [0x99, 0x9a] },
  }
  /** Those that guard no call: a form of output, and what is not built. */
  const WITHOUT_CALLS: readonly PrivilegeName[] = [
    'FAST_HYPERCALL_OUTPUT',
    'ADJUST_MESSAGE_BUFFERS',
    'CONFIGURE_PROFILER',
  ]
  const ALL = Object.keys(PRIVILEGE) as PrivilegeName[]
  const reps = (code: number): bigint => ([0x50, 0x51, 0x9a].includes(code) ? rep(1) : 0n)

  it('are all in the table', () => {
    const listed = [...(Object.keys(GUARDED) as PrivilegeName[]), ...WITHOUT_CALLS].sort()
    expect(listed).toEqual(ALL.filter((name) => PRIVILEGE[name] >= 32).sort())
  })

  it.each(Object.entries(GUARDED))(
    '%s guards its calls and shows in CPUID',
    (name, { served = [], restricted = [] }) => {
      const privilege = name as PrivilegeName
      const allowed = new HyperVMachine({ privileges: new PartitionPrivileges(ALL) })
      const denied = new HyperVMachine({
        privileges: new PartitionPrivileges(ALL.filter((other) => other !== privilege)),
      })
      for (const m of [allowed, denied]) m.enableHypercalls()
      const bit = 1 << (PRIVILEGE[privilege] - 32)
      expect((allowed.cpuid(0x40000003)[1] as number) & bit).toBe(bit)
      expect((denied.cpuid(0x40000003)[1] as number) & bit).toBe(0)
      for (const code of [...served, ...restricted])
        expect(denied.call(BigInt(code) | reps(code)), code.toString(16)).toBe(status('ACCESS_DENIED'))
      for (const code of restricted)
        expect(allowed.call(code), code.toString(16)).toBe(status('INVALID_HYPERCALL_CODE'))
      for (const code of served) {
        const result = allowed.call(BigInt(code) | reps(code), bytes([8, SELF]))
        // What the calls say themselves about input that is all zeros.
        expect([status('ACCESS_DENIED'), status('INVALID_HYPERCALL_CODE')], code.toString(16)).not.toContain(result)
      }
    },
  )

  it('leave the other calls free', () => {
    const m = new HyperVMachine({ privileges: new PartitionPrivileges(['ACCESS_HYPERCALL_MSRS']) })
    m.enableHypercalls()
    expect(m.call(0x02, bytes([8, 0], [8, 2], [8, 0]))).toBe(0n)
    expect(m.call(0x08)).toBe(0n)
    expect(m.raw(0x0bn | FAST, 0x40n, 1n)).toBe(0n)
    // A child without any is told of no call that it may not make.
    expect(m.call(0x40)).toBe(status('ACCESS_DENIED'))
    expect(m.call(0xffff)).toBe(status('INVALID_HYPERCALL_CODE'))
  })
})
