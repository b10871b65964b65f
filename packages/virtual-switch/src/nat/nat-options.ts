// The settings of a user-mode NAT, as a configuration has them, and as its parts use them.

import * as v from 'valibot'
import { SwitchError } from '../switch-error.ts'
import { formatIpAddress, type IpAddress, IpPrefix, isIpv4, parseIpAddress, sameAddress } from './ip-address.ts'

/** A port of the host that leads into the network. */
export interface PortForward {
  /** What is forwarded: TCP connections, or UDP datagrams. */
  readonly protocol: 'tcp' | 'udp'
  /** Address of the host to listen at. Default: 127.0.0.1. */
  readonly hostAddress: string
  /** Port of the host, 1–65,535. */
  readonly hostPort: number
  /** An IPv4 address of the network, not the gateway's. Default: the address that the first guest gets. */
  readonly guestAddress?: string | undefined
  /** Port of the guest, 1–65,535. */
  readonly guestPort: number
}

/** Options of the NAT. */
export interface NatOptions {
  /** IPv4 network of the guests, at most 24 bits of prefix. Default: `10.0.2.0/24`: the gateway is .2, the name server .3, guests begin at .15. */
  readonly subnet: string
  /** IPv6 prefix of 64 bits, or false for no IPv6. Default: `fd50:6172:7469::/64`. */
  readonly subnet6: string | false
  /** Name servers, `address`, `address:port` or `[address]:port`. Default: the host's. */
  readonly nameServers?: readonly string[] | undefined
  /** Destinations that guests may reach: `10.0.0.0/8`, `192.0.2.1:443`, `[fd00::/8]:22`; names are among them, `10.0.2.3:53`. Default: all that is not denied. */
  readonly allow?: readonly string[] | undefined
  /** Destinations that guests may not reach; it counts before `allow`. */
  readonly deny: readonly string[]
  /** Whether the host is within reach: its loopback as the gateway's address, and the addresses of its interfaces. Default: false. */
  readonly hostLoopback: boolean
  /** Ports of the host that lead into the network. Default: none. */
  readonly forwards: readonly PortForward[]
  /** TCP connections at a time. Default: 4,096. */
  readonly maximumConnections: number
  /** UDP sockets at a time. Default: 1,024. */
  readonly maximumUdpSockets: number
  /** Bytes of memory for data on its way, half for each direction; at least 1 MiB. Default: 64 MiB. */
  readonly maximumHeldBytes: number
}

const text = v.pipe(v.string(), v.nonEmpty())
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535))
const address = v.pipe(
  text,
  v.check((value) => parseIpAddress(value) !== undefined, 'expected an IP address'),
)

/** The schema of {@link NatOptions}; `entries` are the schemas of the single options. */
export const natOptionsSchema: v.GenericSchema<unknown, NatOptions> & { readonly entries: v.ObjectEntries } =
  v.strictObject({
    subnet: v.optional(
      v.pipe(
        text,
        v.check(
          (value) => parseSubnet(value) !== undefined,
          'expected an IPv4 network of 8 to 24 bits, such as 10.0.2.0/24',
        ),
      ),
      '10.0.2.0/24',
    ),
    subnet6: v.optional(
      v.union([
        v.literal(false),
        v.pipe(
          text,
          v.check((value) => IpPrefix.parse(value)?.length === 64, 'expected an IPv6 prefix of 64 bits'),
        ),
      ]),
      'fd50:6172:7469::/64',
    ),
    nameServers: v.optional(v.array(text)),
    allow: v.optional(v.array(text)),
    deny: v.optional(v.array(text), []),
    hostLoopback: v.optional(v.boolean(), false),
    forwards: v.optional(
      v.array(
        v.strictObject({
          protocol: v.optional(v.picklist(['tcp', 'udp']), 'tcp'),
          hostAddress: v.optional(address, '127.0.0.1'),
          hostPort: port,
          guestAddress: v.optional(address),
          guestPort: port,
        }),
      ),
      [],
    ),
    maximumConnections: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_536)), 4096),
    maximumUdpSockets: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_536)), 1024),
    maximumHeldBytes: v.optional(
      v.pipe(v.number(), v.integer(), v.minValue(2 ** 20), v.maxValue(2 ** 40)),
      64 * 2 ** 20,
    ),
  })

/** A name server, for the host: `192.0.2.53`, `192.0.2.53:5353`, `fd00::53`, `[fd00::53]:5353`; `undefined` when it is none. The address is written as the host writes it when an answer comes. */
export function parseNameServer(value: string): { readonly address: string; readonly port: number } | undefined {
  const match = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(value) ?? /^([^:]+)(?::(\d{1,5}))?$/.exec(value) ?? [value, value]
  const [, text = '', number = '53'] = match
  const found = Number(number)
  const address = parseIpAddress(text)
  if (address === undefined || found < 1 || found > 65_535) return undefined
  const [, zone = ''] = /(%.*)$/.exec(text) ?? []
  return { address: formatIpAddress(address) + zone, port: found }
}

