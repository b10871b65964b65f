// The pages and registers of the synthetic interrupt controller (TLFS, "Inter-Partition Communication").

/** Synthetic interrupt sources of a virtual processor. */
export const SINT_COUNT = 16
/** Synthetic timers of a virtual processor, with a message buffer each. */
export const TIMER_COUNT = 4
/** Event flags of a SINT. */
export const EVENT_FLAG_COUNT = 2048
/** Bytes of payload that a message holds. */
export const MESSAGE_PAYLOAD_MAXIMUM = 240
/** Messages that wait for a SINT's slot, besides those of timers: a port's guest message buffers. */
export const MESSAGE_QUEUE_LIMIT = 16
export const SYNIC_VERSION = 1n
/** Interrupt vectors below this are not valid. */
export const FIRST_VECTOR = 16

/** Double words of HV_MESSAGE in the message page: a slot's size, and offsets in it. */
export const SLOT = { SIZE: 64, TYPE: 0, SIZE_AND_FLAGS: 1, ORIGIN: 2, PAYLOAD: 4 } as const
/** HV_MESSAGE_FLAGS.MessagePending in the double word of payload size and flags. */
export const MESSAGE_PENDING = 0x100
/** Double words of HV_SYNIC_EVENT_FLAGS. */
export const EVENT_FLAGS_SIZE = 64

export const MESSAGE_TYPE = { NONE: 0, TIMER_EXPIRED: 0x80000010 } as const

/** SINTx. */
export const SINT = { VECTOR: 0xffn, MASKED: 0x10000n, AUTO_EOI: 0x20000n, POLLING: 0x40000n, RESET: 0x10000n } as const
/** SCONTROL. */
export const SCONTROL_ENABLE = 1n
