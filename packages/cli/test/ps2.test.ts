// The PS/2 keyboard of a machine of generation 1, end to end: what is typed is what the stock Debian kernel's i8042 and atkbd report through evdev.

import { readFile } from 'node:fs/promises'
import { typeText } from '@partita/emulated-ps2'
import { type KeyboardLeds, keyboardInputToken } from '@partita/interface'
import { GENERATION_1_DEVICES, PluginRegistry, VirtualMachine } from '@partita/root-partition'
import { NodePackageSource } from '@partita/root-partition/node'
import { describe, expect, test } from 'vitest'
import { ensureDefaultGuest } from '../src/default-guest/index.ts'
import { GuestConsole } from './guest-console.ts'

const guest = await ensureDefaultGuest().catch((error: unknown) => {
  console.warn(`skipped: no default guest on this machine: ${String(error)}`)
  return undefined
})

/** Linux's key codes (include/uapi/linux/input-event-codes.h). */
const KEY_CODES: readonly (readonly [code: string, linux: number])[] = [
  ['Escape', 1],
  ['Digit1', 2],
  ['Equal', 13],
  ['Backspace', 14],
  ['KeyA', 30],
  ['F1', 59],
  ['F7', 65],
  ['NumLock', 69],
  ['ScrollLock', 70],
  ['Numpad7', 71],
  ['NumpadSubtract', 74],
  ['IntlBackslash', 86],
  ['F11', 87],
  ['F12', 88],
  ['NumpadEnter', 96],
  ['ControlRight', 97],
  ['NumpadDivide', 98],
  ['PrintScreen', 99],
  ['AltRight', 100],
  ['Home', 102],
  ['ArrowUp', 103],
  ['PageDown', 109],
  ['Insert', 110],
  ['Delete', 111],
  ['Pause', 119],
  ['MetaLeft', 125],
  ['ContextMenu', 127],
  ['AudioVolumeUp', 115],
]
const EV_KEY = 1

/** Type, code and value of the events in a dump of `/dev/input/event…`. */
function keyEvents(bytes: Buffer): [code: number, value: number][] {
  const events: [number, number][] = []
  for (let at = 0; at + 24 <= bytes.length; at += 24) {
    if (bytes.readUInt16LE(at + 16) === EV_KEY) events.push([bytes.readUInt16LE(at + 18), bytes.readInt32LE(at + 20)])
  }
  return events
}

describe.skipIf(guest === undefined)('generation 1', () => {
  test('each key is seen exactly, and so are the lamps', { timeout: 600_000 }, async () => {
    if (guest === undefined) return
    const console = new GuestConsole()
    await using vm = await VirtualMachine.create(
      {
        memory: 256 * 2 ** 20,
        devices: [...GENERATION_1_DEVICES],
        boot: {
          kernel: guest.kernel,
          initrd: guest.initrd,
          commandLine: `${guest.commandLine} ${guest.pipedInputWord}`,
        },
      },
      {
        registry: new PluginRegistry({ source: new NodePackageSource({ directory: import.meta.dirname }) }),
        readFile,
        characterBackends: new Map([['console', console]]),
      },
    )
    const end = vm.run()
    await console.saw('root# ')
    const keyboard = vm.find(keyboardInputToken)
    if (keyboard === undefined) throw new Error('there is no keyboard')
    expect((await console.run('cat /sys/class/input/event0/device/name')).output).toBe('AT Translated Set 2 keyboard\n')

    await console.run(
      'cat /dev/input/event0 >/tmp/events & until ls -l /proc/$!/fd | grep -q event0; do usleep 20000; done 2>/dev/null',
    )
    const dump = async (): Promise<[code: number, value: number][]> => {
      const { output } = await console.run('echo "<<<"; base64 /tmp/events; echo ">>>"')
      return keyEvents(Buffer.from(/<<<\n([A-Za-z0-9+/=\s]*)>>>/.exec(output)?.[1] ?? '', 'base64'))
    }
    for (const [code] of KEY_CODES) {
      // At once, so that on no host it stays down long enough to repeat.
      for (const pressed of [true, false]) expect(keyboard.key(code, pressed), code).toBe(true)
      await keyboard.drained()
    }
    await typeText(keyboard, 'Hi!')
    // A key that stays down repeats: the guest reports it with the value 2.
    keyboard.key('KeyZ', true)
    while ((await dump()).filter(([code, value]) => code === 44 && value === 2).length < 2);
    keyboard.key('KeyZ', false)
    await keyboard.drained()
    let events: [code: number, value: number][]
    do events = await dump()
    while (String(events.at(-1)) !== '44,0')
    // While the shell waits for it: one that waits for a line takes the end of a background process for the end of its input.
    await console.run('kill %1; wait')
    const strokes = KEY_CODES.flatMap(([, linux]) => [
      [linux, 1],
      [linux, 0],
    ])
    const typed = [
      [42, 1],
      [35, 1],
      [35, 0],
      [42, 0],
      [23, 1],
      [23, 0],
      [42, 1],
      [2, 1],
      [2, 0],
      [42, 0],
    ]
    expect(events.slice(0, strokes.length + typed.length)).toEqual([...strokes, ...typed])
    const repeated = events.slice(strokes.length + typed.length)
    expect(repeated[0]).toEqual([44, 1])
    expect(repeated.at(-1)).toEqual([44, 0])
    expect(repeated.length).toBeGreaterThan(3)
    expect(repeated.slice(1, -1).every(([code, value]) => code === 44 && value === 2)).toBe(true)

    // Num Lock was pressed once above, and nothing else that has a lamp but Scroll Lock.
    const { promise: lit, resolve } = Promise.withResolvers<KeyboardLeds>()
    keyboard.onLeds = (leds) => void (leds.capsLock && resolve(leds))
    await console.run('for led in /sys/class/leds/*capslock/brightness; do echo 1 >$led; done')
    // The driver sets lamps in the background.
    expect(await lit).toMatchObject({ capsLock: true })
    console.type('poweroff -f')
    expect(await end).toMatchObject({ type: 'power-off' })
  })
})
