// The setting up of the protocol as a pure state machine: which answer an operation gets in which state (as OpenVMM's storvsp and Hyper-V have it).

import { VMSTOR_VERSION, VSTOR_OPERATION, VSTOR_STATUS } from '../protocol.ts'

/** How far a controller is. */
export const PHASE = { BEGIN: 0, VERSION: 1, PROPERTIES: 2, END: 3, READY: 4 } as const
/** One of {@link PHASE}. */
export type Phase = (typeof PHASE)[keyof typeof PHASE]

const VERSIONS: ReadonlySet<number> = new Set(Object.values(VMSTOR_VERSION))

/** Where the set-up stands. */
export interface Negotiation {
  phase: Phase
  /** 0 until it is agreed on. */
  version: number
  /** Sub-channels that the guest asked for. */
  subChannels: number
}

/** The state before the first packet. */
export function startNegotiation(): Negotiation {
  return { phase: PHASE.BEGIN, version: 0, subChannels: 0 }
}

/** Whether sub-channels exist in a version. */
export function hasSubChannels(version: number): boolean {
  return version >= VMSTOR_VERSION.V5_1
}

/**
 * The status for one of the operations that set the protocol up; `argument` is the version, or the number of sub-channels. Nothing changes:
 * {@link advance} does that when the answer is sent.
 */
export function statusOf(state: Negotiation, operation: number, argument: number, maximumSubChannels: number): number {
  switch (operation) {
    case VSTOR_OPERATION.BEGIN_INITIALIZATION:
      return state.phase === PHASE.BEGIN ? VSTOR_STATUS.SUCCESS : VSTOR_STATUS.INVALID_DEVICE_STATE
    case VSTOR_OPERATION.QUERY_PROTOCOL_VERSION:
      if (state.phase !== PHASE.VERSION) return VSTOR_STATUS.INVALID_DEVICE_STATE
      return VERSIONS.has(argument) ? VSTOR_STATUS.SUCCESS : VSTOR_STATUS.REVISION_MISMATCH
    case VSTOR_OPERATION.QUERY_PROPERTIES:
      return state.phase === PHASE.PROPERTIES ? VSTOR_STATUS.SUCCESS : VSTOR_STATUS.INVALID_DEVICE_STATE
    case VSTOR_OPERATION.FCHBA_DATA:
      // No controller of ours is a Fibre Channel adapter.
      return state.phase >= PHASE.END ? VSTOR_STATUS.INVALID_DEVICE_REQUEST : VSTOR_STATUS.INVALID_DEVICE_STATE
    case VSTOR_OPERATION.CREATE_SUB_CHANNELS:
      // Windows asks before the end of the set-up, Linux after it.
      if (state.phase < PHASE.END || !hasSubChannels(state.version)) return VSTOR_STATUS.INVALID_DEVICE_STATE
      return argument <= maximumSubChannels ? VSTOR_STATUS.SUCCESS : VSTOR_STATUS.INVALID_PARAMETER
    case VSTOR_OPERATION.END_INITIALIZATION:
      return state.phase === PHASE.END ? VSTOR_STATUS.SUCCESS : VSTOR_STATUS.INVALID_DEVICE_STATE
    default:
      return VSTOR_STATUS.INVALID_DEVICE_REQUEST
  }
}

/** The state after an operation that succeeded. */
export function advance(state: Negotiation, operation: number, argument: number): void {
  switch (operation) {
    case VSTOR_OPERATION.BEGIN_INITIALIZATION:
      state.phase = PHASE.VERSION
      break
    case VSTOR_OPERATION.QUERY_PROTOCOL_VERSION:
      state.version = argument
      state.phase = PHASE.PROPERTIES
      break
    case VSTOR_OPERATION.QUERY_PROPERTIES:
      state.phase = PHASE.END
      break
    case VSTOR_OPERATION.CREATE_SUB_CHANNELS:
      state.subChannels = argument
      break
    case VSTOR_OPERATION.END_INITIALIZATION:
      state.phase = PHASE.READY
      break
  }
}
