// What sits in front of a machine: a keyboard and a mouse, as whoever embeds a VM uses them. Emulated and synthetic devices provide the same
// services, so that a console does not know which of them the guest has.

import { type ServiceToken, serviceToken } from './plugin.ts'

/** The lamps of a keyboard, as the guest's driver has set them. */
export interface KeyboardLeds {
  /** The lamp is on. */
  readonly scrollLock: boolean
  /** The lamp is on: the guest takes the keys of the number block for digits. */
  readonly numLock: boolean
  /** The lamp is on. */
  readonly capsLock: boolean
}

/** A keyboard of the guest. */
export interface KeyboardInput {
  /**
   * Press or release a key, named as `KeyboardEvent.code` of UI Events names it (`KeyA`, `ShiftLeft`, `ArrowUp`). A key that stays pressed repeats by itself;
   * pressing it again changes nothing, so that the repeated `keydown` events of a browser may be passed on.
   *
   * @returns false when the event is lost: the keyboard has no such key, the guest does not listen, or it is too slow and the keyboard's buffer is full
   */
  key(code: string, pressed: boolean): boolean
  /**
   * Resolves when the guest has taken all that was sent, which may be at once, or never.
   * @throws the signal's reason when it is aborted
   */
  drained(signal?: AbortSignal): Promise<void>
  /** The lamps as they are now. */
  readonly leds: KeyboardLeds
  /** Set by whoever shows the lamps: called when the guest changes one. */
  onLeds: ((leds: KeyboardLeds) => void) | undefined
}

/** A mouse with relative movement. */
export interface MouseInput {
  /** Move by whole counts: right and down are positive, as in `MouseEvent.movementX` and `movementY`. */
  move(dx: number, dy: number): void
  /** Turn the wheel by whole detents: positive is towards the user, as in `WheelEvent.deltaY`. */
  wheel(detents: number): void
  /** Press or release a button, numbered as `MouseEvent.button`: 0 left, 1 middle, 2 right, 3 back, 4 forward. Others do nothing. */
  button(button: number, pressed: boolean): void
}

/** The keyboard; provided by the device that emulates one. */
export const keyboardInputToken: ServiceToken<KeyboardInput> = serviceToken('partita/keyboard-input')
/** The mouse; provided by the device that emulates one. */
export const mouseInputToken: ServiceToken<MouseInput> = serviceToken('partita/mouse-input')
