// DHCPv6 (RFC 8415): addresses for guests that ask for one, and the name server for those that made their own. Stateless but for the rule that gives an adapter its address.

import { getU16, putU16, putU32 } from '@partita/ethernet'
import { type IpAddress, sameAddress } from './ip-address.ts'
import type { Ipv6Addresses } from './nat-options.ts'

/** UDP ports. */
export const DHCP6_PORT = { SERVER: 547, CLIENT: 546 } as const
const MESSAGE = {
  SOLICIT: 1,
  ADVERTISE: 2,
  REQUEST: 3,
  CONFIRM: 4,
  RENEW: 5,
  REBIND: 6,
  REPLY: 7,
  RELEASE: 8,
  DECLINE: 9,
  INFORMATION_REQUEST: 11,
} as const
const OPTION = {
  CLIENT_ID: 1,
  SERVER_ID: 2,
  IA_NA: 3,
  IA_ADDRESS: 5,
  STATUS: 13,
  RAPID_COMMIT: 14,
  NAME_SERVERS: 23,
} as const
const STATUS = { SUCCESS: 0, NOT_ON_LINK: 4 } as const
const PREFERRED_SECONDS = 43_200
const VALID_SECONDS = 86_400
const MAXIMUM_CLIENT_ID = 130

/** The server. */
export class Dhcp6Server {
  readonly #addresses: Ipv6Addresses
  /** DUID-LL (RFC 8415, 11.4): Ethernet, the gateway's address. */
  readonly #duid: Uint8Array

  constructor(addresses: Ipv6Addresses, mac: Uint8Array) {
    this.#addresses = addresses
    this.#duid = Uint8Array.from([0, 3, 0, 1, ...mac])
  }

  /** A message in `[start, end)` of the client with the MAC address `mac`. Returns the length of the answer, written to `target` at `at`; 0 for none. */
  receive(bytes: Uint8Array, start: number, end: number, mac: number, target: Uint8Array, at: number): number {
    if (end - start < 4) return 0
    const type = bytes[start] as number
    const options = parseOptions(bytes, start + 4, end)
    if (options === undefined) return 0
    const { clientId, serverId, iaid } = options
    if (clientId !== undefined && clientId.length > MAXIMUM_CLIENT_ID) return 0
    if (serverId !== undefined && !sameBytes(serverId, this.#duid)) return 0
    const answers =
      type === MESSAGE.SOLICIT ||
      type === MESSAGE.CONFIRM ||
      type === MESSAGE.REBIND ||
      type === MESSAGE.INFORMATION_REQUEST
        ? true
        : (type === MESSAGE.REQUEST ||
            type === MESSAGE.RENEW ||
            type === MESSAGE.RELEASE ||
            type === MESSAGE.DECLINE) &&
          serverId !== undefined
    // These go to all servers (RFC 8415, 16.2, 16.5, 16.7).
    const toAll = type === MESSAGE.SOLICIT || type === MESSAGE.CONFIRM || type === MESSAGE.REBIND
    if (toAll && serverId !== undefined) return 0
    // Without an address there is nothing to say of it (18.3.3).
    if (type === MESSAGE.CONFIRM && options.addresses.length === 0) return 0
    if (!answers || (clientId === undefined && type !== MESSAGE.INFORMATION_REQUEST)) return 0
    let place = at
    const option = (code: number, size: number): number => {
      putU16(target, place, code)
      putU16(target, place + 2, size)
      place += 4 + size
      return place - size
    }
    target[place] = type === MESSAGE.SOLICIT && !options.rapidCommit ? MESSAGE.ADVERTISE : MESSAGE.REPLY
    target.set(bytes.subarray(start + 1, start + 4), place + 1)
    place += 4
    if (clientId !== undefined) target.set(clientId, option(OPTION.CLIENT_ID, clientId.length))
    target.set(this.#duid, option(OPTION.SERVER_ID, this.#duid.length))
    if (type === MESSAGE.SOLICIT && options.rapidCommit) option(OPTION.RAPID_COMMIT, 0)
    if (type === MESSAGE.RELEASE || type === MESSAGE.DECLINE || type === MESSAGE.CONFIRM) {
      // Addresses are not kept account of; but those of another network are of no use here.
      const foreign = options.addresses.some((address) => !this.#addresses.subnet.contains(address))
      const status = type === MESSAGE.CONFIRM && foreign ? STATUS.NOT_ON_LINK : STATUS.SUCCESS
      putU16(target, option(OPTION.STATUS, 2), status)
    } else if (iaid !== undefined && type !== MESSAGE.INFORMATION_REQUEST) {
      const association = option(OPTION.IA_NA, 12 + 28)
      target.set(iaid, association)
      putU32(target, association + 4, PREFERRED_SECONDS / 2)
      putU32(target, association + 8, PREFERRED_SECONDS)
      putU16(target, association + 12, OPTION.IA_ADDRESS)
      putU16(target, association + 14, 24)
      target.set(this.addressOf(mac), association + 16)
      putU32(target, association + 32, PREFERRED_SECONDS)
      putU32(target, association + 36, VALID_SECONDS)
    }
    target.set(this.#addresses.nameServer, option(OPTION.NAME_SERVERS, 16))
    return place - at
  }

  /** The address of an adapter: the prefix, then 1 and its MAC address. */
  addressOf(mac: number): IpAddress {
    const address = this.#addresses.subnet.address.slice()
    address[9] = 1
    for (let i = 0; i < 6; i++) address[15 - i] = Math.floor(mac / 2 ** (8 * i)) & 0xff
    return sameAddress(address, this.#addresses.gateway) ? address.fill(0xff, 8, 9) : address
  }
}

interface Options {
  clientId?: Uint8Array
  serverId?: Uint8Array
  /** The first IA_NA's id. */
  iaid?: Uint8Array
  rapidCommit: boolean
  /** Addresses in all IA_NAs. */
  readonly addresses: Uint8Array[]
}

function parseOptions(bytes: Uint8Array, start: number, end: number): Options | undefined {
  const options: Options = { rapidCommit: false, addresses: [] }
  for (let at = start; at < end; ) {
    if (at + 4 > end) return undefined
    const code = getU16(bytes, at)
    const length = getU16(bytes, at + 2)
    const value = at + 4
    if (value + length > end) return undefined
    if (code === OPTION.CLIENT_ID) options.clientId ??= bytes.subarray(value, value + length)
    else if (code === OPTION.SERVER_ID) options.serverId ??= bytes.subarray(value, value + length)
    else if (code === OPTION.IA_NA && length >= 12) {
      options.iaid ??= bytes.subarray(value, value + 4)
      takeAddresses(bytes, value + 12, value + length, options.addresses)
    } else if (code === OPTION.RAPID_COMMIT) options.rapidCommit = true
    at = value + length
  }
  return options
}

/** The addresses of an IA_NA, whose options are in `[start, end)`. */
function takeAddresses(bytes: Uint8Array, start: number, end: number, addresses: Uint8Array[]): void {
  for (let at = start; at + 4 <= end; at += 4 + getU16(bytes, at + 2)) {
    const length = getU16(bytes, at + 2)
    if (getU16(bytes, at) === OPTION.IA_ADDRESS && length >= 24 && at + 4 + length <= end)
      addresses.push(bytes.subarray(at + 4, at + 20))
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
