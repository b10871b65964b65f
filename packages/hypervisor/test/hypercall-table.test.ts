// TLFS, "Hypercall Interface": input values, register conventions, parameters in memory and registers, results.

import { describe, expect, it } from 'vitest'
import { GpaMap, HV_STATUS, type HypercallHandler, HypercallTable, PartitionPrivileges } from '../src/index.ts'
import { FakeProcessor } from './fakes.ts'

const RAM = 2 ** 20
const INPUT = 0x4000
const OUTPUT = 0x6000

function machine(
  privileges: PartitionPrivileges = new PartitionPrivileges(['POST_MESSAGES', 'FAST_HYPERCALL_OUTPUT']),
) {
  const processor = new FakeProcessor()
  const memory = processor.createMemory(RAM)
  const map = new GpaMap(memory)
  map.map(0, RAM, memory.ramOffset)
  const vp = processor.createVirtualProcessor({
    index: 0,
    apicId: 0,
    memory,
    intercepts: undefined as never,
    clock: undefined as never,
    logger: undefined as never,
  })
  const table = new HypercallTable(privileges, map, memory.gpaEnd)
  table.enabled = true
  const call = (value: bigint, input: bigint = BigInt(INPUT), output: bigint = BigInt(OUTPUT)): bigint => {
    vp.setRegister('rcx', value)
    vp.setRegister('rdx', input)
    vp.setRegister('r8', output)
    expect(table.dispatch(vp)).toBe(true)
    return vp.getRegister('rax')
  }
  return { vp, table, map, call }
}

const rep = (count: number, start = 0): bigint => (BigInt(count) << 32n) | (BigInt(start) << 48n)
const FAST = 1n << 16n
const simple = (more: Partial<HypercallHandler> = {}): HypercallHandler => ({
  inputSize: 0,
  call: () => HV_STATUS.SUCCESS,
  ...more,
})

