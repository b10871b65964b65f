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
  /** What came since {@link Outbox.hold}. */
  #held: OutgoingMessage[] | undefined
  #pumping = false

  constructor(post: (message: OutgoingMessage) => boolean) {
    this.#post = post
  }

  get length(): number {
    return this.#messages.length + this.heldCount
  }

  /** Whether messages are held back. */
  get holding(): boolean {
    return this.#held !== undefined
  }

  /** How many messages are held back: the last ones. */
  get heldCount(): number {
    return this.#held?.length ?? 0
  }

  /** Whether the guest's requests are to be turned away. */
  get full(): boolean {
    return this.length >= OUTBOX_LIMIT
  }

  /** The messages that wait, first one first. */
  get messages(): readonly OutgoingMessage[] {
    return this.#held === undefined ? this.#messages : [...this.#messages, ...this.#held]
  }

  add(message: OutgoingMessage): void {
    if (this.#held !== undefined) {
      this.#held.push(message)
      return
    }
    this.#messages.push(message)
    this.pump()
  }

  /** From now on what is added stays here; what waits already goes. */
  hold(): void {
    this.#held ??= []
  }

  /** Let go of what was held back. */
  release(): void {
    const held = this.#held
    if (held === undefined) return
    this.#held = undefined
    this.#messages.push(...held)
    this.pump()
  }

  /** Take back the messages that `unwanted` is true of; returns how many. */
  remove(unwanted: (message: OutgoingMessage) => boolean): number {
    const before = this.length
    this.#messages = this.#messages.filter((message) => !unwanted(message))
    this.#held = this.#held?.filter((message) => !unwanted(message))
    return before - this.length
  }

  /** Forget all; nothing is held back any longer. */
  clear(): void {
    this.#messages = []
    this.#held = undefined
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
