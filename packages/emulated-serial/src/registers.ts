// Registers and bits of the 16550A (data sheet PC16550D, table II).

/** Offsets from the base. RBR, THR and DLL share one, IER and DLM, IIR and FCR. */
export const REGISTER = {
  RBR: 0,
  THR: 0,
  DLL: 0,
  IER: 1,
  DLM: 1,
  IIR: 2,
  FCR: 2,
  LCR: 3,
  MCR: 4,
  LSR: 5,
  MSR: 6,
  SCR: 7,
} as const
/** Interrupt enable. */
export const IER = { ERBFI: 0x01, ETBEI: 0x02, ELSI: 0x04, EDSSI: 0x08 } as const
/** Interrupt identification, in order of priority. */
export const IIR = {
  LINE_STATUS: 0x06,
  RECEIVED: 0x04,
  TIME_OUT: 0x0c,
  THR_EMPTY: 0x02,
  MODEM_STATUS: 0x00,
  NONE: 0x01,
  FIFOS: 0xc0,
} as const
/** FIFO control. */
export const FCR = { ENABLE: 0x01, CLEAR_RECEIVER: 0x02, CLEAR_TRANSMITTER: 0x04, TRIGGER_SHIFT: 6 } as const
/** Line control. */
export const LCR = { DLAB: 0x80 } as const
/** Modem control. */
export const MCR = { DTR: 0x01, RTS: 0x02, OUT1: 0x04, OUT2: 0x08, LOOP: 0x10, BITS: 0x1f } as const
/** Line status. */
export const LSR = { DR: 0x01, OE: 0x02, PE: 0x04, FE: 0x08, BI: 0x10, THRE: 0x20, TEMT: 0x40, ERRORS: 0x1e } as const
/** Modem status; the low half says which of the high half have changed. */
export const MSR = {
  DCTS: 0x01,
  DDSR: 0x02,
  TERI: 0x04,
  DDCD: 0x08,
  CTS: 0x10,
  DSR: 0x20,
  RI: 0x40,
  DCD: 0x80,
  DELTAS: 0x0f,
} as const
/** Bytes in the receiver FIFO at which the interrupt comes, by bits 7–6 of the FCR. */
export const TRIGGER_LEVELS = [1, 4, 8, 14] as const
