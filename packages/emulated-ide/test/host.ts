// A driver for tests: puts a controller into a fake machine, and does with its ports what operating systems do.

import { MemoryDisk } from '@partita/disk-images'
import { DISK_ERROR, type Disk, disksToken, PartitaError, type PluginInstance } from '@partita/interface'
import { type FakeInterruptLines, FakeMachine, type FakePortIo } from '@partita/testkit'
import ide, { type IdeControl, ideControlToken } from '../src/index.ts'

/** Ports of the primary channel; those of the secondary one are 0x80 lower. */
export const DATA = 0x1f0
export const ERROR = 0x1f1
export const COUNT = 0x1f2
export const LOW = 0x1f3
export const MID = 0x1f4
export const HIGH = 0x1f5
export const DEVICE = 0x1f6
export const STATUS = 0x1f7
export const CONTROL = 0x3f6
/** Bus master of the primary channel. */
export const BM = 0xffa0
export const SECTORS = 200_000

/** Contents of a sector that differ from all others'. */
export function pattern(sector: number): Uint8Array {
  return Uint8Array.from({ length: 512 }, (_, i) => (sector * 7 + i * 3 + (i >> 8)) & 0xff)
}

/** A disk with sectors that cannot be read, nor written. An operation that meets one may have moved what is before it, or nothing; the memory behind is spoilt in any case. */
export class BadDisk extends MemoryDisk {
  readonly bad: Set<number> = new Set()
  /** Operations so far. */
  operations = 0
  /** An operation for so many sectors fails once, without a reason of the sectors' own. */
  once = 0
  code: string = DISK_ERROR.IO

  async #check(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    this.operations++
    const count = segments.reduce((sum, { length }) => sum + length, 0) / 512
    const transient = count === this.once
    if (transient) this.once = 0
    for (let at = sector; at < sector + count; at++)
      if (transient || this.bad.has(at)) throw new PartitaError(this.code, `sector ${at} is bad`)
  }
  override async read(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    await this.#check(sector, segments).catch((error) => {
      for (const segment of segments) segment.fill(0xbb)
      throw error
    })
    await super.read(sector, segments)
  }
  override async write(sector: number, segments: readonly Uint8Array[]): Promise<void> {
    await this.#check(sector, segments)
    await super.write(sector, segments)
  }
}

/** A word of IDENTIFY data. */
export function wordOf(data: Uint8Array, index: number): number {
  return (data[2 * index] as number) | ((data[2 * index + 1] as number) << 8)
}

/** ASCII in IDENTIFY data. */
export function textOf(data: Uint8Array, index: number, words: number): string {
  const characters = Array.from({ length: words }, (_, i) => wordOf(data, index + i))
  return String.fromCharCode(...characters.flatMap((word) => [word >> 8, word & 0xff])).trim()
}

/** The result of a packet. */
export interface PacketResult {
  readonly data: Uint8Array
  readonly status: number
  readonly error: number
  /** Interrupts on the way, that for the packet itself not among them. */
  readonly interrupts: number
  /** Byte counts of the blocks. */
  readonly blocks: readonly number[]
}

/** A machine with a controller. */
export class Host {
  readonly machine: FakeMachine
  readonly instance: PluginInstance
  readonly ports: FakePortIo
  readonly lines: FakeInterruptLines

  constructor(machine: FakeMachine, instance: PluginInstance) {
    this.machine = machine
    this.instance = instance
    this.ports = machine.ports
    this.lines = machine.lines
  }

  get control(): IdeControl {
    return this.machine.service(ideControlToken)
  }

  /** Put an address and a count in the registers, 28 bits, and give a command. */
  readonly command = (code: number, lba = 0, count = 0, device = 0xe0): void => {
    const { ports } = this
    ports.write(DEVICE, device | ((lba >> 24) & 0xf))
    ports.write(COUNT, count)
    ports.write(LOW, lba & 0xff)
    ports.write(MID, (lba >> 8) & 0xff)
    ports.write(HIGH, (lba >> 16) & 0xff)
    ports.write(STATUS, code)
  }

