// Writes captures in the format pcapng (IETF draft-ietf-opsawg-pcapng): one section, an interface for each port, an enhanced packet block for each frame, times in microseconds.

const BLOCK = { SECTION_HEADER: 0x0a0d_0d0a, INTERFACE: 1, ENHANCED_PACKET: 6 } as const
const BYTE_ORDER_MAGIC = 0x1a2b_3c4d
const LINKTYPE_ETHERNET = 1
const OPTION = { END: 0, IF_NAME: 2, EPB_FLAGS: 2 } as const
/** The lowest two bits of epb_flags. */
const DIRECTION = { INBOUND: 1, OUTBOUND: 2 } as const
const PACKET_HEADER = 28
const PACKET_TRAILER = 16

/** Where the bytes of a capture go, in order. They are lent for the call. */
export type CaptureSink = (bytes: Uint8Array) => void

/** A capture file. */
export class PcapngWriter {
  readonly #sink: CaptureSink
  #buffer: Uint8Array = new Uint8Array(2048)
  #view: DataView = new DataView(this.#buffer.buffer)
  #interfaces = 0

  /** Writes the section header at once. */
  constructor(sink: CaptureSink) {
    this.#sink = sink
    const view = this.#begin(BLOCK.SECTION_HEADER, 28)
    view.setUint32(8, BYTE_ORDER_MAGIC, true)
    view.setUint16(12, 1, true)
    view.setUint16(14, 0, true)
    // The section's length is not known.
    view.setUint32(16, 0xffff_ffff, true)
    view.setUint32(20, 0xffff_ffff, true)
    this.#end(28)
  }

  /** Begin an interface; returns its number. */
  interface(name: string): number {
    const text = new TextEncoder().encode(name)
    const padded = (text.length + 3) & ~3
    const length = 16 + 4 + padded + 4 + 4
    const view = this.#begin(BLOCK.INTERFACE, length)
    view.setUint16(8, LINKTYPE_ETHERNET, true)
    view.setUint16(10, 0, true)
    // No limit of the captured length.
    view.setUint32(12, 0, true)
    view.setUint16(16, OPTION.IF_NAME, true)
    view.setUint16(18, text.length, true)
    this.#buffer.fill(0, 20, 20 + padded)
    this.#buffer.set(text, 20)
    view.setUint32(20 + padded, OPTION.END, true)
    this.#end(length)
    return this.#interfaces++
  }

  /** One frame, `bytes` from `start` to `end`, at a time in milliseconds since 1970. */
  packet(interfaceId: number, time: number, inbound: boolean, bytes: Uint8Array, start: number, end: number): void {
    const captured = end - start
    const padded = (captured + 3) & ~3
    const length = PACKET_HEADER + padded + PACKET_TRAILER
    const view = this.#begin(BLOCK.ENHANCED_PACKET, length)
    const microseconds = Math.floor(time * 1000)
    view.setUint32(8, interfaceId, true)
    view.setUint32(12, Math.floor(microseconds / 2 ** 32), true)
    view.setUint32(16, microseconds % 2 ** 32, true)
    view.setUint32(20, captured, true)
    view.setUint32(24, captured, true)
    this.#buffer.fill(0, PACKET_HEADER + captured, PACKET_HEADER + padded)
    this.#buffer.set(bytes.subarray(start, end), PACKET_HEADER)
    const options = PACKET_HEADER + padded
    view.setUint16(options, OPTION.EPB_FLAGS, true)
    view.setUint16(options + 2, 4, true)
    view.setUint32(options + 4, inbound ? DIRECTION.INBOUND : DIRECTION.OUTBOUND, true)
    view.setUint32(options + 8, OPTION.END, true)
    this.#end(length)
  }

  #begin(type: number, length: number): DataView {
    if (this.#buffer.length < length) {
      this.#buffer = new Uint8Array(2 ** Math.ceil(Math.log2(length)))
      this.#view = new DataView(this.#buffer.buffer)
    }
    this.#view.setUint32(0, type, true)
    this.#view.setUint32(4, length, true)
    return this.#view
  }

  #end(length: number): void {
    this.#view.setUint32(length - 4, length, true)
    this.#sink(this.#buffer.subarray(0, length))
  }
}
