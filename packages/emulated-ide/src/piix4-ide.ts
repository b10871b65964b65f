// PIIX4 function 1, the IDE controller (82371AB data sheet): a PCI function in legacy mode with two channels at the ports and interrupts that PCs have them at,
// and bus-master registers at BAR 4.

import type {
  GuestMemory,
  InterruptLines,
  PciBus,
  PciFunction,
  PortHandler,
  PortIo,
  SavedState,
  SavedValue,
} from '@partita/interface'
import { AtaDrive, type DriveNames } from './ata-drive.ts'
import { IdeChannel } from './ide-channel.ts'
import { IdeError } from './ide-error.ts'
import { type ControllerState, parseControllerState } from './state.ts'

/** Where the channels of a PC are. */
const CHANNELS = [
  { command: 0x1f0, control: 0x3f6, interrupt: 14 },
  { command: 0x170, control: 0x376, interrupt: 15 },
] as const

const CONFIG = { COMMAND: 0x04, BAR4: 0x20, IDETIM: 0x40, SIDETIM: 0x44, UDMA: 0x48 } as const
const COMMAND_IO = 0x01
/** IDETIM, one word a channel: decode enable. */
const IDETIM_DECODE = 0x8000
const BAR_IO = 0x01
const BUS_MASTER_PORTS = 16

/** Double words of configuration space with something in them: offset, power-on value as firmware leaves it, bits that can be changed. */
function registers(busMasterBase: number): readonly (readonly [offset: number, value: number, writable: number])[] {
  return [
    [0x00, 0x7111_8086, 0],
    [CONFIG.COMMAND, 0x0280_0005, 0x0000_0005],
    [0x08, 0x0101_8001, 0], // IDE, legacy mode, bus master
    [0x0c, 0x0000_0000, 0x0000_f000],
    [CONFIG.BAR4, busMasterBase | BAR_IO, 0x0000_fff0],
    [CONFIG.IDETIM, 0x8000_8000, 0xffff_ffff],
    [CONFIG.SIDETIM, 0, 0x0000_00ff],
    [CONFIG.UDMA, 0, 0x3333_000f],
  ]
}

/** A disk with what the guest is told about it. */
export interface ConnectedDisk {
  readonly disk: AtaDrive['disk']
  readonly names: DriveNames
}

/** Services that a {@link Piix4Ide} is wired to. */
export interface Piix4IdeWiring {
  readonly ports: PortIo
  readonly memory: GuestMemory
  readonly lines: InterruptLines
  readonly pci: PciBus
}

/** Where it stands. */
export interface Piix4IdePlace {
  readonly device: number
  readonly fn: number
  /** BAR 4 at power-on. */
  readonly busMasterBase: number
}

/** The controller. `disks` are primary master, primary slave, secondary master, secondary slave. */
export class Piix4Ide implements PciFunction, AsyncDisposable {
  readonly #ports: PortIo
  readonly #initial: Uint32Array = new Uint32Array(64)
  readonly #writable: Uint32Array = new Uint32Array(64)
  readonly #config: Uint32Array
  readonly #channels: readonly [IdeChannel, IdeChannel]
  readonly #slot: Disposable
  readonly #busMasterPorts: PortHandler
  /** Claims by the first port. */
  readonly #claims: Map<number, Disposable> = new Map()

