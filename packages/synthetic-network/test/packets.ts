// Packets for tests, made field by field, with a second and plain implementation of the checksum.

export interface PacketOptions {
  readonly version: 4 | 6
  readonly protocol: 'tcp' | 'udp'
  readonly payload: Uint8Array
  /** Bytes of IP options (IPv4) or of a destination options header (IPv6); a multiple of 8. */
  readonly ipOptions?: number
  /** Bytes of TCP options; a multiple of 4. */
  readonly tcpOptions?: number
  readonly tags?: number
  readonly sequence?: number
  readonly id?: number
  readonly tcpFlags?: number
}

/** RFC 1071 word by word. */
export function plainSum(bytes: readonly number[]): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0)
    sum = (sum & 0xffff) + (sum >> 16)
  }
  return sum
}

const u16 = (value: number): number[] => [(value >> 8) & 255, value & 255]
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)]

/** A frame with right checksums, and where its transport header and checksum are. */
export function packet(options: PacketOptions): { bytes: Uint8Array; transport: number; checksum: number } {
  const { version, protocol, payload, ipOptions = 0, tcpOptions = 0, tags = 0 } = options
  const number = protocol === 'tcp' ? 6 : 17
  const source = version === 4 ? [10, 0, 0, 1] : [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
  const target = version === 4 ? [10, 0, 0, 200] : [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xee, 2]
  const transport =
    protocol === 'tcp'
      ? [
          ...u16(40000),
          ...u16(80),
          ...u32(options.sequence ?? 1000),
          ...u32(77),
          ((20 + tcpOptions) / 4) << 4,
          options.tcpFlags ?? 0x18,
          ...u16(5000),
          ...u16(0),
          ...u16(0),
          ...new Array<number>(tcpOptions).fill(1),
        ]
      : [...u16(40000), ...u16(53), ...u16(8 + payload.length), ...u16(0)]
  const segment = [...transport, ...payload]
  const pseudo = [...source, ...target, ...u32(segment.length), 0, 0, 0, number]
  let checksum = plainSum([...pseudo, ...segment]) ^ 0xffff
  if (checksum === 0 && protocol === 'udp') checksum = 0xffff
  const field = protocol === 'tcp' ? 16 : 6
  segment.splice(field, 2, ...u16(checksum))
  let ip: number[]
  if (version === 4) {
    ip = [
      0x40 + (20 + ipOptions) / 4,
      0,
      ...u16(20 + ipOptions + segment.length),
      ...u16(options.id ?? 7),
      0x40,
      0,
      64,
      number,
      0,
      0,
      ...source,
      ...target,
      ...new Array<number>(ipOptions).fill(1),
    ]
    ip.splice(10, 2, ...u16(plainSum(ip) ^ 0xffff))
  } else {
    const extension =
      ipOptions === 0 ? [] : [number, ipOptions / 8 - 1, 1, ipOptions - 4, ...new Array<number>(ipOptions - 4).fill(0)]
    ip = [
      0x60,
      0,
      0,
      0,
      ...u16(extension.length + segment.length),
      ipOptions === 0 ? number : 60,
      64,
      ...source,
      ...target,
      ...extension,
    ]
  }
  const ethernet = [
    ...[2, 0, 0, 0, 0, 1],
    ...[2, 0, 0, 0, 0, 2],
    ...Array.from({ length: tags }, (_, tag) => [0x81, 0, 0, tag + 1]).flat(),
    ...u16(version === 4 ? 0x0800 : 0x86dd),
  ]
  const at = ethernet.length + ip.length
  return { bytes: Uint8Array.from([...ethernet, ...ip, ...segment]), transport: at, checksum: at + field }
}

/** Put the sum of the pseudo header in the place of the checksum. */
export function makePartial({ bytes, transport, checksum }: ReturnType<typeof packet>, version: 4 | 6): void {
  const length = bytes.length - transport
  const addresses = version === 4 ? transport - 8 : -1
  const network = 14
  const pair =
    version === 4 ? [...bytes.subarray(addresses, transport)] : [...bytes.subarray(network + 8, network + 40)]
  const protocol = checksum - transport === 16 ? 6 : 17
  const sum = plainSum([...pair, ...u32(length), 0, 0, 0, protocol])
  bytes.set(u16(sum), checksum)
}
