// Kernels around a few instructions: multiboot images that bring the processor into a mode, run what the test gives, and leave through the
// debug-exit device (isa-debug-exit), which turns the value into the exit code `value * 2 + 1`.

import { buildMultiboot1, TEST_CODE_OFFSET } from '@partita/firmware/test-images'
import { Assembler, mem, ref } from './assembler.ts'
import { segmentDescriptor } from './descriptors.ts'

/** Port of the debug-exit device. */
export const DEBUG_EXIT_PORT = 0xf4
/** Selectors of the kernels' own GDT. */
export const TEST_SELECTORS = {
  CODE32: 0x08,
  DATA: 0x10,
  CODE64: 0x18,
  USER_DATA: 0x23,
  USER_CODE64: 0x2b,
} as const

const LOAD_ADDRESS = 0x10_0000
const STACK_SIZE = 0x4000
const PAGE = 0x1000
const MSR_EFER = 0xc000_0080
const EFER_LME = 0x100
const CR0_PAGING = 0x8000_0000
const CR4_PAE = 0x20

/**
 * A multiboot image whose code runs in flat 32-bit protected mode with a stack and a GDT of its own. `build` appends the code; EAX and EBX are as the
 * loader left them. The last instruction falls into an exit with code `EAX * 2 + 1`.
 */
export function protectedModeKernel(build: (assembler: Assembler) => void): Uint8Array {
  const assembler = start()
  build(assembler)
  exit(assembler)
  data(assembler)
  return image(assembler)
}

/**
 * A multiboot image that switches to 64-bit mode by itself, with the first 4 GiB mapped to themselves by 2 MiB pages (user-accessible), and runs what
 * `build` appends. The last instruction falls into an exit with code `EAX * 2 + 1`. The level-4 table is at the label `pml4`.
 */
export function longModeKernel(build: (assembler: Assembler) => void): Uint8Array {
  const assembler = start()
    .mov('eax', 'cr4')
    .or('eax', CR4_PAE)
    .mov('cr4', 'eax')
    .mov('eax', ref('pml4'))
    .mov('cr3', 'eax')
    .mov('ecx', MSR_EFER)
    .rdmsr()
    .or('eax', EFER_LME)
    .wrmsr()
    .mov('eax', 'cr0')
    .or('eax', CR0_PAGING)
    .mov('cr0', 'eax')
    .jmpFar(TEST_SELECTORS.CODE64, ref('long_mode'))
    .bits(64)
    .label('long_mode')
    .mov('esp', ref('stack_top'))
    .xor('eax', 'eax')
    .mov('ss', 'eax')
    .mov('ds', 'eax')
    .mov('es', 'eax')
  build(assembler)
  exit(assembler)
  data(assembler)
  pageTables(assembler)
  return image(assembler)
}

function start(): Assembler {
  return new Assembler({ origin: LOAD_ADDRESS + TEST_CODE_OFFSET, bits: 32 })
    .lgdt(mem(ref('gdtr')))
    .jmpFar(TEST_SELECTORS.CODE32, ref('reloaded'))
    .label('reloaded')
    .mov('ecx', TEST_SELECTORS.DATA)
    .mov('ss', 'ecx')
    .mov('ds', 'ecx')
    .mov('es', 'ecx')
    .mov('esp', ref('stack_top'))
}

function exit(assembler: Assembler): void {
  assembler.label('exit').out(DEBUG_EXIT_PORT, 'eax').label('halted').cli().hlt().jmpShort('halted')
}

function data(assembler: Assembler): void {
  assembler
    .align(16)
    .label('gdt')
    .qwords(
      0,
      segmentDescriptor({ kind: 'code', bits: 32 }),
      segmentDescriptor({ kind: 'data', bits: 32 }),
      segmentDescriptor({ kind: 'code', bits: 64 }),
      segmentDescriptor({ kind: 'data', bits: 32, dpl: 3 }),
      segmentDescriptor({ kind: 'code', bits: 64, dpl: 3 }),
    )
    .label('gdtr')
    .words(6 * 8 - 1)
    .qwords(ref('gdt'))
    .align(16)
    .fill(STACK_SIZE)
    .label('stack_top')
}

function pageTables(assembler: Assembler): void {
  const PRESENT_WRITABLE_USER = 7
  const LARGE = 0x80n
  assembler.align(PAGE).label('pml4').qwords(ref('pdpt', PRESENT_WRITABLE_USER)).align(PAGE).label('pdpt')
  for (let gigabyte = 0; gigabyte < 4; gigabyte++)
    assembler.qwords(ref('directories', gigabyte * PAGE + PRESENT_WRITABLE_USER))
  assembler.align(PAGE).label('directories')
  for (let page = 0n; page < 4n * 512n; page++) assembler.qwords((page << 21n) | LARGE | BigInt(PRESENT_WRITABLE_USER))
}

function image(assembler: Assembler): Uint8Array {
  return buildMultiboot1({ code: assembler.assemble(), address: LOAD_ADDRESS })
}
