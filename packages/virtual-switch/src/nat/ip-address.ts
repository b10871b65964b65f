// IP addresses as 16 bytes, those of IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2), so that one kind of key serves both; as text; and prefixes of them.

/** Sixteen bytes. */
export type IpAddress = Uint8Array

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] as const
const IPV4_TEXT = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/

/** Whether it is an IPv4 address. */
export function isIpv4(address: IpAddress): boolean {
  for (let i = 0; i < 10; i++) if (address[i] !== 0) return false
  return address[10] === 0xff && address[11] === 0xff
}

/** Whether it stands for many: multicast, or IPv4's broadcast. Nobody answers what is sent to it (RFC 1122, 3.2.2; RFC 9293, 3.9.2.3). */
export function isGroup(address: IpAddress): boolean {
  if (!isIpv4(address)) return address[0] === 0xff
  const first = address[12] as number
  return first >>> 4 === 0xe || (first === 0xff && address[13] === 0xff && address[14] === 0xff && address[15] === 0xff)
}

/** The address in a text such as `10.0.2.15` or `fd00::1`; `undefined` when it is none. */
export function parseIpAddress(text: string): IpAddress | undefined {
  const ipv4 = IPV4_TEXT.exec(text)
  if (ipv4 !== null) {
    const parts = ipv4.slice(1).map(Number)
    return parts.every((part) => part <= 255) ? Uint8Array.from([...MAPPED_PREFIX, ...parts]) : undefined
  }
  return text.includes(':') ? parseIpv6(text) : undefined
}

function parseIpv6(text: string): IpAddress | undefined {
  const [plain = ''] = text.split('%')
  const halves = plain.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map(parseGroups)
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined
  const missing = 16 - head.length - (tail?.length ?? 0)
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined
  return Uint8Array.from([...head, ...new Array(missing).fill(0), ...(tail ?? [])])
}

/** The bytes of groups between colons, the last of which may be an IPv4 address. */
function parseGroups(text: string): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [index, group] of groups.entries()) {
    const ipv4 = index === groups.length - 1 ? IPV4_TEXT.exec(group) : null
    if (ipv4 !== null) bytes.push(...ipv4.slice(1).map(Number))
    else if (/^[0-9a-f]{1,4}$/i.test(group))
      bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff)
    else return undefined
  }
  return bytes.every((byte) => byte <= 255) ? bytes : undefined
}

/** The address as text: `10.0.2.15`, `fd00::1` (RFC 5952). */
export function formatIpAddress(address: IpAddress): string {
  if (isIpv4(address)) return address.subarray(12, 16).join('.')
  const groups = Array.from({ length: 8 }, (_, i) => ((address[2 * i] ?? 0) << 8) | (address[2 * i + 1] ?? 0))
  let best = { at: -1, length: 1 }
  for (let at = 0; at < 8; at++) {
    let length = 0
    while (at + length < 8 && groups[at + length] === 0) length++
    if (length > best.length) best = { at, length }
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':')
  if (best.at < 0) return text(groups)
  return `${text(groups.slice(0, best.at))}::${text(groups.slice(best.at + best.length))}`
}

/** Whether two addresses are the same. */
export function sameAddress(a: IpAddress, b: IpAddress): boolean {
  for (let i = 0; i < 16; i++) if (a[i] !== b[i]) return false
  return true
}

/** Copy the address of a packet of IP version 4 or 6 at `at` to `target`. */
export function readIpAddress(bytes: Uint8Array, at: number, version: 4 | 6, target: IpAddress): void {
  if (version === 6) {
    for (let i = 0; i < 16; i++) target[i] = bytes[at + i] ?? 0
    return
  }
  for (let i = 0; i < 12; i++) target[i] = MAPPED_PREFIX[i] ?? 0
  for (let i = 0; i < 4; i++) target[12 + i] = bytes[at + i] ?? 0
}

/** Store an address at `at`, as its version has it: 4 or 16 bytes. */
export function writeIpAddress(bytes: Uint8Array, at: number, address: IpAddress): void {
  if (isIpv4(address)) for (let i = 0; i < 4; i++) bytes[at + i] = address[12 + i] ?? 0
  else bytes.set(address, at)
}

/** All addresses that begin with the same bits. */
export class IpPrefix {
  readonly address: IpAddress
  /** Bits of the 128 that count. */
  readonly length: number

  constructor(address: IpAddress, length: number) {
    this.address = address
    this.length = length
  }

  /** `10.0.0.0/8`, `fd00::/64`, or one address; `undefined` when it is none of them. */
  static parse(text: string): IpPrefix | undefined {
    const [first = '', bits, more] = text.split('/')
    const address = parseIpAddress(first)
    if (address === undefined || more !== undefined) return undefined
    const full = isIpv4(address) && !first.includes(':') ? 32 : 128
    if (bits === undefined) return new IpPrefix(address, 128)
    const length = /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN
    return length <= full ? new IpPrefix(address, 128 - full + length) : undefined
  }

  contains(address: IpAddress): boolean {
    const whole = this.length >> 3
    for (let i = 0; i < whole; i++) if (address[i] !== this.address[i]) return false
    const rest = this.length & 7
    if (rest === 0) return true
    const mask = 0xff00 >> rest
    return (((address[whole] ?? 0) ^ (this.address[whole] ?? 0)) & mask & 0xff) === 0
  }
}
