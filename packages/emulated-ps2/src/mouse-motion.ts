// What was done with the mouse and has not been reported yet: movement adds up; each change of buttons is kept apart, so that a click between two reports is seen.

/** How many changes of buttons are kept. What comes then merges with the last. */
const CAPACITY = 32
/** Counters saturate there. */
const LIMIT = 0x7fff

function saturate(value: number): number {
  return Math.max(-LIMIT, Math.min(LIMIT, value))
}

/** A ring of steps, each with the buttons that were down during it. */
export class MouseMotion {
  readonly #x: Int32Array = new Int32Array(CAPACITY)
  readonly #y: Int32Array = new Int32Array(CAPACITY)
  readonly #wheel: Int32Array = new Int32Array(CAPACITY)
  readonly #buttons: Uint8Array = new Uint8Array(CAPACITY)
  #head = 0
  #length = 0

  /** Nothing to report. */
  get empty(): boolean {
    return this.#length === 0
  }

  get x(): number {
    return this.#x[this.#head] ?? 0
  }

  get y(): number {
    return this.#y[this.#head] ?? 0
  }

  get wheel(): number {
    return this.#wheel[this.#head] ?? 0
  }

  /** The buttons of the oldest step. */
  get buttons(): number {
    return this.#buttons[this.#head] ?? 0
  }

  /** Add to the newest step when its buttons are `buttons`, else begin one. */
  add(dx: number, dy: number, wheel: number, buttons: number): void {
    let index = (this.#head + this.#length - 1) % CAPACITY
    if (this.#length === 0 || (this.#buttons[index] !== buttons && this.#length < CAPACITY)) {
      index = (this.#head + this.#length++) % CAPACITY
      this.#x[index] = 0
      this.#y[index] = 0
      this.#wheel[index] = 0
    }
    this.#x[index] = saturate((this.#x[index] ?? 0) + dx)
    this.#y[index] = saturate((this.#y[index] ?? 0) + dy)
    this.#wheel[index] = saturate((this.#wheel[index] ?? 0) + wheel)
    this.#buttons[index] = buttons
  }

  /** Take that much from the oldest step, and the step itself when nothing is left of it. */
  take(dx: number, dy: number, wheel: number): void {
    const head = this.#head
    this.#x[head] = this.x - dx
    this.#y[head] = this.y - dy
    this.#wheel[head] = this.wheel - wheel
    if (this.x !== 0 || this.y !== 0 || this.wheel !== 0) return
    this.#head = (head + 1) % CAPACITY
    this.#length--
  }

  clear(): void {
    this.#length = 0
  }

  /** Four numbers a step: x, y, wheel, buttons. */
  save(): number[] {
    return Array.from({ length: this.#length }, (_, i) => {
      const at = (this.#head + i) % CAPACITY
      return [this.#x[at] ?? 0, this.#y[at] ?? 0, this.#wheel[at] ?? 0, this.#buttons[at] ?? 0]
    }).flat()
  }

  restore(steps: readonly number[]): void {
    this.clear()
    for (let i = 0; i + 3 < steps.length; i += 4) {
      this.add(steps[i] ?? 0, steps[i + 1] ?? 0, steps[i + 2] ?? 0, steps[i + 3] ?? 0)
    }
  }
}
