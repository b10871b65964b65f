// Sense data: keys and additional sense codes (SPC-4, tables 50 and annex F), and the fixed format (SPC-4, 4.5.3).

/** Sense keys (SPC-4, table 50). */
export const SENSE_KEY = {
  NO_SENSE: 0x0,
  RECOVERED_ERROR: 0x1,
  NOT_READY: 0x2,
  MEDIUM_ERROR: 0x3,
  HARDWARE_ERROR: 0x4,
  ILLEGAL_REQUEST: 0x5,
  UNIT_ATTENTION: 0x6,
  DATA_PROTECT: 0x7,
  ABORTED_COMMAND: 0xb,
  MISCOMPARE: 0xe,
} as const

/** What a command failed with: sense key, additional sense code and its qualifier. */
export interface Sense {
  /** One of {@link SENSE_KEY}. */
  readonly key: number
  /** Additional sense code: the cause. */
  readonly asc: number
  /** Its qualifier. */
  readonly ascq: number
}

function sense(key: keyof typeof SENSE_KEY, asc: number, ascq: number): Sense {
  return { key: SENSE_KEY[key], asc, ascq }
}

/** The senses that this target gives, by the names of SPC-4, annex F. */
export const SENSE = {
  NO_ADDITIONAL_SENSE: sense('NO_SENSE', 0x00, 0x00) as Sense,
  MEDIUM_NOT_PRESENT: sense('NOT_READY', 0x3a, 0x00) as Sense,
  MEDIUM_NOT_PRESENT_TRAY_OPEN: sense('NOT_READY', 0x3a, 0x02) as Sense,
  INITIALIZING_COMMAND_REQUIRED: sense('NOT_READY', 0x04, 0x02) as Sense,
  UNRECOVERED_READ_ERROR: sense('MEDIUM_ERROR', 0x11, 0x00) as Sense,
  WRITE_ERROR: sense('MEDIUM_ERROR', 0x0c, 0x00) as Sense,
  INTERNAL_TARGET_FAILURE: sense('HARDWARE_ERROR', 0x44, 0x00) as Sense,
  PARAMETER_LIST_LENGTH_ERROR: sense('ILLEGAL_REQUEST', 0x1a, 0x00) as Sense,
  INVALID_COMMAND_OPERATION_CODE: sense('ILLEGAL_REQUEST', 0x20, 0x00) as Sense,
  LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE: sense('ILLEGAL_REQUEST', 0x21, 0x00) as Sense,
  INVALID_FIELD_IN_CDB: sense('ILLEGAL_REQUEST', 0x24, 0x00) as Sense,
  LOGICAL_UNIT_NOT_SUPPORTED: sense('ILLEGAL_REQUEST', 0x25, 0x00) as Sense,
  INCOMPATIBLE_FORMAT: sense('ILLEGAL_REQUEST', 0x30, 0x02) as Sense,
  INVALID_FIELD_IN_PARAMETER_LIST: sense('ILLEGAL_REQUEST', 0x26, 0x00) as Sense,
  INVALID_RELEASE_OF_PERSISTENT_RESERVATION: sense('ILLEGAL_REQUEST', 0x26, 0x04) as Sense,
  SAVING_PARAMETERS_NOT_SUPPORTED: sense('ILLEGAL_REQUEST', 0x39, 0x00) as Sense,
  MEDIUM_REMOVAL_PREVENTED: sense('ILLEGAL_REQUEST', 0x53, 0x02) as Sense,
  INSUFFICIENT_REGISTRATION_RESOURCES: sense('ILLEGAL_REQUEST', 0x55, 0x04) as Sense,
  ILLEGAL_MODE_FOR_THIS_TRACK: sense('ILLEGAL_REQUEST', 0x64, 0x00) as Sense,
  MEDIUM_MAY_HAVE_CHANGED: sense('UNIT_ATTENTION', 0x28, 0x00) as Sense,
  RESET_OCCURRED: sense('UNIT_ATTENTION', 0x29, 0x00) as Sense,
  POWER_ON_OCCURRED: sense('UNIT_ATTENTION', 0x29, 0x01) as Sense,
  BUS_RESET_OCCURRED: sense('UNIT_ATTENTION', 0x29, 0x02) as Sense,
  DEVICE_RESET_OCCURRED: sense('UNIT_ATTENTION', 0x29, 0x03) as Sense,
  MODE_PARAMETERS_CHANGED: sense('UNIT_ATTENTION', 0x2a, 0x01) as Sense,
  RESERVATIONS_PREEMPTED: sense('UNIT_ATTENTION', 0x2a, 0x03) as Sense,
  RESERVATIONS_RELEASED: sense('UNIT_ATTENTION', 0x2a, 0x04) as Sense,
  REGISTRATIONS_PREEMPTED: sense('UNIT_ATTENTION', 0x2a, 0x05) as Sense,
  CAPACITY_DATA_HAS_CHANGED: sense('UNIT_ATTENTION', 0x2a, 0x09) as Sense,
  REPORTED_LUNS_DATA_HAS_CHANGED: sense('UNIT_ATTENTION', 0x3f, 0x0e) as Sense,
  WRITE_PROTECTED: sense('DATA_PROTECT', 0x27, 0x00) as Sense,
  SPACE_ALLOCATION_FAILED_WRITE_PROTECT: sense('DATA_PROTECT', 0x27, 0x07) as Sense,
  MISCOMPARE_DURING_VERIFY: sense('MISCOMPARE', 0x1d, 0x00) as Sense,
} as const

/** Bytes of fixed-format sense data as this target makes it. */
export const FIXED_SENSE_LENGTH = 18

/**
 * Write fixed-format sense data for the current command (response code 70h) into the first 18 bytes of `target`.
 * With `information` its VALID bit is set (SPC-4, 4.5.3); a value that 32 bits cannot carry is left out, as the format asks.
 */
export function writeFixedSense(target: Uint8Array, value: Sense, information?: number): void {
  target.fill(0, 0, FIXED_SENSE_LENGTH)
  target[0] = 0x70
  if (information !== undefined && information <= 0xffff_ffff) {
    target[0] = 0xf0
    for (let i = 0; i < 4; i++) target[3 + i] = (information >>> (24 - 8 * i)) & 0xff
  }
  target[2] = value.key
  target[7] = FIXED_SENSE_LENGTH - 8
  target[12] = value.asc
  target[13] = value.ascq
}
