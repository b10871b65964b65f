/**
 * Ethernet frames for adapters and networks: where their headers are, their checksums, and doing what a sender left to others.
 *
 * @example
 * ```ts
 * import { Frame, FrameConversion } from '@partita/ethernet'
 *
 * const conversion = new FrameConversion()
 * conversion.begin(frame, port.accepts)
 * for (let part = conversion.next(); part !== undefined; part = conversion.next()) port.send(part)
 * ```
 * @packageDocumentation
 */
export {
  checksumOf,
  finishedChecksum,
  foldSum,
  getU16,
  getU32,
  pseudoHeaderSum,
  putU16,
  putU32,
  storeIpv4Checksum,
  sumWords,
  transportChecksum,
  transportChecksumIsRight,
} from './checksum.ts'
export { Frame } from './frame.ts'
export { FrameConversion, insertVlanTag } from './frame-conversion.ts'
export { ETHER_TYPE, FrameHeaders, IP_PROTOCOL } from './headers.ts'
export {
  BROADCAST,
  formatMacAddress,
  isMulticast,
  parseMacAddress,
  readMacAddress,
  writeMacAddress,
} from './mac-address.ts'
export { MAXIMUM_HEADER_LENGTH, Segmenter } from './segmenter.ts'
