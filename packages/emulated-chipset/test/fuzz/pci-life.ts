// What the fuzzer runs: a guest at the configuration ports of a machine with PCI, power management and reset registers, real shadow RAM and interrupt lines; functions that come and go; a machine that is reset, and saved and
// goes on elsewhere. A model beside it says what RAM decodes and where PIRQs go.

import {
  addressLine20Token,
  type PluginInstance,
  pciBusToken,
  type RamDecoding,
  shadowRamToken,
} from '@partita/interface'
import { ConfigSpace } from '@partita/pci'
import { FakeMachine } from '@partita/testkit'
import { FuzzInput, type FuzzOutcome } from '@partita/testkit/fuzz'
import pci from '../../src/pci.ts'
import powerManagement from '../../src/power-management.ts'
import reset from '../../src/reset.ts'

/** Something does not add up. */
class FuzzFailure extends Error {}

const PORTS = [
  0xcf8, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0xcf9, 0xcfa, 0xcfb, 0x92, 0x64, 0xb2, 0xb3, 0x600, 0x604, 0x608,
] as const
/** Registers with something behind them: device, function, offset. */
const REGISTERS = [
  [0, 0, 0x58],
  [0, 0, 0x5c],
  [0, 0, 0x70],
  [0, 0, 0x04],
  [7, 0, 0x60],
  [7, 0, 0x04],
  [7, 3, 0x40],
  [7, 3, 0x80],
  [7, 3, 0x3c],
  [3, 0, 0x10],
] as const
const SEGMENT = 0x4000
const SHADOW = 0xa0000
const ROUTABLE = 0b1101_1110_1111_1000

/** One machine from power-on to its end. */
class Life {
  readonly #input: FuzzInput
  readonly #options: { readonly hostBridge: string; readonly firmware: boolean }
  readonly features: Set<string> = new Set()
  steps = 0
  #machine: FakeMachine = new FakeMachine()
  #instances: PluginInstance[] = []
  #decoding: Map<number, string> = new Map()
  #line20 = true
  /** What devices drive: by device and pin. */
  #driven: Map<string, { set(asserted: boolean): void; pirq: number; asserted: boolean }> = new Map()

  constructor(input: FuzzInput) {
    this.#input = input
    this.#options = { hostBridge: input.chance(1, 2) ? '440FX' : '440BX', firmware: input.chance(1, 2) }
  }

  async start(): Promise<void> {
    const machine = new FakeMachine()
    const decoding = new Map<number, string>()
    machine.provide(shadowRamToken, {
      decode: (gpa: number, length: number, { read, write }: RamDecoding) => {
        const whole = gpa % SEGMENT === 0 && length % SEGMENT === 0 && length > 0
        if (!whole || gpa < SHADOW || gpa + length > 0x10_0000) throw new FuzzFailure(`decodes ${gpa} + ${length}`)
        if (gpa < 0xc0000 && read !== write) throw new FuzzFailure('the video window goes one way')
        for (let at = gpa; at < gpa + length; at += SEGMENT) decoding.set(at, `${read ? 'r' : '-'}${write ? 'w' : '-'}`)
      },
    })
    machine.provide(addressLine20Token, {
      connect: (connected) => {
        this.#line20 = connected
      },
    })
    this.#machine = machine
    this.#decoding = decoding
    this.#driven = new Map()
    this.#instances = [
      await machine.start(powerManagement),
      await machine.start(pci, this.#options),
      await machine.start(reset),
    ]
    machine.service(pciBusToken).attach(
      3,
      0,
      new ConfigSpace([
        [0, 0x5678_1234, 0],
        [0x10, 1, 0xffff_fff0],
      ]),
    )
  }

