// The window that a connection gives its guest (RFC 9293, 3.8.6; RFC 7323, 2): what was promised is never taken back, and little steps are not worth saying.

import { sequenceAfter, sequenceDistance } from './tcp-segment.ts'

/** The gateway's windows are in units of 128 bytes where both sides scale. */
export const WINDOW_SCALE = 7
export const LARGEST_WINDOW = 0xffff

/** Where a guest may send to. */
export class ReceiveWindow {
  /** The first sequence number that it may not send. */
  #edge = 0

  /** Begin: the guest may send `size` bytes from `next` on. */
  open(next: number, size: number): void {
    this.#edge = sequenceAfter(next, size)
  }

  /** Bytes from `next` on that it may send. */
  promised(next: number): number {
    return Math.max(0, sequenceDistance(this.#edge, next))
  }

  /**
   * The field of a segment that acknowledges all before `next`.
   * @param space Bytes that there is room for
   * @param step A smaller step is not taken (RFC 9293, 3.8.6.2.2)
   */
  field(next: number, space: number, step: number, scaled: boolean): number {
    const promised = this.promised(next)
    const size = space - promised >= step ? space : promised
    const unit = scaled ? 2 ** WINDOW_SCALE : 1
    // Rounded up, each segment of a guest that has reached the end would give it a few bytes more, for ever.
    const field = Math.min(LARGEST_WINDOW, Math.floor(size / unit))
    const edge = sequenceAfter(next, field * unit)
    if (sequenceDistance(edge, this.#edge) > 0) this.#edge = edge
    return field
  }
}
