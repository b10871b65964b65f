// The keyboard and the mouse of a machine of generation 1: each event that Linux' evdev reports is the one that was caused. hexdump prints them as they come, a line an event.

import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { type KeyboardInput, keyboardInputToken, type MouseInput, mouseInputToken } from '@partita/interface'
import type { GuestCase } from '../case.ts'
import type { MatrixGuest } from '../machine.ts'

/** Type, code, value: include/uapi/linux/input.h. */
type InputEvent = readonly [type: number, code: number, value: number]

const EV_KEY = 1
const EV_REL = 2
const EV_MSC = 4
const MSC_SCAN = 4
const REL_X = 0
const REL_Y = 1
const REL_WHEEL = 8
const SYN: InputEvent = [0, 0, 0]

/** What evdev says of one device. */
class EventReader {
  readonly #guest: MatrixGuest
  #from: number

  private constructor(guest: MatrixGuest) {
    this.#guest = guest
    this.#from = guest.console.text.length
  }

  /** Begin with the device of this name. */
  static async start(guest: MatrixGuest, name: string): Promise<EventReader> {
    const find = `for e in /sys/class/input/event*; do read -r name <$e/device/name; [ "$name" = '${name}' ] && event=/dev/input/\${e##*/}; done`
    await guest.run(`event=; until ${find}; [ -c "$event" ]; do usleep 20000; done`)
    const reader = new EventReader(guest)
    // Open before anything happens: the shell opens it, and hands it on.
    await guest.run(`exec 9<$event; hexdump -v -e '12/2 "%u " "\\n"' <&9 & exec 9<&-`)
    reader.#from = guest.console.text.length
    return reader
  }

