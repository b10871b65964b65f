// Where guests may go: rules of addresses and ports, and the host itself (its loopback, and the addresses of its interfaces), which is out of reach unless it is asked for.

import { SwitchError } from '../switch-error.ts'
import { type IpAddress, IpPrefix, isIpv4 } from './ip-address.ts'

interface Rule {
  readonly prefix: IpPrefix
  /** 0: all. */
  readonly port: number
  /** It lies in the network of the NAT, and is about the gateway's own addresses. */
  readonly inside: boolean
}

/**
 * Never a destination of a guest: this host (loopback, unspecified), what no router passes on (addresses of a link, RFC 3927, 2.7, and RFC 4291, 2.5.6: where clouds have their hosts' credentials), and
 * what is nobody's (multicast, broadcast, reserved).
 */
const UNREACHABLE: readonly IpPrefix[] = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  '::1/128',
  'fe80::/10',
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

/** What a policy is made of. */
export interface PolicyRules {
  readonly allow?: readonly string[] | undefined
  readonly deny: readonly string[]
  /** The networks of the NAT. */
  readonly networks: readonly IpPrefix[]
  /** Whether an address is one of the host's interfaces', and the host is out of reach. */
  readonly isHost?: ((address: IpAddress) => boolean) | undefined
}

/** What guests may reach. */
export class Policy {
  readonly #allow: readonly Rule[] | undefined
  readonly #deny: readonly Rule[]
  readonly #unreachable: readonly IpPrefix[]
  readonly #isHost: ((address: IpAddress) => boolean) | undefined

  /** @throws SwitchError `ERR_NETWORK_OPTIONS` for a rule that is none */
  constructor({ allow, deny, networks, isHost }: PolicyRules) {
    this.#allow = allow?.map((text) => parseRule(text, networks))
    this.#deny = deny.map((text) => parseRule(text, networks))
    // Guests reach each other without the gateway.
    this.#unreachable = [...UNREACHABLE, ...networks]
    this.#isHost = isHost
  }

  /** Whether a guest may send to an address and port of the outside; port 0 where there are none. */
  permits(address: IpAddress, port: number): boolean {
    if (this.#unreachable.some((prefix) => prefix.contains(address)) || this.#isHost?.(address) === true) return false
    const inner = embedded(address)
    if (inner !== undefined && !this.permits(inner, port)) return false
    const matches = (rule: Rule): boolean => matchesRule(rule, address, port)
    return !this.#deny.some(matches) && (this.#allow === undefined || this.#allow.some(matches))
  }

  /**
   * Whether a guest may reach at `port` of the gateway's what that stands for: a name server, or the host's loopback. Rules name it by its own address, or by one of the gateway's (`names`); a rule that
   * has these among many others is not about it.
   */
  permitsBehindGateway(names: readonly IpAddress[], port: number, target: IpAddress, targetPort: number): boolean {
    const matches = (rule: Rule): boolean =>
      (rule.inside && names.some((name) => matchesRule(rule, name, port))) || matchesRule(rule, target, targetPort)
    return !this.#deny.some(matches) && (this.#allow === undefined || this.#allow.some(matches))
  }
}

function matchesRule(rule: Rule, address: IpAddress, port: number): boolean {
  return (rule.port === 0 || rule.port === port) && rule.prefix.contains(address)
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
function parseRule(text: string, networks: readonly IpPrefix[]): Rule {
  const match = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text) ?? /^(\d[\d./]*)(?::(\d{1,5}))?$/.exec(text) ?? [text, text]
  const prefix = IpPrefix.parse(match[1] ?? '')
  const port = match[2] === undefined ? 0 : Number(match[2])
  if (prefix !== undefined && port <= 65_535 && match[2] !== '0') {
    const inside = networks.some((network) => prefix.length >= network.length && network.contains(prefix.address))
    return { prefix, port, inside }
  }
  throw new SwitchError('ERR_NETWORK_OPTIONS', `${text} is no destination`, {
    hint: 'Write 10.0.0.0/8, 192.0.2.1:443, fd00::/8 or [fd00::/8]:22.',
    data: { rule: text },
  })
}
