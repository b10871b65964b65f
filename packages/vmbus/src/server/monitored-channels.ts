// The open channels with a bit in the guest's monitor page, and when that is looked at.

import type { Channel } from './channel.ts'
import type { VmbusHost } from './host.ts'
import { takePending } from './monitor.ts'

export class MonitoredChannels {
  readonly #host: VmbusHost
  readonly #open: Map<number, Channel> = new Map()

  constructor(host: VmbusHost) {
    this.#host = host
  }

  /** A channel is open. */
  add(channel: Channel): void {
    if (channel.monitorId !== undefined) this.#open.set(channel.monitorId, channel)
  }

  /** A channel is not open any more. */
  delete(channel: Channel): void {
    if (channel.monitorId !== undefined) this.#open.delete(channel.monitorId)
  }

  /** Have the page looked at while the VM runs and a channel is open that it is for. */
  watch(running: boolean): void {
    this.#host.pollMonitors?.(running && this.#open.size > 0)
  }

  /** Look for signals in the guest's page; 0: there is none. */
  poll(page: number): void {
    if (page !== 0) takePending(this.#host.memory, page, (id) => this.#open.get(id)?.io?.signalled())
  }
}