/**
 * What the schema cannot see: whether there are such name servers and guests.
 * @throws SwitchError `ERR_NETWORK_OPTIONS`
 */
export function checkNatOptions({ nameServers = [], forwards }: NatOptions, addresses: NatAddresses): void {
  for (const server of nameServers) {
    if (parseNameServer(server) !== undefined) continue
    throw new SwitchError('ERR_NETWORK_OPTIONS', `${server} is no name server`, {
      hint: 'Write 192.0.2.53, 192.0.2.53:5353, fd00::53 or [fd00::53]:5353.',
      data: { nameServer: server },
    })
  }
  for (const { guestAddress } of forwards) {
    if (guestAddress === undefined || isGuest(parseIpAddress(guestAddress), addresses)) continue
    throw new SwitchError('ERR_NETWORK_OPTIONS', `${guestAddress} is not the address of a guest`, {
      hint: 'Ports are forwarded to IPv4 addresses of guests in the network of the NAT.',
      data: { guestAddress },
    })
  }
}

function isGuest(address: IpAddress | undefined, { subnet, gateway, nameServer, broadcast }: NatAddresses): boolean {
  return (
    address !== undefined &&
    subnet.contains(address) &&
    ![gateway, nameServer, broadcast, subnet.address].some((taken) => sameAddress(taken, address))
  )
}

function parseSubnet(value: string): IpPrefix | undefined {
  const prefix = IpPrefix.parse(value)
  if (prefix === undefined || !isIpv4(prefix.address)) return undefined
  return prefix.length >= 96 + 8 && prefix.length <= 96 + 24 ? prefix : undefined
}

/** The addresses of a NAT's network. */
export interface NatAddresses {
  readonly subnet: IpPrefix
  readonly mask: IpAddress
  readonly gateway: IpAddress
  readonly nameServer: IpAddress
  /** The first that a guest gets; the others follow in the last byte. */
  readonly firstGuest: IpAddress
  readonly broadcast: IpAddress
  readonly ipv6: Ipv6Addresses | undefined
}

/** The addresses of IPv6. */
export interface Ipv6Addresses {
  readonly subnet: IpPrefix
  readonly gateway: IpAddress
  readonly gatewayLinkLocal: IpAddress
  readonly nameServer: IpAddress
}

/** The last byte of the first guest's address. */
export const FIRST_GUEST = 15
const LINK_LOCAL_GATEWAY = 'fe80::2'

function withLastByte(address: IpAddress, last: number): IpAddress {
  const result = address.slice()
  result[15] = last
  return result
}

/** @throws SwitchError `ERR_NETWORK_OPTIONS` */
export function natAddresses(options: Pick<NatOptions, 'subnet' | 'subnet6'>): NatAddresses {
  const subnet = parseSubnet(options.subnet)
  const subnet6 = options.subnet6 === false ? undefined : IpPrefix.parse(options.subnet6)
  if (subnet === undefined || (options.subnet6 !== false && subnet6?.length !== 64)) {
    throw new SwitchError('ERR_NETWORK_OPTIONS', 'the NAT has no network', {
      data: { subnet: options.subnet, subnet6: options.subnet6 },
    })
  }
  const bits = subnet.length - 96
  const mask = subnet.address.slice()
  const network = subnet.address.slice()
  const broadcast = subnet.address.slice()
  for (let i = 0; i < 4; i++) {
    const ones = Math.max(0, Math.min(8, bits - 8 * i))
    const byte = (0xff00 >> ones) & 0xff
    mask[12 + i] = byte
    network[12 + i] = (network[12 + i] ?? 0) & byte
    broadcast[12 + i] = (network[12 + i] ?? 0) | (~byte & 0xff)
  }
  const linkLocal = parseIpAddress(LINK_LOCAL_GATEWAY)
  return {
    subnet: new IpPrefix(network, subnet.length),
    mask,
    gateway: withLastByte(network, 2),
    nameServer: withLastByte(network, 3),
    firstGuest: withLastByte(network, FIRST_GUEST),
    broadcast,
    ipv6: subnet6 &&
      linkLocal && {
        subnet: subnet6,
        gateway: withLastByte(subnet6.address, 2),
        gatewayLinkLocal: linkLocal,
        nameServer: withLastByte(subnet6.address, 3),
      },
  }
}
