// DHCP for IPv4 (RFC 2131, options of RFC 2132): each guest adapter has an address of its own, always the same while the gateway lives.

import { getU16, getU32, putU16, putU32, readMacAddress } from '@partita/ethernet'
import type { Clock } from '@partita/interface'
import { type IpAddress, writeIpAddress } from './ip-address.ts'
import { FIRST_GUEST, type NatAddresses } from './nat-options.ts'

/** UDP ports. */
export const DHCP_PORT = { SERVER: 67, CLIENT: 68 } as const
const OP = { REQUEST: 1, REPLY: 2 } as const
const MESSAGE = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const
const OPTION = {
  PAD: 0,
  SUBNET_MASK: 1,
  ROUTER: 3,
  NAME_SERVER: 6,
  MTU: 26,
  BROADCAST: 28,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  MESSAGE_TYPE: 53,
  SERVER_ID: 54,
  END: 255,
} as const
const MAGIC = 0x6382_5363
const OPTIONS = 240
const BROADCAST_FLAG = 0x8000
const LEASE_SECONDS = 86_400
/** How long an address that somebody else was found to have is offered to nobody (RFC 2131, 4.3.3), nanoseconds. */
const DECLINED_TIME = 3600e9
/** The last bytes that guests get: up to .254. */
const LAST_GUEST = 254

/** An answer of the server. */
export interface DhcpAnswer {
  /** Bytes of the message, at where it was written. */
  readonly length: number
  /** Where it goes: to the address that the guest gets, or to all. */
  readonly broadcast: boolean
  readonly address: IpAddress
}

/** The server, and who has which address. */
export class DhcpServer {
  readonly #addresses: NatAddresses
  /** Last bytes of addresses, by MAC address. The one that was used first goes when there are too many. */
  readonly #leases: Map<number, number> = new Map()
  /** Last bytes of addresses that were declined, and until when they are offered to nobody. */
  readonly #declined: Map<number, number> = new Map()
  readonly #clock: Pick<Clock, 'now'>

  constructor(addresses: NatAddresses, clock: Pick<Clock, 'now'>) {
    this.#addresses = addresses
    this.#clock = clock
  }

  /** The address of the guest that came first and is still there, or the one that the first will get. */
  get firstGuest(): IpAddress {
    const [first] = this.#leases.values()
    return this.#address(first ?? FIRST_GUEST)
  }

