// CPUID (SDM vol. 2, CPUID) says what works: each feature that it offers has its instruction here, and what it leaves out is undefined. MSRs, random numbers, hypercalls.
import { type Assembler, mem } from '@partita/testkit/assembler'
import { beforeEach, describe, expect, it } from 'vitest'
import { AT, CR4, SELECTOR, SystemMachine } from './system-machine.ts'

let m: SystemMachine
beforeEach(() => {
  m = new SystemMachine('long')
})

function cpuid(leaf: number, subleaf = 0): { eax: number; ebx: number; ecx: number; edx: number } {
  m.kernel((a) => a.mov('eax', leaf).mov('ecx', subleaf).cpuid())
  const value = (name: 'rax' | 'rbx' | 'rcx' | 'rdx'): number => Number(m.get(name))
  return { eax: value('rax'), ebx: value('rbx'), ecx: value('rcx'), edx: value('rdx') }
}
const text = (...words: number[]): string =>
  words.map((word) => String.fromCharCode(word & 255, (word >> 8) & 255, (word >> 16) & 255, word >>> 24)).join('')

type Feature = readonly [
  name: string,
  leaf: number,
  register: 'ebx' | 'ecx' | 'edx',
  bit: number,
  write: (a: Assembler) => unknown,
]
const FEATURES: readonly Feature[] = [
  ['SSE3', 1, 'ecx', 0, (a) => a.bytes(0xf2, 0x0f, 0x7c, 0xc1)],
  ['PCLMULQDQ', 1, 'ecx', 1, (a) => a.bytes(0x66, 0x0f, 0x3a, 0x44, 0xc1, 0)],
  ['SSSE3', 1, 'ecx', 9, (a) => a.bytes(0x66, 0x0f, 0x38, 0x00, 0xc1)],
  ['FMA', 1, 'ecx', 12, (a) => a.bytes(0xc4, 0xe2, 0xf1, 0x98, 0xc2)],
  ['CMPXCHG16B', 1, 'ecx', 13, (a) => a.cmpxchg16b(mem(AT.DATA))],
  ['SSE4.1', 1, 'ecx', 19, (a) => a.bytes(0x66, 0x0f, 0x38, 0x21, 0xc1)],
  ['SSE4.2', 1, 'ecx', 20, (a) => a.bytes(0x66, 0x0f, 0x38, 0x37, 0xc1)],
  ['MOVBE', 1, 'ecx', 22, (a) => a.bytes(0x0f, 0x38, 0xf0, 0x04, 0x24)],
  ['POPCNT', 1, 'ecx', 23, (a) => a.bytes(0xf3, 0x0f, 0xb8, 0xc1)],
  ['AES', 1, 'ecx', 25, (a) => a.bytes(0x66, 0x0f, 0x38, 0xdc, 0xc1)],
  [
    'XSAVE',
    1,
    'ecx',
    26,
    (a) => a.mov('rax', 'cr4').or('eax', 0x40000).mov('cr4', 'rax').mov('ecx', 0).bytes(0x0f, 0x01, 0xd0),
  ],
  ['AVX', 1, 'ecx', 28, (a) => a.bytes(0xc5, 0xf4, 0x58, 0xc2)],
  ['F16C', 1, 'ecx', 29, (a) => a.bytes(0xc4, 0xe2, 0x79, 0x13, 0xc1)],
  ['RDRAND', 1, 'ecx', 30, (a) => a.bytes(0x0f, 0xc7, 0xf0)],
  ['MONITOR', 1, 'ecx', 3, (a) => a.bytes(0x0f, 0x01, 0xc8)],
  ['TSC', 1, 'edx', 4, (a) => a.rdtsc()],
  ['CMPXCHG8B', 1, 'edx', 8, (a) => a.cmpxchg8b(mem(AT.DATA))],
  ['CMOV', 1, 'edx', 15, (a) => a.cmovcc('e', 'eax', 'ebx')],
  ['CLFLUSH', 1, 'edx', 19, (a) => a.bytes(0x0f, 0xae, 0x3c, 0x24)],
  ['MMX', 1, 'edx', 23, (a) => a.bytes(0x0f, 0xfc, 0xc1)],
  ['FXSAVE', 1, 'edx', 24, (a) => a.bytes(0x0f, 0xae, 0x04, 0x25).dwords(AT.DATA)],
  ['SSE', 1, 'edx', 25, (a) => a.bytes(0x0f, 0x58, 0xc1)],
  ['SSE2', 1, 'edx', 26, (a) => a.bytes(0x66, 0x0f, 0x58, 0xc1)],
  [
    'FSGSBASE',
    7,
    'ebx',
    0,
    (a) => a.mov('rax', 'cr4').or('eax', CR4.FSGSBASE).mov('cr4', 'rax').bytes(0xf3, 0x0f, 0xae, 0xc0),
  ],
  ['BMI1', 7, 'ebx', 3, (a) => a.bytes(0xc4, 0xe2, 0x70, 0xf2, 0xc2)],
  ['AVX2', 7, 'ebx', 5, (a) => a.bytes(0xc5, 0xf5, 0xfc, 0xc2)],
  ['BMI2', 7, 'ebx', 8, (a) => a.bytes(0xc4, 0xe2, 0x72, 0xf5, 0xc2)],
  ['INVPCID', 7, 'ebx', 10, (a) => a.mov('eax', 2).sub('rsp', 16).bytes(0x66, 0x0f, 0x38, 0x82, 0x04, 0x24)],
  ['RDSEED', 7, 'ebx', 18, (a) => a.bytes(0x0f, 0xc7, 0xf8)],
  ['ADX', 7, 'ebx', 19, (a) => a.bytes(0x66, 0x0f, 0x38, 0xf6, 0xc1)],
  ['SHA', 7, 'ebx', 29, (a) => a.bytes(0x0f, 0x38, 0xc8, 0xc1)],
  ['LZCNT', 0x80000001, 'ecx', 5, (a) => a.bytes(0xf3, 0x0f, 0xbd, 0xc1)],
  ['RDTSCP', 0x80000001, 'edx', 27, (a) => a.bytes(0x0f, 0x01, 0xf9)],
]
describe('CPUID', () => {
  it.each(FEATURES)('%s', (_, leaf, register, bit, write) => {
    const offered = ((cpuid(leaf)[register] >>> bit) & 1) === 1
    m.set('cr4', CR4.PAE | 0x600)
    expect(m.kernel(write)).toBe(offered ? 'ok' : '#UD')
  })
  it('names vendor and brand', () => {
    const { ebx, ecx, edx, eax } = cpuid(0)
    expect(text(ebx, edx, ecx)).toBe('GenuineIntel')
    expect(eax).toBeGreaterThanOrEqual(0x16)
    const brand = [0x80000002, 0x80000003, 0x80000004].map((leaf) => {
      const r = cpuid(leaf)
      return text(r.eax, r.ebx, r.ecx, r.edx)
    })
    expect(brand.join('').replaceAll('\0', '')).toBe('Partita Software Processor')
  })
  it('OSXSAVE follows CR4', () => {
    expect((cpuid(1).ecx >>> 27) & 1).toBe(0)
    m.set('cr4', CR4.PAE | 0x40000)
    expect((cpuid(1).ecx >>> 27) & 1).toBe(1)
  })
  it('says 40 and 48 address bits, and the frequency of the TSC', () => {
    expect(cpuid(0x80000008).eax).toBe(0x3028)
    const { eax, ebx, ecx } = cpuid(0x15)
    expect((ecx * ebx) / eax).toBe(2_000_000_000)
    expect(cpuid(0x80000007).edx).toBe(1 << 8)
  })
  it('a leaf beyond the last answers as the last', () => {
    expect(cpuid(0x1000)).toEqual(cpuid(0x16))
    expect(cpuid(0x80001000)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 })
  })
})

