// Where a guest may come out, worked out once more: by Node's lists of addresses and by rules as data, and by nothing of the NAT's own. The fuzzer holds each connection, datagram and echo that
// reaches the host against it.

import { BlockList, isIPv6 } from 'node:net'

/** A rule, as an option has it and as data. */
interface Rule {
  readonly text: string
  readonly family: 'ipv4' | 'ipv6'
  readonly net: string
  readonly bits: number
  readonly port?: number
  /** It is about the gateway's own addresses. */
  readonly inside?: boolean
}

const NAMES: Rule = { text: '10.0.2.3:53', family: 'ipv4', net: '10.0.2.3', bits: 32, port: 53, inside: true }
const DOCUMENTATION6: Rule = { text: '2001:db8::/32', family: 'ipv6', net: '2001:db8::', bits: 32 }

const ALLOWED: readonly (readonly Rule[] | undefined)[] = [
  undefined,
  [{ text: '192.0.2.0/29', family: 'ipv4', net: '192.0.2.0', bits: 29 }, DOCUMENTATION6],
  [{ text: '192.0.2.7:80', family: 'ipv4', net: '192.0.2.7', bits: 32, port: 80 }, NAMES],
  [{ text: '[fd50:6172:7469::2]:80', family: 'ipv6', net: 'fd50:6172:7469::2', bits: 128, port: 80, inside: true }],
]
const DENIED: readonly (readonly Rule[])[] = [
  [],
  [{ text: '192.0.2.7', family: 'ipv4', net: '192.0.2.7', bits: 32 }],
  [
    { text: '192.0.2.53', family: 'ipv4', net: '192.0.2.53', bits: 32 },
    { text: '[2001:db8::7]:80', family: 'ipv6', net: '2001:db8::7', bits: 128, port: 80 },
    { text: '127.0.0.1:81', family: 'ipv4', net: '127.0.0.1', bits: 32, port: 81 },
  ],
  [
    { text: '10.0.0.0/8', family: 'ipv4', net: '10.0.0.0', bits: 8 },
    { text: '10.0.2.2:80', family: 'ipv4', net: '10.0.2.2', bits: 32, port: 80, inside: true },
  ],
]
const SERVERS: readonly (readonly string[])[] = [
  ['192.0.2.53', '192.0.2.54:5353'],
  ['192.0.2.53', '[2001:db8::53]:5353', '127.0.0.53'],
]
/** Addresses of the host's interfaces. */
export const INTERFACES: readonly string[] = ['127.0.0.1', '192.0.2.100', '2001:db8::100']

function listOf(ranges: readonly (readonly [net: string, bits: number])[]): BlockList {
  const list = new BlockList()
  for (const [net, bits] of ranges) list.addSubnet(net, bits, isIPv6(net) ? 'ipv6' : 'ipv4')
  return list
}

/** Nobody's, this host's loopback, a link's, a group's, or a guest's. */
const NEVER = listOf([
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 3],
  ['10.0.2.0', 24],
  ['::', 127],
  ['fe80::', 10],
  ['ff00::', 8],
  ['fd50:6172:7469::', 64],
])
const HOST = listOf(INTERFACES.map((address) => [address, isIPv6(address) ? 128 : 32] as const))

/** The address of IPv4 in one of 6to4, and in those of prefixes of 96 bits. */
function inner(address: string): string | undefined {
  const [head = '', tail] = address.split('::')
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const all = [...front, ...new Array(8 - front.length - back.length).fill(0), ...back]
  const start = all.slice(0, 6).join(' ')
  const ipv4 = ['0 0 0 0 0 0', '0 0 0 0 65535 0', '100 65435 0 0 0 0'].includes(start)
    ? all.slice(6)
    : all[0] === 0x2002
      ? all.slice(1, 3)
      : undefined
  return ipv4?.flatMap((group) => [group >> 8, group & 255]).join('.')
}

function has(rules: readonly Rule[], address: string, port: number, inside: boolean): boolean {
  return rules.some((rule) => {
    if ((rule.inside === true) !== inside || (rule.port !== undefined && rule.port !== port)) return false
    return listOf([[rule.net, rule.bits]]).check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
  })
}

/** The settings of an input, and what follows from them. */
export class Destinations {
  readonly options: Readonly<Record<string, unknown>>
  /** What came out so far, in words. */
  readonly ways: Set<string> = new Set()
  /** The first that must not have. */
  problem: string | undefined
  readonly #hostLoopback: boolean
  readonly #allow: readonly Rule[] | undefined
  readonly #deny: readonly Rule[]
  readonly #servers: ReadonlySet<string>

  /** Of the byte's bits, 0 is the loopback, 1–2 are `allow`, 3–4 `deny`, 5 the name servers. */
  constructor(byte: number) {
    this.#hostLoopback = (byte & 1) === 0
    this.#allow = ALLOWED[(byte >> 1) & 3]
    this.#deny = DENIED[(byte >> 3) & 3] ?? []
    const servers = SERVERS[(byte >> 5) & 1] ?? []
    this.#servers = new Set(
      servers.map((text) =>
        text.includes(']') ? text.replace(/[[\]]/g, '') : text.includes(':') ? text : `${text}:53`,
      ),
    )
    this.options = {
      hostLoopback: this.#hostLoopback,
      nameServers: servers,
      deny: this.#deny.map(({ text }) => text),
      ...(this.#allow && { allow: this.#allow.map(({ text }) => text) }),
    }
  }

  /** Something reaches the host. */
  see(kind: 'tcp' | 'udp' | 'echo', address: string, port: number): void {
    const way = this.#way(kind, address, port)
    this.ways.add(
      `out: ${kind} ${way}${this.#allow === undefined ? '' : ', allowed'}${this.#deny.length === 0 ? '' : ', not denied'}`,
    )
    if (way === undefined) this.problem ??= `${kind} to ${address} ${port} with ${JSON.stringify(this.options)}`
  }

  #way(kind: string, address: string, port: number): string | undefined {
    const ipv6 = isIPv6(address)
    if (kind !== 'echo') {
      if (this.#servers.has(`${address}:${port}`) && this.#passes(address, port, ['10.0.2.3', 'fd50:6172:7469::3'], 53))
        return 'name'
      if (
        this.#hostLoopback &&
        (address === '127.0.0.1' || address === '::1') &&
        this.#passes(address, port, ['10.0.2.2', 'fd50:6172:7469::2'], port)
      )
        return 'loopback'
    }
    return this.#outside(address, port) ? `direct ${ipv6 ? 6 : 4}` : undefined
  }

  #passes(address: string, port: number, names: readonly string[], named: number): boolean {
    const matches = (rules: readonly Rule[]): boolean =>
      has(rules, address, port, false) || names.some((name) => has(rules, name, named, true))
    return !matches(this.#deny) && (this.#allow === undefined || matches(this.#allow))
  }

  #outside(address: string, port: number): boolean {
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    if (NEVER.check(address, family) || (!this.#hostLoopback && HOST.check(address, family))) return false
    const ipv4 = family === 'ipv6' ? inner(address) : undefined
    if (ipv4 !== undefined && !this.#outside(ipv4, port)) return false
    return (
      !has(this.#deny, address, port, false) && (this.#allow === undefined || has(this.#allow, address, port, false))
    )
  }
}
