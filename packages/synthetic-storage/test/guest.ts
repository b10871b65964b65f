// A guest for tests: a client of the VMBus that sends raw packets as Linux' storvsc does, byte by byte, and collects what comes back.

import type { VmbusPacket } from '@partita/interface'
import { VMBUS_COMPLETION_REQUESTED } from '@partita/interface'
import { type ClientChannel, contiguousRange, type GpaRange } from '@partita/vmbus/client'
import { VmbusPair } from '@partita/vmbus/testing'
import { senseText } from '../../scsi/test/scsi-initiator.ts'
import { StorageController, type StorageControllerOptions } from '../src/vsp.ts'

export const INSTANCE = '11111111-2222-3333-4444-555555555555'

/** A packet from the provider. */
export interface Answer {
  readonly type: number
  readonly transaction: number
  readonly operation: number
  readonly status: number
  readonly bytes: Uint8Array
  readonly view: DataView
}

/** Linux' sizeof(struct vstor_packet). */
export const LINUX_PACKET = 64

/** A struct vstor_packet with the operation, and what `fill` puts behind the header. */
export function vstorPacket(
  operation: number,
  fill?: (view: DataView) => void,
  size: number = LINUX_PACKET,
): Uint8Array {
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, operation, true)
  view.setUint32(4, 1, true) // REQUEST_COMPLETION_FLAG
  fill?.(view)
  return bytes
}

export interface SrbOptions {
  readonly lun?: number
  readonly path?: number
  readonly target?: number
  readonly dataIn?: number
  readonly length?: number
  readonly cdbLength?: number
  readonly size?: number
}

/** EXECUTE_SRB as storvsc_queuecommand builds it. */
export function srbPacket(cdb: readonly number[] | Uint8Array, options: SrbOptions = {}): Uint8Array {
  return vstorPacket(
    3,
    (view) => {
      view.setUint16(12, 0x34, true)
      view.setUint8(17, options.path ?? 0)
      view.setUint8(18, options.target ?? 0)
      view.setUint8(19, options.lun ?? 0)
      view.setUint8(20, options.cdbLength ?? cdb.length)
      view.setUint8(21, 0x14)
      view.setUint8(22, options.dataIn ?? 2)
      view.setUint32(24, options.length ?? 0, true)
      for (const [i, byte] of cdb.entries()) view.setUint8(28 + i, byte)
    },
    options.size,
  )
}

/** A VM with one controller, and the guest's end of it. */
export class Guest {
  readonly pair: VmbusPair = new VmbusPair({ ramSize: 8 * 1024 * 1024 })
  readonly controller: StorageController
  readonly answers: Answer[] = []
  channel!: ClientChannel
  #transaction = 0

  constructor(options: Partial<StorageControllerOptions> = {}) {
    this.controller = new StorageController({ ...(options.ide === undefined && { instanceId: INSTANCE }), ...options })
    this.pair.server.offer(this.controller)
  }

  /** Connect and open the primary channel, as vmbus_open does. */
  async open(pages = 16): Promise<this> {
    const { client } = this.pair
    if (client.version === 0) {
      await this.pair.run(client.connect())
      await this.pair.run(client.requestOffers())
    }
    const offer = client.offers.find(({ subChannelIndex }) => subChannelIndex === 0)
    if (offer === undefined) throw new Error('no offer')
    this.channel = await this.pair.run(client.open(offer, this.pair.rings(pages, pages)))
    this.listen(this.channel)
    return this
  }

  listen(channel: ClientChannel): void {
    channel.onPacket = (packet: VmbusPacket) => {
      const bytes = packet.payload().slice()
      const view = new DataView(bytes.buffer)
      this.answers.push({
        type: packet.type,
        transaction: packet.transactionLow,
        operation: view.getUint32(0, true),
        status: view.getUint32(8, true),
        bytes,
        view,
      })
    }
  }

  /** Send a packet; its transaction id. */
  send(packet: Uint8Array, ranges: readonly GpaRange[] = [], channel: ClientChannel = this.channel): number {
    const transaction = ++this.#transaction
    const sent =
      ranges.length > 0
        ? channel.sendGpaDirect(ranges, packet, transaction)
        : channel.send(packet, transaction, 0, VMBUS_COMPLETION_REQUESTED)
    if (!sent) throw new Error('the ring is full')
    return transaction
  }

  /** Let everything pass, disks included. */
  async settle(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      await this.pair.settle()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await this.pair.settle()
  }

  /** Send a packet and take its completion. */
  async ask(packet: Uint8Array, ranges: readonly GpaRange[] = [], channel?: ClientChannel): Promise<Answer> {
    const transaction = this.send(packet, ranges, channel)
    await this.settle()
    const at = this.answers.findIndex((answer) => answer.type === 11 && answer.transaction === transaction)
    const [answer] = at < 0 ? [] : this.answers.splice(at, 1)
    if (answer === undefined) throw new Error(`no completion of transaction ${transaction}`)
    return answer
  }

  /** Linux' storvsc_channel_init for a version. */
  async initialize(version = 0x0602): Promise<void> {
    for (const packet of [
      vstorPacket(7),
      vstorPacket(9, (view) => view.setUint16(12, version, true)),
      vstorPacket(10),
      vstorPacket(8),
    ]) {
      const { status } = await this.ask(packet)
      if (status !== 0) throw new Error(`status ${status}`)
    }
  }

  /** Run a SCSI command with a buffer of `length` bytes in the guest's memory. */
  async scsi(
    cdb: readonly number[],
    options: SrbOptions & { readonly out?: Uint8Array; readonly room?: number } = {},
  ): Promise<{ srb: number; scsi: number; sense: string; transferred: number; data: Uint8Array; answer: Answer }> {
    const length = options.out?.length ?? options.room ?? 4096
    const { memory } = this.pair
    const gpa = 4 * 1024 * 1024 + 40
    if (options.out !== undefined) memory.write(gpa, options.out)
    else memory.fill(gpa, length, 0xee)
    const dataIn = length === 0 ? 2 : options.out === undefined ? 1 : 0
    const answer = await this.ask(
      srbPacket(cdb, { dataIn, length, ...options }),
      length === 0 ? [] : [contiguousRange(gpa, length)],
    )
    const srb = answer.view.getUint8(14)
    const data = new Uint8Array(length)
    memory.read(gpa, data)
    return {
      srb,
      scsi: answer.view.getUint8(15),
      sense: (srb & 0x80) === 0 ? '' : senseText(answer.bytes.subarray(28)),
      transferred: answer.view.getUint32(24, true),
      data,
      answer,
    }
  }
}
