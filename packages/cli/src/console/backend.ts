// The host's end of the console, whatever is behind it.

import type { CharacterBackend } from '@partita/interface'

/** A character back end with an end, which waits until the output has been read. */
export interface ConsoleBackend extends CharacterBackend, AsyncDisposable {
  /** Called once when the other side has gone, and nobody sees the output any more. */
  onClosed: (() => void) | undefined
  /** The run was ended from outside, and somebody who is there did not read to the end. */
  readonly lost: boolean
}
