// The fw_cfg device: items and files, the selector and data ports, and DMA, against QEMU's docs/specs/fw_cfg.rst.

import { firmwareConfigurationToken } from '@partita/interface'
import { FakeMachine } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import fwCfg, { FW_CFG_DMA, FW_CFG_KEY, FwCfgItems } from '../src/index.ts'

const DESCRIPTOR = 0x1000
const TARGET = 0x2000

async function started() {
  const machine = new FakeMachine()
  const instance = await machine.start(fwCfg)
  const { ports, memory } = machine
  const bytes = (count: number): number[] => Array.from({ length: count }, () => ports.read(0x511))
  const dma = (control: number, length: number, address = TARGET, descriptor = DESCRIPTOR): number => {
    const view = new DataView(new ArrayBuffer(16))
    view.setUint32(0, control)
    view.setUint32(4, length)
    view.setBigUint64(8, BigInt(address))
    memory.write(descriptor, new Uint8Array(view.buffer))
    ports.write(0x514, 0, 4)
    ports.write(0x518, new DataView(Uint32Array.of(descriptor).buffer).getUint32(0), 4)
    return new DataView(Uint32Array.of(memory.readU32(descriptor) ?? 0).buffer).getUint32(0)
  }
  const memoryAt = (address: number, length: number): number[] => {
    const target = new Uint8Array(length)
    memory.read(address, target)
    return [...target]
  }
  return { machine, instance, ports, memory, bytes, dma, memoryAt, files: machine.service(firmwareConfigurationToken) }
}

const ascii = (text: string): number[] => [...new TextEncoder().encode(text)]

describe('selector and data', () => {
  it('answers to its signature, and tells that it has DMA', async () => {
    const { ports, bytes } = await started()
    ports.write(0x510, FW_CFG_KEY.SIGNATURE, 2)
    expect(bytes(6)).toEqual([...ascii('QEMU'), 0, 0])
    ports.write(0x510, FW_CFG_KEY.ID, 2)
    expect(bytes(4)).toEqual([3, 0, 0, 0])
  })

  it('begins an item anew when it is selected, whether for writing or not', async () => {
    const { ports, bytes } = await started()
    ports.write(0x510, 0, 2)
    bytes(2)
    ports.write(0x510, 0x4000, 2)
    expect(bytes(2)).toEqual(ascii('QE'))
    ports.write(0x510, 0x55, 1) // a byte selects nothing
    expect(bytes(2)).toEqual(ascii('MU'))
  })

  it('reads zeros where there is no item', async () => {
    const { ports, bytes } = await started()
    for (const key of [2, 0x20, 0x3fff, 0x8000, 0xffff]) {
      ports.write(0x510, key, 2)
      expect(bytes(2)).toEqual([0, 0])
    }
  })

  it('has a directory of files, sorted by name, big-endian', async () => {
    const { ports, bytes, files } = await started()
    files.setFile('etc/e820', new Uint8Array(20))
    files.setFile('bootorder', Uint8Array.of(1, 2, 3))
    ports.write(0x510, FW_CFG_KEY.FILE_DIR, 2)
    expect(bytes(4)).toEqual([0, 0, 0, 2])
    expect(bytes(64)).toEqual([0, 0, 0, 3, 0, 0x21, 0, 0, ...ascii('bootorder'), ...new Array<number>(47).fill(0)])
    expect(bytes(8)).toEqual([0, 0, 0, 20, 0, 0x20, 0, 0])
    ports.write(0x510, 0x21, 2)
    expect(bytes(4)).toEqual([1, 2, 3, 0])
    files.setFile('etc/e820', undefined)
    ports.write(0x510, FW_CFG_KEY.FILE_DIR, 2)
    expect(bytes(4)).toEqual([0, 0, 0, 1])
  })
})

