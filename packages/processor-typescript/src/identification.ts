// CPUID of the processor itself (Intel SDM vol. 2A, CPUID): what a program can rely on before it looks for a hypervisor.

const VENDOR = 'TypeScriptVP'
const LEAF_MAXIMUM = 1
const EXTENDED_MAXIMUM = 0x8000_0008
/** Leaf 1. */
const EDX = { TSC: 1 << 4, MSR: 1 << 5, APIC: 1 << 9 } as const
const ECX_X2APIC = 1 << 21
/** Leaf 8000_0007h EDX: the time-stamp counter never changes its rate. */
const INVARIANT_TSC = 1 << 8
const ADDRESS_BITS = 32

/** The processor's own answer, into `registers` (EAX, EBX, ECX, EDX). */
export function identify(leaf: number, apicId: number, registers: Uint32Array): void {
  registers.fill(0)
  switch (leaf) {
    case 0:
      registers[0] = LEAF_MAXIMUM
      for (const [register, at] of [
        [1, 0],
        [3, 4],
        [2, 8],
      ] as const)
        registers[register] = fourCharacters(VENDOR, at)
      return
    case 1:
      registers[1] = apicId << 24
      registers[2] = ECX_X2APIC
      registers[3] = EDX.TSC | EDX.MSR | EDX.APIC
      return
    case 0x8000_0000:
      registers[0] = EXTENDED_MAXIMUM
      return
    case 0x8000_0007:
      registers[3] = INVARIANT_TSC
      return
    case 0x8000_0008:
      registers[0] = (ADDRESS_BITS << 8) | ADDRESS_BITS
  }
}

function fourCharacters(text: string, at: number): number {
  let value = 0
  for (let index = 3; index >= 0; index--) value = (value << 8) | text.charCodeAt(at + index)
  return value >>> 0
}
