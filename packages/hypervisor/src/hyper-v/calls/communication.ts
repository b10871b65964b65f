// HvCallPostMessage and HvCallSignalEvent (TLFS, "Inter-Partition Communication"): from the guest to the ports of the root partition.

import type { HypercallTable } from '../../hypercall-table.ts'
import { HV_STATUS } from '../status.ts'
import { EVENT_FLAG_COUNT, MESSAGE_PAYLOAD_MAXIMUM } from '../synic-pages.ts'

const CALL = { POST_MESSAGE: 0x005c, SIGNAL_EVENT: 0x005d } as const

/** A connection id has 24 bits; the other 8 are zero. */
const CONNECTION_ID_RESERVED = 0xff000000
/** Message types with this bit are the hypervisor's. */
const HYPERVISOR_MESSAGE = 0x80000000

/** Offsets in HvCallPostMessage's input. */
const POST = { CONNECTION_ID: 0, MESSAGE_TYPE: 8, PAYLOAD_SIZE: 12, PAYLOAD: 16, SIZE: 256 } as const
/** Offsets in HvCallSignalEvent's input. */
const SIGNAL = { CONNECTION_ID: 0, FLAG_NUMBER: 4, SIZE: 8 } as const

/** What stands behind connection ids. */
export interface Ports {
  readonly messagePorts: ReadonlyMap<number, (vpIndex: number, messageType: number, payload: Uint8Array) => number>
  readonly eventPorts: ReadonlyMap<number, (flag: number) => void>
}

/** Register the two calls. */
export function registerCommunication(table: HypercallTable, ports: Ports): void {
  table.register(CALL.POST_MESSAGE, {
    privilege: 'POST_MESSAGES',
    inputSize: POST.SIZE,
    call({ vp, input, inputBytes }): number {
      const connectionId = input.getUint32(POST.CONNECTION_ID, true)
      const messageType = input.getUint32(POST.MESSAGE_TYPE, true)
      const size = input.getUint32(POST.PAYLOAD_SIZE, true)
      if (messageType === 0 || (messageType & HYPERVISOR_MESSAGE) !== 0 || size > MESSAGE_PAYLOAD_MAXIMUM)
        return HV_STATUS.INVALID_PARAMETER
      const receive = ports.messagePorts.get(connectionId)
      if (receive !== undefined)
        return receive(vp.index, messageType, inputBytes.slice(POST.PAYLOAD, POST.PAYLOAD + size))
      return noPort(connectionId, ports.eventPorts)
    },
  })
  table.register(CALL.SIGNAL_EVENT, {
    privilege: 'SIGNAL_EVENTS',
    inputSize: SIGNAL.SIZE,
    call({ input }): number {
      const connectionId = input.getUint32(SIGNAL.CONNECTION_ID, true)
      const flag = input.getUint16(SIGNAL.FLAG_NUMBER, true)
      const signal = ports.eventPorts.get(connectionId)
      if (signal === undefined) return noPort(connectionId, ports.messagePorts)
      if (flag >= EVENT_FLAG_COUNT) return HV_STATUS.INVALID_PARAMETER
      signal(flag)
      return HV_STATUS.SUCCESS
    },
  })
}

/** The status for a connection without a port of the right kind. */
function noPort(connectionId: number, others: ReadonlyMap<number, unknown>): number {
  return (connectionId & CONNECTION_ID_RESERVED) === 0 && others.has(connectionId)
    ? HV_STATUS.INVALID_PORT_ID
    : HV_STATUS.INVALID_CONNECTION_ID
}
