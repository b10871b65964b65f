// An IDE controller without a PCI bus, as ISA adapters have it: two channels at the ports and interrupts of a PC, PIO alone.

import type { GuestMemory, InterruptLines, PortIo, SavedState } from '@partita/interface'
import { type ConnectedDrive, IdeController } from './ide-controller.ts'
import { parseControllerState } from './state.ts'

/** Services that a {@link LegacyController} is wired to. */
export interface LegacyWiring {
  readonly ports: PortIo
  readonly memory: GuestMemory
  readonly lines: InterruptLines
}

/** Channels at fixed ports. Drives say that they have no DMA. */
export class LegacyController implements AsyncDisposable {
  readonly controller: IdeController
  readonly #claims: DisposableStack

  constructor(wiring: LegacyWiring, drives: readonly (ConnectedDrive | undefined)[]) {
    this.controller = new IdeController({ memory: wiring.memory, lines: wiring.lines, drives, dma: false })
    using claims = new DisposableStack()
    for (const { base, length, handler } of this.controller.ports())
      claims.use(wiring.ports.claim(base, length, handler))
    this.#claims = claims.move()
  }

  reset(): void {
    this.controller.reset()
  }

  /** @throws IdeError `ERR_IDE_BUSY` */
  save(): SavedState {
    return { version: 3, data: { config: [], channels: this.controller.save() } }
  }

  /** @throws IdeError `ERR_STATE_INVALID` */
  restore(state: SavedState): void {
    this.controller.restore(parseControllerState(state, this.controller.kinds, false).channels)
    this.controller.resume()
  }

  /** Waits for what is under way; the disks stay with who provided them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#claims.dispose()
    await this.controller.settle()
    this.controller.reset()
  }
}
