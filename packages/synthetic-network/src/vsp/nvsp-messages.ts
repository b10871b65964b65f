// The messages that set an adapter up, each with its answer. Nothing changes before the answer has found its place in the ring, so that a packet that is turned away
// can come again.

import { VMBUS_COMPLETION_REQUESTED, type VmbusPacket } from '@partita/interface'
import {
  NVSP_MESSAGE,
  NVSP_STATUS,
  NVSP_VERSION,
  NvspInit,
  NvspInitComplete,
  NvspNdisConfig,
  NvspNdisVersion,
  NvspPdApi,
  NvspReceiveBufferComplete,
  NvspRevokeBuffer,
  NvspSendBuffer,
  NvspSendBufferComplete,
  NvspStatusMessage,
  NvspSubChannel,
  PACKET_SIZE_V1,
  PACKET_SIZE_V61,
  packetSize,
  SUB_CHANNEL_ALLOCATE,
} from '../protocol/nvsp.ts'
import { RNDIS_STATUS } from '../protocol/rndis.ts'
import { type GuestBuffers, SEND_SECTION_SIZE } from './guest-buffers.ts'
import { chooseVersion, clampFrame, type Negotiation, refusal } from './negotiation.ts'
import type { NetworkChannel } from './network-channel.ts'
import { coalescingSectionSizeOf, sectionSizeOf } from './receive-buffer.ts'

/** The longest chain of pages in a packet of the guest; Hyper-V's number. */
const MAXIMUM_MDL_CHAIN = 34
/** PD_API's question for support. */
const PD_API_CONFIG = 1

/** What setting up needs of its adapter. */
export interface SetupHost {
  readonly negotiation: Negotiation
  readonly maximumVersion: number
  readonly maximumSubChannels: number
  /** The guest takes large packets in parts. */
  readonly coalescing: boolean
  readonly buffers: GuestBuffers
  setNdisVersion(major: number, minor: number): void
  /** Frame size and capabilities are known. */
  configured(): void
}

/** Where answers are made; a ring takes a copy. */
const scratch: Uint8Array = new Uint8Array(PACKET_SIZE_V61)
const view: DataView = new DataView(scratch.buffer)

/** Serve a message that is not RNDIS. False: the ring has no room for the answer. */
export function answerMessage(host: SetupHost, serving: NetworkChannel, packet: VmbusPacket, type: number): boolean {
  const { negotiation } = host
  const length = packet.payloadLength
  const at = packet.payloadOffset
  scratch.fill(0)
  if (serving.index !== 0) return reject(host, serving, packet)
  if (type === NVSP_MESSAGE.INIT)
    return length < NvspInit.size ? reject(host, serving, packet) : initialize(host, serving, packet)
  if (negotiation.version === 0) return reject(host, serving, packet)
  switch (type) {
    case NVSP_MESSAGE.SEND_NDIS_VERSION: {
      if (length < NvspNdisVersion.size) break
      const message = new NvspNdisVersion(packet.view, at)
      if (!acknowledge(serving, packet)) return false
      host.setNdisVersion(message.major, message.minor)
      return true
    }
    case NVSP_MESSAGE.SEND_NDIS_CONFIG: {
      if (length < NvspNdisConfig.size || negotiation.version < NVSP_VERSION.V2) break
      const message = new NvspNdisConfig(packet.view, at)
      if (!acknowledge(serving, packet)) return false
      negotiation.largestFrame = clampFrame(message.mtu)
      negotiation.capabilities = message.capabilities
      host.configured()
      return true
    }
    case NVSP_MESSAGE.SEND_RECEIVE_BUFFER:
      if (length < NvspSendBuffer.size) break
      return receiveBuffer(host, serving, packet)
    case NVSP_MESSAGE.SEND_SEND_BUFFER:
      if (length < NvspSendBuffer.size) break
      return sendBuffer(host, serving, packet)
    case NVSP_MESSAGE.REVOKE_RECEIVE_BUFFER:
    case NVSP_MESSAGE.REVOKE_SEND_BUFFER: {
      if (length < NvspRevokeBuffer.size) break
      const { id } = new NvspRevokeBuffer(packet.view, at)
      if (!acknowledge(serving, packet)) return false
      if (type === NVSP_MESSAGE.REVOKE_SEND_BUFFER) {
        if (host.buffers.sendId === id) host.buffers.dropSend()
      } else if (host.buffers.receive?.id === id) host.buffers.setReceive(undefined)
      return true
    }
    case NVSP_MESSAGE.SWITCH_DATA_PATH:
      // There is no other path; whoever asks gets his answer, which has no payload.
      return acknowledge(serving, packet)
    case NVSP_MESSAGE.OID_QUERY_EX: {
      const answer = new NvspStatusMessage(view)
      answer.messageType = NVSP_MESSAGE.OID_QUERY_EX_COMPLETE
      answer.status = RNDIS_STATUS.NOT_SUPPORTED
      return send(host, serving, packet)
    }
    case NVSP_MESSAGE.SUB_CHANNEL:
      if (length < NvspSubChannel.size || negotiation.version < NVSP_VERSION.V5) break
      return subChannels(host, serving, packet)
    case NVSP_MESSAGE.PD_API: {
      if (length < 8 || negotiation.version < NVSP_VERSION.V61) break
      const answer = new NvspPdApi(view)
      answer.messageType = NVSP_MESSAGE.PD_API
      answer.operation = packet.view.getUint32(at + 4, true)
      // Asked whether there is PacketDirect, the answer is a successful no.
      answer.status = answer.operation === PD_API_CONFIG ? NVSP_STATUS.SUCCESS : NVSP_STATUS.FAILURE
      return send(host, serving, packet)
    }
  }
  return reject(host, serving, packet)
}

