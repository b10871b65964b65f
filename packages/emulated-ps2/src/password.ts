// The password of the controller (commands 0xA4 to 0xA6): while it is asked for, nothing reaches the guest until its scan codes were typed.

const MAXIMUM_LENGTH = 8

/** Up to eight scan codes of set 1, as the host has loaded them. */
export class Password {
  #codes: number[] = []
  #matched = 0
  #locked = false

  get installed(): boolean {
    return this.#codes.length > 0
  }

  /** Nothing reaches the guest. */
  get locked(): boolean {
    return this.#locked
  }

  clear(): void {
    this.#codes = []
    this.#matched = 0
    this.#locked = false
  }

  /** One scan code; 0 ends the password. Returns whether more may come. */
  load(code: number): boolean {
    if (code === 0) return false
    if (this.#codes.length < MAXIMUM_LENGTH) this.#codes.push(code)
    return true
  }

  enable(): void {
    this.#matched = 0
    this.#locked = this.installed
  }

  /** A byte from the keyboard. Releases count as nothing; a wrong code begins anew. */
  type(code: number): void {
    if (code >= 0x80) return
    if (code === this.#codes[this.#matched]) this.#matched++
    else this.#matched = code === this.#codes[0] ? 1 : 0
    if (this.#matched === this.#codes.length) this.#locked = false
  }

  save(): { password: Uint8Array; passwordMatched: number; locked: boolean } {
    return { password: Uint8Array.from(this.#codes), passwordMatched: this.#matched, locked: this.#locked }
  }

  restore(state: { password: Uint8Array; passwordMatched: number; locked: boolean }): void {
    this.#codes = [...state.password]
    this.#matched = Math.min(state.passwordMatched, this.#codes.length)
    this.#locked = state.locked && this.installed
  }
}
