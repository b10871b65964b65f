// Memory that lets the guest change it whenever the host looks at it. Of windows, that is when they are taken; each access to one is `observe`'s.

import { SharedMemory } from '../../src/testing.ts'

export class WatchedMemory extends SharedMemory {
  /** Told before each access; of that to a byte of a window, of its address. */
  onAccess: ((gpa?: number) => void) | undefined
  readonly #under: SharedMemory

  constructor(under: SharedMemory) {
    super(0)
    this.#under = under
  }

  override isRam(gpa: number, length: number): boolean {
    // The base class asks while it is being made.
    this.onAccess?.()
    return this.#under.isRam(gpa, length)
  }

  override view(gpa: number, length: number): Uint8Array | undefined {
    this.onAccess?.()
    const view = this.#under.view(gpa, length)
    // Made here, it can be observed.
    return view === undefined ? undefined : new Uint8Array(view.buffer, view.byteOffset, view.length)
  }

  override read(gpa: number, target: Uint8Array): boolean {
    this.onAccess?.()
    return this.#under.read(gpa, target)
  }

  override write(gpa: number, source: Uint8Array): boolean {
    this.onAccess?.()
    return this.#under.write(gpa, source)
  }

  override readU32(gpa: number): number | undefined {
    this.onAccess?.()
    return this.#under.readU32(gpa)
  }

  override written(gpa: number, length: number): void {
    this.#under.written(gpa, length)
  }
}
