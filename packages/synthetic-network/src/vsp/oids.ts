// The OIDs of an adapter, as a table: what a question is answered with, and what a new value does. Those that are not here are NOT_SUPPORTED. They are those of Hyper-V's
// list, and what FreeBSD's hn and NDIS ask for beyond it.

import { isMulticast, parseMacAddress, readMacAddress, writeMacAddress } from '@partita/ethernet'
import { ETHERNET_HEADER_LENGTH } from '@partita/interface'
import { CONFIG_PARAMETER_STRING, NDIS_OBJECT, NdisLinkState, RndisConfigParameter } from '../protocol/ndis.ts'
import { DEVICE_POWER_STATE, MAC_OPTION, MEDIA_STATE, OID } from '../protocol/oid.ts'
import { RNDIS_STATUS } from '../protocol/rndis.ts'
import { type AdapterState, MAXIMUM_MULTICAST } from './adapter-state.ts'
import {
  setOffloadEncapsulation,
  setOffloadParameters,
  writeOffload,
  writeOffloadEncapsulation,
  writeRssCapabilities,
} from './ndis-objects.ts'
import { bytes, frames, type NetworkStatistics } from './statistics.ts'

/** Writes the answer at `at` and returns its length. `asked`: the revision of the object in the question, 0 without one. */
type Query = (state: AdapterState, view: DataView, at: number, asked: number) => number
/** Takes `length` bytes at `at`, which are there, and returns an RNDIS status. */
type Set = (state: AdapterState, view: DataView, at: number, length: number) => number

interface Entry {
  readonly query?: Query
  readonly set?: Set
}

const ADDRESS = 6
const U32 = 0x1_0000_0000
/** Units of GEN_LINK_SPEED: bits per second. */
const LINK_SPEED_UNIT = 100
const VENDOR = 'Partita synthetic network adapter'
/** NDIS 6.30, as a driver's version. */
const DRIVER_VERSION = 0x061e
const MAXIMUM_SEND_PACKETS = 8
/** Room that answers about buffers speak of. */
const BUFFER_SPACE = 0x10_0000

const u32 =
  (value: (state: AdapterState) => number): Query =>
  (state, view, at) => {
    view.setUint32(at, value(state) % U32, true)
    return 4
  }

const u64 =
  (value: (state: AdapterState) => number): Query =>
  (state, view, at) => {
    const number = value(state)
    view.setUint32(at, number % U32, true)
    view.setUint32(at + 4, Math.floor(number / U32), true)
    return 8
  }

const counter = (value: (statistics: NetworkStatistics) => number): Query => u64((state) => value(state.statistics))

const address =
  (value: (state: AdapterState) => number): Query =>
  (state, view, at) => {
    writeMacAddress(new Uint8Array(view.buffer, view.byteOffset), at, value(state))
    return ADDRESS
  }

const text =
  (value: (state: AdapterState) => string): Query =>
  (state, view, at) => {
    const string = value(state)
    for (let index = 0; index < string.length; index++) view.setUint8(at + index, string.charCodeAt(index))
    view.setUint8(at + string.length, 0)
    return string.length + 1
  }

const utf16 =
  (value: (state: AdapterState) => string): Query =>
  (state, view, at) => {
    const string = value(state)
    for (let index = 0; index < string.length; index++) view.setUint16(at + index * 2, string.charCodeAt(index), true)
    view.setUint16(at + string.length * 2, 0, true)
    return string.length * 2 + 2
  }

/** A new value of four bytes. */
const setU32 =
  (use: (state: AdapterState, value: number) => number): Set =>
  (state, view, at, length) =>
    length < 4 ? RNDIS_STATUS.INVALID_LENGTH : use(state, view.getUint32(at, true))

/** Something that the guest may tell, and that changes nothing here. */
const heard: Set = () => RNDIS_STATUS.SUCCESS

/** A machine whose adapter sleeps halts the adapter, too: nothing changes but what the driver does next. */
const setPower: Set = setU32((_state, value) =>
  value >= DEVICE_POWER_STATE.D0 && value <= DEVICE_POWER_STATE.D3 ? RNDIS_STATUS.SUCCESS : RNDIS_STATUS.INVALID_DATA,
)

const frameSize = (state: AdapterState): number => state.link.mtu + ETHERNET_HEADER_LENGTH

