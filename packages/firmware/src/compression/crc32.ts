// CRC-32 of IEEE 802.3, as .xz files have it (reflected, polynomial 0xEDB88320), four bytes at a time.

function crcTables(): readonly Uint32Array[] {
  const first = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb8_8320 : value >>> 1
    first[byte] = value
  }
  const tables = [first]
  for (let index = 1; index < 4; index++) {
    const before = tables[index - 1] as Uint32Array
    tables.push(before.map((value) => (value >>> 8) ^ (first[value & 0xff] as number)))
  }
  return tables
}

const [T0, T1, T2, T3] = crcTables() as [Uint32Array, Uint32Array, Uint32Array, Uint32Array]

/** CRC-32 of `bytes`. */
export function crc32(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const whole = bytes.length & ~3
  let crc = 0xffff_ffff
  let at = 0
  for (; at < whole; at += 4) {
    crc ^= view.getUint32(at, true)
    crc =
      (T3[crc & 0xff] as number) ^
      (T2[(crc >>> 8) & 0xff] as number) ^
      (T1[(crc >>> 16) & 0xff] as number) ^
      (T0[crc >>> 24] as number)
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ (T0[(crc ^ (bytes[at] as number)) & 0xff] as number)
  return ~crc >>> 0
}
