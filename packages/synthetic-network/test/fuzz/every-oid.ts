// An input that asks for every OID and sets it, in the words of the harness.

import { OID } from '../../src/protocol.ts'
import { CONTROL_TYPES, OIDS } from './harness.ts'

/** Actions of the harness: setting up with what follows it, a control message, room in the ring, a part of the receive buffer that is given back. */
const SET_UP = [0, 0, 0, 0, 255]
const CONTROL = 30
const CONSUME = 17
const GIVE_BACK = [20, 0]

/** Small values, as the harness reads them. */
const words = (count: number, value: number): number[] => new Array(count).fill([0, value]).flat()

/** What is asked or set, as far as the harness makes an object of it. */
function information(oid: number): number[] {
  switch (oid) {
    case OID.GEN_CURRENT_PACKET_FILTER:
      return [0x2f]
    case OID.GEN_RECEIVE_SCALE_PARAMETERS:
      return [0, 0, 0, 0, ...words(10, 7)]
    case OID.TCP_OFFLOAD_PARAMETERS:
      return [0, ...words(4, 2)]
    case OID.OFFLOAD_ENCAPSULATION:
      return [0, 1, 0, 1, 0]
    case OID.GEN_RNDIS_CONFIG_PARAMETER:
      return [0, ...new Array(12).fill(2)]
    default:
      return [2, ...words(2, 1)]
  }
}

/** A message in one piece of memory, sent as it is. */
const control = (type: number, oid: number): number[] => [
  ...[CONTROL, CONTROL_TYPES.indexOf(type), 0, OIDS.indexOf(oid), ...information(oid)],
  ...[0, 0, 0, 255, 0, 0],
]

/** The input. */
export function everyOid(): Uint8Array {
  const steps = Object.values(OID).flatMap((oid) =>
    [4, 5].flatMap((type) => [...control(type, oid), CONSUME, ...GIVE_BACK]),
  )
  return Uint8Array.from([...SET_UP, ...steps])
}
