// Big-endian fields of CDBs and parameter data. Bytes past the end read as zero: the caller has checked the lengths that matter.

/** Two bytes from `at`. */
export function be16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

/** Three bytes from `at`. */
export function be24(bytes: Uint8Array, at: number): number {
  return (be16(bytes, at) << 8) | (bytes[at + 2] ?? 0)
}

/** Four bytes from `at`, unsigned. */
export function be32(bytes: Uint8Array, at: number): number {
  return be16(bytes, at) * 0x10000 + be16(bytes, at + 2)
}

/** Eight bytes from `at` as a number: exact below 2^53, and above that still larger than any disk. */
export function be64(bytes: Uint8Array, at: number): number {
  return be32(bytes, at) * 0x1_0000_0000 + be32(bytes, at + 4)
}

/** Eight bytes from `at`, exactly. */
export function be64Exact(bytes: Uint8Array, at: number): bigint {
  return (BigInt(be32(bytes, at)) << 32n) | BigInt(be32(bytes, at + 4))
}

/** Store `value` in two bytes. */
export function putBe16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = (value >>> 8) & 0xff
  bytes[at + 1] = value & 0xff
}

/** Store `value` in four bytes. */
export function putBe32(bytes: Uint8Array, at: number, value: number): void {
  putBe16(bytes, at, value >>> 16)
  putBe16(bytes, at + 2, value & 0xffff)
}

/** Store `value`, below 2^53, in eight bytes. */
export function putBe64(bytes: Uint8Array, at: number, value: number): void {
  putBe32(bytes, at, Math.floor(value / 0x1_0000_0000))
  putBe32(bytes, at + 4, value % 0x1_0000_0000)
}

/** Store `value` in eight bytes, exactly. */
export function putBe64Exact(bytes: Uint8Array, at: number, value: bigint): void {
  putBe32(bytes, at, Number(value >> 32n))
  putBe32(bytes, at + 4, Number(value & 0xffff_ffffn))
}

/** Store ASCII `text`, cut or padded with spaces to `length` bytes (SPC-4, 4.4.1); what is no printable ASCII becomes a space. */
export function putAscii(bytes: Uint8Array, at: number, length: number, text: string): void {
  for (let i = 0; i < length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0x20
    bytes[at + i] = code >= 0x20 && code < 0x7f ? code : 0x20
  }
}