  constructor(place: Piix4IdePlace, wiring: Piix4IdeWiring, disks: readonly (ConnectedDisk | undefined)[]) {
    this.#ports = wiring.ports
    for (const [offset, value, writable] of registers(place.busMasterBase)) {
      this.#initial[offset >> 2] = value
      this.#writable[offset >> 2] = writable
    }
    this.#config = this.#initial.slice()
    const channels = CHANNELS.map(({ interrupt }) => new IdeChannel(wiring.memory, wiring.lines.line(interrupt)))
    this.#channels = channels as unknown as readonly [IdeChannel, IdeChannel]
    this.#channels.forEach((channel, index) => {
      const drive = (second: 0 | 1): AtaDrive | undefined => {
        const connected = disks[2 * index + second]
        return connected && new AtaDrive(connected.disk, second === 1, connected.names, channel)
      }
      channel.connect(drive(0), drive(1))
    })
    const [primary, secondary] = this.#channels
    this.#busMasterPorts = {
      read: (offset, size) => (offset < 8 ? primary : secondary).busMaster.read(offset & 7, size),
      write: (offset, size, value) => (offset < 8 ? primary : secondary).busMaster.write(offset & 7, size, value),
    }
    this.#slot = wiring.pci.attach(place.device, place.fn, this)
    try {
      this.#map()
    } catch (error) {
      this.#unmap()
      this.#slot[Symbol.dispose]()
      throw error
    }
  }

  // ── configuration space ──

  readConfig(offset: number): number {
    return this.#config[(offset >> 2) & 63] ?? 0
  }

  writeConfig(offset: number, value: number, mask: number): void {
    const index = (offset >> 2) & 63
    const writable = (this.#writable[index] ?? 0) & mask
    if (writable === 0) return
    this.#config[index] = ((this.#config[index] ?? 0) & ~writable) | (value & writable)
    const register = index * 4
    if (register !== CONFIG.COMMAND && register !== CONFIG.BAR4 && register !== CONFIG.IDETIM) return
    try {
      this.#map()
    } catch {
      // The guest has put it where something else is: it answers nowhere.
      this.#unmap()
    }
  }

  /** Claim the ports that the registers say, and give up the others. */
  #map(): void {
    const decodes = (this.readConfig(CONFIG.COMMAND) & COMMAND_IO) !== 0
    const timing = this.readConfig(CONFIG.IDETIM)
    const wanted = new Map<number, { length: number; handler: PortHandler }>()
    if (decodes) {
      this.#channels.forEach((channel, index) => {
        const place = CHANNELS[index]
        if (place === undefined || ((timing >>> (16 * index)) & IDETIM_DECODE) === 0) return
        wanted.set(place.command, { length: 8, handler: channel })
        wanted.set(place.control, { length: 1, handler: channel.control })
      })
      const base = this.readConfig(CONFIG.BAR4) & 0xfff0
      if (base !== 0) wanted.set(base, { length: BUS_MASTER_PORTS, handler: this.#busMasterPorts })
    }
    for (const [base, claim] of this.#claims) {
      if (wanted.has(base)) continue
      claim[Symbol.dispose]()
      this.#claims.delete(base)
    }
    for (const [base, { length, handler }] of wanted) {
      if (!this.#claims.has(base)) this.#claims.set(base, this.#ports.claim(base, length, handler))
    }
  }

  #unmap(): void {
    for (const claim of this.#claims.values()) claim[Symbol.dispose]()
    this.#claims.clear()
  }

  // ── the partition's side ──

  /** Resolves when nothing is under way at a disk. */
  async settle(): Promise<void> {
    for (const channel of this.#channels) await channel.settle()
  }

  reset(): void {
    this.#config.set(this.#initial)
    for (const channel of this.#channels) channel.reset()
    this.#remap()
  }

  #remap(): void {
    try {
      this.#map()
    } catch {
      this.#unmap()
    }
  }

  /** @throws IdeError `ERR_IDE_BUSY` while something is under way (see {@link Piix4Ide.settle}) */
  save(): SavedState {
    if (!this.#channels.every((channel) => channel.settled)) {
      throw new IdeError('ERR_IDE_BUSY', 'a disk is busy', { hint: 'Stop the partition before it is saved.' })
    }
    const channels = this.#channels.map((channel): { readonly [key: string]: SavedValue } => ({
      ...channel.save(),
      busMaster: channel.busMaster.save(),
      drives: channel.drives.map((drive) => drive?.save() ?? null),
    }))
    return { version: 1, data: { config: [...this.#config], channels } }
  }

  /** @throws IdeError `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    const checked: ControllerState = parseControllerState(
      state,
      this.#channels.map((channel) => channel.drives.map((drive) => drive !== undefined)),
    )
    for (let index = 0; index < 64; index++) {
      const writable = this.#writable[index] ?? 0
      this.#config[index] = ((this.#initial[index] ?? 0) & ~writable) | ((checked.config[index] ?? 0) & writable)
    }
    checked.channels.forEach((saved, index) => {
      const channel = this.#channels[index]
      saved.drives.forEach((drive, position) => {
        if (drive !== null) channel?.drives[position]?.restore(drive)
      })
      channel?.busMaster.restore(saved.busMaster)
      channel?.restore(saved)
    })
    this.#remap()
    // A transfer that had both sides ready goes on.
    for (const channel of this.#channels) channel.dmaRequested()
  }

  /** Waits for what is under way; the disks stay with who provided them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#unmap()
    this.#slot[Symbol.dispose]()
    await this.settle()
    for (const channel of this.#channels) channel.reset()
  }
}