  #select(device: number, fn: number, offset: number): void {
    this.#machine.ports.write(0xcf8, (0x8000_0000 + device * 0x800 + fn * 0x100 + (offset & 0xfc)) >>> 0, 4)
  }

  #config(device: number, fn: number, offset: number): number {
    this.#select(device, fn, offset)
    return this.#machine.ports.read(0xcfc, 4)
  }

  async step(): Promise<void> {
    this.steps++
    const input = this.#input
    const { ports } = this.#machine
    switch (input.below(12)) {
      case 0:
        ports.write(input.pick(PORTS), input.edgy(), input.pick([1, 2, 4]))
        break
      case 1:
        ports.read(input.pick(PORTS), input.pick([1, 2, 4]))
        break
      case 2:
        ports.write(0xcf8, input.u32(), 4)
        break
      case 3:
      case 4:
      case 5:
      case 6: {
        const [device, fn, offset] = input.pick(REGISTERS)
        this.#select(device, fn, offset)
        ports.write(0xcfc + input.below(4), input.chance(1, 2) ? input.u32() : input.edgy(), input.pick([1, 2, 4]))
        break
      }
      case 7:
        this.#select(input.pick([0, 7, 7, 3, 9]), input.pick([0, 3, 1]), input.u8())
        ports.write(0xcfc + input.below(4), input.u32(), input.pick([1, 2, 4]))
        break
      case 8:
        this.#drive()
        break
      case 9:
        if (input.chance(1, 8)) for (const instance of this.#instances) instance.reset?.()
        break
      case 10:
        if (input.chance(1, 8)) await this.#migrate()
        break
      default:
        this.#machine.clock.advance(input.below(1000) * 1e6)
    }
    this.#check()
  }

  /** A device raises or lowers an interrupt pin. */
  #drive(): void {
    const device = this.#input.below(32)
    const pin = this.#input.below(4)
    const key = `${device}.${pin}`
    const line = this.#machine.service(pciBusToken).interrupt(device, pin)
    const driven = this.#driven.get(key) ?? {
      set: (asserted) => line.set(asserted),
      pirq: (device + pin - 1) & 3,
      asserted: false,
    }
    driven.asserted = !driven.asserted
    driven.set(driven.asserted)
    this.#driven.set(key, driven)
  }

  /** What is decoded and driven is what the registers say, read by a guest. */
  #check(): void {
    const { ports, lines, clock } = this.#machine
    const address = ports.read(0xcf8, 4)
    const [low, high, smram, routes] = [
      this.#config(0, 0, 0x58),
      this.#config(0, 0, 0x5c),
      (this.#config(0, 0, 0x70) >>> 16) & 0xff,
      this.#config(7, 0, 0x60),
    ]
    ports.write(0xcf8, address, 4)
    if (ports.read(0xcf8, 4) !== address) throw new FuzzFailure('CONFIG_ADDRESS does not read as written')
    const fields: number[] = []
    for (let segment = 0; segment < 12; segment++) {
      const register = 2 + (segment >> 1)
      const byte = ((register < 4 ? low : high) >>> (8 * (register & 3))) & 0xff
      fields.push((byte >> ((segment & 1) * 4)) & 3)
    }
    for (let segment = 0; segment < 4; segment++) fields.push((low >>> 12) & 3)
    fields.forEach((field, index) => {
      const expected = `${field & 1 ? 'r' : '-'}${field & 2 ? 'w' : '-'}`
      const actual = this.#decoding.get(0xc0000 + index * SEGMENT)
      if (actual !== expected) throw new FuzzFailure(`segment ${index} is ${actual} instead of ${expected}`)
    })
    const open = (smram & 0x40) !== 0
    if (open && (smram & 0x10) !== 0) throw new FuzzFailure('SMRAM is open and locked')
    if (this.#decoding.get(SHADOW) !== (open ? 'rw' : '--'))
      throw new FuzzFailure('the video window is not as SMRAM says')
    if (this.#line20 !== ((ports.read(0x92) & 2) !== 0)) throw new FuzzFailure('A20 is not as port 0x92 says')
    const expected = new Set<number>()
    for (let pirq = 0; pirq < 4; pirq++) {
      if (![...this.#driven.values()].some((line) => line.asserted && line.pirq === pirq)) continue
      expected.add(16 + pirq)
      const route = (routes >>> (8 * pirq)) & 0xff
      if (route < 0x80 && ((ROUTABLE >> (route & 15)) & 1) !== 0) expected.add(route & 15)
    }
    const asserted = new Set(lines.asserted.filter((gsi) => gsi !== 9))
    expected.delete(9)
    if (asserted.size !== expected.size || [...expected].some((gsi) => !asserted.has(gsi)))
      throw new FuzzFailure(`lines ${[...asserted]} instead of ${[...expected]}`)
    if (clock.armedTimers > 4) throw new FuzzFailure(`${clock.armedTimers} timers`)
    this.features
      .add(`pam ${low >>> 12} ${high & 0xff}`)
      .add(`smram ${smram}`)
      .add(`routes ${routes & 0xff8f}`)
    const place = this.#machine.ports.claims.find(({ length }) => length === 12)?.base
    this.features.add(`power ${place === undefined ? 'nowhere' : place & 0xf00}`)
  }

  /** The machine goes on in another one. */
  async #migrate(): Promise<void> {
    const states = this.#instances.map((instance) => structuredClone(instance.save?.()))
    const driven = this.#driven
    const line20 = this.#line20
    const claims = this.#machine.ports.claims.map(({ base, length }) => `${base}+${length}`).sort()
    await this.#machine[Symbol.asyncDispose]()
    await this.start()
    this.#instances.forEach((instance, index) => {
      const state = states[index]
      if (state !== undefined) instance.restore?.(state)
    })
    const after = this.#machine.ports.claims.map(({ base, length }) => `${base}+${length}`).sort()
    if (after.join() !== claims.join()) throw new FuzzFailure(`answers at ${after} instead of ${claims}`)
    if (this.#line20 !== line20) throw new FuzzFailure('A20 did not come along')
    const bus = this.#machine.service(pciBusToken)
    for (const [key, { pirq, asserted }] of driven) {
      const [device = 0, pin = 0] = key.split('.').map(Number)
      const line = bus.interrupt(device, pin)
      line.set(asserted)
      this.#driven.set(key, { set: (value) => line.set(value), pirq, asserted })
    }
    this.features.add('saved')
  }

  async end(): Promise<void> {
    await this.#machine[Symbol.asyncDispose]()
    if (this.#machine.ports.claims.length > 0) throw new FuzzFailure('ports are left')
  }
}

/** Live through what the bytes say. */
export async function runInput(bytes: Uint8Array): Promise<FuzzOutcome> {
  const input = new FuzzInput(bytes)
  const life = new Life(input)
  await life.start()
  while (!input.done) await life.step()
  await life.end()
  return { steps: life.steps, features: [...life.features] }
}
