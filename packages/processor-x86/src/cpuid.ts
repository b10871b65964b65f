// What CPUID answers (SDM vol. 2, CPUID): exactly what this processor does. The hypervisor may change the answers afterwards.

import type { Cpu } from './cpu.ts'
import { APIC_TIMER_FREQUENCY } from './local-apic.ts'
import { CR4 } from './mmu.ts'
import { TSC_FREQUENCY } from './msr.ts'
import { STATE } from './state-layout.ts'

/** Family 6, model 8Fh, stepping 8: a model that no list of errata names, so that systems use what is offered. */
export const SIGNATURE = 0x000806f8
/** Physical address bits in bits 0–7, linear ones in 8–15. */
const ADDRESS_SIZES = 40 | (48 << 8)

const bits = (...numbers: number[]): number => numbers.reduce((sum, n) => sum | (1 << n), 0) >>> 0

/** Leaf 1, ECX. OSXSAVE (27) follows CR4. */
const FEATURES_1_ECX = bits(
  0, // SSE3
  1, // PCLMULQDQ
  9, // SSSE3
  13, // CMPXCHG16B
  17, // PCID
  19, // SSE4.1
  20, // SSE4.2
  21, // x2APIC
  22, // MOVBE
  23, // POPCNT
  24, // TSC-deadline timer
  25, // AES
  26, // XSAVE
  30, // RDRAND
)
/** Leaf 1, EDX. APIC (9) follows IA32_APIC_BASE. */
const FEATURES_1_EDX = bits(
  0, // x87
  2, // DE
  3, // PSE
  4, // TSC
  5, // MSR
  6, // PAE
  7, // MCE
  8, // CMPXCHG8B
  11, // SYSENTER
  12, // MTRR
  13, // PGE
  14, // MCA
  15, // CMOV
  16, // PAT
  17, // PSE-36
  19, // CLFLUSH
  23, // MMX
  24, // FXSAVE
  25, // SSE
  26, // SSE2
  27, // self-snoop: memory is coherent
)
/** Leaf 7, EBX. */
const FEATURES_7_EBX = bits(
  0, // FSGSBASE
  1, // IA32_TSC_ADJUST
  3, // BMI1
  6, // the x87 data pointer changes with unmasked exceptions only
  7, // SMEP
  8, // BMI2
  9, // enhanced REP MOVSB/STOSB
  10, // INVPCID
  13, // x87 CS and DS are not kept
  18, // RDSEED
  19, // ADX
  20, // SMAP
)
const FEATURES_7_ECX = bits(
  2, // UMIP
)
const FEATURES_7_EDX = bits(
  10, // MD_CLEAR
  26, // SPEC_CTRL
  28, // L1D_FLUSH
  29, // ARCH_CAPABILITIES
)
const FEATURES_EXTENDED_ECX = bits(
  0, // LAHF in 64-bit mode
  5, // LZCNT
  8, // PREFETCHW
)
const FEATURES_EXTENDED_EDX = bits(
  11, // SYSCALL in 64-bit mode
  20, // NX
  26, // 1 GiB pages
  27, // RDTSCP
  29, // long mode
)

/** A string of four characters as a register. */
function word(text: string, at: number): number {
  return (
    (text.charCodeAt(at) |
      (text.charCodeAt(at + 1) << 8) |
      (text.charCodeAt(at + 2) << 16) |
      (text.charCodeAt(at + 3) << 24)) >>>
    0
  )
}
const VENDOR = 'GenuineIntel'
const BRAND: string = 'Partita Software Processor'.padEnd(48, '\0')

/** A deterministic cache (leaf 4): type 1 data, 2 instruction, 3 unified. */
function cache(out: Uint32Array, type: number, level: number, ways: number, sets: number, inclusive: boolean): void {
  out[0] = type | (level << 5) | (1 << 8)
  out[1] = 63 | ((ways - 1) << 22)
  out[2] = sets - 1
  out[3] = inclusive ? 2 : 0
}

const HIGHEST_BASIC = 0x16
const HIGHEST_EXTENDED = 0x80000008

/** Fill `out` (EAX, EBX, ECX, EDX) with the answer for a leaf and subleaf. */
export function cpuid(cpu: Cpu, leaf: number, subleaf: number, out: Uint32Array): void {
  out.fill(0)
  const apicId = cpu.apic.apicId
  // leaves beyond the last answer as the last basic one
  const basic = leaf > HIGHEST_BASIC && leaf < 0x40000000 ? HIGHEST_BASIC : leaf
  switch (basic) {
    case 0:
      out[0] = HIGHEST_BASIC
      out[1] = word(VENDOR, 0)
      out[3] = word(VENDOR, 4)
      out[2] = word(VENDOR, 8)
      return
    case 1:
      out[0] = SIGNATURE
      out[1] = (8 << 8) | (1 << 16) | ((apicId & 0xff) << 24)
      out[2] = FEATURES_1_ECX | (cpu.get32(STATE.CR4) & CR4.OSXSAVE ? 1 << 27 : 0)
      out[3] = FEATURES_1_EDX | (cpu.apic.apicBase & 0x800n ? 1 << 9 : 0)
      return
    case 2:
      // caches are described in leaf 4
      out[0] = 0xff01
      return
    case 4:
      if (subleaf === 0) cache(out, 1, 1, 8, 64, false)
      else if (subleaf === 1) cache(out, 2, 1, 8, 64, false)
      else if (subleaf === 2) cache(out, 3, 2, 8, 512, false)
      return
    case 6:
      // the APIC timer runs always
      out[0] = bits(2)
      return
    case 7:
      if (subleaf !== 0) return
      out[1] = FEATURES_7_EBX
      out[2] = FEATURES_7_ECX
      out[3] = FEATURES_7_EDX
      return
    case 0xb:
      // one thread a core, and one core a package: each level has one processor
      out[2] = (subleaf & 0xff) | (subleaf === 0 ? 1 << 8 : subleaf === 1 ? 2 << 8 : 0)
      if (subleaf < 2) out[1] = 1
      out[3] = apicId
      return
    case 0xd:
      // x87 and SSE state in the standard format
      if (subleaf === 0) {
        out[0] = 3
        out[1] = 576
        out[2] = 576
      } else if (subleaf === 1) {
        // XSAVEOPT
        out[0] = 1
      }
      return
    case 0x15:
      // TSC frequency = crystal × EBX / EAX
      out[0] = 1
      out[1] = TSC_FREQUENCY / APIC_TIMER_FREQUENCY
      out[2] = APIC_TIMER_FREQUENCY
      return
    case 0x16:
      out[0] = TSC_FREQUENCY / 1_000_000
      out[1] = TSC_FREQUENCY / 1_000_000
      out[2] = 100
      return
    case 0x80000000:
      out[0] = HIGHEST_EXTENDED
      return
    case 0x80000001:
      out[2] = FEATURES_EXTENDED_ECX
      out[3] = FEATURES_EXTENDED_EDX
      return
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
      for (let i = 0; i < 4; i++) out[i] = word(BRAND, (leaf - 0x80000002) * 16 + i * 4)
      return
    case 0x80000006:
      // second-level cache: 256 KiB, 8 ways, lines of 64 bytes
      out[2] = (256 << 16) | (6 << 12) | 64
      return
    case 0x80000007:
      // the TSC never changes its speed
      out[3] = bits(8)
      return
    case 0x80000008:
      out[0] = ADDRESS_SIZES
      return
  }
}
