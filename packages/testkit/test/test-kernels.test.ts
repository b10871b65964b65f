// The kernels themselves are proven by whoever executes them (QEMU's exit codes for these two are 111 and 37); here, that they are what a
// multiboot loader takes, and that their tables say what they should.

import { detectKernel } from '@partita/firmware'
import { expect, test } from 'vitest'
import { longModeKernel, protectedModeKernel } from '../src/test-kernels.ts'

const sum = protectedModeKernel((a) =>
  a.xor('eax', 'eax').mov('ecx', 10).label('again').add('eax', 'ecx').loop('again'),
)
const wide = longModeKernel((a) => a.mov('rax', 0x12_3456_789an).shr('rax', 32))

test('both are multiboot images', () => {
  expect(detectKernel(sum)).toBe('multiboot')
  expect(detectKernel(wide)).toBe('multiboot')
})

test('the page tables map the first 4 GiB to themselves', () => {
  const FILE_TO_MEMORY = 0x10_0000 - 0x1000
  const file = new DataView(wide.buffer)
  const read = (address: number): number => Number(file.getBigUint64(address - FILE_TO_MEMORY, true))
  // MOV EAX, pml4 stands before MOV CR3, EAX.
  const at = wide.findIndex((_, index) => wide.subarray(index, index + 3).toHex() === '0f22d8')
  const pml4 = file.getUint32(at - 4, true)
  for (const address of [0, 0x20_0000, 0x4000_0000, 0xfee0_0000]) {
    const pdpt = read(pml4)
    const directory = read(pdpt - 7 + Math.floor(address / 2 ** 30) * 8)
    expect(read(directory - 7 + (Math.floor(address / 2 ** 21) % 512) * 8)).toBe(
      Math.floor(address / 2 ** 21) * 2 ** 21 + 0x87,
    )
  }
})