function initialize(host: SetupHost, serving: NetworkChannel, packet: VmbusPacket): boolean {
  const { negotiation } = host
  const { minimumVersion, maximumVersion } = new NvspInit(packet.view, packet.payloadOffset)
  const version = negotiation.version === 0 ? chooseVersion(minimumVersion, maximumVersion, host.maximumVersion) : 0
  const answer = new NvspInitComplete(view)
  answer.messageType = NVSP_MESSAGE.INIT_COMPLETE
  answer.version = version
  answer.maximumMdlChainLength = MAXIMUM_MDL_CHAIN
  answer.status =
    version !== 0
      ? NVSP_STATUS.SUCCESS
      : negotiation.version !== 0
        ? NVSP_STATUS.FAILURE
        : refusal(minimumVersion, host.maximumVersion)
  // The version is not known to both sides yet: the size is the first one's.
  if (!complete(serving, packet, PACKET_SIZE_V1)) return false
  if (version !== 0) negotiation.version = version
  return true
}

function receiveBuffer(host: SetupHost, serving: NetworkChannel, packet: VmbusPacket): boolean {
  const message = new NvspSendBuffer(packet.view, packet.payloadOffset)
  const { largestFrame } = host.negotiation
  const byteLength = serving.channel.gpadl(message.gpadlId)?.byteLength ?? 0
  const size = host.coalescing ? coalescingSectionSizeOf(largestFrame, byteLength) : sectionSizeOf(largestFrame)
  const buffer =
    host.buffers.receive === undefined
      ? host.buffers.prepareReceive(serving.channel, message.gpadlId, message.id, size)
      : undefined
  const answer = new NvspReceiveBufferComplete(view)
  answer.messageType = NVSP_MESSAGE.SEND_RECEIVE_BUFFER_COMPLETE
  answer.status = buffer === undefined ? NVSP_STATUS.FAILURE : NVSP_STATUS.SUCCESS
  if (buffer !== undefined) {
    answer.sectionCount = 1
    answer.subAllocationSize = buffer.sectionSize
    answer.subAllocationCount = buffer.sectionCount
    answer.endOffset = buffer.sectionSize * buffer.sectionCount
  }
  if (!send(host, serving, packet)) return false
  if (buffer !== undefined) host.buffers.setReceive(buffer)
  return true
}

function sendBuffer(host: SetupHost, serving: NetworkChannel, packet: VmbusPacket): boolean {
  const message = new NvspSendBuffer(packet.view, packet.payloadOffset)
  const good = host.buffers.send === undefined && host.buffers.setSend(serving.channel, message.gpadlId, message.id)
  const answer = new NvspSendBufferComplete(view)
  answer.messageType = NVSP_MESSAGE.SEND_SEND_BUFFER_COMPLETE
  answer.status = good ? NVSP_STATUS.SUCCESS : NVSP_STATUS.FAILURE
  answer.sectionSize = good ? SEND_SECTION_SIZE : 0
  if (send(host, serving, packet)) return true
  if (good) host.buffers.dropSend()
  return false
}

function subChannels(host: SetupHost, serving: NetworkChannel, packet: VmbusPacket): boolean {
  const request = new NvspSubChannel(packet.view, packet.payloadOffset)
  const { count } = request
  const good = request.operationOrStatus === SUB_CHANNEL_ALLOCATE && count <= host.maximumSubChannels
  const before = host.negotiation.subChannels
  if (good) host.negotiation.subChannels = count
  const answer = new NvspSubChannel(view)
  answer.messageType = NVSP_MESSAGE.SUB_CHANNEL
  answer.operationOrStatus = good ? NVSP_STATUS.SUCCESS : NVSP_STATUS.FAILURE
  answer.count = good ? count : 0
  if (!send(host, serving, packet)) {
    host.negotiation.subChannels = before
    return false
  }
  // The offers follow the answer.
  if (good) serving.channel.offerSubChannels(count)
  return true
}

/** The answer to what makes no sense. */
function reject(host: SetupHost, serving: NetworkChannel, packet: VmbusPacket): boolean {
  scratch.fill(0)
  const answer = new NvspStatusMessage(view)
  answer.messageType = NVSP_MESSAGE.NONE
  answer.status = NVSP_STATUS.FAILURE
  return send(host, serving, packet)
}

function send(host: SetupHost, serving: NetworkChannel, packet: VmbusPacket): boolean {
  return complete(serving, packet, packetSize(host.negotiation.version))
}

function complete(serving: NetworkChannel, packet: VmbusPacket, size: number): boolean {
  if ((packet.flags & VMBUS_COMPLETION_REQUESTED) === 0) return true
  return serving.channel.complete(packet.transactionLow, packet.transactionHigh, scratch, 0, size)
}

/** An answer without a payload. */
function acknowledge(serving: NetworkChannel, packet: VmbusPacket): boolean {
  if ((packet.flags & VMBUS_COMPLETION_REQUESTED) === 0) return true
  return serving.channel.complete(packet.transactionLow, packet.transactionHigh)
}
