// Makes a multiboot kernel that computes 1 + 2 + … + 10 in 64-bit mode, and exits with code 55 * 2 + 1 = 111.
// Usage: node docs/examples/test-kernel.ts sum.elf

import { writeFileSync } from 'node:fs'
import { longModeKernel } from '@partita/testkit/test-kernels'

const kernel: Uint8Array = longModeKernel((a) =>
  a.xor('eax', 'eax').mov('ecx', 10).label('again').add('rax', 'rcx').loop('again'),
)
writeFileSync(process.argv[2] ?? 'sum.elf', kernel)
