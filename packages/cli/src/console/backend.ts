// The host's end of the console, whatever is behind it.

import type { CharacterBackend } from '@partita/interface'

/** A character back end with an end. */
export interface ConsoleBackend extends CharacterBackend, AsyncDisposable {
  /** Called once when the other side has gone, and nobody sees the output any more. */
  onClosed: (() => void) | undefined
}
