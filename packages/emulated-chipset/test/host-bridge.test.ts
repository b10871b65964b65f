// The host bridge's PAM and SMRAM registers (82443BX data sheet, 3.3.17 and 3.3.19) and what they decode; who it says it is; where the PIIX4 puts power management; the A20 gate.

import { addressLine20Token, type RamDecoding, type ShadowRam, shadowRamToken } from '@partita/interface'
import { FakeMachine } from '@partita/testkit'
import { describe, expect, it } from 'vitest'
import pci from '../src/pci.ts'
import powerManagement from '../src/power-management.ts'
import reset from '../src/reset.ts'

/** Remembers what each 16 KiB are decoded as: `rw`, `r-`, `-w`, `--`. */
class FakeShadowRam implements ShadowRam {
  readonly map: Map<number, string> = new Map()

  decode(gpa: number, length: number, { read, write }: RamDecoding): void {
    for (let at = gpa; at < gpa + length; at += 0x4000) this.map.set(at, `${read ? 'r' : '-'}${write ? 'w' : '-'}`)
  }

  at(gpa: number): string | undefined {
    return this.map.get(gpa)
  }
}

async function started(options: object = {}) {
  const machine = new FakeMachine()
  const shadow = new FakeShadowRam()
  machine.provide(shadowRamToken, shadow)
  await machine.start(powerManagement)
  const instance = await machine.start(pci, options)
  const { ports } = machine
  const select = (device: number, fn: number, offset: number): void =>
    ports.write(0xcf8, 0x8000_0000 + device * 0x800 + fn * 0x100 + (offset & 0xfc), 4)
  const read = (device: number, fn: number, offset: number, size: 1 | 2 | 4 = 1): number => {
    select(device, fn, offset)
    return ports.read(0xcfc + (offset & 3), size)
  }
  const write = (device: number, fn: number, offset: number, value: number, size: 1 | 2 | 4 = 1): void => {
    select(device, fn, offset)
    ports.write(0xcfc + (offset & 3), value, size)
  }
  return { machine, shadow, instance, ports, read, write, select }
}

describe('PAM', () => {
  it('decodes RAM everywhere when there is no firmware, and nowhere at power-on for firmware', async () => {
    const open = await started()
    expect([...open.shadow.map].filter(([gpa]) => gpa >= 0xc0000).map(([, decoding]) => decoding)).toEqual(
      new Array(16).fill('rw'),
    )
    const closed = await started({ firmware: true })
    expect(new Set(closed.shadow.map.values())).toEqual(new Set(['--']))
  })

  it('has a field for each 16 KiB, and one for the BIOS segment', async () => {
    const { shadow, write } = await started({ firmware: true })
    const codes = ['--', 'r-', '-w', 'rw']
    for (let segment = 0; segment < 12; segment++) {
      const register = 0x5a + (segment >> 1)
      for (const code of [0, 1, 2, 3]) {
        write(0, 0, register, (segment & 1) === 0 ? code : code << 4)
        expect(shadow.at(0xc0000 + segment * 0x4000)).toBe(codes[code])
        expect(shadow.at(0xc0000 + (segment ^ 1) * 0x4000)).toBe('--')
      }
      write(0, 0, register, 0)
    }
    for (const code of [1, 2, 3]) {
      write(0, 0, 0x59, code << 4)
      expect([0xf0000, 0xf4000, 0xf8000, 0xfc000].map((gpa) => shadow.at(gpa))).toEqual(new Array(4).fill(codes[code]))
    }
    expect(shadow.at(0xec000)).toBe('--')
  })

  it('keeps reserved bits zero', async () => {
    const { read, write } = await started({ firmware: true })
    for (let register = 0x58; register < 0x60; register++) write(0, 0, register, 0xff)
    expect(read(0, 0, 0x58, 4)).toBe(0x3333_3000)
    expect(read(0, 0, 0x5c, 4)).toBe(0x3333_3333)
  })

  it('is at power-on again after a reset, and as it was after a restore', async () => {
    const { shadow, write, instance, read } = await started({ firmware: true })
    write(0, 0, 0x59, 0x10)
    write(0, 0, 0x5f, 0x23)
    const state = structuredClone(instance.save?.())
    instance.reset?.()
    expect(new Set(shadow.map.values())).toEqual(new Set(['--']))
    instance.restore?.(state as never)
    expect([shadow.at(0xf0000), shadow.at(0xe8000), shadow.at(0xec000)]).toEqual(['r-', 'rw', '-w'])
    expect(read(0, 0, 0x59)).toBe(0x10)
  })
})

