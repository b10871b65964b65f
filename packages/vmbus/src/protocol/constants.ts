// Numbers of the channel protocol.

/** Bytes of the largest message: the payload of a SynIC message. */
export const MAX_MESSAGE_SIZE = 240
/** Bytes that a driver and a device may pass each other with an offer and with an open request. */
export const USER_DEFINED_SIZE = 120
/** Channels of a partition are numbered from 1: their event flags are bits of a page of 2,048. */
export const MAX_RELID = 2047
/** Bytes of a page of a GPADL. */
export const PAGE_SIZE = 4096

/** The connection that a client posts to below version 5.0. */
export const MESSAGE_CONNECTION_ID = 1
/** The connection that a client posts to from version 5.0 on. */
export const MESSAGE_CONNECTION_ID_5 = 4
/** Connection ids of channels are this plus the relid, so that none is ever used for a message. */
export const EVENT_CONNECTION_BASE = 0x2000
/** The type of the SynIC messages that carry the channel protocol. */
export const SYNIC_MESSAGE_TYPE = 1
/** The SINT of the VMBus. */
export const VMBUS_SINT = 2

/** In OPEN_CHANNEL and MODIFY_CHANNEL: the channel gets no interrupts. */
export const NO_TARGET_VP = 0xffff_ffff

/** Offer flags. */
export const OFFER_FLAG = {
  ENUMERATE_DEVICE_INTERFACE: 0x1,
  NAMED_PIPE_MODE: 0x10,
  PARENT_OFFER: 0x200,
  /** The channel is a hypervisor socket. */
  TLNPI_PROVIDER: 0x2000,
} as const

/** Status codes (NTSTATUS) that messages carry; 0 is success. */
export const STATUS = {
  SUCCESS: 0,
  UNSUCCESSFUL: 0xc000_0001,
  INVALID_PARAMETER: 0xc000_000d,
  INSUFFICIENT_RESOURCES: 0xc000_009a,
  CONNECTION_REFUSED: 0xc000_0236,
} as const

/** `connectionState` of a version response. */
export const CONNECTION_STATE = { SUCCESSFUL: 0, FAILED_LOW_RESOURCES: 1, FAILED_UNKNOWN_FAILURE: 2 } as const

/** What HvCallPostMessage returns to the guest (TLFS, HV_STATUS). */
export const HV_STATUS = { SUCCESS: 0, INVALID_PARAMETER: 5, INSUFFICIENT_BUFFERS: 0x13 } as const
