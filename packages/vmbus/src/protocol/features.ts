// Features of a connection from version 6.0 on. The client says in INITIATE_CONTACT which it could use, and the server in VERSION_RESPONSE which of them are on.

/** Bits of `features`. */
export const FEATURE = {
  /** OPEN_CHANNEL says by which event flag and connection id the channel is signalled. */
  GUEST_SPECIFIED_SIGNAL_PARAMETERS: 0x01,
  /** OPEN_CHANNEL may ask for interrupts at another place, where there is one. */
  CHANNEL_INTERRUPT_REDIRECTION: 0x02,
  /** MODIFY_CONNECTION: other monitor pages. */
  MODIFY_CONNECTION: 0x04,
  /** INITIATE_CONTACT says who the client is. */
  CLIENT_ID: 0x08,
  /** Offers may say that a channel's memory is confidential. */
  CONFIDENTIAL_CHANNELS: 0x10,
  /** PAUSE and RESUME. */
  PAUSE_RESUME: 0x20,
  /** The server says which monitor pages to use. */
  SERVER_SPECIFIED_MONITOR_PAGES: 0x40,
  /** Offers may ask that memory be pinned. */
  GPA_PINNING: 0x80,
} as const

/** What Partita's server has. Nobody is there to redirect interrupts to; asking for it changes nothing. */
export const SUPPORTED_FEATURES: number =
  FEATURE.GUEST_SPECIFIED_SIGNAL_PARAMETERS |
  FEATURE.CHANNEL_INTERRUPT_REDIRECTION |
  FEATURE.MODIFY_CONNECTION |
  FEATURE.CLIENT_ID |
  FEATURE.PAUSE_RESUME
