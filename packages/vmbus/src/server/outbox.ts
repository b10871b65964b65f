// Messages on their way to the guest. A SINT has one slot for a message; while it is taken, messages wait here. Replies stop being
// accepted for at a limit, and the guest is told to try again, so that one who never looks does not grow the host.

/** A message that waits. */
export interface OutgoingMessage {
  readonly vpIndex: number
  readonly sint: number
  readonly payload: Uint8Array
  /** The OPEN_CHANNEL_RESULT of this channel: interrupts may follow it, not come before. */
  readonly openResultOf?: number
}

/** The guest's requests are turned away when this many messages wait. */
const OUTBOX_LIMIT = 64

/** A queue with a pump. */
export class Outbox {
  readonly #post: (message: OutgoingMessage) => boolean
  #messages: OutgoingMessage[] = []
  #pumping = false

  constructor(post: (message: OutgoingMessage) => boolean) {
    this.#post = post
  }

  get length(): number {
    return this.#messages.length
  }

  /** Whether the guest's requests are to be turned away. */
  get full(): boolean {
    return this.#messages.length >= OUTBOX_LIMIT
  }

  /** The messages that wait, first one first. */
  get messages(): readonly OutgoingMessage[] {
    return this.#messages
  }

  add(message: OutgoingMessage): void {
    this.#messages.push(message)
    this.pump()
  }

  /** Take back the messages that `unwanted` is true of; returns how many. */
  remove(unwanted: (message: OutgoingMessage) => boolean): number {
    const before = this.#messages.length
    this.#messages = this.#messages.filter((message) => !unwanted(message))
    return before - this.#messages.length
  }

  clear(): void {
    this.#messages = []
  }

  /** Post what can be posted. */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      for (let next = this.#messages[0]; next !== undefined; next = this.#messages[0]) {
        if (!this.#post(next)) break
        // Posting may have led back here and cleared the queue.
        if (this.#messages[0] === next) this.#messages.shift()
      }
    } finally {
      this.#pumping = false
    }
  }
}
