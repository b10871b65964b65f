import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { detectKernel, FirmwareError, loadKernel, requiredMemory } from '../src/index.ts'
import { buildElf, buildMultiboot1, buildMultiboot2, TEST_CODE_OFFSET } from '../src/test-images.ts'
import { fakePartition, textAt } from './fake-partition.ts'

const MIB = 2 ** 20
/** MOV EAX, 42; OUT 0xF4, EAX; HLT */
const CODE = Uint8Array.of(0xb8, 42, 0, 0, 0, 0xe7, 0xf4, 0xf4)
const code = (value: string): unknown => expect.objectContaining({ name: 'FirmwareError', code: value })
const containers = ['elf32', 'elf64', 'raw'] as const

describe.each([
  ['multiboot', buildMultiboot1, 0x2bad_b002n],
  ['multiboot2', buildMultiboot2, 0x36d7_6289n],
] as const)('%s', (kind, build, magic) => {
  test.each(containers)('%s: code in memory, flat protected mode, magic in EAX', async (container) => {
    const { memory, vp } = fakePartition()
    const kernel = build({ code: CODE, container, bss: 100 })
    memory.fill(0x10_0000, 0x1000, 0xaa)
    expect(detectKernel(kernel)).toBe(kind)
    const loaded = await loadKernel({ memory, vp, kernel })
    const entry = 0x10_0000 + TEST_CODE_OFFSET
    expect(loaded).toMatchObject({ kind, entry, decompressedBy: 'none' })
    expect(memory.bytes(entry, CODE.length)).toEqual(CODE)
    expect(memory.bytes(entry + CODE.length, 100).every((byte) => byte === 0)).toBe(true)
    expect(memory.readU8(entry + CODE.length + 100)).toBe(0xaa)
    expect(vp.registers.get('rip')).toBe(BigInt(entry))
    expect(vp.registers.get('rax')).toBe(magic)
    // Protected mode without paging; 32-bit code and data over all of the address space; interrupts off.
    expect(vp.registers.get('cr0')! & 0x8000_0001n).toBe(1n)
    expect(vp.registers.get('efer')).toBe(0n)
    expect(vp.registers.get('rflags')).toBe(2n)
    expect(vp.segments.get('cs')).toMatchObject({ base: 0n, limit: 0xffff_ffff, attributes: 0xc09b })
    expect(vp.segments.get('ss')).toMatchObject({ base: 0n, limit: 0xffff_ffff, attributes: 0xc093 })
    const { base } = vp.tables.get('gdtr')!
    expect(memory.readU64(Number(base) + 0x10)).toBe(0x00cf_9b00_0000_ffffn)
  })

  test('an ELF file that is linked high starts at its physical entry', async () => {
    const image = build({ code: CODE, container: 'raw' })
    image.fill(0, 4, 16)
    const plain = build({ code: CODE })
    const kernel = buildElf(32, 0xc010_0000 + TEST_CODE_OFFSET, [
      { address: 0x10_0000, bytes: plain.subarray(0x1000), virtualAddress: 0xc010_0000n },
    ])
    const { memory, vp } = fakePartition()
    expect((await loadKernel({ memory, vp, kernel })).entry).toBe(0x10_0000 + TEST_CODE_OFFSET)
  })

  test('mutated headers: loaded or refused with a code', async () => {
    const images = containers.map((container) => build({ code: CODE, container }))
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...images),
        fc.array(fc.tuple(fc.oneof(fc.nat(0x60), fc.nat(0x1100)), fc.nat(255)), { maxLength: 6 }),
        fc.oneof(fc.constant(0x2000), fc.nat(0x1100)),
        async (image, changes, size) => {
          const kernel = image.slice(0, size)
          for (const [at, value] of changes) if (at < kernel.length) kernel[at] = value
          const { memory, vp } = fakePartition(16 * MIB)
          try {
            await loadKernel({ memory, vp, kernel })
          } catch (error) {
            if (!(error instanceof FirmwareError)) throw error
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})

test('multiboot 1 information: memory, command line, modules, map, loader', async () => {
  const { memory, vp } = fakePartition()
  const kernel = buildMultiboot1({ code: CODE })
  const initrd = Uint8Array.of(1, 2, 3)
  const modules = [{ bytes: Uint8Array.of(4, 5), commandLine: 'second file' }]
  const loaded = await loadKernel({ memory, vp, kernel, initrd, modules, commandLine: 'verbose' })
  const info = Number(vp.registers.get('rbx'))
  const at = (offset: number): number => memory.readU32(info + offset)!
  expect(at(0)).toBe(0x24d)
  expect(at(4)).toBe(640)
  expect(at(8)).toBe(63 * 1024)
  expect(textAt(memory, at(16))).toBe('verbose')
  expect(at(20)).toBe(2)
  const mods = at(24)
  expect(memory.readU32(mods)).toBe(loaded.initrdRange!.start)
  expect(memory.bytes(memory.readU32(mods)!, 3)).toEqual(initrd)
  expect(memory.readU32(mods + 4)! - memory.readU32(mods)!).toBe(3)
  expect(memory.readU32(mods + 16)! % 4096).toBe(0)
  expect(memory.bytes(memory.readU32(mods + 16)!, 2)).toEqual(Uint8Array.of(4, 5))
  expect(textAt(memory, memory.readU32(mods + 24)!)).toBe('second file')
  const map: [bigint, bigint, number][] = []
  for (let entry = at(48); entry < at(48) + at(44); entry += memory.readU32(entry)! + 4) {
    map.push([memory.readU64(entry + 4)!, memory.readU64(entry + 12)!, memory.readU32(entry + 20)!])
  }
  expect(map).toEqual([
    [0n, 0xa_0000n, 1],
    [0xe_0000n, 0x2_0000n, 2],
    [0x10_0000n, 63n * 0x10_0000n, 1],
  ])
  expect(textAt(memory, at(64))).toBe('partita')
})

test('multiboot 2 information: tags, RSDP included', async () => {
  const { memory, vp } = fakePartition()
  const kernel = buildMultiboot2({ code: CODE })
  await loadKernel({ memory, vp, kernel, initrd: Uint8Array.of(9), commandLine: 'verbose' })
  const info = Number(vp.registers.get('rbx'))
  expect(info % 8).toBe(0)
  const total = memory.readU32(info)!
  const tags = new Map<number, number>()
  let at = info + 8
  while (memory.readU32(at) !== 0) {
    tags.set(memory.readU32(at)!, at)
    at += (memory.readU32(at + 4)! + 7) & ~7
  }
  expect(at + 8).toBe(info + total)
  expect([...tags.keys()]).toEqual([1, 2, 3, 4, 6, 14, 15])
  expect(textAt(memory, tags.get(1)! + 8)).toBe('verbose')
  expect(memory.readU8(memory.readU32(tags.get(3)! + 8)!)).toBe(9)
  expect(memory.readU32(tags.get(6)! + 8)).toBe(24)
  expect(textAt(memory, tags.get(15)! + 8)).toMatch(/^RSD PTR /)
})

test('a kernel in conventional memory keeps its memory', async () => {
  const { memory, vp } = fakePartition()
  const kernel = buildMultiboot1({ code: CODE, address: 0x1_0000, bss: 0x1_0000, container: 'raw' })
  await loadKernel({ memory, vp, kernel, commandLine: 'x' })
  expect(memory.bytes(0x1_0000 + TEST_CODE_OFFSET, CODE.length)).toEqual(CODE)
  expect(Number(vp.registers.get('rbx'))).toBeGreaterThanOrEqual(0x10_0000)
})

test('what cannot be loaded has one clear error', async () => {
  const load = async (kernel: Uint8Array, initrd?: Uint8Array): Promise<unknown> => {
    const { memory, vp } = fakePartition(16 * MIB)
    return loadKernel({ memory, vp, kernel, initrd })
  }
  await expect(load(buildMultiboot1({ code: CODE, address: 0xa_0000 }))).rejects.toThrow(code('ERR_MEMORY_TOO_SMALL'))
  await expect(load(buildMultiboot1({ code: CODE, address: 0xe_0000 }))).rejects.toThrow(code('ERR_MEMORY_TOO_SMALL'))
  await expect(load(buildMultiboot1({ code: CODE, address: 0x1000_0000 }))).rejects.toThrow(
    code('ERR_MEMORY_TOO_SMALL'),
  )
  await expect(load(buildMultiboot1({ code: CODE, bss: 0x2000_0000 }))).rejects.toThrow(code('ERR_MEMORY_TOO_SMALL'))
  await expect(load(buildMultiboot1({ code: CODE }), new Uint8Array(16 * MIB))).rejects.toThrow(
    code('ERR_INITRD_TOO_LARGE'),
  )
  const demanding = buildMultiboot1({ code: CODE, container: 'raw' })
  new DataView(demanding.buffer).setUint32(4, 0x1_0013, true)
  new DataView(demanding.buffer).setUint32(8, -(0x1bad_b002 + 0x1_0013), true)
  await expect(load(demanding)).rejects.toThrow(code('ERR_KERNEL_UNSUPPORTED'))
  await expect(load(buildMultiboot1({ code: CODE, container: 'raw' }).subarray(0, -4))).rejects.toThrow(
    code('ERR_KERNEL_TRUNCATED'),
  )
  await expect(load(buildMultiboot1({ code: CODE }).subarray(0, 0x1044))).rejects.toThrow(code('ERR_KERNEL_TRUNCATED'))
})

test('required memory: the end of kernel and modules', () => {
  expect(requiredMemory(buildMultiboot1({ code: CODE, bss: 4 * MIB }), new Uint8Array(5000))).toBe(
    5 * MIB + 0x1000 + 0x2000,
  )
})