describe('SMRAM', () => {
  it('opens the video window until it is locked', async () => {
    const { shadow, read, write, instance } = await started()
    expect(read(0, 0, 0x72)).toBe(0x02)
    write(0, 0, 0x72, 0x48)
    expect([read(0, 0, 0x72), shadow.at(0xa0000), shadow.at(0xbc000)]).toEqual([0x4a, 'rw', 'rw'])
    write(0, 0, 0x72, 0x58) // D_LCK
    expect([read(0, 0, 0x72), shadow.at(0xa0000)]).toEqual([0x1a, '--'])
    write(0, 0, 0x72, 0x48)
    expect([read(0, 0, 0x72), shadow.at(0xa0000)]).toEqual([0x1a, '--'])
    instance.reset?.()
    write(0, 0, 0x72, 0x48)
    expect(shadow.at(0xa0000)).toBe('rw')
  })

  it('a restored state that claims to be locked and open is locked', async () => {
    const { shadow, instance, read } = await started()
    const state = structuredClone(instance.save?.()) as { version: number; data: { host: number[] } }
    state.data.host[0x70 >> 2] = 0x0058_0000
    instance.restore?.(state as never)
    expect([read(0, 0, 0x72), shadow.at(0xa0000)]).toEqual([0x1a, '--'])
  })
})

describe('the bridges', () => {
  it('are those that SeaBIOS knows where it is to run', async () => {
    const { read } = await started({ hostBridge: '440FX', firmware: true })
    expect(read(0, 0, 0, 4)).toBe(0x1237_8086)
    expect(read(0, 0, 0x2c, 4)).toBe(0x1100_1af4)
    // SMM is set up already, as far as firmware can see: there is none.
    expect(read(7, 3, 0x58, 4) & 0x0200_0000).not.toBe(0)
  })

  it('clear errors by ones, and cannot set them', async () => {
    const { read, write } = await started()
    write(7, 0, 6, 0xffff, 2)
    expect(read(7, 0, 6, 2)).toBe(0x0280)
  })

  it('answer the part of an access that goes on in CONFIG_DATA', async () => {
    const { ports, select, read } = await started()
    select(7, 0, 0)
    expect(ports.read(0xcfb, 2)).toBe(0x86ff)
    expect(ports.read(0xcfa, 4)).toBe(0x8086_ffff)
    expect(ports.read(0xcfd, 4)).toBe(0xff71_1080)
    select(7, 0, 0x60)
    ports.write(0xcfa, 0x0b0a_0000, 4)
    expect(read(7, 0, 0x60, 4)).toBe(0x8080_0b0a)
  })
})

describe('the power management block', () => {
  it('is where PMBA says, while PMIOSE is set', async () => {
    const { ports, read, write } = await started({ firmware: true })
    expect(ports.read(0x608, 4)).toBe(0xffff_ffff)
    write(7, 3, 0x40, 0x601, 4)
    expect(ports.read(0x604, 2)).toBe(0xffff)
    write(7, 3, 0x80, 1)
    expect(ports.read(0x604, 2)).toBe(0)
    write(7, 3, 0x40, 0xb001, 4)
    expect([ports.read(0x604, 2), ports.read(0xb004, 2)]).toEqual([0xffff, 0])
    expect(read(7, 3, 0x40, 4)).toBe(0xb001)
    write(7, 3, 0x80, 0)
    expect(ports.read(0xb004, 2)).toBe(0xffff)
  })

  it('is nowhere on top of something else, and comes back from there', async () => {
    const { machine, ports, write } = await started()
    const other = machine.ports.claim(0x700, 4, { read: () => 0x5a, write: () => {} })
    write(7, 3, 0x40, 0x701, 4)
    expect([ports.read(0x604, 2), ports.read(0x700)]).toEqual([0xffff, 0x5a])
    write(7, 3, 0x40, 0x601, 4)
    expect(ports.read(0x604, 2)).toBe(0)
    other[Symbol.dispose]()
  })

  it('comes back with a reset, and where a saved state had it', async () => {
    const { ports, write, instance } = await started()
    write(7, 3, 0x40, 0x801, 4)
    const state = structuredClone(instance.save?.())
    instance.reset?.()
    expect([ports.read(0x604, 2), ports.read(0x804, 2)]).toEqual([0, 0xffff])
    instance.restore?.(state as never)
    expect([ports.read(0x604, 2), ports.read(0x804, 2)]).toEqual([0xffff, 0])
  })
})

describe('the A20 gate', () => {
  async function gate() {
    const machine = new FakeMachine()
    const line: boolean[] = []
    machine.provide(addressLine20Token, { connect: (connected) => void line.push(connected) })
    const instance = await machine.start(reset)
    return { ports: machine.ports, line, instance }
  }

  it('drives address line 20 from port 0x92, and opens at a reset', async () => {
    const { ports, line, instance } = await gate()
    ports.write(0x92, 0)
    expect(line.at(-1)).toBe(false)
    ports.write(0x92, 2)
    expect(line.at(-1)).toBe(true)
    ports.write(0x92, 0)
    instance.reset?.()
    expect([line.at(-1), ports.read(0x92)]).toEqual([true, 2])
  })

  it('is as closed after a restore as it was saved', async () => {
    const { ports, instance } = await gate()
    ports.write(0x92, 0)
    const other = await gate()
    other.instance.restore?.(structuredClone(instance.save?.()) as never)
    expect([other.line.at(-1), other.ports.read(0x92)]).toEqual([false, 0])
  })
})
