// When a kernel that has panicked is taken for dead.

/** Seconds of silence after a panic message: a kernel that is loaded for the dump (kdump) needs some until it speaks. */
const PANIC_SILENCE = 60

/** Ends a guest that has panicked and says nothing more. It counts seconds in which this process ran: a host that was suspended proves nothing. */
export class SilenceTimer implements Disposable {
  readonly #onSilence: () => void
  #timer: NodeJS.Timeout | undefined
  #silent = 0

  constructor(onSilence: () => void) {
    this.#onSilence = onSilence
  }

  start(): void {
    this.#silent = 0
    this.#timer ??= setInterval(() => this.#second(), 1000)
  }

  /** Something came or went on the console; `panicked`: and it still looks like a panic. */
  touch(panicked: boolean): void {
    this.#silent = 0
    if (!panicked) this[Symbol.dispose]()
  }

  #second(): void {
    if (++this.#silent < PANIC_SILENCE) return
    this[Symbol.dispose]()
    this.#onSilence()
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
