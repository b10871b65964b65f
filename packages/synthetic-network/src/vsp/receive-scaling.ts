// Receive-side scaling: the Toeplitz hash of a frame's addresses and ports, and the table that says which queue a hash goes to (NDIS "RSS hashing types").

import { type FrameHeaders, IP_PROTOCOL } from '@partita/ethernet'
import { NdisRssParameters, RSS_FLAG, RSS_HASH, RSS_KEY_SIZE, RSS_TABLE_SIZE } from '../protocol/ndis.ts'
import { RNDIS_STATUS } from '../protocol/rndis.ts'

/** Bytes of the longest input: two IPv6 addresses and two ports. */
const MAXIMUM_INPUT = 36

/** What a guest has set, as saved state. */
export interface ScalingState {
  readonly enabled: boolean
  readonly hashTypes: number
  readonly key: Uint8Array
  readonly table: readonly number[]
}

/** The hash of a guest's key, by table: one look-up a byte of input. */
export class ReceiveScaling {
  /** Queues that the guest may name. */
  readonly queues: number
  #enabled = false
  #hashTypes = 0
  readonly #key: Uint8Array = new Uint8Array(RSS_KEY_SIZE)
  readonly #table: Uint16Array = new Uint16Array(RSS_TABLE_SIZE)
  #tableSize = 0
  /** What each value of each byte of the input adds to the hash. Made when the key is first used. */
  #parts: Uint32Array | undefined
  /** The hash of the last frame, and which RSS_HASH it is of; 0 when it has none. */
  hash = 0
  hashType = 0

  constructor(queues: number) {
    this.queues = queues
  }

  get enabled(): boolean {
    return this.#enabled
  }

  /** As after power-on: everything goes to the first queue. */
  reset(): void {
    this.#enabled = false
    this.#hashTypes = 0
    this.#tableSize = 0
    this.#key.fill(0)
    this.#parts = undefined
  }