const linkState: Query = (state, view, at) => {
  const { linkUp, linkSpeed } = state.link
  for (let byte = 0; byte < NdisLinkState.size; byte++) view.setUint8(at + byte, 0)
  const link = new NdisLinkState(view, at)
  link.type = NDIS_OBJECT.DEFAULT
  link.revision = 1
  link.size = NdisLinkState.size
  link.mediaConnectState = linkUp ? 1 : 2
  link.mediaDuplexState = 2
  link.transmitSpeedLow = linkSpeed % U32
  link.transmitSpeedHigh = Math.floor(linkSpeed / U32)
  link.receiveSpeedLow = link.transmitSpeedLow
  link.receiveSpeedHigh = link.transmitSpeedHigh
  return NdisLinkState.size
}

const maximumLinkSpeed: Query = (state, view, at) => {
  u64((s) => s.link.linkSpeed)(state, view, at, 0)
  u64((s) => s.link.linkSpeed)(state, view, at + 8, 0)
  return 16
}

const setMulticastList: Set = (state, view, at, length) => {
  if (length % ADDRESS !== 0) return RNDIS_STATUS.INVALID_LENGTH
  if (length / ADDRESS > MAXIMUM_MULTICAST) return RNDIS_STATUS.MULTICAST_FULL
  const memory = new Uint8Array(view.buffer, view.byteOffset)
  const list = Array.from({ length: length / ADDRESS }, (_, index) => readMacAddress(memory, at + index * ADDRESS))
  if (!list.every(isMulticast)) return RNDIS_STATUS.INVALID_DATA
  state.multicast = list
  return RNDIS_STATUS.SUCCESS
}

const changeMulticast =
  (add: boolean): Set =>
  (state, view, at, length) => {
    if (length < ADDRESS) return RNDIS_STATUS.INVALID_LENGTH
    const changed = readMacAddress(new Uint8Array(view.buffer, view.byteOffset), at)
    if (!isMulticast(changed)) return RNDIS_STATUS.INVALID_DATA
    const others = state.multicast.filter((known) => known !== changed)
    if (add && others.length >= MAXIMUM_MULTICAST) return RNDIS_STATUS.MULTICAST_FULL
    state.multicast = add ? [...others, changed] : others
    return RNDIS_STATUS.SUCCESS
  }

/** The string of UTF-16 in `length` bytes at `offset` of the information; `undefined` when it is not all there. */
function stringAt(view: DataView, at: number, length: number, offset: number, size: number): string | undefined {
  if (size % 2 !== 0 || size > 64 || offset + size > length) return undefined
  let string = ''
  for (let index = 0; index < size; index += 2) string += String.fromCharCode(view.getUint16(at + offset + index, true))
  return string
}

/** The parameter `NetworkAddress` is how a driver changes its address; there is no other one. */
const setConfigParameter: Set = (state, view, at, length) => {
  if (length < RndisConfigParameter.size) return RNDIS_STATUS.INVALID_LENGTH
  const parameter = new RndisConfigParameter(view, at)
  if (stringAt(view, at, length, parameter.nameOffset, parameter.nameLength) !== 'NetworkAddress')
    return RNDIS_STATUS.NOT_SUPPORTED
  const value = stringAt(view, at, length, parameter.valueOffset, parameter.valueLength)
  const changed = value === undefined ? undefined : parseMacAddress(value)
  if (parameter.type !== CONFIG_PARAMETER_STRING || changed === undefined || changed === 0 || isMulticast(changed))
    return RNDIS_STATUS.INVALID_DATA
  if (!state.features.addressChange && changed !== state.features.permanentAddress) return RNDIS_STATUS.NOT_SUPPORTED
  state.setAddress(changed)
  return RNDIS_STATUS.SUCCESS
}

