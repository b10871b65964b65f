// Packets that the network sends in one piece.

import { packet } from '../../../ethernet/test/packets.ts'
import { MAC } from '../frames.ts'

const headersOf: Map<string, Uint8Array> = new Map()

/** A packet to the guest with `length` bytes of payload, whose checksums are those of the packet without any. */
export function largePacket(
  version: 4 | 6,
  protocol: 'tcp' | 'udp',
  tcpOptions: number,
  ipOptions: number,
  length: number,
  value: number,
): Uint8Array {
  const key = `${version} ${protocol} ${tcpOptions} ${ipOptions}`
  let headers = headersOf.get(key)
  if (headers === undefined) {
    const made = packet({ version, protocol, payload: new Uint8Array(0), tcpOptions, ipOptions })
    headers = made.bytes
    headers.set(MAC)
    headersOf.set(key, headers)
  }
  const bytes = new Uint8Array(headers.length + length).fill(value)
  bytes.set(headers)
  const at = version === 4 ? 16 : 18
  const total = bytes.length - (version === 4 ? 14 : 54)
  bytes[at] = total >> 8
  bytes[at + 1] = total
  return bytes
}
