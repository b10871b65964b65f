// A network whose one port the test is: it keeps what was sent, and can say that it has no room.

import { Frame } from '@partita/ethernet'
import type { Network, NetworkAdapter, NetworkConnection, NetworkFrame, NetworkPort } from '@partita/interface'

/** A frame that was sent, with a copy of its bytes. */
export class SentFrame extends Frame {
  constructor(frame: NetworkFrame) {
    super()
    this.like(frame)
    this.bytes = frame.bytes.slice(frame.start, frame.end)
    this.start = 0
    this.end = this.bytes.length
  }
}

export class TestNetwork implements Network, NetworkPort {
  accepts = 0
  mtu = 65_521
  linkUp = true
  linkSpeed = 10e9
  readonly sent: SentFrame[] = []
  /** Frames that there is room for. */
  room: number = Number.POSITIVE_INFINITY
  batches = 0
  resumes = 0
  changes = 0
  disposed = false
  connection: NetworkConnection | undefined
  adapter!: NetworkAdapter
  onSend: ((frame: SentFrame) => void) | undefined
  onResume: (() => void) | undefined

  connect(adapter: NetworkAdapter, connection: NetworkConnection): NetworkPort {
    this.adapter = adapter
    this.connection = connection
    return this
  }

  send(frame: NetworkFrame): boolean {
    if (this.room === 0) return false
    this.room--
    const sent = new SentFrame(frame)
    this.sent.push(sent)
    this.onSend?.(sent)
    return true
  }

  sendEnd(): void {
    this.batches++
  }

  resume(): void {
    this.resumes++
    this.onResume?.()
  }

  adapterChanged(): void {
    this.changes++
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true
  }

  /** Deliver plain bytes in a batch of their own. */
  deliver(bytes: Uint8Array): boolean {
    const taken = this.adapter.receive(new Frame().plain(bytes))
    this.adapter.receiveEnd()
    return taken
  }
}
