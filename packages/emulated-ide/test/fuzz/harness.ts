// What the fuzzer runs: a guest that writes to the ports of an IDE controller in both its wirings, gives it packets and tables of descriptors; disks that take their time or fail; media that come and go; a
// machine that is saved, and goes on elsewhere, with its state as it was or with some of it changed.

import { MemoryDisk } from '@partita/disk-images'
import {
  DISK_ERROR,
  type Disk,
  disksToken,
  PartitaError,
  type PluginInstance,
  type SavedState,
} from '@partita/interface'
import { FakeMachine } from '@partita/testkit'
import { FuzzInput, type FuzzOutcome } from '@partita/testkit/fuzz'
import { COMMANDS } from '../../src/ata-commands.ts'
import { IdeChannel } from '../../src/ide-channel.ts'
import ide, { type IdeControl, ideControlToken } from '../../src/index.ts'
import { alterState } from './alter-state.ts'

const RAM = 128 * 1024
const DRIVES = 4
/** A guest's state with four drives in the middle of transfers. */
const MAXIMUM_STATE = 4 * 70_000

/** Something does not add up. */
class FuzzFailure extends Error {}

/** Sectors of all disks that cannot be read or written. */
const BAD_SECTORS: readonly number[] = [40, 77, 300]
/** Ports of another device, and bases of the bus master that collide with it, and with the channels, or do not. */
const OTHER_PORTS = { base: 0xc008, length: 4 } as const
const BUS_MASTER_BASES: readonly number[] = [0xc001, 0x1f1, 0x171, 0x3f1, 0xffa1, 0x1, 0xd001]

/** A disk that finishes when it is told to, well or not, and is never to be asked for what it does not have. */
class SlowDisk extends MemoryDisk {
  readonly world: World
  /** The controller is not to write to it. */
  sealed = false
  constructor(world: World, sectors: number, readOnly: boolean) {
    super(sectors, { readOnly })
    this.world = world
  }
  override read(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    return this.#later(async () => this.#good(sector, segments) ?? super.read(sector, segments))
  }
  override write(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    if (this.readOnly || this.sealed) this.world.problems.push('a read-only disk is written to')
    return this.#later(async () => this.#good(sector, segments) ?? super.write(sector, segments))
  }
  override flush(): Promise<void> {
    return this.#later(() => super.flush())
  }
  override discard(sector: number, count: number): Promise<void> {
    if (this.readOnly || this.sealed) this.world.problems.push('sectors of a read-only disk are given back')
    return this.#later(() => super.discard(sector, count))
  }
  #good(sector: number, segments: readonly Uint8Array[]): Promise<void> | undefined {
    const end = sector + segments.reduce((sum, { length }) => sum + length, 0) / 512
    if (!BAD_SECTORS.some((bad) => bad >= sector && bad < end)) return undefined
    return Promise.reject(new PartitaError(DISK_ERROR.IO, 'a bad sector'))
  }
  #later(run: () => Promise<void>): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.world.waiting.push((error) => {
        if (error !== undefined) return reject(error)
        run().then(resolve, (problem: PartitaError) => {
          if (problem.code === DISK_ERROR.RANGE && !this.world.altered)
            this.world.problems.push(`${problem.message} (${this.sectorCount})`)
          reject(problem)
        })
      })
    })
  }
}

/** What disks leave to be done, and what they have seen. */
interface World {
  readonly waiting: ((error?: Error) => void)[]
  readonly problems: string[]
  /** A state that no machine was in has been taken over: it may name sectors that there are not. */
  altered: boolean
}

/** More than a step needs: each moves a piece. */
const MAXIMUM_REQUESTS = 20_000
/** Of the bus masters, since the step began. */
let requests = 0
/** Where promises go round without end, nothing else ever comes to its turn: that is found out in the midst of it. */
const { dmaRequested } = IdeChannel.prototype
IdeChannel.prototype.dmaRequested = function (this: IdeChannel): void {
  if (++requests <= MAXIMUM_REQUESTS) dmaRequested.call(this)
}

