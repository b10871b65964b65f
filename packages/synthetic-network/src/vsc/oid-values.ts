// What a driver sets: NDIS objects and requests as bytes.

import { NetworkError } from '../network-error.ts'
import {
  NDIS_OBJECT,
  NdisOffloadParameters,
  NdisRssParameters,
  OFFLOAD_PARAMETER,
  OFFLOAD_SWITCH,
  RSS_HASH,
} from '../protocol/ndis.ts'
import { RNDIS_HEADER_SIZE, RndisRequest } from '../protocol/rndis.ts'

/** NDIS_RECEIVE_SCALE_PARAMETERS: a key, and the queue for each hash. */
export function scalingParameters(key: Uint8Array, table: readonly number[]): Uint8Array {
  const size = NdisRssParameters.size + table.length * 4 + key.length
  const parameters = NdisRssParameters.allocate(size)
  parameters.type = NDIS_OBJECT.RSS_PARAMETERS
  parameters.revision = 2
  parameters.size = NdisRssParameters.size
  parameters.hashInformation = RSS_HASH.TOEPLITZ | RSS_HASH.IPV4 | RSS_HASH.TCP_IPV4 | RSS_HASH.IPV6 | RSS_HASH.TCP_IPV6
  parameters.tableSize = table.length * 4
  parameters.tableOffset = NdisRssParameters.size
  parameters.keySize = key.length
  parameters.keyOffset = NdisRssParameters.size + table.length * 4
  const bytes = new Uint8Array(parameters.view.buffer)
  for (const [entry, queue] of table.entries())
    parameters.view.setUint32(NdisRssParameters.size + entry * 4, queue, true)
  bytes.set(key, parameters.keyOffset)
  return bytes
}

/** NDIS_OFFLOAD_PARAMETERS: sending is offloaded in any case. */
export function offloadParameters({ checksums, coalescing }: { checksums: boolean; coalescing: boolean }): Uint8Array {
  const parameters = NdisOffloadParameters.allocate()
  const checksum = checksums ? OFFLOAD_PARAMETER.TX_RX : OFFLOAD_PARAMETER.TX
  const rsc = coalescing ? OFFLOAD_SWITCH.ENABLED : OFFLOAD_SWITCH.DISABLED
  parameters.type = NDIS_OBJECT.DEFAULT
  parameters.revision = 3
  parameters.size = NdisOffloadParameters.size
  parameters.ip4Checksum = checksum
  parameters.tcp4Checksum = checksum
  parameters.udp4Checksum = checksum
  parameters.tcp6Checksum = checksum
  parameters.udp6Checksum = checksum
  parameters.lso2Ip4 = OFFLOAD_SWITCH.ENABLED
  parameters.lso2Ip6 = OFFLOAD_SWITCH.ENABLED
  parameters.rscIp4 = rsc
  parameters.rscIp6 = rsc
  return new Uint8Array(parameters.view.buffer)
}

/** QUERY or SET of an OID. */
export function oidRequest(type: number, requestId: number, oid: number, information: Uint8Array): Uint8Array {
  const message = RndisRequest.allocate(RndisRequest.size + information.length)
  message.messageType = type
  message.messageLength = RndisRequest.size + information.length
  message.requestId = requestId
  message.oid = oid
  message.informationLength = information.length
  message.informationOffset = RndisRequest.size - RNDIS_HEADER_SIZE
  const bytes = new Uint8Array(message.view.buffer)
  bytes.set(information, RndisRequest.size)
  return bytes
}

/** The provider refuses an OID. */
export function oidError(oid: number, status: number): NetworkError {
  return new NetworkError('ERR_NETWORK_OID', `OID 0x${oid.toString(16)} fails with status 0x${status.toString(16)}`, {
    data: { oid, status },
  })
}