  /** OID_GEN_RECEIVE_SCALE_PARAMETERS, in `length` bytes at `at`. Returns an RNDIS status; nothing changes unless it is SUCCESS. */
  set(view: DataView, at: number, length: number): number {
    if (length < NdisRssParameters.size) return RNDIS_STATUS.INVALID_LENGTH
    const parameters = new NdisRssParameters(view, at)
    const { flags } = parameters
    if ((flags & RSS_FLAG.DISABLE) !== 0) {
      this.#enabled = false
      return RNDIS_STATUS.SUCCESS
    }
    const { tableOffset, tableSize, keyOffset, keySize, hashInformation } = parameters
    const newTable = (flags & RSS_FLAG.TABLE_UNCHANGED) === 0
    const newKey = (flags & RSS_FLAG.KEY_UNCHANGED) === 0
    const newTypes = (flags & RSS_FLAG.HASH_INFO_UNCHANGED) === 0
    const entries = tableSize / 4
    if (newTable) {
      // The table is looked up by a mask.
      if (tableOffset + tableSize > length || entries < 1 || entries > RSS_TABLE_SIZE || !isPowerOfTwo(entries))
        return RNDIS_STATUS.INVALID_DATA
      for (let entry = 0; entry < entries; entry++)
        if (view.getUint32(at + tableOffset + entry * 4, true) >= this.queues) return RNDIS_STATUS.INVALID_DATA
    } else if (this.#tableSize === 0) return RNDIS_STATUS.INVALID_DATA
    if (newKey && (keyOffset + keySize > length || keySize > RSS_KEY_SIZE)) return RNDIS_STATUS.INVALID_DATA
    if (newTypes && (hashInformation & 0xff) !== RSS_HASH.TOEPLITZ && hashInformation !== 0)
      return RNDIS_STATUS.INVALID_DATA
    if (newTable) {
      for (let entry = 0; entry < entries; entry++)
        this.#table[entry] = view.getUint32(at + tableOffset + entry * 4, true)
      this.#tableSize = entries
    }
    if (newKey) {
      this.#key.fill(0)
      for (let index = 0; index < keySize; index++) this.#key[index] = view.getUint8(at + keyOffset + index)
      this.#parts = undefined
    }
    if (newTypes) this.#hashTypes = hashInformation & ~0xff
    this.#enabled = this.#hashTypes !== 0
    return RNDIS_STATUS.SUCCESS
  }

  /** Hash a frame into `hash` and `hashType`, and return the queue that it belongs to. */
  queueOf(bytes: Uint8Array, headers: FrameHeaders): number {
    this.hashType = 0
    this.hash = 0
    if (!this.#enabled || headers.ipVersion === 0) return 0
    const types = this.#hashTypes
    const tcp = headers.protocol === IP_PROTOCOL.TCP && headers.payload > 0 && !headers.fragment
    let length: number
    let from: number
    if (headers.ipVersion === 4) {
      from = headers.network + 12
      length = 8
      this.hashType = tcp && (types & RSS_HASH.TCP_IPV4) !== 0 ? RSS_HASH.TCP_IPV4 : types & RSS_HASH.IPV4
    } else {
      from = headers.network + 8
      length = 32
      this.hashType =
        tcp && (types & (RSS_HASH.TCP_IPV6 | RSS_HASH.TCP_IPV6_EX)) !== 0 ? RSS_HASH.TCP_IPV6 : types & RSS_HASH.IPV6
    }
    if (this.hashType === 0) return 0
    let hash = this.#add(bytes, from, length, 0)
    if (this.hashType === RSS_HASH.TCP_IPV4 || this.hashType === RSS_HASH.TCP_IPV6)
      hash ^= this.#add(bytes, headers.transport, 4, length)
    this.hash = hash >>> 0
    return this.#table[this.hash & (this.#tableSize - 1)] as number
  }

  /** What `length` bytes add, of which the first is byte `place` of the input. */
  #add(bytes: Uint8Array, from: number, length: number, place: number): number {
    const parts = this.#parts ?? this.#prepare()
    let hash = 0
    for (let at = 0; at < length; at++) hash ^= parts[((place + at) << 8) | (bytes[from + at] as number)] as number
    return hash
  }

  #prepare(): Uint32Array {
    const parts = new Uint32Array(MAXIMUM_INPUT * 256)
    const key = this.#key
    for (let place = 0; place < MAXIMUM_INPUT; place++) {
      for (let bit = 0; bit < 8; bit++) {
        // The 32 bits of the key from this bit of the input on.
        let window = 0
        for (let at = 0; at < 32; at++) {
          const position = place * 8 + bit + at
          const byte = key[position >>> 3] ?? 0
          window = (window << 1) | ((byte >>> (7 - (position & 7))) & 1)
        }
        const mask = 0x80 >>> bit
        for (let value = 0; value < 256; value++)
          if ((value & mask) !== 0) {
            const index = (place << 8) | value
            parts[index] = (parts[index] as number) ^ window
          }
      }
    }
    this.#parts = parts
    return parts
  }

  save(): ScalingState {
    return {
      enabled: this.#enabled,
      hashTypes: this.#hashTypes,
      key: this.#key.slice(),
      table: [...this.#table.subarray(0, this.#tableSize)],
    }
  }

  /** False: that is no state of these queues. */
  restore({ enabled, hashTypes, key, table }: ScalingState): boolean {
    const { length } = table
    if (length > RSS_TABLE_SIZE || (length > 0 && !isPowerOfTwo(length)) || key.length !== RSS_KEY_SIZE) return false
    if (table.some((queue) => queue >= this.queues) || (enabled && length === 0)) return false
    this.#enabled = enabled
    this.#hashTypes = hashTypes
    this.#key.set(key)
    this.#parts = undefined
    this.#table.set(table)
    this.#tableSize = length
    return true
  }
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && (value & (value - 1)) === 0
}
