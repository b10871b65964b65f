import type { AccessSize, MmioHandler, PortHandler } from '@partita/interface'
import { describe, expect, it } from 'vitest'
import { CpuidTable, GpaMap, MmioTable, MsrTable, PartitionPrivileges, PortTable, PRIVILEGE } from '../src/index.ts'
import { FakeMemory } from './fakes.ts'

/** Answers with its own name in the high nibble and the offset in the low one, per byte. */
function recorder(tag: number): { handler: PortHandler & MmioHandler; log: string[] } {
  const log: string[] = []
  return {
    log,
    handler: {
      read(offset: number, size: AccessSize): number {
        log.push(`r${size}@${offset}`)
        let value = 0
        for (let index = size - 1; index >= 0; index--) value = value * 256 + (tag * 16 + ((offset + index) & 15))
        return value
      },
      write(offset: number, size: AccessSize, value: number): void {
        log.push(`w${size}@${offset}=${value.toString(16)}`)
      },
    },
  }
}

describe('PortTable', () => {
  it('dispatches by range with offsets relative to the base, and floats high where nothing is', () => {
    const ports = new PortTable()
    const { handler, log } = recorder(0xa)
    ports.claim(0x3f8, 8, handler)
    expect(ports.read(0x3fd, 1)).toBe(0xa5)
    expect(ports.read(0x3f8, 4)).toBe(0xa3a2a1a0)
    ports.write(0x3f9, 2, 0x1234)
    expect(log).toEqual(['r1@5', 'r4@0', 'w2@1=1234'])
    expect(ports.read(0x400, 1)).toBe(0xff)
    expect(ports.read(0x400, 2)).toBe(0xffff)
    expect(ports.read(0x400, 4)).toBe(0xffffffff)
    ports.write(0x400, 4, 1)
    expect(log.length).toBe(3)
  })

  it('splits accesses that cross from one claim to another or to nothing', () => {
    const ports = new PortTable()
    const first = recorder(1)
    const second = recorder(2)
    ports.claim(0x10, 2, first.handler)
    ports.claim(0x12, 1, second.handler)
    expect(ports.read(0x10, 4)).toBe(0xff201110)
    ports.write(0x0f, 4, 0x44332211)
    expect(first.log).toEqual(['r1@0', 'r1@1', 'w1@0=22', 'w1@1=33'])
    expect(second.log).toEqual(['r1@0', 'w1@0=44'])
    expect(ports.read(0x0f, 2)).toBe(0x10ff)
  })

  it('wraps at the end of the port space', () => {
    const ports = new PortTable()
    const low = recorder(1)
    ports.claim(0, 1, low.handler)
    expect(ports.read(0xffff, 2)).toBe(0x10ff)
    expect(ports.read(0xfffd, 4)).toBe(0x10ffffff)
  })

  it('refuses a second claim, leaving the first untouched, and frees ports on disposal', () => {
    const ports = new PortTable()
    const claim = ports.claim(0x70, 2, recorder(1).handler)
    expect(() => ports.claim(0x6f, 2, recorder(2).handler)).toThrow(
      expect.objectContaining({ code: 'ERR_PORT_CONFLICT' }),
    )
    expect(ports.read(0x6f, 1)).toBe(0xff)
    expect(ports.read(0x70, 1)).toBe(0x10)
    claim[Symbol.dispose]()
    const next = ports.claim(0x6f, 2, recorder(3).handler)
    claim[Symbol.dispose]()
    expect(ports.read(0x70, 1)).toBe(0x31)
    next[Symbol.dispose]()
    for (const [base, length] of [
      [-1, 1],
      [0, 0],
      [0xffff, 2],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      expect(() => ports.claim(base, length, recorder(1).handler)).toThrow(
        expect.objectContaining({ code: 'ERR_PORT_RANGE' }),
      )
    }
  })
})

describe('MmioTable', () => {
  function table(): MmioTable {
    const memory = new FakeMemory(2 ** 20)
    const map = new GpaMap(memory)
    map.map(0, 2 ** 20, memory.ramOffset)
    return new MmioTable(map)
  }

  it('finds the claim of an address among many, above 4 GiB too', () => {
    const mmio = table()
    const devices = Array.from({ length: 9 }, (_, index) => recorder(index + 1))
    for (const [index, { handler }] of devices.entries()) mmio.claim(0xfec00000 + index * 0x2000, 0x1000, handler)
    const far = recorder(0xf)
    mmio.claim(0x10_0000_0000, 0x1000, far.handler)
    expect(devices.map((_, index) => mmio.read(0xfec00004 + index * 0x2000, 1))).toEqual([
      0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x84, 0x94,
    ])
    expect(mmio.read(0x10_0000_0008, 4)).toBe(0xfbfaf9f8)
    expect(mmio.read(0xfec01000, 4)).toBe(0xffffffff)
    expect(mmio.read(0xfebfffff, 1)).toBe(0xff)
    mmio.write(0xfec02010, 4, 7)
    expect(devices[1]?.log.at(-1)).toBe('w4@16=7')
  })

  it('splits accesses that leave a claim', () => {
    const mmio = table()
    const first = recorder(1)
    const second = recorder(2)
    mmio.claim(0x200000, 0x1000, first.handler)
    mmio.claim(0x201000, 0x1000, second.handler)
    expect(mmio.read(0x200ffe, 4)).toBe(0x21201f1e)
    mmio.write(0x201ffe, 4, 0x44332211)
    expect(second.log.slice(-2)).toEqual(['w1@4094=11', 'w1@4095=22'])
    expect(mmio.read(0x1ffffe, 4)).toBe(0x1110ffff)
    mmio.write(0x300000, 4, 1)
  })

  it('refuses RAM, other claims and half pages', () => {
    const mmio = table()
    const conflict = expect.objectContaining({ code: 'ERR_MMIO_CONFLICT' })
    expect(() => mmio.claim(0xff000, 0x1000, recorder(1).handler)).toThrow(conflict)
    const claim = mmio.claim(0x200000, 0x2000, recorder(1).handler)
    expect(() => mmio.claim(0x201000, 0x1000, recorder(2).handler)).toThrow(conflict)
    expect(() => mmio.claim(0x202000, 0x800, recorder(2).handler)).toThrow(
      expect.objectContaining({ code: 'ERR_GPA_RANGE' }),
    )
    expect(mmio.read(0x200000, 1)).toBe(0x10)
    claim[Symbol.dispose]()
    expect(mmio.read(0x200000, 1)).toBe(0xff)
    mmio.claim(0x201000, 0x1000, recorder(2).handler)
    expect(mmio.read(0x201000, 1)).toBe(0x20)
  })
})

describe('CpuidTable', () => {
  it('leaves the processor’s answer alone, clears the hypervisor bit and hides the hypervisor leaves', () => {
    const cpuid = new CpuidTable()
    const registers = Uint32Array.of(1, 2, 0xffffffff, 4)
    cpuid.apply(0, 1, 0, registers)
    expect([...registers]).toEqual([1, 2, 0x7fffffff, 4])
    cpuid.hypervisorPresent = true
    cpuid.apply(0, 1, 0, registers)
    expect(registers[2]).toBe(0xffffffff)
    cpuid.apply(0, 0x40000000, 0, registers)
    expect([...registers]).toEqual([0, 0, 0, 0])
    registers.fill(9)
    cpuid.apply(0, 7, 0, registers)
    expect([...registers]).toEqual([9, 9, 9, 9])
  })

  it('gives way to what is registered', () => {
    const cpuid = new CpuidTable()
    const registers = new Uint32Array(4)
    const leaf = cpuid.set(0x40000000, { eax: 0x4000000c, ebx: 0x7263694d, ecx: 0x666f736f, edx: 0x76482074 })
    cpuid.apply(0, 0x40000000, 0, registers)
    expect(new TextDecoder().decode(new Uint8Array(registers.buffer, 4))).toBe('Microsoft Hv')
    cpuid.set(4, (vpIndex, subleaf, out) => {
      out[0] = vpIndex * 16 + subleaf
    })
    cpuid.apply(2, 4, 3, registers)
    expect(registers[0]).toBe(0x23)
    expect(() => cpuid.set(4, { eax: 0, ebx: 0, ecx: 0, edx: 0 })).toThrow(
      expect.objectContaining({ code: 'ERR_CPUID_CONFLICT' }),
    )
    leaf[Symbol.dispose]()
    cpuid.apply(0, 0x40000000, 0, registers)
    expect(registers[0]).toBe(0)
  })
})

describe('MsrTable', () => {
  it('faults on MSRs that nobody has, and on the direction that a handler lacks', () => {
    const msrs = new MsrTable()
    const value = new BigUint64Array(1)
    expect(msrs.read(0, 0x40000000, value)).toBe(false)
    expect(msrs.write(0, 0x40000000, 1n)).toBe(false)
    let stored = 5n
    const msr = msrs.register(0x40000000, {
      read: (vpIndex) => (vpIndex === 0 ? stored : undefined),
      write(_vpIndex, next) {
        if (next > 10n) return false
        stored = next
        return true
      },
    })
    expect(msrs.write(0, 0x40000000, 7n)).toBe(true)
    expect(msrs.write(0, 0x40000000, 11n)).toBe(false)
    expect(msrs.read(0, 0x40000000, value)).toBe(true)
    expect(value[0]).toBe(7n)
    expect(msrs.read(1, 0x40000000, value)).toBe(false)
    msrs.register(0x10, { read: () => 1n })
    expect(msrs.write(0, 0x10, 1n)).toBe(false)
    expect(() => msrs.register(0x10, {})).toThrow(expect.objectContaining({ code: 'ERR_MSR_CONFLICT' }))
    msr[Symbol.dispose]()
    expect(msrs.read(0, 0x40000000, value)).toBe(false)
  })
})

describe('PartitionPrivileges', () => {
  it('has the bits of HV_PARTITION_PRIVILEGE_MASK', () => {
    const privileges = new PartitionPrivileges(['ACCESS_SYNIC_REGS', 'ACCESS_HYPERCALL_MSRS', 'SIGNAL_EVENTS'])
    expect(privileges.mask).toBe((1n << 2n) | (1n << 5n) | (1n << 37n))
    expect(privileges.has('SIGNAL_EVENTS')).toBe(true)
    expect(privileges.has('POST_MESSAGES')).toBe(false)
    expect(privileges.names()).toEqual(['ACCESS_SYNIC_REGS', 'ACCESS_HYPERCALL_MSRS', 'SIGNAL_EVENTS'])
    expect(new PartitionPrivileges().mask).toBe(0n)
    expect(new Set(Object.values(PRIVILEGE)).size).toBe(Object.keys(PRIVILEGE).length)
  })
})
