// PIIX4 function 1, the IDE controller (82371AB data sheet, chapter 5): a PCI function in legacy mode, with two channels at the ports and interrupts that PCs have them at, and
// bus-master registers at BAR 4.

import type {
  GuestMemory,
  InterruptLines,
  PciBus,
  PciFunction,
  PortHandler,
  PortIo,
  SavedState,
} from '@partita/interface'
import { type ConnectedDrive, IdeController } from './ide-controller.ts'
import { parseControllerState } from './state.ts'

const CONFIG = { COMMAND: 0x04, HEADER: 0x0c, BAR4: 0x20, IDETIM: 0x40, SIDETIM: 0x44, UDMA: 0x48 } as const
const COMMAND_IO = 0x01
/** PCISTS, in the upper half of the double word: received master abort, which a one clears. */
const STATUS_MASTER_ABORT = 0x2000_0000
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
    [CONFIG.HEADER, 0x0000_0000, 0x0000_f000],
    // All 32 bits, as SeaBIOS wants them to find out its size; there are no ports above 64 Ki.
    [CONFIG.BAR4, busMasterBase | BAR_IO, 0xffff_fff0],
    [CONFIG.IDETIM, 0x8000_8000, 0xffff_ffff],
    [CONFIG.SIDETIM, 0, 0x0000_00ff],
    [CONFIG.UDMA, 0, 0x3333_000f],
  ]
}

/** Services that a {@link Piix4Function} is wired to. */
export interface Piix4Wiring {
  readonly ports: PortIo
  readonly memory: GuestMemory
  readonly lines: InterruptLines
  readonly pci: PciBus
}

/** Where it stands. */
export interface Piix4Place {
  readonly device: number
  readonly fn: number
  /** BAR 4 at power-on. */
  readonly busMasterBase: number
}

/** The PCI function. */
export class Piix4Function implements PciFunction, AsyncDisposable {
  readonly controller: IdeController
  readonly #ports: PortIo
  readonly #initial: Uint32Array = new Uint32Array(64)
  readonly #writable: Uint32Array = new Uint32Array(64)
  readonly #config: Uint32Array
  readonly #slot: Disposable
  readonly #busMasterPorts: PortHandler
  /** Claims by the first port. */
  readonly #claims: Map<number, Disposable> = new Map()

  constructor(place: Piix4Place, wiring: Piix4Wiring, drives: readonly (ConnectedDrive | undefined)[]) {
    this.#ports = wiring.ports
    for (const [offset, value, writable] of registers(place.busMasterBase)) {
      this.#initial[offset >> 2] = value
      this.#writable[offset >> 2] = writable
    }
    this.#config = this.#initial.slice()
    this.controller = new IdeController({
      memory: wiring.memory,
      lines: wiring.lines,
      drives,
      dma: true,
      masterAbort: () => {
        this.#config[CONFIG.COMMAND >> 2] = (this.readConfig(CONFIG.COMMAND) | STATUS_MASTER_ABORT) >>> 0
      },
    })
    const [primary, secondary] = this.controller.channels
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

  readConfig(offset: number): number {
    return this.#config[(offset >> 2) & 63] ?? 0
  }

  writeConfig(offset: number, value: number, mask: number): void {
    const index = (offset >> 2) & 63
    const register = index * 4
    if (register === CONFIG.COMMAND && (value & mask & STATUS_MASTER_ABORT) !== 0)
      this.#config[index] = ((this.#config[index] ?? 0) & ~STATUS_MASTER_ABORT) >>> 0
    const writable = (this.#writable[index] ?? 0) & mask
    if (writable === 0) return
    this.#config[index] = ((this.#config[index] ?? 0) & ~writable) | (value & writable)
    if (register === CONFIG.COMMAND || register === CONFIG.BAR4 || register === CONFIG.IDETIM) this.#remap()
  }

  /** Claim the ports that the registers say, and give up the others. */
  #map(): void {
    const decodes = (this.readConfig(CONFIG.COMMAND) & COMMAND_IO) !== 0
    const timing = this.readConfig(CONFIG.IDETIM)
    const wanted = new Map<number, { length: number; handler: PortHandler }>()
    if (decodes) {
      for (const { base, length, handler, channel } of this.controller.ports())
        if (((timing >>> (16 * channel)) & IDETIM_DECODE) !== 0) wanted.set(base, { length, handler })
      const base = (this.readConfig(CONFIG.BAR4) & ~(BUS_MASTER_PORTS - 1)) >>> 0
      if (base !== 0 && base < 0x1_0000) wanted.set(base, { length: BUS_MASTER_PORTS, handler: this.#busMasterPorts })
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

  #remap(): void {
    try {
      this.#map()
    } catch {
      // The guest has put it where something else is: it answers nowhere.
      this.#unmap()
    }
  }

  reset(): void {
    this.#config.set(this.#initial)
    this.controller.reset()
    this.#remap()
  }

  /** @throws IdeError `ERR_IDE_BUSY` */
  save(): SavedState {
    return { version: 3, data: { config: [...this.#config], channels: this.controller.save() } }
  }

  /** @throws IdeError `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    const { config, channels } = parseControllerState(state, this.controller.kinds, true)
    this.controller.restore(channels)
    for (let index = 0; index < 64; index++) {
      const changing = (this.#writable[index] ?? 0) | (index === CONFIG.COMMAND >> 2 ? STATUS_MASTER_ABORT : 0)
      this.#config[index] = ((this.#initial[index] ?? 0) & ~changing) | ((config[index] ?? 0) & changing)
    }
    this.#remap()
  }

  /** Waits for what is under way; the disks stay with who provided them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#unmap()
    this.#slot[Symbol.dispose]()
    await this.controller.settle()
    this.controller.reset()
  }
}
