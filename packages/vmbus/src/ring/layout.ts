// The layout of a ring: one control page, then the data, whole pages. Packets begin with a descriptor of 16 bytes and end with a footer of 8.

/** Bytes of a page, and of the control page. */
export const RING_PAGE = 4096

/** Words of the control page, by index. */
export const CONTROL = {
  /** Where the writer goes on, bytes from the start of the data. */
  IN: 0,
  /** Where the reader goes on. */
  OUT: 1,
  /** Not 0: the reader wants no signal for new packets. */
  INTERRUPT_MASK: 2,
  /** Not 0: the writer waits for more free bytes than this. */
  PENDING_SEND_SIZE: 3,
  FEATURE_BITS: 16,
} as const

/** Bits of {@link CONTROL.FEATURE_BITS}. */
export const FEATURE_PENDING_SEND_SIZE = 1

/** Bytes of a descriptor: type u16, data offset / 8 u16, length / 8 u16, flags u16, transaction id u64. */
export const DESCRIPTOR_SIZE = 16
/** Bytes of the footer: 0 u32, start offset of the packet u32. */
export const FOOTER_SIZE = 8
/** Bytes of the fixed part of a transfer-pages header: descriptor, page set u16, owner u8, 0 u8, range count u32. */
export const TRANSFER_PAGES_HEADER_SIZE = 24
/** Bytes of the fixed part of a GPA-direct header: descriptor, 0 u32, range count u32. */
export const GPA_DIRECT_HEADER_SIZE = 24
/** The longest packet: the length is a u16 in units of 8 bytes. */
export const MAX_PACKET_SIZE: number = 0xffff * 8

/** Types of packets that a ring may carry. */
export const PACKET_TYPE = { IN_BAND: 6, TRANSFER_PAGES: 7, GPA_DIRECT: 9, CANCEL: 10, COMPLETION: 11 } as const

/** Round up to a multiple of 8. */
export function align8(length: number): number {
  return (length + 7) & ~7
}
