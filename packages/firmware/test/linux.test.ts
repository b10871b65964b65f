import { deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type BootOptions, FirmwareError, type LoadedKernel, loadKernel, requiredMemory } from '../src/index.ts'
import { ZERO_PAGE } from '../src/linux/zero-page.ts'
import { buildBzImage, buildElf, type TestBzImageOptions } from '../src/test-images.ts'
import { type FakeMemory, type FakeProcessor, fakePartition, textAt } from './fake-partition.ts'
import { lz4Legacy } from './lz4-encoder.ts'

const MIB = 2 ** 20
const CODE = Uint8Array.from({ length: 5000 }, (_, index) => index * 7)
/** A kernel at 16 MiB with a segment in memory alone behind it, and relocations behind the file. */
const VMLINUX = Uint8Array.of(
  ...buildElf(64, 0x100_0010, [
    { address: 0x100_0000, bytes: CODE, virtualAddress: 0xffff_ffff_8100_0000n },
    { address: 0x120_0000, bytes: CODE.subarray(0, 100), memorySize: 0x3000, virtualAddress: 0n },
  ]),
  ...[1, 2, 3, 4, 0, 0, 0, 0],
)
const withSize = (bytes: Uint8Array): Uint8Array =>
  Uint8Array.of(...bytes, ...new Uint8Array(Uint32Array.of(VMLINUX.length).buffer))
const PAYLOADS: Record<string, Uint8Array> = {
  none: VMLINUX,
  gzip: gzipSync(VMLINUX),
  lz4: lz4Legacy(VMLINUX, 4096, true),
  zstd: withSize(zstdCompressSync(VMLINUX)),
}
/** A payload in a format that has no decoder here. */
const BZIP2 = withSize(Uint8Array.of(0x42, 0x5a, 0x68, 0x39, ...new Array(500).fill(7)))
const CPIO = archive('init', 'hello')

/** Zeros behind `bytes`. */
function padded(bytes: readonly number[], length: number): Uint8Array {
  const result = new Uint8Array(length)
  result.set(bytes)
  return result
}