const ENTRIES: Readonly<Record<number, Entry>> = {
  [OID.GEN_SUPPORTED_LIST]: { query: (_state, view, at) => writeSupported(view, at) },
  [OID.GEN_HARDWARE_STATUS]: { query: u32(() => 0) },
  [OID.GEN_MEDIA_SUPPORTED]: { query: u32(() => 0) },
  [OID.GEN_MEDIA_IN_USE]: { query: u32(() => 0) },
  [OID.GEN_PHYSICAL_MEDIUM]: { query: u32(() => 0) },
  [OID.GEN_MAXIMUM_LOOKAHEAD]: { query: u32(frameSize) },
  [OID.GEN_CURRENT_LOOKAHEAD]: {
    query: u32((state) => state.lookahead || frameSize(state)),
    set: setU32((state, value) => {
      state.lookahead = value
      return RNDIS_STATUS.SUCCESS
    }),
  },
  [OID.GEN_MAXIMUM_FRAME_SIZE]: { query: u32((state) => state.link.mtu) },
  [OID.GEN_MAXIMUM_TOTAL_SIZE]: { query: u32(frameSize) },
  [OID.GEN_TRANSMIT_BLOCK_SIZE]: { query: u32(frameSize) },
  [OID.GEN_RECEIVE_BLOCK_SIZE]: { query: u32(frameSize) },
  [OID.GEN_TRANSMIT_BUFFER_SPACE]: { query: u32(() => BUFFER_SPACE) },
  [OID.GEN_RECEIVE_BUFFER_SPACE]: { query: u32(() => BUFFER_SPACE) },
  [OID.GEN_LINK_SPEED]: {
    query: u32((state) => Math.min(U32 - 1, Math.floor(state.link.linkSpeed / LINK_SPEED_UNIT))),
  },
  [OID.GEN_MAX_LINK_SPEED]: { query: maximumLinkSpeed },
  [OID.GEN_LINK_STATE]: { query: linkState },
  [OID.GEN_LINK_PARAMETERS]: { set: heard },
  [OID.GEN_MEDIA_CONNECT_STATUS]: {
    query: u32((state) => (state.link.linkUp ? MEDIA_STATE.CONNECTED : MEDIA_STATE.DISCONNECTED)),
  },
  [OID.GEN_VENDOR_ID]: { query: u32(() => 0xff_ffff) },
  [OID.GEN_VENDOR_DESCRIPTION]: { query: text(() => VENDOR) },
  [OID.GEN_VENDOR_DRIVER_VERSION]: { query: u32(() => 1) },
  [OID.GEN_DRIVER_VERSION]: {
    query: (_state, view, at) => {
      view.setUint16(at, DRIVER_VERSION, true)
      return 2
    },
  },
  [OID.GEN_MAC_OPTIONS]: {
    query: u32(
      () =>
        MAC_OPTION.COPY_LOOKAHEAD_DATA |
        MAC_OPTION.TRANSFERS_NOT_PEND |
        MAC_OPTION.NO_LOOPBACK |
        MAC_OPTION.FULL_DUPLEX |
        MAC_OPTION.PRIORITY_8021P |
        MAC_OPTION.VLAN_8021Q,
    ),
  },
  [OID.GEN_MAXIMUM_SEND_PACKETS]: { query: u32(() => MAXIMUM_SEND_PACKETS) },
  [OID.GEN_PROTOCOL_OPTIONS]: { set: heard },
  [OID.GEN_NETWORK_LAYER_ADDRESSES]: { set: heard },
  [OID.GEN_TRANSPORT_HEADER_OFFSET]: { set: heard },
  [OID.GEN_MACHINE_NAME]: { set: heard },
  [OID.GEN_FRIENDLY_NAME]: { query: utf16((state) => state.features.friendlyName) },
  [OID.GEN_RNDIS_CONFIG_PARAMETER]: { set: setConfigParameter },
  [OID.GEN_CURRENT_PACKET_FILTER]: {
    query: u32((state) => state.filter),
    set: setU32((state, value) => {
      state.filter = value
      return RNDIS_STATUS.SUCCESS
    }),
  },
  [OID.GEN_RECEIVE_SCALE_CAPABILITIES]: { query: writeRssCapabilities },
  [OID.GEN_RECEIVE_SCALE_PARAMETERS]: {
    set: (state, view, at, length) => state.scaling.set(view, at, length),
  },
  [OID.ETHERNET_PERMANENT_ADDRESS]: { query: address((state) => state.features.permanentAddress) },
  [OID.ETHERNET_CURRENT_ADDRESS]: { query: address((state) => state.currentAddress) },
  [OID.ETHERNET_MULTICAST_LIST]: {
    query: (state, view, at) => {
      const memory = new Uint8Array(view.buffer, view.byteOffset)
      for (const [index, known] of state.multicast.entries()) writeMacAddress(memory, at + index * ADDRESS, known)
      return state.multicast.length * ADDRESS
    },
    set: setMulticastList,
  },
  [OID.ETHERNET_ADD_MULTICAST_ADDRESS]: { set: changeMulticast(true) },
  [OID.ETHERNET_DELETE_MULTICAST_ADDRESS]: { set: changeMulticast(false) },
  [OID.ETHERNET_MAXIMUM_LIST_SIZE]: { query: u32(() => MAXIMUM_MULTICAST) },
  [OID.ETHERNET_MAC_OPTIONS]: { query: u32(() => 0) },
  [OID.TCP_OFFLOAD_HARDWARE_CAPABILITIES]: {
    query: (state, view, at, asked) => writeOffload(state, view, at, asked, false),
  },
  [OID.TCP_OFFLOAD_CURRENT_CONFIG]: {
    query: (state, view, at, asked) => writeOffload(state, view, at, asked, true),
  },
  [OID.TCP_OFFLOAD_PARAMETERS]: { set: setOffloadParameters },
  [OID.OFFLOAD_ENCAPSULATION]: {
    query: (_state, view, at) => writeOffloadEncapsulation(view, at),
    set: (_state, view, at, length) => setOffloadEncapsulation(view, at, length),
  },
  [OID.PNP_SET_POWER]: { set: setPower },
  // Without information: the answer is that it can.
  [OID.PNP_QUERY_POWER]: { query: () => 0 },
  [OID.GEN_XMIT_OK]: { query: counter((s) => frames(s.transmitted)) },
  [OID.GEN_RCV_OK]: { query: counter((s) => frames(s.received)) },
  [OID.GEN_XMIT_ERROR]: { query: counter((s) => s.transmitErrors) },
  [OID.GEN_RCV_ERROR]: { query: counter((s) => s.receiveErrors) },
  [OID.GEN_RCV_NO_BUFFER]: { query: counter((s) => s.receiveNoBuffer) },
  [OID.GEN_DIRECTED_BYTES_XMIT]: { query: counter((s) => s.transmitted.directedBytes) },
  [OID.GEN_DIRECTED_FRAMES_XMIT]: { query: counter((s) => s.transmitted.directedFrames) },
  [OID.GEN_MULTICAST_BYTES_XMIT]: { query: counter((s) => s.transmitted.multicastBytes) },
  [OID.GEN_MULTICAST_FRAMES_XMIT]: { query: counter((s) => s.transmitted.multicastFrames) },
  [OID.GEN_BROADCAST_BYTES_XMIT]: { query: counter((s) => s.transmitted.broadcastBytes) },
  [OID.GEN_BROADCAST_FRAMES_XMIT]: { query: counter((s) => s.transmitted.broadcastFrames) },
  [OID.GEN_DIRECTED_BYTES_RCV]: { query: counter((s) => s.received.directedBytes) },
  [OID.GEN_DIRECTED_FRAMES_RCV]: { query: counter((s) => s.received.directedFrames) },
  [OID.GEN_MULTICAST_BYTES_RCV]: { query: counter((s) => s.received.multicastBytes) },
  [OID.GEN_MULTICAST_FRAMES_RCV]: { query: counter((s) => s.received.multicastFrames) },
  [OID.GEN_BROADCAST_BYTES_RCV]: { query: counter((s) => s.received.broadcastBytes) },
  [OID.GEN_BROADCAST_FRAMES_RCV]: { query: counter((s) => s.received.broadcastFrames) },
  [OID.GEN_BYTES_XMIT]: { query: counter((s) => bytes(s.transmitted)) },
  [OID.GEN_BYTES_RCV]: { query: counter((s) => bytes(s.received)) },
  [OID.GEN_XMIT_DISCARDS]: { query: counter((s) => s.transmitDiscards) },
  [OID.GEN_RCV_DISCARDS]: { query: counter((s) => s.receiveErrors) },
  [OID.GEN_RCV_CRC_ERROR]: { query: u32(() => 0) },
  [OID.GEN_TRANSMIT_QUEUE_LENGTH]: { query: u32(() => 0) },
  [OID.ETHERNET_RCV_ERROR_ALIGNMENT]: { query: u32(() => 0) },
  [OID.ETHERNET_XMIT_ONE_COLLISION]: { query: u32(() => 0) },
  [OID.ETHERNET_XMIT_MORE_COLLISIONS]: { query: u32(() => 0) },
}

const SUPPORTED: readonly number[] = Object.keys(ENTRIES).map(Number)

function writeSupported(view: DataView, at: number): number {
  for (const [index, oid] of SUPPORTED.entries()) view.setUint32(at + index * 4, oid, true)
  return SUPPORTED.length * 4
}

/** Bytes that the longest answer takes. */
export const MAXIMUM_ANSWER = 1024

/**
 * Answer a question: the information is written at `at` of `view`, which has room for {@link MAXIMUM_ANSWER} bytes. Returns its length; -1: there is no such OID, or
 * it can only be set.
 */
export function queryOid(state: AdapterState, oid: number, view: DataView, at: number, asked: number): number {
  return ENTRIES[oid]?.query?.(state, view, at, asked) ?? -1
}

/** Set an OID from `length` bytes at `at` of `view`. Returns an RNDIS status. */
export function setOid(state: AdapterState, oid: number, view: DataView, at: number, length: number): number {
  return ENTRIES[oid]?.set?.(state, view, at, length) ?? RNDIS_STATUS.NOT_SUPPORTED
}
