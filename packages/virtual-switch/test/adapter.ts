// An adapter that keeps what it gets, and frames for it.

import { Frame, parseMacAddress, writeMacAddress } from '@partita/ethernet'
import type { NetworkAdapter, NetworkFrame, NetworkPort } from '@partita/interface'

/** What an adapter has got: the bytes, and what stood beside them. */
export interface Received {
  readonly text: string
  readonly bytes: Uint8Array
  readonly flags: number
  readonly vlan: number
}

/** Keeps frames; `room` is how many more it takes. */
export class TestAdapter implements NetworkAdapter {
  readonly name: string
  macAddress: string
  accepts = 0
  room: number = Number.POSITIVE_INFINITY
  readonly received: Received[] = []
  batches = 0
  writables = 0
  portChanges = 0
  onReceive: (() => void) | undefined
  onWritable: (() => void) | undefined

  constructor(name: string, macAddress: string) {
    this.name = name
    this.macAddress = macAddress
  }

  receive(frame: NetworkFrame): boolean {
    if (this.room === 0) return false
    this.room--
    const bytes = frame.bytes.slice(frame.start, frame.end)
    this.received.push({
      text: new TextDecoder().decode(bytes.subarray(14)),
      bytes,
      flags: frame.flags,
      vlan: frame.vlan,
    })
    this.onReceive?.()
    return true
  }

  receiveEnd(): void {
    this.batches++
  }

  writable(): void {
    this.writables++
    this.onWritable?.()
  }

  portChanged(): void {
    this.portChanges++
  }

  /** The texts of what came, and forget it. */
  take(): string[] {
    return this.received.splice(0).map(({ text }) => text)
  }
}

export const BROADCAST = 'ff:ff:ff:ff:ff:ff'

/** An Ethernet frame with a text as its payload. */
export function frameOf(from: string, to: string, text: string): Frame {
  const payload = new TextEncoder().encode(text)
  const bytes = new Uint8Array(14 + payload.length)
  writeMacAddress(bytes, 0, parseMacAddress(to) ?? 0)
  writeMacAddress(bytes, 6, parseMacAddress(from) ?? 0)
  bytes.set([0x88, 0xb5], 12)
  bytes.set(payload, 14)
  return new Frame().plain(bytes)
}

/** Send one frame as a batch of its own. */
export function send(port: NetworkPort, frame: NetworkFrame): boolean {
  const taken = port.send(frame)
  port.sendEnd()
  return taken
}