  /** Wait for this event; what came since the last time. */
  async until(event: InputEvent, times = 1): Promise<InputEvent[]> {
    const begin = this.#from
    const [type, code, value] = event
    const words = ` ${type} ${code} ${value & 0xffff} ${(value >> 16) & 0xffff}\r\n`
    for (let i = 0; i < times; i++) {
      await this.#guest.saw(words, this.#from)
      this.#from = this.#guest.console.text.indexOf(words, this.#from) + words.length
    }
    return parse(this.#guest.console.text.slice(begin, this.#from))
  }

  async stop(): Promise<void> {
    await this.#guest.run('kill %1; wait 2>/dev/null; true')
  }
}

function parse(text: string): InputEvent[] {
  return text.split('\n').flatMap((line): InputEvent[] => {
    const words = /(?:\d+ ){11}\d+/.exec(line)?.[0].split(' ').map(Number)
    if (words === undefined) return []
    const [type, code, low, high] = words.slice(8) as [number, number, number, number]
    return [[type, code, low | (high << 16)]]
  })
}

/** Keys whose code in Linux is that of scan code set 1, in its order, from 1 on. */
const PLAIN_KEYS: readonly string[] = [
  ...['Escape', 'Digit1', 'Digit2', 'Digit3', 'Digit4', 'Digit5', 'Digit6', 'Digit7', 'Digit8', 'Digit9', 'Digit0'],
  ...['Minus', 'Equal', 'Backspace', 'Tab', 'KeyQ', 'KeyW', 'KeyE', 'KeyR', 'KeyT', 'KeyY', 'KeyU', 'KeyI', 'KeyO'],
  ...['KeyP', 'BracketLeft', 'BracketRight', 'Enter', 'ControlLeft', 'KeyA', 'KeyS', 'KeyD', 'KeyF', 'KeyG', 'KeyH'],
  ...['KeyJ', 'KeyK', 'KeyL', 'Semicolon', 'Quote', 'Backquote', 'ShiftLeft', 'Backslash', 'KeyZ', 'KeyX', 'KeyC'],
  ...['KeyV', 'KeyB', 'KeyN', 'KeyM', 'Comma', 'Period', 'Slash', 'ShiftRight', 'NumpadMultiply', 'AltLeft', 'Space'],
  ...['CapsLock', 'F1', 'F2', 'F3', 'F4', 'F5', 'F6', 'F7', 'F8', 'F9', 'F10', 'NumLock', 'ScrollLock', 'Numpad7'],
  ...['Numpad8', 'Numpad9', 'NumpadSubtract', 'Numpad4', 'Numpad5', 'Numpad6', 'NumpadAdd', 'Numpad1', 'Numpad2'],
  ...['Numpad3', 'Numpad0', 'NumpadDecimal'],
]
/** The others: the scan code as atkbd numbers it (with 80h for the prefix E0h), and Linux' code. */
const OTHER_KEYS: readonly (readonly [code: string, scan: number, linux: number])[] = [
  ['IntlBackslash', 0x56, 86],
  ['F11', 0x57, 87],
  ['F12', 0x58, 88],
  ['NumpadEnter', 0x9c, 96],
  ['ControlRight', 0x9d, 97],
  ['NumpadDivide', 0xb5, 98],
  ['PrintScreen', 0xb7, 99],
  ['AltRight', 0xb8, 100],
  ['Home', 0xc7, 102],
  ['ArrowUp', 0xc8, 103],
  ['PageUp', 0xc9, 104],
  ['ArrowLeft', 0xcb, 105],
  ['ArrowRight', 0xcd, 106],
  ['End', 0xcf, 107],
  ['ArrowDown', 0xd0, 108],
  ['PageDown', 0xd1, 109],
  ['Insert', 0xd2, 110],
  ['Delete', 0xd3, 111],
  ['AudioVolumeMute', 0xa0, 113],
  ['AudioVolumeDown', 0xae, 114],
  ['AudioVolumeUp', 0xb0, 115],
  ['Pause', 0xc5, 119],
  ['MetaLeft', 0xdb, 125],
  ['MetaRight', 0xdc, 126],
  ['ContextMenu', 0xdd, 127],
]

async function keyboardOf(guest: MatrixGuest): Promise<KeyboardInput> {
  const keyboard = guest.vm.find(keyboardInputToken)
  ok(keyboard !== undefined)
  const reader = await EventReader.start(guest, 'AT Translated Set 2 keyboard')
  const keys = [...PLAIN_KEYS.map((code, i) => [code, i + 1, i + 1] as const), ...OTHER_KEYS]
  for (const [code, scan, linux] of keys) {
    // Both at once: a key that waits for the guest in between may begin to repeat.
    ok(keyboard.key(code, true) && keyboard.key(code, false), code)
    const events = await reader.until([EV_KEY, linux, 0])
    // Lamps that the kernel switches are events as well, and their reports.
    const seen = events.filter(([type]) => type === EV_KEY || type === EV_MSC)
    deepEqual(
      seen,
      [1, 0].flatMap((value) => [
        [EV_MSC, MSC_SCAN, scan],
        [EV_KEY, linux, value],
      ]),
      code,
    )
    await keyboard.drained()
  }
  // A chord, and a key that stays down.
  for (const pressed of [true, false]) for (const code of ['ShiftLeft', 'AltRight', 'KeyA']) keyboard.key(code, pressed)
  const chord = (await reader.until([EV_KEY, 30, 0])).filter(([type]) => type === EV_KEY)
  deepEqual(
    chord,
    [1, 0].flatMap((value) => [42, 100, 30].map((linux) => [EV_KEY, linux, value])),
  )
  keyboard.key('KeyZ', true)
  await reader.until([EV_KEY, 44, 2], 3)
  keyboard.key('KeyZ', false)
  const rest = (await reader.until([EV_KEY, 44, 0])).filter(([type]) => type === EV_KEY)
  ok(rest.slice(0, -1).every(([, code, value]) => code === 44 && value === 2))
  await reader.stop()
  return keyboard
}

export const ps2Keyboard: GuestCase = {
  name: 'ps2-keyboard',
  description:
    "108 keys, a chord and a repeating key as i8042, atkbd and evdev of both kernels report them; the keyboard's lamps",
  async run({ boot }) {
    for (const kernel of ['generic', 'cloud'] as const) {
      const guest = await boot({ kernel, drives: [] })
      await guest.run('modprobe -qa i8042 atkbd evdev; true')
      const keyboard = await keyboardOf(guest)
      for (const value of [1, 0]) {
        await guest.run(`for led in /sys/class/leds/*capslock/brightness; do echo ${value} >$led; done`)
        equal(keyboard.leds.capsLock, value === 1)
      }
      await guest.powerOff()
    }
  },
}

/** What is done with the mouse, and what the guest sees of it: reports, each of which ends with SYN. */
interface Step {
  readonly what: string
  /** @param counts of the sensor that make one of the guest's */
  readonly act: (mouse: MouseInput, counts: number) => void
  readonly reports: readonly (readonly InputEvent[])[]
}

const move = (dx: number, dy: number, ...reports: (readonly [x: number, y: number])[]): Step => ({
  what: `move ${dx}, ${dy}`,
  act: (mouse, counts) => mouse.move(counts * dx, counts * dy),
  reports: (reports.length === 0 ? [[dx, dy] as const] : reports).map(([x, y]) => [
    ...(x === 0 ? [] : [[EV_REL, REL_X, x] as const]),
    ...(y === 0 ? [] : [[EV_REL, REL_Y, y] as const]),
  ]),
})

/** What a packet has of the wheel: nothing, any number of detents, or one. */
type Wheel = 'none' | 'many' | 'one'

const wheel = (detents: number, kind: Wheel): Step => ({
  what: `wheel ${detents}`,
  act: (mouse) => mouse.wheel(detents),
  // Towards the user is negative for Linux.
  reports: {
    none: [],
    many: [[[EV_REL, REL_WHEEL, -detents] as const]],
    one: Array.from({ length: Math.abs(detents) }, () => [[EV_REL, REL_WHEEL, -Math.sign(detents)] as const]),
  }[kind],
})

const BTN_LEFT = 0x110
/** From the numbers of `MouseEvent.button` to left, right, middle, side, extra. */
const BUTTONS: readonly number[] = [0, 2, 1, 3, 4]
const button = (number: number, pressed: boolean, seen: boolean): Step => ({
  what: `button ${number} ${pressed}`,
  act: (mouse) => mouse.button(number, pressed),
  reports: seen ? [[[EV_KEY, BTN_LEFT + (BUTTONS[number] as number), pressed ? 1 : 0]]] : [],
})

function steps(wheels: Wheel, buttons: number): Step[] {
  const clicks = [0, 1, 2, 3, 4].flatMap((number) =>
    [true, false].map((pressed) => button(number, pressed, number < buttons)),
  )
  return [
    ...[
      move(1, 0),
      move(-1, 0),
      move(0, 1),
      move(0, -1),
      move(7, -3),
      move(-100, 100),
      move(255, -255),
      move(-255, 255),
    ],
    // More than a packet holds.
    ...[move(600, -300, [255, -255], [255, -45], [90, 0]), move(-600, 300, [-255, 255], [-255, 45], [-90, 0])],
    ...[wheel(1, wheels), wheel(-1, wheels), wheel(3, wheels), wheel(-2, wheels)],
    ...clicks,
    // Dragging.
    ...[button(0, true, true), move(20, 30), button(2, true, true), move(-5, 0), button(0, false, true), move(0, 9)],
    button(2, false, true),
  ]
}

/** For the standard protocol psmouse leaves the resolution at 4 counts a millimetre; for others it asks for the 8 of the sensor. */
const PROTOCOLS = [
  { proto: 'bare', name: 'PS/2 Generic Mouse', wheels: 'none', buttons: 3, counts: 2 },
  { proto: 'imps', name: 'ImPS/2 Generic Wheel Mouse', wheels: 'many', buttons: 3, counts: 1 },
  { proto: 'exps', name: 'ImExPS/2 Generic Explorer Mouse', wheels: 'one', buttons: 5, counts: 1 },
] as const

export const ps2Mouse: GuestCase = {
  name: 'ps2-mouse',
  description:
    'movements, wheel and buttons as psmouse and evdev report them, with the standard, the IntelliMouse and the Explorer protocol',
  async run({ boot }) {
    const guest = await boot({ kernel: 'generic', drives: [] })
    const mouse = guest.vm.find(mouseInputToken)
    ok(mouse !== undefined)
    await guest.run('modprobe -a i8042 evdev')
    for (const { proto, name, wheels, buttons, counts } of PROTOCOLS) {
      await guest.run(`modprobe -r psmouse; modprobe psmouse proto=${proto}`)
      const reader = await EventReader.start(guest, name)
      for (const { what, act, reports } of steps(wheels, buttons)) {
        act(mouse, counts)
        if (reports.length === 0) continue
        const expected = reports.flatMap((report) => [...report, SYN])
        deepEqual(await reader.until(SYN, reports.length), expected, `${proto}: ${what}`)
      }
      await reader.stop()
    }
    match(await guest.run('dmesg | grep -i psmouse || echo quiet'), /quiet/)
    await guest.powerOff()
  },
}