  #address(last: number): IpAddress {
    const address = this.#addresses.firstGuest.slice()
    address[15] = last
    return address
  }

  /**
   * A message of a client, `bytes` from `start` to `end`. The answer is written to `target` at `at`; `undefined` when there is none.
   */
  receive(
    bytes: Uint8Array,
    start: number,
    end: number,
    mtu: number,
    target: Uint8Array,
    at: number,
  ): DhcpAnswer | undefined {
    if (end - start < OPTIONS || bytes[start] !== OP.REQUEST || bytes[start + 2] !== 6) return undefined
    if (getU32(bytes, start + 236) !== MAGIC) return undefined
    const typeAt = findOption(bytes, start, end, OPTION.MESSAGE_TYPE, 1)
    // Without a type it is a message of BOOTP.
    if (typeAt === 0) return undefined
    const type = bytes[typeAt]
    const client = readMacAddress(bytes, start + 28)
    if (type === MESSAGE.RELEASE || type === MESSAGE.DECLINE) {
      const lease = this.#leases.get(client)
      if (type === MESSAGE.DECLINE && lease !== undefined) this.#declined.set(lease, this.#clock.now() + DECLINED_TIME)
      this.#leases.delete(client)
      return undefined
    }
    if (type !== MESSAGE.DISCOVER && type !== MESSAGE.REQUEST && type !== MESSAGE.INFORM) return undefined
    const server = findOption(bytes, start, end, OPTION.SERVER_ID, 4)
    if (server > 0 && !isAddress(bytes, server, this.#addresses.gateway)) {
      this.#leases.delete(client)
      return undefined
    }
    const own = this.#address(this.#lease(client))
    const asked = this.#requested(bytes, start, end)
    const refused = type === MESSAGE.REQUEST && asked > 0 && !isAddress(bytes, asked, own)
    const inform = type === MESSAGE.INFORM
    const answer = refused ? MESSAGE.NAK : type === MESSAGE.DISCOVER ? MESSAGE.OFFER : MESSAGE.ACK
    const length = this.#write(bytes, start, answer, refused || inform ? undefined : own, mtu, target, at)
    const broadcast = refused || (getU16(bytes, start + 10) & BROADCAST_FLAG) !== 0
    return { length, broadcast, address: inform ? bytesOf(bytes, start + 12) : own }
  }

  /** Where the address is that a client asks for or says that it has; 0 for none. */
  #requested(bytes: Uint8Array, start: number, end: number): number {
    const option = findOption(bytes, start, end, OPTION.REQUESTED_ADDRESS, 4)
    if (option > 0) return option
    return getU32(bytes, start + 12) === 0 ? 0 : start + 12
  }

  #lease(client: number): number {
    const known = this.#leases.get(client)
    if (known !== undefined) return known
    const taken = new Set(this.#leases.values())
    const now = this.#clock.now()
    for (const [last, until] of this.#declined) {
      if (until > now) taken.add(last)
      else this.#declined.delete(last)
    }
    for (let last = FIRST_GUEST; last <= LAST_GUEST; last++) {
      if (taken.has(last) || last === this.#addresses.broadcast[15]) continue
      this.#leases.set(client, last)
      return last
    }
    // All are somebody's: the guest that came first has perhaps gone. Where no guest has one, all were declined.
    const [oldest] = this.#leases.entries()
    const [declined = FIRST_GUEST] = this.#declined.keys()
    const last = oldest?.[1] ?? declined
    if (oldest !== undefined) this.#leases.delete(oldest[0])
    this.#declined.delete(last)
    this.#leases.set(client, last)
    return last
  }

  #write(
    request: Uint8Array,
    start: number,
    type: number,
    address: IpAddress | undefined,
    mtu: number,
    target: Uint8Array,
    at: number,
  ): number {
    const { gateway, mask, nameServer, broadcast } = this.#addresses
    target.fill(0, at, at + OPTIONS)
    target[at] = OP.REPLY
    target.set(request.subarray(start + 1, start + 3), at + 1)
    // Transaction, flags, relay agent and hardware address are the client's.
    target.set(request.subarray(start + 4, start + 8), at + 4)
    target.set(request.subarray(start + 10, start + 12), at + 10)
    if (type === MESSAGE.ACK) target.set(request.subarray(start + 12, start + 16), at + 12)
    if (address !== undefined) writeIpAddress(target, at + 16, address)
    writeIpAddress(target, at + 20, gateway)
    target.set(request.subarray(start + 24, start + 44), at + 24)
    putU32(target, at + 236, MAGIC)
    let place = at + OPTIONS
    const option = (code: number, size: number): number => {
      target[place] = code
      target[place + 1] = size
      place += 2 + size
      return place - size
    }
    target[option(OPTION.MESSAGE_TYPE, 1)] = type
    writeIpAddress(target, option(OPTION.SERVER_ID, 4), gateway)
    if (type !== MESSAGE.NAK) {
      if (address !== undefined) putU32(target, option(OPTION.LEASE_TIME, 4), LEASE_SECONDS)
      writeIpAddress(target, option(OPTION.SUBNET_MASK, 4), mask)
      writeIpAddress(target, option(OPTION.BROADCAST, 4), broadcast)
      writeIpAddress(target, option(OPTION.ROUTER, 4), gateway)
      writeIpAddress(target, option(OPTION.NAME_SERVER, 4), nameServer)
      putU16(target, option(OPTION.MTU, 2), mtu)
    }
    target[place++] = OPTION.END
    // RFC 1542: no message is shorter than 300 bytes.
    const length = Math.max(300, place - at)
    target.fill(0, place, at + length)
    return length
  }
}

/** Where the value of an option of `size` bytes is; 0 when it is not there. */
function findOption(bytes: Uint8Array, start: number, end: number, code: number, size: number): number {
  for (let at = start + OPTIONS; at + 1 < end; ) {
    const found = bytes[at] as number
    if (found === OPTION.END) break
    if (found === OPTION.PAD) {
      at++
      continue
    }
    const length = bytes[at + 1] as number
    if (found === code && length === size && at + 2 + length <= end) return at + 2
    at += 2 + length
  }
  return 0
}

function isAddress(bytes: Uint8Array, at: number, address: IpAddress): boolean {
  for (let i = 0; i < 4; i++) if (bytes[at + i] !== address[12 + i]) return false
  return true
}

function bytesOf(bytes: Uint8Array, at: number): IpAddress {
  const address = new Uint8Array(16).fill(0xff, 10, 12)
  address.set(bytes.subarray(at, at + 4), 12)
  return address
}
