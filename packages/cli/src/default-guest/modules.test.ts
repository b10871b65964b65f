import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { moduleName, readModuleInfo } from './module-info.ts'
import { modulesAlias, modulesDep, selectModules, withoutSignature } from './modules.ts'
import { fakeModule, temporaryDirectory, writeTree } from './test-support.ts'

const MODINFO = [
  'license=GPL',
  'alias=vmbus:00ff',
  'alias=pci:v*d=1',
  'softdep=pre: first second post: last',
  'depends=hv_vmbus,scsi_mod',
]

describe('readModuleInfo', () => {
  test('finds dependencies, wishes and aliases', () => {
    expect(readModuleInfo(fakeModule(MODINFO))).toEqual({
      depends: ['hv_vmbus', 'scsi_mod'],
      wants: ['first', 'second'],
      aliases: ['vmbus:00ff', 'pci:v*d=1'],
    })
  })

  test('knows a module without dependencies', () => {
    expect(readModuleInfo(fakeModule(['depends=']))).toEqual({ depends: [], wants: [], aliases: [] })
  })

  test('takes nothing else for a module', () => {
    expect(readModuleInfo(new Uint8Array(0))).toBeUndefined()
    expect(readModuleInfo(new TextEncoder().encode('#!/bin/sh\n'.repeat(20)))).toBeUndefined()
    const elf32 = fakeModule(MODINFO)
    elf32[4] = 1
    expect(readModuleInfo(elf32)).toBeUndefined()
  })

  test('survives damage anywhere', () => {
    const whole = fakeModule(MODINFO)
    fc.assert(
      fc.property(fc.nat(whole.length), fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255))), (length, damage) => {
        const file = whole.slice(0, length)
        for (const [offset, byte] of damage) if (offset < length) file[offset] = byte
        const info = readModuleInfo(file)
        if (length < whole.length) expect(info).toBeUndefined()
      }),
      { numRuns: 500 },
    )
  })
})

test('a module has one name, whatever its file is called', () => {
  expect(moduleName('kernel/drivers/hid/hid-hyperv.ko.xz')).toBe('hid_hyperv')
  expect(moduleName('hid_hyperv')).toBe('hid_hyperv')
})

describe('selectModules', () => {
  let root: string
  beforeEach(() => {
    root = temporaryDirectory()
    writeTree(root, {
      'modules.builtin': 'kernel/fs/ext4/ext4.ko\nkernel/lib/crc16.ko\n',
      'kernel/top.ko': fakeModule(['alias=pci:top*', 'depends=left,right-hand']),
      'kernel/left.ko': fakeModule(['depends=bottom']),
      'kernel/right-hand.ko': fakeModule(['depends=bottom,left,crc16', 'softdep=pre: wish nothing-like-it']),
      'kernel/bottom.ko': fakeModule(['depends=']),
      'kernel/wish.ko': fakeModule(['depends=']),
      'kernel/other.ko': fakeModule(['depends=']),
    })
  })
  afterEach(() => rmSync(root, { recursive: true }))

  test('takes what is wanted and what that needs, and says what needs no file and what is not there', () => {
    const { modules, builtin, absent } = selectModules(root, ['top', 'ext4', 'hyperv_drm'])
    expect(modules.map(({ name }) => name)).toEqual(['bottom', 'left', 'right_hand', 'top', 'wish'])
    expect(builtin).toEqual(['ext4'])
    expect(absent).toEqual(['hyperv_drm'])
  })

  test('writes an index in which every module stands before what it needs', () => {
    const { modules } = selectModules(root, ['top'])
    expect(modulesAlias(modules)).toBe('alias pci:top* top\n')
    const lines = modulesDep(modules).trimEnd().split('\n')
    expect(lines.map((line) => line.split(':')[0])).toEqual(modules.map(({ path }) => path))
    expect(lines).toContain('kernel/bottom.ko:')
    expect(lines).toContain('kernel/left.ko: kernel/bottom.ko')
    expect(lines).toContain('kernel/top.ko: kernel/right-hand.ko kernel/left.ko kernel/bottom.ko')
  })

  test('ends where modules need each other', () => {
    writeTree(root, {
      'kernel/hen.ko': fakeModule(['depends=egg']),
      'kernel/egg.ko': fakeModule(['depends=hen']),
    })
    expect(modulesDep(selectModules(root, ['hen']).modules)).toBe(
      'kernel/egg.ko: kernel/hen.ko\nkernel/hen.ko: kernel/egg.ko\n',
    )
  })

  test('refuses a package in which a dependency is missing or a module is none', () => {
    writeTree(root, { 'kernel/lonely.ko': fakeModule(['depends=gone']), 'kernel/text.ko': 'text' })
    expect(() => selectModules(root, ['lonely'])).toThrow(expect.objectContaining({ code: 'ERR_GUEST_PACKAGE' }))
    expect(() => selectModules(root, ['text'])).toThrow(expect.objectContaining({ code: 'ERR_GUEST_PACKAGE' }))
  })

  test('unpacks compressed modules, and names the file in what cannot be unpacked', () => {
    const module = fakeModule(['depends=bottom'])
    const xz = spawnSync('xz', ['-c'], { input: module })
    writeTree(root, {
      'kernel/a.ko.gz': gzipSync(module),
      'kernel/b.ko.zst': zstdCompressSync(module),
      ...(xz.error === undefined ? { 'kernel/c.ko.xz': xz.stdout } : {}),
      'kernel/d.ko.gz': 'no gzip',
    })
    const { modules } = selectModules(root, ['a', 'b', 'c'])
    for (const { name, path, data } of modules.filter(({ name }) => name !== 'bottom')) {
      expect(path).toBe(join('kernel', `${name}.ko`))
      expect(new Uint8Array(data)).toEqual(module)
    }
    expect(modules.length).toBe(xz.error === undefined ? 4 : 3)
    expect(() => selectModules(root, ['d'])).toThrow(/d\.ko\.gz/)
  })
})

describe('a signature', () => {
  const module = fakeModule(['depends='])
  const signed = (length: number, signature = 20): Uint8Array => {
    const descriptor = Buffer.alloc(12)
    descriptor.writeUInt32BE(length, 8)
    return new Uint8Array(
      Buffer.concat([module, Buffer.alloc(signature, 0x5a), descriptor, Buffer.from('~Module signature appended~\n')]),
    )
  }

  test('is taken off', () => {
    expect(withoutSignature(signed(20))).toEqual(module)
    expect(withoutSignature(module)).toEqual(module)
    expect(withoutSignature(signed(20).subarray(-30))).toHaveLength(30)
  })

  test('of an impossible length is left', () => {
    expect(withoutSignature(signed(1e6))).toEqual(signed(1e6))
  })
})