const PORTS = [0x1f0, 0x1f1, 0x1f2, 0x1f3, 0x1f4, 0x1f5, 0x1f6, 0x1f7, 0x3f6] as const
const CODES: readonly number[] = [...COMMANDS.keys(), 0x08, 0xa0, 0xa0, 0xa1, 0xc8, 0x25, 0xca, 0xb0, 0x06, 0x00]
const PACKETS = [
  0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x28, 0xa8, 0xbe, 0xb9, 0x2b, 0x43, 0x46, 0x4a, 0x51, 0x52,
  0x55, 0x5a, 0xad, 0xbd, 0xbb, 0xff,
] as const
const SECONDARY = 0x80

/** Let promises run. */
async function turn(): Promise<void> {
  for (let i = 0; i < 6; i++) await Promise.resolve()
}

/** One machine from power-on to its end. */
class Life {
  readonly #input: FuzzInput
  readonly #world: World = { waiting: [], problems: [], altered: false }
  readonly #writable: SlowDisk
  readonly #disks: Map<string, Disk>
  readonly #pci: boolean
  readonly #spare: readonly Disk[]
  #machine: FakeMachine = new FakeMachine({ ramSize: RAM })
  #instance: PluginInstance | undefined
  #other: Disposable | undefined
  readonly features: Set<string> = new Set()
  steps = 0

  constructor(input: FuzzInput) {
    this.#input = input
    const disk = (sectors: number, readOnly = false): SlowDisk => new SlowDisk(this.#world, sectors, readOnly)
    this.#writable = disk(600)
    this.#disks = new Map<string, Disk>([
      ['a', this.#writable],
      ['b', disk(3000, true)],
      ['c', disk(800, true)],
    ])
    this.#spare = [disk(200, true), disk(40, true)]
    this.#pci = input.u8() < 200
  }

  get #options(): object {
    const first = { disk: 'a', readOnly: this.#writable.sealed }
    return { drives: [first, { disk: 'c', dvd: true }, { disk: null, dvd: true }, 'b'], pci: this.#pci }
  }

  get #ports() {
    return this.#machine.ports
  }

  async start(): Promise<void> {
    this.#machine.provide(disksToken, this.#disks)
    this.#other = this.#machine.ports.claim(OTHER_PORTS.base, OTHER_PORTS.length, { read: () => 0, write: () => {} })
    this.#instance = await this.#machine.start(ide, this.#options)
  }