describe('MSRs', () => {
  it('keep what is written, halves in EDX and EAX', () => {
    m.kernel((a) =>
      a.mov('ecx', 0xc0000102).mov('edx', 0x1234).mov('eax', 0x89abcdef).wrmsr().mov('eax', 0).mov('edx', 0).rdmsr(),
    )
    expect([m.get('rax'), m.get('rdx')]).toEqual([0x89abcdefn, 0x1234n])
  })
  it('RDTSCP gives IA32_TSC_AUX, and time goes on', () => {
    m.vp.cpu.msrs.write(0xc0000103, 42n)
    m.time = 500
    m.kernel((a) => a.bytes(0x0f, 0x01, 0xf9))
    expect([m.get('rax'), m.get('rcx')]).toEqual([1000n, 42n])
  })
  it('IA32_FS_BASE is the base that FS has', () => {
    m.write32(AT.DATA + 4, 0x55)
    m.kernel((a) =>
      a
        .mov('ecx', 0xc0000100)
        .mov('edx', 0)
        .mov('eax', AT.DATA)
        .wrmsr()
        .bytes(0x64, 0x8b, 0x04, 0x25, 4, 0, 0, 0)
        .out(0x80, 'eax'),
    )
    expect(m.output(0x80)).toEqual([0x55])
    // a load of the selector replaces it
    m.kernel((a) => a.mov('eax', SELECTOR.DATA).mov('fs', 'eax').mov('ecx', 0xc0000100).rdmsr())
    expect(m.get('rax')).toBe(0n)
  })
})

describe('others', () => {
  it('RDRAND sets CF, clears the other flags and gives different numbers', () => {
    const seen = new Set<bigint>()
    for (let i = 0; i < 8; i++) {
      m.kernel((a) => a.xor('eax', 'eax').bytes(0x48, 0x0f, 0xc7, 0xf0).pushf().pop('rbx'))
      seen.add(m.get('rax'))
      expect(m.get('rbx') & 0x8d5n).toBe(1n)
    }
    expect(seen.size).toBe(8)
  })
  it('a hypercall that the host knows sees and changes registers, and goes on behind it', () => {
    m.hypercall = () => {
      m.set('rax', m.get('rcx') + 1n)
      return true
    }
    expect(m.kernel((a) => a.mov('ecx', 6).vmcall().out(0x80, 'eax'))).toBe('ok')
    expect(m.output(0x80)).toEqual([7])
  })
})
