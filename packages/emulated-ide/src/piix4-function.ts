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
import {
  BAR_IO,
  type ConfigRegister,
  ConfigSpace,
  INTEL,
  PCI_COMMAND,
  PCI_CONFIG,
  RECEIVED_MASTER_ABORT,
} from '@partita/pci'
import { type ConnectedDrive, IdeController } from './ide-controller.ts'
import { parseControllerState } from './state.ts'

/** BMIBA, and the timing registers. */
const CONFIG = { BMIBA: 0x20, IDETIM: 0x40, SIDETIM: 0x44, UDMA: 0x48 } as const
/** IDETIM, one word a channel: decode enable. */
const IDETIM_DECODE = 0x8000
const BUS_MASTER_PORTS = 16

/** Configuration space; values at power-on are as firmware leaves them. */
function registers(busMasterBase: number): readonly ConfigRegister[] {
  const command = PCI_COMMAND.IO | PCI_COMMAND.BUS_MASTER
  return [
    [PCI_CONFIG.ID, 0x7111_0000 | INTEL, 0],
    [PCI_CONFIG.COMMAND_STATUS, 0x0280_0000 | command, command, RECEIVED_MASTER_ABORT],
    [PCI_CONFIG.CLASS_REVISION, 0x0101_8001, 0], // IDE, legacy mode, bus master
    [PCI_CONFIG.HEADER, 0x0000_0000, 0x0000_f000],
    // All 32 bits, as SeaBIOS wants them to find out its size; there are no ports above 64 Ki.
    [CONFIG.BMIBA, busMasterBase | BAR_IO, 0xffff_fff0],
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

/** A range of ports, and where it is now. */
interface Window {
  readonly base: () => number | undefined
  readonly length: number
  readonly handler: PortHandler
  claimed?: { readonly base: number; readonly claim: Disposable } | undefined
}

/** The PCI function. */
export class Piix4Function implements PciFunction, AsyncDisposable {
  readonly controller: IdeController
  readonly #ports: PortIo
  readonly #config: ConfigSpace
  readonly #slot: Disposable
  readonly #channels: readonly Window[]
  readonly #busMaster: Window

  /** @throws what `ports` and `pci` do where something else is at its places */
  constructor(place: Piix4Place, wiring: Piix4Wiring, drives: readonly (ConnectedDrive | undefined)[]) {
    this.#ports = wiring.ports
    this.#config = new ConfigSpace(registers(place.busMasterBase), (offset) => {
      if (offset === PCI_CONFIG.COMMAND_STATUS || offset === CONFIG.BMIBA || offset === CONFIG.IDETIM) this.#remap()
      // The function may have become a bus master.
      if (offset === PCI_CONFIG.COMMAND_STATUS) this.controller.resume()
    })
    this.controller = new IdeController({
      memory: wiring.memory,
      lines: wiring.lines,
      drives,
      dma: true,
      busMaster: {
        masterAbort: () => {
          const register = PCI_CONFIG.COMMAND_STATUS
          this.#config.set(register, this.#config.readConfig(register) | RECEIVED_MASTER_ABORT)
        },
        mayTransfer: () => (this.#config.readConfig(PCI_CONFIG.COMMAND_STATUS) & PCI_COMMAND.BUS_MASTER) !== 0,
      },
    })
    const [primary, secondary] = this.controller.channels
    this.#channels = this.controller.ports().map(({ base, length, handler, channel }) => ({
      base: () => (this.#decodes && ((this.#timing >>> (16 * channel)) & IDETIM_DECODE) !== 0 ? base : undefined),
      length,
      handler,
    }))
    this.#busMaster = {
      base: () => this.#busMasterBase,
      length: BUS_MASTER_PORTS,
      handler: {
        read: (offset, size) => (offset < 8 ? primary : secondary).busMaster.read(offset & 7, size),
        write: (offset, size, value) => (offset < 8 ? primary : secondary).busMaster.write(offset & 7, size, value),
      },
    }
    this.#slot = wiring.pci.attach(place.device, place.fn, this)
    try {
      for (const window of this.#windows) this.#claim(window)
    } catch (error) {
      this.#unmap()
      this.#slot[Symbol.dispose]()
      throw error
    }
  }

  get #decodes(): boolean {
    return (this.#config.readConfig(PCI_CONFIG.COMMAND_STATUS) & PCI_COMMAND.IO) !== 0
  }

  get #timing(): number {
    return this.#config.readConfig(CONFIG.IDETIM)
  }

  get #busMasterBase(): number | undefined {
    const base = (this.#config.readConfig(CONFIG.BMIBA) & ~(BUS_MASTER_PORTS - 1)) >>> 0
    return this.#decodes && base !== 0 && base < 0x1_0000 ? base : undefined
  }

  /** The channels first: where a guest puts the bus master on top of them, they answer. */
  get #windows(): readonly Window[] {
    return [...this.#channels, this.#busMaster]
  }

  readConfig(offset: number): number {
    return this.#config.readConfig(offset)
  }

  writeConfig(offset: number, value: number, mask: number): void {
    this.#config.writeConfig(offset, value, mask)
  }

  #claim(window: Window): void {
    const base = window.base()
    if (base === undefined || window.claimed !== undefined) return
    window.claimed = { base, claim: this.#ports.claim(base, window.length, window.handler) }
  }

  #release(window: Window): void {
    window.claimed?.claim[Symbol.dispose]()
    window.claimed = undefined
  }

  #unmap(): void {
    for (const window of this.#windows) this.#release(window)
  }

  /** Ports follow the registers. Those that a guest has put where something else is answer nowhere, until it writes to the registers again; the others are as ever. */
  #remap(): void {
    this.#release(this.#busMaster)
    for (const window of this.#channels) if (window.claimed?.base !== window.base()) this.#release(window)
    for (const window of this.#windows) {
      try {
        this.#claim(window)
      } catch {
        // The guest's mistake.
      }
    }
  }

  reset(): void {
    this.#config.reset()
    this.controller.reset()
    this.#remap()
  }

  /** @throws IdeError `ERR_IDE_BUSY` */
  save(): SavedState {
    return { version: 3, data: { config: this.#config.save(), channels: this.controller.save() } }
  }

  /** @throws IdeError `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    const { config, channels } = parseControllerState(state, this.controller.kinds, true)
    this.controller.restore(channels)
    this.#config.restore(config)
    this.#remap()
    this.controller.resume()
  }

  /** Waits for what is under way; the disks stay with who provided them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#unmap()
    this.#slot[Symbol.dispose]()
    await this.controller.settle()
    this.controller.reset()
  }
}
