/**
 * The wire structs of synthetic networking: NVSP 1 (version word 2) to 6.1, and the RNDIS and NDIS inside of it, as Linux' `hyperv_net.h`, FreeBSD's `hn` and
 * OpenVMM's `netvsp` have them. No behaviour.
 *
 * @example
 * ```ts
 * import { NVSP_MESSAGE, NvspInit } from '@partita/synthetic-network/protocol'
 *
 * const init = NvspInit.allocate(PACKET_SIZE_V61)
 * init.messageType = NVSP_MESSAGE.INIT
 * ```
 * @packageDocumentation
 */
export * from './protocol/ndis.ts'
export * from './protocol/nvsp.ts'
export * from './protocol/oid.ts'
export * from './protocol/rndis.ts'