describe('DMA', () => {
  it('has its name in the address register', async () => {
    const { ports } = await started()
    expect(ports.read(0x514, 4)).toBe(0x554d_4551)
    expect(ports.read(0x518, 4)).toBe(0x4746_4320)
  })

  it('selects, reads, and goes on with zeros behind the end', async () => {
    const { memory, dma, memoryAt } = await started()
    memory.fill(TARGET, 8, 0xcc)
    expect(dma((FW_CFG_KEY.SIGNATURE << 16) | FW_CFG_DMA.SELECT | FW_CFG_DMA.READ, 7)).toBe(0)
    expect(memoryAt(TARGET, 8)).toEqual([...ascii('QEMU'), 0, 0, 0, 0xcc])
  })

  it('skips, and goes on where the data port left off', async () => {
    const { ports, dma, memoryAt, bytes } = await started()
    ports.write(0x510, 0, 2)
    expect(bytes(1)).toEqual(ascii('Q'))
    expect(dma(FW_CFG_DMA.SKIP, 2)).toBe(0)
    expect(dma(FW_CFG_DMA.READ, 1)).toBe(0)
    expect(memoryAt(TARGET, 1)).toEqual(ascii('U'))
    expect(dma(FW_CFG_DMA.SKIP, 0xffff_ffff)).toBe(0)
    expect(bytes(1)).toEqual([0])
  })

  it('reports writes, and targets that are no memory', async () => {
    const { dma, memory, memoryAt } = await started()
    expect(dma(FW_CFG_DMA.SELECT | FW_CFG_DMA.WRITE, 4)).toBe(FW_CFG_DMA.ERROR)
    expect(dma(FW_CFG_DMA.SELECT | FW_CFG_DMA.READ, 4, memory.ramSize - 2)).toBe(FW_CFG_DMA.ERROR)
    expect(dma(FW_CFG_DMA.SELECT | FW_CFG_DMA.READ, 0xffff_ffff)).toBe(FW_CFG_DMA.ERROR)
    expect(dma(FW_CFG_DMA.SELECT | FW_CFG_DMA.READ, 4, Number.MAX_SAFE_INTEGER)).toBe(FW_CFG_DMA.ERROR)
    // A read that failed has not moved on.
    expect(dma(FW_CFG_DMA.READ, 4)).toBe(0)
    expect(memoryAt(TARGET, 4)).toEqual(ascii('QEMU'))
  })

  it('drops a descriptor that is no memory', async () => {
    const { ports, memory, bytes } = await started()
    ports.write(0x510, 0, 2)
    for (const [high, low] of [
      [0, memory.ramSize - 8],
      [0xffff_ffff, 0xffff_fff0],
    ] as const) {
      ports.write(0x514, high, 4)
      ports.write(0x518, new DataView(Uint32Array.of(low).buffer).getUint32(0), 4)
    }
    expect(bytes(4)).toEqual(ascii('QEMU'))
  })

  it('may write over its own descriptor', async () => {
    const { dma } = await started()
    // The item's bytes go first, then the outcome.
    expect(dma(FW_CFG_DMA.SELECT | FW_CFG_DMA.READ, 4, DESCRIPTOR)).toBe(0)
  })
})

describe('items', () => {
  it('takes none that are its own or no items', () => {
    const items = new FwCfgItems()
    for (const key of [
      FW_CFG_KEY.SIGNATURE,
      FW_CFG_KEY.ID,
      FW_CFG_KEY.FILE_DIR,
      0x20,
      0x4002,
      0x8020,
      -1,
      1.5,
      0x1_0000,
    ])
      expect(() => items.setItem(key, new Uint8Array(1))).toThrowError(
        expect.objectContaining({ code: 'ERR_FIRMWARE_ITEM' }),
      )
    items.setItem(0x8002, Uint8Array.of(1))
    expect([...items.data(0x8002)]).toEqual([1])
    items.setItem(0x8002, undefined)
    expect(items.data(0x8002).length).toBe(0)
  })

  it('takes 256 files with short names', () => {
    const items = new FwCfgItems()
    for (const name of ['', 'a b', 'é', 'x'.repeat(56)])
      expect(() => items.setFile(name, new Uint8Array(1))).toThrowError(
        expect.objectContaining({ code: 'ERR_FIRMWARE_ITEM' }),
      )
    for (let index = 0; index < 256; index++) items.setFile(`file${index}`, new Uint8Array(1))
    expect(() => items.setFile('more', new Uint8Array(1))).toThrowError(
      expect.objectContaining({ code: 'ERR_FIRMWARE_ITEM' }),
    )
    items.setFile('file7', Uint8Array.of(1, 2))
    items.setFile('file9', undefined)
    items.setFile('more', Uint8Array.of(1))
  })

  it('keeps a copy', () => {
    const items = new FwCfgItems()
    const bytes = Uint8Array.of(1)
    items.setFile('a', bytes)
    bytes[0] = 2
    expect([...items.data(0x20)]).toEqual([1])
  })
})

it('goes on in the middle of an item after restore, and refuses what is not its state', async () => {
  const { ports, instance, bytes } = await started()
  ports.write(0x510, 0, 2)
  bytes(2)
  const state = structuredClone(instance.save?.())
  const other = await started()
  other.instance.restore?.(state as never)
  expect(other.bytes(2)).toEqual(ascii('MU'))
  for (const wrong of [
    { version: 2, data: {} },
    { version: 1, data: { key: 0x1_0000, offset: 0, addressHigh: 0 } },
  ])
    expect(() => instance.restore?.(wrong)).toThrowError(expect.objectContaining({ code: 'ERR_STATE_INVALID' }))
})
