// Captures what goes through ports as it would be on a wire: segmented, with its checksums, and with its tag.

import { FrameConversion } from '@partita/ethernet'
import type { Clock, NetworkFrame } from '@partita/interface'
import { type CaptureSink, PcapngWriter } from './pcapng.ts'
import type { PortObserver, SwitchPort } from './switch-port.ts'

/** A capture of any number of ports in one pcapng file. */
export class Capture implements PortObserver, Disposable {
  readonly #writer: PcapngWriter
  readonly #clock: Clock
  readonly #conversion: FrameConversion = new FrameConversion()
  readonly #interfaces: Map<SwitchPort, number> = new Map()
  readonly #observing: DisposableStack = new DisposableStack()

  constructor(sink: CaptureSink, clock: Clock) {
    this.#writer = new PcapngWriter(sink)
    this.#clock = clock
  }

  /** Capture a port from now on. */
  add(port: SwitchPort): void {
    if (this.#interfaces.has(port)) return
    this.#interfaces.set(port, this.#writer.interface(port.adapter.name))
    this.#observing.use(port.observe(this))
  }

  frame(port: SwitchPort, frame: NetworkFrame, inbound: boolean): void {
    const id = this.#interfaces.get(port)
    if (id === undefined) return
    const time = this.#clock.wallTime()
    this.#conversion.begin(frame, 0)
    for (let part = this.#conversion.next(); part !== undefined; part = this.#conversion.next()) {
      this.#writer.packet(id, time, inbound, part.bytes, part.start, part.end)
    }
  }

  /** Capture nothing more. */
  [Symbol.dispose](): void {
    this.#observing.dispose()
  }
}