/** A cpio archive of one file. */
function archive(name: string, text: string): Uint8Array {
  const entry = (path: string, data: string): string => {
    const fields = [1, 0o100755, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${path}\0`
    const pad = (part: string): string => part.padEnd(part.length + (-part.length & 3), '\0')
    return pad(header) + pad(data)
  }
  return new TextEncoder().encode(entry(name, text) + entry('TRAILER!!!', ''))
}

async function boot(
  options: Partial<BootOptions> & { image?: TestBzImageOptions; ramSize?: number } = {},
): Promise<{ loaded: LoadedKernel; memory: FakeMemory; vp: FakeProcessor }> {
  const { image, ramSize, ...rest } = options
  const { memory, vp } = fakePartition(ramSize ?? 64 * MIB)
  const kernel = buildBzImage({ payload: PAYLOADS['lz4']!, ...image })
  const loaded = await loadKernel({ memory, vp, kernel, ...rest })
  return { loaded, memory, vp }
}

const code = (value: string): unknown => expect.objectContaining({ name: 'FirmwareError', code: value })

describe('a bzImage', () => {
  test.each(Object.keys(PAYLOADS))('with a payload in format %s starts at startup_64', async (format) => {
    const { loaded, memory, vp } = await boot({ image: { payload: PAYLOADS[format]! } })
    expect(loaded).toMatchObject({ kind: 'linux-bzimage', decompressedBy: 'host', entry: 0x100_0010 })
    expect(memory.bytes(0x100_0000, CODE.length)).toEqual(CODE)
    expect(memory.bytes(0x120_0000, 100)).toEqual(CODE.subarray(0, 100))
    expect(vp.registers.get('rip')).toBe(0x100_0010n)
  })

  test('in a format that the host does not know is decompressed by the guest', async () => {
    const { loaded, memory, vp } = await boot({ image: { payload: BZIP2 } })
    expect(loaded).toMatchObject({ decompressedBy: 'guest', entry: 0x100_0200 })
    // The default code: HLT; JMP to it.
    expect(memory.bytes(0x100_0200, 3)).toEqual(Uint8Array.of(0xf4, 0xeb, 0xfd))
    expect(vp.registers.get('rip')).toBe(0x100_0200n)
  })

  test('is decompressed by whom the caller says', async () => {
    expect((await boot({ decompression: 'guest' })).loaded.decompressedBy).toBe('guest')
    await expect(boot({ decompression: 'host', image: { payload: BZIP2 } })).rejects.toThrow(
      code('ERR_KERNEL_UNSUPPORTED'),
    )
    const decompressors = { bzip2: () => VMLINUX }
    expect((await boot({ decompressors, image: { payload: BZIP2 } })).loaded.decompressedBy).toBe('host')
  })

  test('memory behind a segment is cleared: it may hold a former boot', async () => {
    const { memory, vp } = fakePartition()
    memory.fill(0x120_0000, 0x3000, 0xaa)
    await loadKernel({ memory, vp, kernel: buildBzImage({ payload: VMLINUX }) })
    expect(memory.bytes(0x120_0064, 0x3000 - 100).every((byte) => byte === 0)).toBe(true)
  })
})

describe('the 64-bit boot protocol', () => {
  test('zero page: header, command line, ramdisk, memory map, RSDP', async () => {
    const { loaded, memory, vp } = await boot({ commandLine: 'console=ttyS0 quiet', initrd: CPIO })
    const page = Number(vp.registers.get('rsi'))
    expect(memory.readU16(page + 0x1fe)).toBe(0xaa55)
    expect(memory.readU32(page + 0x202)).toBe(0x5372_6448)
    expect(memory.readU8(page + 0x210)).toBe(0xff)
    expect(textAt(memory, memory.readU32(page + 0x228)!)).toBe('console=ttyS0 quiet')
    const image = memory.readU32(page + 0x218)!
    expect(memory.readU32(page + 0x21c)).toBe(CPIO.length)
    expect(image % 4096).toBe(0)
    expect(image).toBe(loaded.initrdRange!.start)
    expect(memory.bytes(image, CPIO.length)).toEqual(CPIO)
    expect(memory.readU64(page + ZERO_PAGE.ACPI_RSDP_ADDR)).toBe(BigInt(loaded.rsdp!))
    expect(memory.bytes(loaded.rsdp!, 8)).toEqual(new TextEncoder().encode('RSD PTR '))
    expect(memory.readU8(page + 0x1e8)).toBe(3)
    expect(memory.readU64(page + 0x2d0 + 40)).toBe(0x10_0000n)
    expect(memory.readU64(page + 0x2d0 + 48)).toBe(63n * 0x10_0000n)
    expect(memory.readU32(page + 0x2d0 + 56)).toBe(1)
  })

  test('processor state: long mode, identity map, CS 0x10, data segments 0x18, interrupts off', async () => {
    const { memory, vp } = await boot()
    expect(vp.registers.get('efer')).toBe(0x500n)
    expect(vp.registers.get('cr0')! & 0x8000_0001n).toBe(0x8000_0001n)
    expect(vp.registers.get('cr4')).toBe(0x20n)
    expect(vp.registers.get('rflags')).toBe(2n)
    // 64-bit code: L set, D clear.
    expect(vp.segments.get('cs')).toMatchObject({ selector: 0x10, attributes: 0xa09b })
    for (const name of ['ds', 'es', 'ss'] as const) expect(vp.segments.get(name)!.selector).toBe(0x18)
    const { base, limit } = vp.tables.get('gdtr')!
    expect(limit).toBe(31)
    expect(memory.readU64(Number(base) + 0x10)).toBe(0x00af_9b00_0000_ffffn)
    expect(memory.readU64(Number(base) + 0x18)).toBe(0x00cf_9300_0000_ffffn)
    const walk = (address: bigint): bigint => {
      let table = vp.registers.get('cr3')!
      for (const shift of [39n, 30n])
        table = memory.readU64(Number(table + ((address >> shift) & 511n) * 8n))! & ~0xfffn
      const entry = memory.readU64(Number(table + ((address >> 21n) & 511n) * 8n))!
      expect(entry & 0x83n).toBe(0x83n)
      return (entry & ~0x1f_ffffn) | (address & 0x1f_ffffn)
    }
    for (const address of [0n, 0x7000n, 0x100_0010n, 0x4000_0000n, 0xbfff_ffffn, 0xffff_ffffn]) {
      expect(walk(address)).toBe(address)
    }
  })

  test('no tables, no RSDP', async () => {
    const { loaded, memory, vp } = await boot({ acpi: false })
    expect(loaded.rsdp).toBeUndefined()
    expect(memory.readU64(Number(vp.registers.get('rsi')) + 0x70)).toBe(0n)
  })

  test('a ramdisk that fits under 4 GiB nowhere goes above it', async () => {
    const ramSize = 4096 * MIB
    const { memory, vp } = fakePartition(ramSize)
    const kernel = buildBzImage({ payload: VMLINUX, initSize: 0x7f00_0000 - 4096 })
    const loaded = await loadKernel({ memory, vp, kernel, initrd: Uint8Array.of(...CPIO, ...new Uint8Array(4096)) })
    expect(loaded.initrdRange!.start).toBeGreaterThan(0x1_0000_0000)
    const page = Number(vp.registers.get('rsi'))
    expect(memory.readU32(page + 0x0c0)).toBe(1)
    expect(memory.bytes(loaded.initrdRange!.start, CPIO.length)).toEqual(CPIO)
  })

  test('vmlinux without a setup header gets one', async () => {
    const { memory, vp } = fakePartition()
    const loaded = await loadKernel({ memory, vp, kernel: VMLINUX, commandLine: 'x' })
    expect(loaded).toMatchObject({ kind: 'linux-elf', entry: 0x100_0010, decompressedBy: 'none' })
    expect(memory.readU16(0x7000 + 0x206)).toBe(0x20f)
  })
})

describe('what cannot be booted has one clear error', () => {
  test.each([
    ['an empty file', new Uint8Array(0), 'ERR_KERNEL_EMPTY'],
    ['a text file', new TextEncoder().encode('#!/bin/sh\necho hello\n'), 'ERR_KERNEL_FORMAT'],
    ['the first 100 bytes', buildBzImage({ payload: VMLINUX }).subarray(0, 100), 'ERR_KERNEL_TRUNCATED'],
    ['the first 700 bytes', buildBzImage({ payload: VMLINUX }).subarray(0, 700), 'ERR_KERNEL_TRUNCATED'],
    ['all but the last 100 bytes', buildBzImage({ payload: VMLINUX }).subarray(0, -100), 'ERR_KERNEL_TRUNCATED'],
    ['half of an ELF file', VMLINUX.subarray(0, 5000), 'ERR_KERNEL_TRUNCATED'],
    ['an old boot protocol', buildBzImage({ payload: VMLINUX, version: 0x20b }), 'ERR_KERNEL_UNSUPPORTED'],
    [
      'a payload that is damaged',
      buildBzImage({ payload: withSize(Uint8Array.of(2, 0x21, 0x4c, 0x18, 9, 9, 9)) }),
      'ERR_KERNEL_CORRUPT',
    ],
    ['a payload that is no ELF file', buildBzImage({ payload: gzipSync(new Uint8Array(100)) }), 'ERR_KERNEL_CORRUPT'],
    [
      'gzip bytes cut short',
      buildBzImage({ payload: withSize(gzipSync(VMLINUX).subarray(0, 200)) }),
      'ERR_KERNEL_CORRUPT',
    ],
    [
      'zstd bytes cut short',
      buildBzImage({ payload: withSize(zstdCompressSync(VMLINUX).subarray(0, 200)) }),
      'ERR_KERNEL_CORRUPT',
    ],
  ])('%s: %#', async (_, kernel, expected) => {
    const { memory, vp } = fakePartition()
    await expect(loadKernel({ memory, vp, kernel })).rejects.toThrow(code(expected))
  })

  test.each([
    ['an empty file', new Uint8Array(0), 'ERR_INITRD_EMPTY'],
    ['a text file', new TextEncoder().encode('hello'), 'ERR_INITRD_FORMAT'],
    ['the old cpio format', new TextEncoder().encode(`070707${'0'.repeat(200)}`), 'ERR_INITRD_FORMAT'],
    ['a cpio archive without its end', CPIO.subarray(0, -20), 'ERR_INITRD_TRUNCATED'],
    ['the first entry of a cpio archive', CPIO.subarray(0, 120), 'ERR_INITRD_TRUNCATED'],
    ['more than there is memory', padded([0x1f, 0x8b], 48 * MIB), 'ERR_INITRD_TOO_LARGE'],
  ])('an initial ramdisk that is %s', async (_, initrd, expected) => {
    await expect(boot({ initrd })).rejects.toThrow(code(expected))
  })

  test.each([
    ['gzip', gzipSync('x')],
    ['bzip2', BZIP2],
    ['zstd', zstdCompressSync('x')],
    ['cpio behind zeros', Uint8Array.of(0, 0, 0, 0, ...CPIO)],
  ])('an initial ramdisk in %s is taken', async (_, initrd) => {
    expect((await boot({ initrd })).loaded.initrdRange).toBeDefined()
  })

  test('an unknown ramdisk: raw deflate has no magic number', async () => {
    await expect(boot({ initrd: deflateRawSync('hello hello') })).rejects.toThrow(code('ERR_INITRD_FORMAT'))
  })

  test('too little memory', async () => {
    await expect(boot({ ramSize: MIB })).rejects.toThrow(code('ERR_MEMORY_TOO_SMALL'))
    await expect(boot({ ramSize: 20 * MIB })).rejects.toThrow(code('ERR_MEMORY_TOO_SMALL'))
    const kernel = buildBzImage({ payload: PAYLOADS['lz4']! })
    const required = requiredMemory(kernel, CPIO)
    expect((await boot({ ramSize: required, initrd: CPIO })).loaded.kind).toBe('linux-bzimage')
    await expect(boot({ ramSize: required - 4096, initrd: CPIO })).rejects.toThrow(code('ERR_INITRD_TOO_LARGE'))
  })

  test('command lines', async () => {
    await expect(boot({ commandLine: 'a\0b' })).rejects.toThrow(code('ERR_COMMAND_LINE'))
    await expect(boot({ commandLine: 'x'.repeat(2048) })).rejects.toThrow(code('ERR_COMMAND_LINE'))
    const { memory, vp } = await boot({ commandLine: 'x'.repeat(2047) })
    expect(textAt(memory, memory.readU32(Number(vp.registers.get('rsi')) + 0x228)!)).toHaveLength(2047)
  })
})

describe('mutated images', () => {
  const images: [string, Uint8Array][] = [
    ['bzImage', buildBzImage({ payload: PAYLOADS['lz4']!.subarray(0, 3000) })],
    ['gzip bzImage', buildBzImage({ payload: PAYLOADS['gzip']! })],
    ['vmlinux', VMLINUX],
  ]
  test.each(images)('%s: loaded or refused with a code, and nothing stored outside RAM', async (_, image) => {
    const edge = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff))
    const changes = fc.array(fc.tuple(fc.oneof(fc.nat(0x26f), fc.nat(image.length - 1)), edge), { maxLength: 8 })
    const length = fc.oneof(
      { arbitrary: fc.constant(image.length), weight: 4 },
      { arbitrary: fc.nat(image.length), weight: 1 },
    )
    await fc.assert(
      fc.asyncProperty(changes, length, async (list, size) => {
        const kernel = image.slice(0, size)
        for (const [at, value] of list) if (at < size) kernel[at] = value
        const before = kernel.slice()
        const { memory, vp } = fakePartition(40 * MIB)
        try {
          const loaded = await loadKernel({ memory, vp, kernel, initrd: CPIO })
          expect(loaded.kernelRange.end).toBeLessThanOrEqual(40 * MIB)
        } catch (error) {
          if (!(error instanceof FirmwareError)) throw error
          expect(error.code).toMatch(/^ERR_(KERNEL|MEMORY|INITRD|COMMAND)_/)
        }
        expect(kernel).toEqual(before)
      }),
      { numRuns: 300 },
    )
  })
})
