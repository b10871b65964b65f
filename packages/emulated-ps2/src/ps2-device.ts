// What the controller knows of the device at one of its two ports (IBM Personal System/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller"):
// bytes go both ways over one wire, and a device holds its bytes back while the controller keeps the clock low.

/** A keyboard or a mouse. */
export interface Ps2Device {
  /** A byte from the host. The device's answer, if any, is waiting when this returns. */
  receive(value: number): void
  /** The next byte for the host, or -1. */
  take(): number
  /** Whether {@link take} would give a byte. */
  readonly waiting: boolean
  /** Set by the controller: called when there are bytes to take after there were none. */
  onWaiting: (() => void) | undefined
}

/** Answers of devices. */
export const REPLY = {
  /** Basic assurance test passed. */
  SELF_TEST_PASSED: 0xaa,
  ECHO: 0xee,
  ACKNOWLEDGE: 0xfa,
  /** The second invalid byte in a row (mouse). */
  ERROR: 0xfc,
  /** What was received is no command, or no valid parameter. */
  RESEND: 0xfe,
} as const