describe('HypercallTable', () => {
  it('raises #UD until the interface is enabled', () => {
    const { vp, table } = machine()
    table.enabled = false
    expect(table.dispatch(vp)).toBe(false)
  })

  it('checks call code, privilege, reserved bits, rep count and variable header, each with its status', () => {
    const { table, call } = machine()
    table.register(0x5c, simple({ privilege: 'POST_MESSAGES' }))
    table.register(0x5d, simple({ privilege: 'SIGNAL_EVENTS' }))
    table.register(0x50, simple({ element: { input: 0, output: 0 } }))
    table.register(0x13, simple({ variableHeader: true }))
    expect(call(0x5cn)).toBe(0n)
    expect(call(0x99n)).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_CODE))
    expect(call(0x5dn)).toBe(BigInt(HV_STATUS.ACCESS_DENIED))
    // Privilege comes first: nothing else is told to who may not call.
    expect(call(0x5dn | (1n << 27n))).toBe(BigInt(HV_STATUS.ACCESS_DENIED))
    const wrong = BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT)
    for (const bit of [27n, 28n, 29n, 30n, 31n, 44n, 45n, 46n, 47n, 60n, 61n, 62n, 63n])
      expect(call(0x5cn | (1n << bit)), `bit ${bit}`).toBe(wrong)
    expect(call(0x5cn | rep(1))).toBe(wrong)
    expect(call(0x5cn | rep(0, 1))).toBe(wrong)
    expect(call(0x5cn | (1n << 17n))).toBe(wrong)
    expect(call(0x50n)).toBe(wrong)
    expect(call(0x50n | rep(2, 2))).toBe(wrong)
    expect(call(0x50n | rep(2, 1))).toBe(1n << 32n)
    expect(call(0x13n | (5n << 17n))).toBe(0n)
    expect(() => table.register(0x50, simple())).toThrow(expect.objectContaining({ code: 'ERR_HYPERCALL_CONFLICT' }))
  })

  it('reads input of memory as a private copy, and refuses what is not aligned, crosses a page, is no address or is no memory', () => {
    const { table, map, call } = machine()
    const seen: string[] = []
    table.register(
      0x10,
      simple({
        inputSize: 16,
        variableHeader: true,
        call({ input, inputBytes, headerSize, variableHeaderSize }) {
          map.writeU64(INPUT, 0n)
          seen.push(`${input.getBigUint64(0, true)} ${headerSize} ${variableHeaderSize} ${inputBytes[headerSize - 1]}`)
          return HV_STATUS.SUCCESS
        },
      }),
    )
    map.writeU64(INPUT, 77n)
    map.writeU8(INPUT + 31, 9)
    expect(call(0x10n | (2n << 17n))).toBe(0n)
    expect(seen).toEqual(['77 32 16 9'])
    const alignment = BigInt(HV_STATUS.INVALID_ALIGNMENT)
    for (const gpa of [INPUT + 4, INPUT + 1, INPUT + 0xff8, 2 ** 40]) expect(call(0x10n, BigInt(gpa))).toBe(alignment)
    expect(call(0x10n, 0xffff_ffff_ffff_fff0n)).toBe(alignment)
    for (const gpa of [RAM, 2 ** 40 - 4096, 2 ** 32])
      expect(call(0x10n, BigInt(gpa))).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT))
    expect(call(0x10n, BigInt(INPUT + 0xff0))).toBe(0n)
    expect(call(0x10n, BigInt(RAM - 16))).toBe(0n)
    expect(seen.length).toBe(3)
  })

  it('ignores the addresses of parameters that there are not', () => {
    const { table, call } = machine()
    table.register(0x10, simple())
    expect(call(0x10n, 3n, 5n)).toBe(0n)
  })

  it('takes fast input from RDX, R8 and XMM0 to XMM5, up to 112 bytes', () => {
    const { table, vp, call } = machine()
    let got: Uint8Array = new Uint8Array(0)
    table.register(0x10, {
      inputSize: 112,
      call: ({ inputBytes, fast }) => {
        expect(fast).toBe(true)
        got = inputBytes.slice(0, 112)
        return HV_STATUS.SUCCESS
      },
    })
    table.register(0x11, simple({ inputSize: 120 }))
    table.register(0x12, simple({ inputSize: 16, element: { input: 8, output: 0 } }))
    for (let index = 0; index < 6; index++)
      vp.setXmm(
        index,
        Uint8Array.from({ length: 16 }, (_, i) => 16 + index * 16 + i),
      )
    expect(call(0x10n | FAST, 0x0706050403020100n, 0x0f0e0d0c0b0a0908n)).toBe(0n)
    expect([...got]).toEqual(Array.from({ length: 112 }, (_, i) => i))
    expect(call(0x11n | FAST)).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT))
    expect(call(0x12n | FAST | rep(12))).toBe(0n)
    expect(call(0x12n | FAST | rep(13))).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT))
  })

  it('copies output to memory on success alone', () => {
    const { table, map, call } = machine()
    let status: number = HV_STATUS.SUCCESS
    table.register(0x10, {
      inputSize: 0,
      outputSize: 8,
      call({ output }) {
        output.setBigUint64(0, 0x1122334455667788n, true)
        return status
      },
    })
    expect(call(0x10n)).toBe(0n)
    expect(map.readU64(OUTPUT)).toBe(0x1122334455667788n)
    map.writeU64(OUTPUT, 1n)
    status = HV_STATUS.INVALID_PARAMETER
    expect(call(0x10n)).toBe(BigInt(HV_STATUS.INVALID_PARAMETER))
    expect(map.readU64(OUTPUT)).toBe(1n)
    status = HV_STATUS.SUCCESS
    for (const gpa of [OUTPUT + 4, OUTPUT + 0xffc, 2 ** 40])
      expect(call(0x10n, 0n, BigInt(gpa))).toBe(BigInt(HV_STATUS.INVALID_ALIGNMENT))
    map.cover(0x9000, 0, 1)
    for (const gpa of [0x9000, RAM])
      expect(call(0x10n, 0n, BigInt(gpa))).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT))
  })

  it('gives fast output in the registers behind the input, and leaves the input as it was', () => {
    const { table, vp, call } = machine()
    table.register(0x10, {
      inputSize: 20,
      outputSize: 24,
      call({ output }) {
        for (let at = 0; at < 24; at++) output.setUint8(at, 0x80 + at)
        return HV_STATUS.SUCCESS
      },
    })
    const pattern = (first: number): Uint8Array => Uint8Array.from({ length: 16 }, (_, index) => first + index)
    for (let index = 0; index < 6; index++) vp.setXmm(index, pattern(index))
    expect(call(0x10n | FAST, 1n, 2n)).toBe(0n)
    expect([vp.getRegister('rdx'), vp.getRegister('r8')]).toEqual([1n, 2n])
    // 20 bytes of input take RDX, R8 and all of XMM0.
    expect(vp.getXmm(0)).toEqual(pattern(0))
    expect(vp.getXmm(1)).toEqual(pattern(0x80))
    expect([...vp.getXmm(2)]).toEqual([...Array.from({ length: 8 }, (_, index) => 0x90 + index), ...Array(8).fill(0)])
    expect(vp.getXmm(3)).toEqual(pattern(3))

    table.register(0x11, {
      inputSize: 0,
      outputSize: 16,
      call({ output }) {
        output.setBigUint64(8, 9n, true)
        return HV_STATUS.SUCCESS
      },
    })
    expect(call(0x11n | FAST, 1n, 2n)).toBe(0n)
    expect([vp.getRegister('rdx'), vp.getRegister('r8')]).toEqual([0n, 9n])
    table.register(0x12, simple({ outputSize: 16, call: () => HV_STATUS.INVALID_PARAMETER }))
    expect(call(0x12n | FAST, 1n, 2n)).toBe(BigInt(HV_STATUS.INVALID_PARAMETER))
    expect([vp.getRegister('rdx'), vp.getRegister('r8')]).toEqual([1n, 2n])
    // Input and output take whole registers each: 80 and 32 bytes fit, 80 and 33 do not.
    table.register(0x13, simple({ inputSize: 72, outputSize: 32 }))
    table.register(0x14, simple({ inputSize: 72, outputSize: 33 }))
    expect(call(0x13n | FAST)).toBe(0n)
    expect(call(0x14n | FAST)).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT))
  })

  it('gives fast output of lists as far as they are done, and keeps what an earlier part gave', () => {
    const { table, vp, call } = machine()
    table.register(0x50, {
      inputSize: 16,
      element: { input: 4, output: 4 },
      call(hypercall) {
        for (let index = hypercall.repStartIndex; index < Math.min(hypercall.repCount, 5); index++) {
          hypercall.output.setUint32(index * 4, 0x100 + index, true)
          hypercall.repsCompleted = index + 1
        }
        return hypercall.repCount > 5 ? HV_STATUS.INVALID_PARAMETER : HV_STATUS.SUCCESS
      },
    })
    const words = (index: number): number[] => [...new Uint32Array(vp.getXmm(index).buffer)]
    for (let index = 0; index < 6; index++) vp.setXmm(index, new Uint8Array(16).fill(0xee))
    // 16 bytes of input and four elements: RDX, R8 and XMM0. Elements 0 and 1 were done before.
    expect(call(0x50n | FAST | rep(4, 2))).toBe(4n << 32n)
    expect(words(0)).toEqual(Array(4).fill(0xeeeeeeee))
    expect(words(1)).toEqual([0xeeeeeeee, 0xeeeeeeee, 0x102, 0x103])
    // Six elements are 24 bytes in and, behind XMM1, 24 out; five are done, of these four before.
    expect(call(0x50n | FAST | rep(6, 4))).toBe((5n << 32n) | BigInt(HV_STATUS.INVALID_PARAMETER))
    expect(words(2)).toEqual(Array(4).fill(0xeeeeeeee))
    expect(words(3)).toEqual([0x104, 0, 0, 0])
  })

  it('raises #UD for fast output without its privilege, and gives none outside of 64-bit mode', () => {
    const { table, vp } = machine(new PartitionPrivileges([]))
    table.register(0x10, simple({ outputSize: 8 }))
    vp.setRegister('rcx', 0x10n | FAST)
    expect(table.dispatch(vp)).toBe(false)
    vp.setRegister('rcx', 0x10n)
    vp.setRegister('r8', BigInt(OUTPUT))
    expect(table.dispatch(vp)).toBe(true)
    const other = machine()
    other.table.register(0x10, simple({ outputSize: 8 }))
    other.vp.is64Bit = false
    other.vp.setRegister('rax', 0x10n | FAST)
    expect(other.table.dispatch(other.vp)).toBe(true)
    expect(other.vp.getRegister('rax')).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_INPUT))
  })

  it('denies calls that are not there to who might not make them', () => {
    const { table, call } = machine()
    table.restrict(0x40, 'CREATE_PARTITIONS')
    table.restrict(0x41, 'POST_MESSAGES')
    expect(call(0x40n)).toBe(BigInt(HV_STATUS.ACCESS_DENIED))
    expect(call(0x41n)).toBe(BigInt(HV_STATUS.INVALID_HYPERCALL_CODE))
  })

  it('serves lists from the start index, reports completed elements, writes their output and moves the start index in RCX', () => {
    const { table, map, vp, call } = machine()
    table.register(0x50, {
      inputSize: 8,
      element: { input: 4, output: 16 },
      call(hypercall) {
        for (let index = hypercall.repStartIndex; index < hypercall.repCount; index++) {
          const value = hypercall.input.getUint32(hypercall.headerSize + index * 4, true)
          if (value === 13) return HV_STATUS.INVALID_PARAMETER
          hypercall.output.setUint32(index * 16, value * 2, true)
          hypercall.repsCompleted = index + 1
        }
        return HV_STATUS.SUCCESS
      },
    })
    for (const [index, value] of [5, 6, 7, 13].entries()) map.writeU32(INPUT + 8 + index * 4, value)
    for (let index = 0; index < 4; index++) map.writeU32(OUTPUT + index * 16, 99)
    expect(call(0x50n | rep(3, 1))).toBe(3n << 32n)
    expect([0, 1, 2, 3].map((index) => map.readU32(OUTPUT + index * 16))).toEqual([99, 12, 14, 99])
    expect(vp.getRegister('rcx')).toBe(0x50n | rep(3, 3))
    expect(call(0x50n | rep(4))).toBe((3n << 32n) | BigInt(HV_STATUS.INVALID_PARAMETER))
    expect([0, 1, 2, 3].map((index) => map.readU32(OUTPUT + index * 16))).toEqual([10, 12, 14, 99])
    expect(vp.getRegister('rcx')).toBe(0x50n | rep(4, 3))
    // 512 elements of output are more than a page.
    expect(call(0x50n | rep(257))).toBe(BigInt(HV_STATUS.INVALID_ALIGNMENT))
  })

  it('takes everything in pairs of 32-bit registers from callers that are not in 64-bit mode', () => {
    const { table, vp, map } = machine()
    vp.is64Bit = false
    table.register(0x10, {
      inputSize: 16,
      outputSize: 0,
      call: ({ input }) =>
        input.getBigUint64(0, true) === 0x1_0000_0002n && input.getBigUint64(8, true) === 0x3_0000_0004n ? 0 : 5,
    })
    table.register(0x11, {
      inputSize: 8,
      element: { input: 0, output: 8 },
      call(hypercall) {
        hypercall.output.setBigUint64(0, hypercall.input.getBigUint64(0, true), true)
        hypercall.repsCompleted = 1
        return 0
      },
    })
    const dirty = 0xabcd_0000_0000n
    const set = (eax: bigint, edx: bigint, ebx: bigint, ecx: bigint, edi: bigint, esi: bigint): void => {
      for (const [name, value] of Object.entries({ rax: eax, rdx: edx, rbx: ebx, rcx: ecx, rdi: edi, rsi: esi }))
        vp.setRegister(name as 'rax', dirty | value)
    }
    set(0x10n | FAST, 0n, 1n, 2n, 3n, 4n)
    expect(table.dispatch(vp)).toBe(true)
    expect([vp.getRegister('rax'), vp.getRegister('rdx')]).toEqual([0n, 0n])
    map.writeU64(INPUT, 0x55n)
    set(0x11n, 1n, 0n, BigInt(INPUT), 0n, BigInt(OUTPUT))
    expect(table.dispatch(vp)).toBe(true)
    expect([vp.getRegister('rax'), vp.getRegister('rdx')]).toEqual([0n, 1n])
    expect(map.readU64(OUTPUT)).toBe(0x55n)
    expect(vp.getRegister('rcx')).toBe(dirty | BigInt(INPUT))
  })
})
