// What the guest asks of GPADLs, and the answers; a teardown waits until the device has let go.

import type { VmbusChannelHandler } from '@partita/interface'
import { STATUS } from '../protocol/constants.ts'
import { GpadlHeader } from '../protocol/messages.ts'
import type { Bus } from './bus.ts'
import type { Channel } from './channel.ts'
import type { Gpadl, GpadlProgress } from './gpadl.ts'
import { gpadlCreatedMessage, gpadlTorndownMessage } from './replies.ts'

export class GpadlRequests {
  readonly #bus: Bus
  readonly #deviceFailed: (channel: Channel, error: unknown) => void

  constructor(bus: Bus, deviceFailed: (channel: Channel, error: unknown) => void) {
    this.#bus = bus
    this.#deviceFailed = deviceFailed
  }

  /** GPADL_HEADER. */
  header(view: DataView): void {
    const { relid, gpadlId: id } = new GpadlHeader(view)
    // Those of a revoked channel too: Linux does not take a refusal well.
    if (this.#bus.byRelid.has(relid)) this.#progress(this.#bus.gpadls.header(view))
    else this.#progress({ type: 'refused', relid, id, status: STATUS.INVALID_PARAMETER })
  }

  /** GPADL_BODY. */
  body(view: DataView): void {
    this.#progress(this.#bus.gpadls.body(view))
  }

  #progress(progress: GpadlProgress): void {
    const bus = this.#bus
    switch (progress.type) {
      case 'complete': {
        const { relid, id, pieces } = progress.gpadl
        bus.trace?.event(relid, `GPADL 0x${id.toString(16)}: ${pieces.byteLength} bytes in ${pieces.pieceCount} pieces`)
        bus.reply(gpadlCreatedMessage(relid, id, STATUS.SUCCESS))
        break
      }
      case 'refused':
        bus.fault(`GPADL 0x${progress.id.toString(16)} refused`)
        bus.reply(gpadlCreatedMessage(progress.relid, progress.id, progress.status))
        break
      case 'ignored':
        bus.fault(progress.reason)
        break
      case 'partial':
        break
    }
  }

  /** GPADL_TEARDOWN. */
  teardown(id: number): void {
    const { gpadls, byRelid } = this.#bus
    if (gpadls.partial.has(id)) {
      gpadls.delete(id)
      this.#bus.reply(gpadlTorndownMessage(id))
      return
    }
    const gpadl = gpadls.gpadls.get(id)
    if (gpadl === undefined || gpadl.tearingDown) {
      this.#bus.fault(`GPADL 0x${id.toString(16)} is not there to be torn down`)
      return
    }
    gpadl.tearingDown = true
    const channel = byRelid.get(gpadl.relid)
    // A channel that is closing, or stands on this GPADL, lets go of it at its end.
    if (channel?.state === 'closing' || (channel?.state === 'open' && channel.request?.gpadlId === id)) return
    const waiting = channel?.handler === undefined ? undefined : this.#ask(channel, channel.handler, id)
    if (waiting === undefined) this.#tornDown(gpadl)
    else void waiting.then(() => this.#tornDown(gpadl))
  }

  /** Resolves in any case. */
  #ask(channel: Channel, handler: VmbusChannelHandler, id: number): Promise<void> | undefined {
    try {
      return handler.gpadlTeardown?.(id)?.catch((error: unknown) => this.#deviceFailed(channel, error))
    } catch (error) {
      this.#deviceFailed(channel, error)
      return undefined
    }
  }

  #tornDown(gpadl: Gpadl): void {
    const { gpadls } = this.#bus
    // The connection that it was of may be gone meanwhile, and its number be another's.
    if (gpadls.gpadls.get(gpadl.id) !== gpadl) return
    gpadls.delete(gpadl.id)
    this.#bus.reply(gpadlTorndownMessage(gpadl.id))
  }

  /** A channel is closed: what was to be torn down then is. */
  channelClosed(relid: number): void {
    if (relid === 0) return
    for (const gpadl of [...this.#bus.gpadls.gpadls.values()])
      if (gpadl.relid === relid && gpadl.tearingDown) this.#tornDown(gpadl)
  }
}
