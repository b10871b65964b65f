// `partita` with the software processor: small machine-code kernels in ELF files with a multiboot header (Multiboot 0.6.96), which start in 32-bit protected
// mode with EAX = 0x2BADB002 and EBX on the information structure.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { partita } from './child.ts'

const LOAD_ADDRESS = 0x100000
const ELF_HEADER_SIZE = 52
const PROGRAM_HEADER_SIZE = 32
const MULTIBOOT_HEADER_SIZE = 12
const MULTIBOOT_MAGIC = 0x1badb002

/** An ELF-32 executable with one segment: the whole file at {@link LOAD_ADDRESS}, entered at `code`. */
function elf(code: readonly number[]): Uint8Array {
  const header = ELF_HEADER_SIZE + PROGRAM_HEADER_SIZE
  const start = header + MULTIBOOT_HEADER_SIZE
  const file = new Uint8Array(start + code.length)
  const view = new DataView(file.buffer)
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1])
  const u16 = (offset: number, value: number) => view.setUint16(offset, value, true)
  const u32 = (offset: number, value: number) => view.setUint32(offset, value, true)
  u16(16, 2) // ET_EXEC
  u16(18, 3) // EM_386
  u32(20, 1)
  u32(24, LOAD_ADDRESS + start)
  u32(28, ELF_HEADER_SIZE)
  u16(40, ELF_HEADER_SIZE)
  u16(42, PROGRAM_HEADER_SIZE)
  u16(44, 1)
  const segment = [1, 0, LOAD_ADDRESS, LOAD_ADDRESS, file.length, file.length, 7, 0x1000]
  for (const [index, word] of segment.entries()) u32(ELF_HEADER_SIZE + 4 * index, word)
  for (const [index, word] of [MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC].entries()) u32(header + 4 * index, word >>> 0)
  file.set(code, start)
  return file
}

/** mov dx, 0x604; mov ax, 0x2000; out dx, ax; hlt: soft off by ACPI. */
const POWER_OFF = [0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4]

describe('partita run --kernel', () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'partita-kernels-'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  async function boot(code: readonly number[], ...args: string[]) {
    const path = join(directory, 'test.elf')
    writeFileSync(path, elf(code))
    return partita('main', ['--kernel', path, '--memory', '16M', '--timeout', '110', ...args], directory)
  }

  it.each([
    [0x00, 1],
    [0x10, 33],
    [0x7f, 255],
  ])('hands debug-exit value %i to the shell as %i', async (value, status) => {
    // mov edx, 0xf4; mov eax, value; out dx, eax; hlt
    expect(await boot([0xba, 0xf4, 0, 0, 0, 0xb8, value, 0, 0, 0, 0xef, 0xf4])).toMatchObject({ status, stderr: '' })
  })

  it('gives the kernel its command line, and its words to standard output alone', async () => {
    // mov esi, [ebx + 16]; mov edx, 0x3f8; next: lodsb; test al, al; jz +3; out dx, al; jmp next
    const print = [0x8b, 0x73, 0x10, 0xba, 0xf8, 0x03, 0, 0, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8]
    expect(await boot([...print, ...POWER_OFF], '--append', 'verbose tests=all')).toMatchObject({
      status: 0,
      stdout: 'verbose tests=all',
      stderr: '',
    })
  })

  it('tells a triple fault', async () => {
    // No IDT: ud2 leads to #UD, #GP, #DF and shutdown.
    expect(await boot([0x0f, 0x0b])).toMatchObject({
      status: 102,
      stderr: expect.stringContaining('ERR_GUEST_TRIPLE_FAULT'),
    })
  })

  it('takes as many processors as there is room for', async () => {
    // mov edx, 0xf4; mov eax, 0; out dx, eax; hlt
    const code = [0xba, 0xf4, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xef, 0xf4]
    expect(await boot(code, '--processors', '4')).toMatchObject({ status: 1, stderr: '' })
    expect(await boot(code, '--processors', '5')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^partita: ERR_PROCESSOR_MEMORY: /),
    })
  })

  it('ends a kernel that spins, and one that sleeps, when their time is up', async () => {
    for (const code of [
      [0xeb, 0xfe],
      [0xf4, 0xeb, 0xfd],
    ]) {
      expect(await boot(code, '--timeout', '0.5')).toMatchObject({
        status: 124,
        stderr: 'partita: ERR_TIMEOUT: the guest did not end within 0.5 s\n',
      })
    }
  })
})
