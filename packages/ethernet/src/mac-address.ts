// MAC addresses as text and as numbers: 48 bits are an exact number.

const TEXT = /^[0-9a-f]{2}([:-]?)[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}$/i

/** FF-FF-FF-FF-FF-FF. */
export const BROADCAST = 0xffff_ffff_ffff

/** The address in a text such as `02:15:5d:00:00:01`, `02-15-5D-00-00-01` or `02155d000001`; `undefined` when it is none. */
export function parseMacAddress(text: string): number | undefined {
  return TEXT.test(text) ? Number.parseInt(text.replace(/[:-]/g, ''), 16) : undefined
}

/** `02:15:5d:00:00:01`. */
export function formatMacAddress(address: number): string {
  return (address.toString(16).padStart(12, '0').match(/../g) as string[]).join(':')
}

/** The address in the six bytes at `at`. */
export function readMacAddress(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 8) | (bytes[at + 1] as number)) * 0x1_0000_0000 +
    ((((bytes[at + 2] as number) << 24) |
      ((bytes[at + 3] as number) << 16) |
      ((bytes[at + 4] as number) << 8) |
      (bytes[at + 5] as number)) >>>
      0)
  )
}

/** Store an address in six bytes. */
export function writeMacAddress(bytes: Uint8Array, at: number, address: number): void {
  const high = Math.floor(address / 0x1_0000_0000)
  const low = address % 0x1_0000_0000
  bytes[at] = high >>> 8
  bytes[at + 1] = high
  bytes[at + 2] = low >>> 24
  bytes[at + 3] = low >>> 16
  bytes[at + 4] = low >>> 8
  bytes[at + 5] = low
}

/** Whether an address is a multicast or broadcast address: the lowest bit of its first byte. */
export function isMulticast(address: number): boolean {
  return (Math.floor(address / 0x100_0000_0000) & 1) !== 0
}
