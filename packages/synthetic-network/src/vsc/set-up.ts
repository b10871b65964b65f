// How the driver sets an adapter up: version, NDIS, both buffers, RNDIS, in this order.

import type { VscDevice } from '@partita/vmbus/client'
import { NetworkError } from '../network-error.ts'
import {
  NDIS_CONFIG_CAPABILITY,
  NVSP_MESSAGE,
  NVSP_STATUS,
  NVSP_VERSION,
  NvspInit,
  NvspInitComplete,
  NvspNdisConfig,
  NvspNdisVersion,
  NvspReceiveBufferComplete,
  NvspRevokeBuffer,
  NvspSendBuffer,
  NvspSendBufferComplete,
} from '../protocol/nvsp.ts'
import { RNDIS_MAJOR_VERSION, RNDIS_MESSAGE, RNDIS_STATUS, RndisComplete, RndisInitialize } from '../protocol/rndis.ts'
import { RECEIVE_BUFFER_ID, type Receiver } from './receiver.ts'
import type { Requests } from './requests.ts'
import type { Transmitter } from './transmitter.ts'

const SEND_BUFFER_ID = 0

/** What an adapter is set up with. */
export interface SetUpParts {
  readonly device: VscDevice
  readonly requests: Requests
  readonly receiver: Receiver
  readonly transmitter: Transmitter
}

/** What came of it. */
export interface SetUpResult {
  /** One of NVSP_VERSION. */
  readonly version: number
  readonly receiveSections: number
  /** Bytes. */
  readonly receiveSectionSize: number
  /** The provider's mapping of the buffers. */
  readonly gpadls: readonly number[]
}

/**
 * Set an adapter up.
 * @param versions of NVSP to offer, best first
 * @param mtu Bytes of the largest packet
 * @throws NetworkError `ERR_NETWORK_PROTOCOL` when the provider refuses
 */
export async function setUp(parts: SetUpParts, versions: readonly number[], mtu: number): Promise<SetUpResult> {
  const { requests } = parts
  const version = await agree(requests, versions)
  if (version >= NVSP_VERSION.V2) requests.tell((view) => configure(new NvspNdisConfig(view), version, mtu))
  requests.tell((view) => {
    const message = new NvspNdisVersion(view)
    message.messageType = NVSP_MESSAGE.SEND_NDIS_VERSION
    message.major = 6
    message.minor = version >= NVSP_VERSION.V5 ? 30 : 1
  })
  const receive = await giveReceiveBuffer(parts)
  const send = await giveSendBuffer(parts)
  await initialize(requests)
  return {
    version,
    receiveSections: receive.sections,
    receiveSectionSize: receive.sectionSize,
    gpadls: [receive.gpadl, send],
  }
}

/** Take the buffers back. */
export function revokeBuffers(requests: Requests): void {
  for (const [type, id] of [
    [NVSP_MESSAGE.REVOKE_RECEIVE_BUFFER, RECEIVE_BUFFER_ID],
    [NVSP_MESSAGE.REVOKE_SEND_BUFFER, SEND_BUFFER_ID],
  ] as const)
    requests.tell((view) => {
      const message = new NvspRevokeBuffer(view)
      message.messageType = type
      message.id = id
    })
}

async function agree(requests: Requests, versions: readonly number[]): Promise<number> {
  for (const version of versions) {
    const answer = await requests.ask((view) => {
      const init = new NvspInit(view)
      init.messageType = NVSP_MESSAGE.INIT
      init.minimumVersion = version
      init.maximumVersion = version
    }, NVSP_MESSAGE.INIT_COMPLETE)
    if (new NvspInitComplete(answer).status === NVSP_STATUS.SUCCESS) return version
  }
  throw new NetworkError('ERR_NETWORK_PROTOCOL', 'no common version')
}

function configure(message: NvspNdisConfig, version: number, mtu: number): void {
  message.messageType = NVSP_MESSAGE.SEND_NDIS_CONFIG
  message.mtu = mtu + 14
  message.capabilities =
    NDIS_CONFIG_CAPABILITY.IEEE_8021Q |
    (version >= NVSP_VERSION.V5 ? NDIS_CONFIG_CAPABILITY.TEAMING : 0) |
    (version >= NVSP_VERSION.V61 ? NDIS_CONFIG_CAPABILITY.RSC : 0)
}

async function giveReceiveBuffer({
  device,
  requests,
  receiver,
}: SetUpParts): Promise<{ readonly gpadl: number; readonly sections: number; readonly sectionSize: number }> {
  const gpadl = await device.createGpadl(receiver.buffer.bytes)
  const answer = await requests.ask((view) => {
    const message = new NvspSendBuffer(view)
    message.messageType = NVSP_MESSAGE.SEND_RECEIVE_BUFFER
    message.gpadlId = gpadl
    message.id = RECEIVE_BUFFER_ID
  }, NVSP_MESSAGE.SEND_RECEIVE_BUFFER_COMPLETE)
  const { status, sectionCount, subAllocationSize, subAllocationCount } = new NvspReceiveBufferComplete(answer)
  if (status !== NVSP_STATUS.SUCCESS || sectionCount !== 1 || !receiver.divide(subAllocationSize, subAllocationCount))
    throw new NetworkError('ERR_NETWORK_PROTOCOL', 'the receive buffer is refused', { data: { status } })
  return { gpadl, sections: subAllocationCount, sectionSize: subAllocationSize }
}

/** Returns its GPADL. */
async function giveSendBuffer({ device, requests, transmitter }: SetUpParts): Promise<number> {
  const gpadl = await device.createGpadl(transmitter.buffer.bytes)
  const answer = await requests.ask((view) => {
    const message = new NvspSendBuffer(view)
    message.messageType = NVSP_MESSAGE.SEND_SEND_BUFFER
    message.gpadlId = gpadl
    message.id = SEND_BUFFER_ID
  }, NVSP_MESSAGE.SEND_SEND_BUFFER_COMPLETE)
  const { status, sectionSize } = new NvspSendBufferComplete(answer)
  if (status !== NVSP_STATUS.SUCCESS || !transmitter.divide(sectionSize))
    throw new NetworkError('ERR_NETWORK_PROTOCOL', 'the send buffer is refused', { data: { status } })
  return gpadl
}

async function initialize(requests: Requests): Promise<void> {
  const answer = await requests.request((requestId) => {
    const message = RndisInitialize.allocate()
    message.messageType = RNDIS_MESSAGE.INITIALIZE
    message.messageLength = RndisInitialize.size
    message.requestId = requestId
    message.majorVersion = RNDIS_MAJOR_VERSION
    message.maximumTransferSize = 0x4000
    return new Uint8Array(message.view.buffer)
  })
  const { status } = new RndisComplete(new DataView(answer.buffer))
  if (status !== RNDIS_STATUS.SUCCESS)
    throw new NetworkError('ERR_NETWORK_PROTOCOL', 'RNDIS is refused', { data: { status } })
}