  /** The same with 48 bits. */
  readonly commandExt = (code: number, lba: number, count: number): void => {
    const { ports } = this
    ports.write(DEVICE, 0xe0)
    ports.write(COUNT, count >> 8)
    ports.write(LOW, Math.floor(lba / 2 ** 24) & 0xff)
    ports.write(MID, Math.floor(lba / 2 ** 32) & 0xff)
    ports.write(HIGH, Math.floor(lba / 2 ** 40) & 0xff)
    ports.write(COUNT, count & 0xff)
    ports.write(LOW, lba & 0xff)
    ports.write(MID, (lba >> 8) & 0xff)
    ports.write(HIGH, (lba >> 16) & 0xff)
    ports.write(STATUS, code)
  }

  /** SRST. */
  softwareReset(): void {
    this.ports.write(CONTROL, 0x04)
    this.ports.write(CONTROL, 0x00)
  }

  /** Let the disks come to rest. */
  readonly settle = async (): Promise<void> => void (await this.instance.stop?.())

  readonly readBlock = (words: number): Uint8Array => {
    const bytes = new Uint8Array(words * 2)
    for (let i = 0; i < words; i++) {
      const word = this.ports.read(DATA, 2)
      bytes[2 * i] = word & 0xff
      bytes[2 * i + 1] = word >> 8
    }
    return bytes
  }

  readonly writeBlock = (bytes: Uint8Array): void => {
    for (let i = 0; i < bytes.length; i += 2)
      this.ports.write(DATA, (bytes[i] as number) | ((bytes[i + 1] ?? 0) << 8), 2)
  }

  /** Describe `regions` to the primary channel's bus master at `table`. */
  readonly prepareDma = (
    table: number,
    regions: readonly (readonly [gpa: number, length: number])[],
    toMemory: boolean,
  ): void => {
    regions.forEach(([gpa, length], i) => {
      this.machine.memory.writeU32(table + 8 * i, gpa)
      this.machine.memory.writeU32(table + 8 * i + 4, (length & 0xffff) | (i === regions.length - 1 ? 0x8000_0000 : 0))
    })
    this.ports.write(BM + 4, table, 4)
    this.ports.write(BM + 2, 0x06)
    this.ports.write(BM, toMemory ? 0x08 : 0x00)
  }

  readonly startDma = (toMemory: boolean): void => this.ports.write(BM, toMemory ? 0x09 : 0x01)

  /** Error, count and LBA registers, as a signature stands in them. */
  get signature(): number[] {
    return [ERROR, COUNT, LOW, MID, HIGH].map((port) => this.ports.read(port))
  }

  /** Send a packet, up to the point where the drive is to execute it. */
  readonly sendPacket = (cdb: string, limit = 0xfffe, dma = false, device = 0xa0): void => {
    const { ports } = this
    ports.write(DEVICE, device)
    ports.write(ERROR, dma ? 1 : 0)
    ports.write(MID, limit & 0xff)
    ports.write(HIGH, limit >> 8)
    ports.write(STATUS, 0xa0)
    const bytes = Uint8Array.from({ length: 12 }, (_, i) => Number.parseInt(cdb.split(' ')[i] ?? '0', 16))
    this.writeBlock(bytes)
  }

  /** A packet command with PIO. */
  readonly packet = async (cdb: string, options: { limit?: number; out?: Uint8Array } = {}): Promise<PacketResult> => {
    const { ports, lines } = this
    this.sendPacket(cdb, options.limit)
    const data: number[] = []
    const blocks: number[] = []
    let interrupts = 0
    let sent = 0
    for (;;) {
      await this.settle()
      if (lines.level(14)) interrupts++
      const status = ports.read(STATUS)
      if ((status & 0x08) === 0)
        return { data: Uint8Array.from(data), status, error: ports.read(ERROR), interrupts, blocks }
      const length = ports.read(MID) | (ports.read(HIGH) << 8)
      blocks.push(length)
      if (ports.read(COUNT) === 2) data.push(...this.readBlock((length + 1) >> 1).subarray(0, length))
      else this.writeBlock((options.out as Uint8Array).subarray(sent, (sent += length)))
    }
  }
}

/** A machine with a controller: `drives` and `options` as the plug-in takes them. */
export async function started(
  disks: Record<string, Disk> = { disk0: new MemoryDisk(SECTORS) },
  drives: readonly unknown[] = Object.keys(disks),
  options: Readonly<Record<string, unknown>> = {},
): Promise<Host> {
  const machine = new FakeMachine({ ramSize: 2 * 2 ** 20 })
  machine.provide(disksToken, new Map(Object.entries(disks)))
  return new Host(machine, await machine.start(ide, { drives, ...options }))
}
