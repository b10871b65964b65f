// Where guests may go: rules of addresses and ports, and the host's loopback, which is out of reach unless it is asked for.

import { SwitchError } from '../switch-error.ts'
import { type IpAddress, IpPrefix, isIpv4 } from './ip-address.ts'

interface Rule {
  readonly prefix: IpPrefix
  /** 0: all. */
  readonly port: number
}

/** Never a destination of a guest: this host (loopback, unspecified), and what is nobody's (multicast, broadcast, reserved). */
const UNREACHABLE: readonly IpPrefix[] = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  '::1/128',
  'ff00::/8',
].map((text) => IpPrefix.parse(text) as IpPrefix)
/** Addresses that contain one of IPv4: compatible, translated (RFC 6052), 6to4. */
const EMBEDDED: readonly (readonly [IpPrefix, at: number])[] = (
  [
    ['::/96', 12],
    ['::ffff:0:0:0/96', 12],
    ['64:ff9b::/96', 12],
    ['2002::/16', 2],
  ] as const
).map(([text, at]) => [IpPrefix.parse(text) as IpPrefix, at])

/** What guests may reach. */
export class Policy {
  readonly #allow: readonly Rule[] | undefined
  readonly #deny: readonly Rule[]

  /** @throws SwitchError `ERR_NETWORK_OPTIONS` for a rule that is none */
  constructor(allow: readonly string[] | undefined, deny: readonly string[]) {
    this.#allow = allow?.map(parseRule)
    this.#deny = deny.map(parseRule)
  }

  /** Whether a guest may send to an address and port of the outside; port 0 where there are none. */
  permits(address: IpAddress, port: number): boolean {
    if (UNREACHABLE.some((prefix) => prefix.contains(address))) return false
    const inner = embedded(address)
    if (inner !== undefined && !this.permits(inner, port)) return false
    const matches = (rule: Rule): boolean => (rule.port === 0 || rule.port === port) && rule.prefix.contains(address)
    if (this.#deny.some(matches)) return false
    return this.#allow === undefined || this.#allow.some(matches)
  }
}

function embedded(address: IpAddress): IpAddress | undefined {
  if (isIpv4(address)) return undefined
  for (const [prefix, at] of EMBEDDED) {
    if (!prefix.contains(address)) continue
    const inner = new Uint8Array(16)
    inner[10] = 0xff
    inner[11] = 0xff
    inner.set(address.subarray(at, at + 4), 12)
    return inner
  }
  return undefined
}

/** `10.0.0.0/8`, `192.0.2.1:443`, `fd00::/8`, `[fd00::/8]:22`. */
function parseRule(text: string): Rule {
  const match = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text) ?? /^(\d[\d./]*)(?::(\d{1,5}))?$/.exec(text) ?? [text, text]
  const prefix = IpPrefix.parse(match[1] ?? '')
  const port = match[2] === undefined ? 0 : Number(match[2])
  if (prefix !== undefined && port <= 65_535 && match[2] !== '0') return { prefix, port }
  throw new SwitchError('ERR_NETWORK_OPTIONS', `${text} is no destination`, {
    hint: 'Write 10.0.0.0/8, 192.0.2.1:443, fd00::/8 or [fd00::/8]:22.',
    data: { rule: text },
  })
}