  /** Channel's offset for port numbers. */
  #channel(): number {
    return this.#input.below(4) === 0 ? SECONDARY : 0
  }

  #busMaster(channel: number): number {
    return 0xffa0 + (channel === 0 ? 0 : 8)
  }

  #observe(channel: number, what: string): void {
    const status = this.#ports.read(0x3f6 - channel)
    this.features.add(`${what} ${status}`)
    if ((status & 1) !== 0) this.features.add(`${what} error ${this.#ports.read(0x1f1 - channel)}`)
  }

  async step(): Promise<void> {
    this.steps++
    requests = 0
    const input = this.#input
    const channel = this.#channel()
    switch (input.below(24)) {
      case 0:
      case 1:
      case 2:
        this.#ports.write((input.pick(PORTS) as number) - channel, input.edgy(), input.pick([1, 1, 2, 4]))
        break
      case 3:
        this.#ports.read((input.pick(PORTS) as number) - channel, input.pick([1, 1, 2, 4]))
        break
      case 4:
      case 5:
      case 6:
      case 7:
        this.#command(channel)
        break
      case 8:
      case 9:
        this.#packet(channel)
        break
      case 10:
      case 11:
      case 12:
        this.#data(channel)
        break
      case 13:
      case 14:
        this.#table(channel)
        break
      case 15:
        if (this.#pci) this.#ports.write(this.#busMaster(channel) + input.below(8), input.u32(), input.pick([1, 2, 4]))
        break
      case 16:
      case 17:
      case 18:
        await this.#finish(input.u8())
        break
      case 19:
        this.#ports.write(0x3f6 - channel, input.pick([0, 2, 4, 0x80]))
        break
      case 20:
        await this.#media()
        break
      case 21:
        if (this.#pci) this.#configure()
        break
      case 22:
        await this.#migrate(input.below(4))
        break
      case 23:
        if (input.below(16) === 0) {
          await this.#settle()
          this.#instance?.reset?.()
        } else this.#machine.memory.bytes.fill(input.u8(), 0x1000, 0x1000 + input.below(64))
        break
    }
    // Each drive has one thing at a time to do.
    if (this.#world.waiting.length > DRIVES) throw new FuzzFailure(`${this.#world.waiting.length} operations under way`)
    this.#expectNoProblem()
  }

  #expectNoProblem(): void {
    if (this.#world.problems.length > 0) throw new FuzzFailure(this.#world.problems.join('; '))
    if (requests > MAXIMUM_REQUESTS) throw new FuzzFailure('a drive and its bus master wait for each other without end')
  }

  /** Write to configuration space. The channels answer where they are decoded, wherever the bus master is. */
  #configure(): void {
    const input = this.#input
    const { pci, ports } = this.#machine
    if (input.below(2) === 0) pci.write(7, 1, 0x20, input.pick(BUS_MASTER_BASES))
    else pci.write(7, 1, input.below(64) * 4, input.u32(), input.edgy())
    const io = (pci.read(7, 1, 0x04) & 1) !== 0
    const timing = pci.read(7, 1, 0x40)
    for (const [index, bases] of [
      [0x1f0, 0x3f6],
      [0x170, 0x376],
    ].entries()) {
      const decoded = io && ((timing >>> (16 * index)) & 0x8000) !== 0
      for (const base of bases) {
        const length = base < 0x300 ? 8 : 1
        const claimed = ports.claims.some((claim) => claim.base === base && claim.length === length)
        if (claimed !== decoded) throw new FuzzFailure(`ports ${base} are ${claimed ? '' : 'not '}claimed`)
      }
    }
    this.features.add(`claims ${ports.claims.length}`)
  }

  /** A command with registers that make sense, or not. */
  #command(channel: number): void {
    const input = this.#input
    const code = input.below(16) === 0 ? input.u8() : input.pick(CODES)
    const write = (port: number, value: number): void => this.#ports.write(port - channel, value)
    write(0x1f6, input.pick([0xe0, 0xa0, 0xf0, 0xb0]) | (input.below(8) === 0 ? input.below(16) : 0))
    write(0x1f1, code === 0xb0 ? 0xd0 + input.below(12) : input.pick([0, 1, 2, 3, 0x55, 0xaa, 0x82, input.u8()]))
    if (input.below(4) === 0) for (let port = 0x1f2; port <= 0x1f5; port++) write(port, input.pick([0, 0, input.u8()]))
    write(0x1f2, input.pick([0, 1, 2, 8, 16, 0x42, input.u8()]))
    write(0x1f3, input.u8())
    const smart = code === 0xb0 && input.below(8) > 0
    write(0x1f4, smart ? 0x4f : input.below(3))
    write(0x1f5, smart ? 0xc2 : input.pick([0, 0, 0, 0xff]))
    write(0x1f7, code)
    this.#observe(channel, `command ${code}`)
  }

  #packet(channel: number): void {
    const input = this.#input
    const write = (port: number, value: number, size: 1 | 2 = 1): void => this.#ports.write(port - channel, value, size)
    const opcode = input.below(16) === 0 ? input.u8() : input.pick(PACKETS)
    const limit = input.pick([0xfffe, 0xffff, 0x800, 0, 1, 7, input.u16()])
    write(0x1f6, channel === 0 ? 0xb0 : 0xa0)
    write(0x1f1, this.#pci ? input.below(2) : 0)
    write(0x1f4, limit & 0xff)
    write(0x1f5, limit >> 8)
    write(0x1f7, 0xa0)
    const packet = new Uint8Array(12)
    packet[0] = opcode
    const fields = input.below(6)
    for (let i = 0; i < fields; i++) packet[1 + input.below(11)] = input.u8()
    const words = input.below(32) === 0 ? input.below(6) : 6
    for (let i = 0; i < words; i++) write(0x1f0, (packet[2 * i] as number) | ((packet[2 * i + 1] as number) << 8), 2)
    this.#observe(channel, `packet ${opcode}`)
  }

  /** Move data, as much as there is, or a little. */
  #data(channel: number): void {
    const input = this.#input
    const words = input.pick([1, 3, 256, 2048, 40_000])
    const size = input.pick([2, 2, 4] as const)
    for (let i = 0; i < words && (this.#ports.read(0x3f6 - channel) & 0x88) === 0x08; i++) {
      this.#ports.read(0x1f0 - channel, size)
      this.#ports.write(0x1f0 - channel, i & 0xffff, size)
    }
    if (input.below(2) === 0) this.#ports.read(0x1f7 - channel)
    this.#observe(channel, 'data')
  }

  /** Write descriptors, and start the bus master. */
  #table(channel: number): void {
    if (!this.#pci) return
    const input = this.#input
    const { memory } = this.#machine
    const at = input.below(16) === 0 ? input.edgy() & ~3 : 0x1000 + 4 * input.below(64)
    const entries = 1 + input.below(5)
    for (let i = 0; i < entries; i++) {
      memory.writeU32(at + 8 * i, input.pick([0x8000, 0xf000, 0x1_0000, 0x1_8002, input.edgy()]))
      const length = input.pick([512, 2048, 4096, 0x8000, 0, 36, input.u16()])
      memory.writeU32(at + 8 * i + 4, length | (i === entries - 1 && input.below(16) > 0 ? 0x8000_0000 : 0))
    }
    const base = this.#busMaster(channel)
    this.#ports.write(base + 4, at, 4)
    this.#ports.write(base, input.pick([0x00, 0x08]))
    this.#ports.write(base, input.pick([0x01, 0x09]))
    this.features.add(`bus master ${this.#ports.read(base + 2)}`)
  }

  /** Let disks finish what they have to do; with bit 0 all of it, with bit 2 badly. */
  async #finish(how: number): Promise<void> {
    const done = how & 1 ? this.#world.waiting.splice(0) : this.#world.waiting.splice(0, 1)
    const codes = [DISK_ERROR.IO, DISK_ERROR.FULL, DISK_ERROR.CLOSED, DISK_ERROR.READ_ONLY]
    for (const finish of done)
      finish((how & 0x1c) === 0x1c ? new PartitaError(codes[how >> 6] ?? DISK_ERROR.IO, 'no') : undefined)
    await turn()
    for (const channel of [0, SECONDARY]) this.features.add(`finished ${this.#ports.read(0x3f6 - channel)}`)
  }

  async #settle(): Promise<void> {
    let settled = false
    const stopping = Promise.resolve(this.#instance?.stop?.()).then(() => {
      settled = true
    })
    for (let round = 0; !settled; round++) {
      if (round > 10_000) throw new FuzzFailure('it does not come to rest')
      for (const finish of this.#world.waiting.splice(0)) finish()
      await turn()
    }
    await stopping
  }

  async #media(): Promise<void> {
    const input = this.#input
    const control: IdeControl = this.#machine.service(ideControlToken)
    const position = 1 + input.below(2)
    switch (input.below(3)) {
      case 0:
        void control.insert(position, this.#spare[input.below(2)] as Disk)
        break
      case 1:
        void control.remove(position)
        break
      case 2:
        control.requestEject(position)
        break
    }
    await turn()
  }

  /** Save, and go on in another machine with the same disks, media and memory; or only sometimes, and sometimes with another state, or a disk that takes no writes any more. */
  async #migrate(how: number): Promise<void> {
    if (how > 2) return
    await this.#settle()
    const state = structuredClone(this.#instance?.save?.())
    if (state === undefined) throw new FuzzFailure('there is no state')
    if (sizeOf(state) > MAXIMUM_STATE) throw new FuzzFailure(`the state has ${sizeOf(state)} bytes`)
    const before = this.#machine
    this.#other?.[Symbol.dispose]()
    const media = [1, 2].map((position) => mediumOf(before.service(ideControlToken), position))
    const open = [1, 2].map((position) => before.service(ideControlToken).media(position)?.trayOpen === true)
    const lines = before.lines.asserted.toSorted().join()
    if (how === 2) this.#writable.sealed = !this.#writable.sealed
    this.#machine = new FakeMachine({ ramSize: RAM })
    this.#machine.memory.bytes.set(before.memory.bytes)
    await this.start()
    const control = this.#machine.service(ideControlToken)
    // A tray that is out keeps its medium from the host's view: the options' one is in it then.
    for (const [index, medium] of media.entries()) {
      if (open[index] === true) continue
      if (medium === undefined) await control.remove(index + 1)
      else await control.insert(index + 1, medium)
    }
    if (how !== 1 || !(await this.#restoreAltered(state))) {
      this.#instance?.restore?.(state)
      const after = this.#machine.lines.asserted.toSorted().join()
      if (lines !== after) throw new FuzzFailure(`interrupt lines ${lines}, and ${after} after restore`)
    }
    await before[Symbol.asyncDispose]()
  }

  /** Restore `state` with changes. True where it is taken: what is saved of it then is taken, too. */
  async #restoreAltered(state: SavedState): Promise<boolean> {
    const altered = structuredClone(state)
    alterState(altered, this.#input)
    try {
      this.#instance?.restore?.(altered)
    } catch (error) {
      if (!(error instanceof PartitaError) || error.code !== 'ERR_STATE_INVALID') throw error
      this.features.add('refused state')
      return false
    }
    this.#world.altered = true
    this.features.add('altered state')
    await this.#settle()
    this.#instance?.restore?.(structuredClone(this.#instance.save?.() as SavedState))
    await this.#settle()
    return true
  }

  /** Whatever was before: after a reset each drive says what it is. */
  async end(): Promise<void> {
    await this.#settle()
    if (this.#pci) {
      this.#machine.pci.write(7, 1, 0x20, 0xffa0)
      this.#machine.pci.write(7, 1, 0x40, 0x8000_8000)
      this.#machine.pci.write(7, 1, 0x04, 0x0005)
    }
    for (const channel of [0, SECONDARY]) {
      for (const value of [0x00, 0x04, 0x00]) this.#ports.write(0x3f6 - channel, value)
      await this.#settle()
      for (const [second, code] of channel === 0
        ? ([
            [0, 0xec],
            [1, 0xa1],
          ] as const)
        : ([
            [0, 0xa1],
            [1, 0xec],
          ] as const)) {
        this.#ports.write(0x1f6 - channel, 0xa0 | (second << 4))
        this.#ports.write(0x1f7 - channel, code)
        if (this.#ports.read(0x1f7 - channel) !== 0x58) throw new FuzzFailure(`drive ${channel}.${second} is dead`)
        for (let word = 0; word < 256; word++) this.#ports.read(0x1f0 - channel, 2)
        if (this.#ports.read(0x1f7 - channel) !== 0x50) throw new FuzzFailure(`drive ${channel}.${second} hangs`)
      }
    }
    this.#other?.[Symbol.dispose]()
    await this.#machine[Symbol.asyncDispose]()
    if (this.#machine.ports.claims.length > 0) throw new FuzzFailure('ports are left behind')
    if (this.#machine.lines.asserted.length > 0) throw new FuzzFailure('an interrupt line is left behind')
    this.#expectNoProblem()
  }
}

function mediumOf(control: IdeControl, position: number): Disk | undefined {
  return control.media(position)?.medium
}

function sizeOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.length
  if (typeof value === 'object' && value !== null)
    return Object.values(value).reduce<number>((sum, part) => sum + sizeOf(part), 0)
  return 8
}

/** Run one input. @throws when something does not add up */
export async function runInput(bytes: Uint8Array): Promise<FuzzOutcome> {
  const input = new FuzzInput(bytes)
  const life = new Life(input)
  await life.start()
  while (!input.done) await life.step()
  await life.end()
  return { steps: life.steps, features: life.features }
}
