// Registers, commands and bits of the 8042 keyboard and auxiliary device controller (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary
// Device Controller"; Intel UPI-42 data sheet for the pins).

/** Ports. */
export const I8042_PORT = { DATA: 0x60, COMMAND: 0x64, STATUS: 0x64 } as const

/** Bits of the status register, read at port 0x64. */
export const STATUS = {
  OUTPUT_BUFFER_FULL: 0x01,
  /** Never seen: what is written is taken at once. */
  INPUT_BUFFER_FULL: 0x02,
  /** A copy of the command byte's bit. */
  SYSTEM_FLAG: 0x04,
  /** The last write went to port 0x64. */
  COMMAND: 0x08,
  /** The keyboard is not locked. */
  UNLOCKED: 0x10,
  /** The byte at port 0x60 is the mouse's. */
  AUXILIARY_DATA: 0x20,
} as const

/** Bits of the command byte, RAM location 0. */
export const COMMAND_BYTE = {
  KEYBOARD_INTERRUPT: 0x01,
  AUXILIARY_INTERRUPT: 0x02,
  SYSTEM_FLAG: 0x04,
  DISABLE_KEYBOARD: 0x10,
  DISABLE_AUXILIARY: 0x20,
  TRANSLATE: 0x40,
} as const

/** Commands, written to port 0x64. */
export const COMMAND = {
  /** 0x20–0x3F: the RAM location of the low five bits. */
  READ_RAM: 0x20,
  /** 0x60–0x7F: the next byte at port 0x60 goes there. */
  WRITE_RAM: 0x60,
  TEST_PASSWORD: 0xa4,
  LOAD_PASSWORD: 0xa5,
  ENABLE_PASSWORD: 0xa6,
  DISABLE_AUXILIARY: 0xa7,
  ENABLE_AUXILIARY: 0xa8,
  TEST_AUXILIARY: 0xa9,
  SELF_TEST: 0xaa,
  TEST_KEYBOARD: 0xab,
  DISABLE_KEYBOARD: 0xad,
  ENABLE_KEYBOARD: 0xae,
  READ_INPUT_PORT: 0xc0,
  POLL_INPUT_PORT_LOW: 0xc1,
  POLL_INPUT_PORT_HIGH: 0xc2,
  READ_OUTPUT_PORT: 0xd0,
  WRITE_OUTPUT_PORT: 0xd1,
  WRITE_KEYBOARD_OUTPUT: 0xd2,
  WRITE_AUXILIARY_OUTPUT: 0xd3,
  WRITE_AUXILIARY: 0xd4,
  DISABLE_A20: 0xdd,
  ENABLE_A20: 0xdf,
  READ_TEST_INPUTS: 0xe0,
  /** 0xF0–0xFF: pulse the bits 0–3 of the output port that are 0 in the command. */
  PULSE_OUTPUT_PORT: 0xf0,
} as const

/** Bits of the output port. */
export const OUTPUT_PORT = {
  /** Low resets the processor. */
  NO_RESET: 0x01,
  A20: 0x02,
  AUXILIARY_DATA: 0x04,
  AUXILIARY_CLOCK: 0x08,
  KEYBOARD_INTERRUPT: 0x10,
  AUXILIARY_INTERRUPT: 0x20,
  KEYBOARD_CLOCK: 0x40,
  KEYBOARD_DATA: 0x80,
} as const

/** The input port: both data wires idle, no manufacturing jumper, the keyboard not locked. */
export const INPUT_PORT = 0xa3

/** Answers. */
export const ANSWER = {
  SELF_TEST_PASSED: 0x55,
  INTERFACE_TEST_PASSED: 0x00,
  PASSWORD_INSTALLED: 0xfa,
  NO_PASSWORD: 0xf1,
} as const
