// The keyboard, against the IBM Personal System/2 Hardware Interface Technical Reference and Microsoft's Keyboard Scan Code Specification 1.3a.

import { describe, expect, it } from 'vitest'
import { KEYS, typeText, US_LAYOUT } from '../src/index.ts'
import { Ps2Machine } from './machine.ts'

function hex(text: string): number[] {
  return text
    .split(' ')
    .filter(Boolean)
    .map((byte) => Number.parseInt(byte, 16))
}

/** [keys held, key, set 1, set 2]: press / release. */
const SEQUENCES: readonly [held: string, key: string, set1: string, set2: string][] = [
  ['', 'KeyA', '1E / 9E', '1C / F0 1C'],
  ['', 'F7', '41 / C1', '83 / F0 83'],
  ['', 'F12', '58 / D8', '07 / F0 07'],
  ['', 'NumpadSubtract', '4A / CA', '7B / F0 7B'],
  ['', 'ControlRight', 'E0 1D / E0 9D', 'E0 14 / E0 F0 14'],
  ['', 'AltRight', 'E0 38 / E0 B8', 'E0 11 / E0 F0 11'],
  ['', 'MetaLeft', 'E0 5B / E0 DB', 'E0 1F / E0 F0 1F'],
  ['', 'ContextMenu', 'E0 5D / E0 DD', 'E0 2F / E0 F0 2F'],
  ['', 'NumpadEnter', 'E0 1C / E0 9C', 'E0 5A / E0 F0 5A'],
  ['', 'ArrowUp', 'E0 48 / E0 C8', 'E0 75 / E0 F0 75'],
  ['', 'Delete', 'E0 53 / E0 D3', 'E0 71 / E0 F0 71'],
  ['', 'IntlBackslash', '56 / D6', '61 / F0 61'],
  ['', 'IntlRo', '73 / F3', '51 / F0 51'],
  ['', 'IntlYen', '7D / FD', '6A / F0 6A'],
  ['', 'Lang1', 'F2 /', 'F2 /'],
  ['', 'AudioVolumeUp', 'E0 30 / E0 B0', 'E0 32 / E0 F0 32'],
  ['', 'Power', 'E0 5E / E0 DE', 'E0 37 / E0 F0 37'],
  ['', 'Pause', 'E1 1D 45 E1 9D C5 /', 'E1 14 77 E1 F0 14 F0 77 /'],
  ['ControlLeft', 'Pause', 'E0 46 E0 C6 /', 'E0 7E E0 F0 7E /'],
  ['', 'PrintScreen', 'E0 2A E0 37 / E0 B7 E0 AA', 'E0 12 E0 7C / E0 F0 7C E0 F0 12'],
  ['ShiftLeft', 'PrintScreen', 'E0 37 / E0 B7', 'E0 7C / E0 F0 7C'],
  ['ControlLeft', 'PrintScreen', 'E0 37 / E0 B7', 'E0 7C / E0 F0 7C'],
  ['AltLeft', 'PrintScreen', '54 / D4', '84 / F0 84'],
  ['ShiftLeft', 'ArrowLeft', 'E0 AA E0 4B / E0 CB E0 2A', 'E0 F0 12 E0 6B / E0 F0 6B E0 12'],
  ['ShiftRight', 'Home', 'E0 B6 E0 47 / E0 C7 E0 36', 'E0 F0 59 E0 6C / E0 F0 6C E0 59'],
  ['ShiftLeft', 'NumpadDivide', 'E0 AA E0 35 / E0 B5 E0 2A', 'E0 F0 12 E0 4A / E0 F0 4A E0 12'],
  ['NumLock', 'Insert', 'E0 2A E0 52 / E0 D2 E0 AA', 'E0 12 E0 70 / E0 F0 70 E0 F0 12'],
  ['NumLock', 'NumpadDivide', 'E0 35 / E0 B5', 'E0 4A / E0 F0 4A'],
  ['NumLock ShiftLeft', 'End', 'E0 4F / E0 CF', 'E0 69 / E0 F0 69'],
]

describe('scan codes', () => {
  for (const [held, key, ...expected] of SEQUENCES) {
    it(`${held} ${key}`.trim(), async () => {
      for (const [index, set] of [1, 2].entries()) {
        await using ps2 = await Ps2Machine.start()
        ps2.raw()
        expect(ps2.toKeyboard(0xf0, set)).toEqual([0xfa, 0xfa])
        for (const modifier of held.split(' ')) {
          if (modifier === 'NumLock') ps2.toKeyboard(0xed, 2)
          else ps2.keyboard.key(modifier, true)
        }
        ps2.drain()
        const [press = '', release = ''] = expected[index]?.split('/') ?? []
        ps2.keyboard.key(key, true)
        expect(ps2.drain()).toEqual(hex(press))
        ps2.keyboard.key(key, false)
        expect(ps2.drain()).toEqual(hex(release))
      }
    })
  }

  it('the controller translates set 2 to what set 1 is', async () => {
    await using translated = await Ps2Machine.start()
    await using raw = await Ps2Machine.start()
    raw.raw()
    raw.toKeyboard(0xf0, 1)
    for (const code of KEYS.keys()) {
      for (const pressed of [true, false]) {
        translated.keyboard.key(code, pressed)
        raw.keyboard.key(code, pressed)
        const bytes = translated.drain()
        // Pause and Break contain releases; they too have one translation.
        expect(bytes, code).toEqual(raw.drain())
      }
    }
  })

  it('no two keys have the same codes', async () => {
    for (const set of [2, 3]) {
      await using ps2 = await Ps2Machine.start()
      ps2.raw()
      ps2.toKeyboard(0xf0, set)
      const seen = new Map<string, string>()
      for (const code of KEYS.keys()) {
        ps2.keyboard.key(code, true)
        const bytes = ps2.drain().join(' ')
        ps2.keyboard.key(code, false)
        ps2.drain()
        if (bytes === '') continue
        expect(seen.get(bytes), code).toBeUndefined()
        seen.set(bytes, code)
      }
      expect(seen.size).toBeGreaterThan(100)
    }
  })

  it('set 3 has one code a key, a release where the key’s type has one', async () => {
    await using ps2 = await Ps2Machine.start()
    ps2.raw()
    ps2.toKeyboard(0xf0, 3)
    const stroke = (code: string): number[] => {
      ps2.keyboard.key(code, true)
      ps2.keyboard.key(code, false)
      return ps2.drain()
    }
    expect(stroke('KeyA')).toEqual(hex('1C'))
    expect(stroke('ShiftLeft')).toEqual(hex('12 F0 12'))
    expect(stroke('Pause')).toEqual(hex('62'))
    expect(stroke('PrintScreen')).toEqual(hex('57'))
    // All keys make and break.
    expect(ps2.toKeyboard(0xf8)).toEqual([0xfa])
    expect(stroke('Pause')).toEqual(hex('62 F0 62'))
    // One key make only; scanning stops until it is enabled.
    expect(ps2.toKeyboard(0xfd, 0x1c, 0x32)).toEqual([0xfa, 0xfa, 0xfa])
    expect(stroke('KeyC')).toEqual([])
    expect(ps2.toKeyboard(0xf4)).toEqual([0xfa])
    expect(stroke('KeyA')).toEqual(hex('1C'))
    expect(stroke('KeyC')).toEqual(hex('21 F0 21'))
    ps2.toKeyboard(0xf6)
    expect(stroke('Pause')).toEqual(hex('62'))
  })
})

describe('commands', () => {
  it('identify, echo, reset, current set', async () => {
    await using ps2 = await Ps2Machine.start()
    ps2.raw()
    expect(ps2.toKeyboard(0xf2)).toEqual(hex('FA AB 83'))
    expect(ps2.toKeyboard(0xee)).toEqual(hex('EE'))
    expect(ps2.toKeyboard(0xf0, 3, 0xf0, 0)).toEqual(hex('FA FA FA FA 03'))
    expect(ps2.toKeyboard(0xff)).toEqual(hex('FA AA'))
    expect(ps2.toKeyboard(0xf0, 0)).toEqual(hex('FA FA 02'))
    expect(ps2.toKeyboard(0x00)).toEqual(hex('FE'))
    expect(ps2.toKeyboard(0xf0, 9, 1)).toEqual(hex('FA FE FA'))
  })

  it('the identification is translated, as drivers know it', async () => {
    await using ps2 = await Ps2Machine.start()
    expect(ps2.toKeyboard(0xf2)).toEqual(hex('FA AB 41'))
  })

  it('resends the last byte', async () => {
    await using ps2 = await Ps2Machine.start()
    ps2.raw()
    ps2.toKeyboard(0xf2)
    expect(ps2.toKeyboard(0xfe)).toEqual(hex('83'))
  })

  it('lamps', async () => {
    await using ps2 = await Ps2Machine.start()
    const seen: unknown[] = []
    ps2.keyboard.onLeds = (leds) => seen.push(leds)
    expect(ps2.toKeyboard(0xed, 0x05)).toEqual([0xfa, 0xfa])
    expect(ps2.keyboard.leds).toEqual({ scrollLock: true, numLock: false, capsLock: true })
    // A command in place of the parameter ends the first one.
    expect(ps2.toKeyboard(0xed, 0xf4)).toEqual([0xfa, 0xfa])
    ps2.instance.reset?.()
    expect(seen).toEqual([
      { scrollLock: true, numLock: false, capsLock: true },
      { scrollLock: false, numLock: false, capsLock: false },
    ])
  })

  it('off, it reports nothing', async () => {
    await using ps2 = await Ps2Machine.start()
    expect(ps2.toKeyboard(0xf5)).toEqual([0xfa])
    expect(ps2.keyboard.key('KeyA', true)).toBe(false)
    expect(ps2.drain()).toEqual([])
    ps2.toKeyboard(0xf4)
    expect(ps2.keyboard.key('KeyA', false)).toBe(true)
    expect(ps2.drain()).toEqual([0x9e])
    expect(ps2.keyboard.key('NoSuchKey', true)).toBe(false)
  })
})

describe('typematic', () => {
  const MS = 1e6

  it('a key that stays down repeats after the delay, at the rate', async () => {
    await using ps2 = await Ps2Machine.start()
    const { clock } = ps2.machine
    ps2.keyboard.key('KeyA', true)
    ps2.drain()
    clock.advance(499 * MS)
    expect(ps2.drain()).toEqual([])
    clock.advance(2 * MS)
    expect(ps2.drain()).toEqual([0x1e])
    // 10.9 characters a second.
    let count = 0
    for (let i = 0; i < 1000; i++) {
      clock.advance(10 * MS)
      count += ps2.drain().length
    }
    expect(count / 10).toBeCloseTo(10.9, 0)
    // 30 a second after 250 ms.
    ps2.toKeyboard(0xf3, 0x00)
    ps2.keyboard.key('KeyB', true)
    ps2.drain()
    clock.advance(250 * MS)
    expect(ps2.drain()).toEqual([0x30])
    count = 0
    for (let i = 0; i < 1000; i++) {
      clock.advance(1 * MS)
      count += ps2.drain().length
    }
    expect(count).toBe(29)
    ps2.keyboard.key('KeyB', false)
    ps2.drain()
    clock.advance(1e9)
    expect(ps2.drain()).toEqual([])
  })

  it('repetitions never fill the buffer: the release has room', async () => {
    await using ps2 = await Ps2Machine.start()
    ps2.keyboard.key('ArrowUp', true)
    ps2.machine.clock.advance(60e9)
    ps2.keyboard.key('ArrowUp', false)
    const bytes = ps2.drain()
    expect(bytes.slice(-2)).toEqual([0xe0, 0xc8])
    expect(bytes.length).toBeLessThan(8)
  })

  it('pressing what is down changes nothing', async () => {
    await using ps2 = await Ps2Machine.start()
    ps2.keyboard.key('KeyA', true)
    ps2.keyboard.key('KeyA', true)
    expect(ps2.drain()).toEqual([0x1e])
  })
})

describe('the buffer', () => {
  it('what does not fit is lost, and the guest reads an overrun', async () => {
    await using ps2 = await Ps2Machine.start()
    ps2.raw()
    ps2.command(0xad)
    const strokes = 'QWERTYUIOPASDFGHJKL'
    const taken = [...strokes].map((letter) => {
      const pressed = ps2.keyboard.key(`Key${letter}`, true)
      return ps2.keyboard.key(`Key${letter}`, false) && pressed
    })
    expect(taken.filter(Boolean)).toHaveLength(5)
    ps2.command(0xae)
    const bytes = ps2.drain()
    expect(bytes).toHaveLength(17)
    expect(bytes.at(-1)).toBe(0x00)
    ps2.keyboard.key('KeyA', true)
    expect(ps2.drain()).toEqual([0x1c])
  })

  it('a text is typed as fast as the guest takes it', async () => {
    await using ps2 = await Ps2Machine.start()
    ps2.raw()
    const text = `${[...US_LAYOUT.keys()].join('')}\nThe quick brown fox (123).\n`
    const typed = typeText(ps2.keyboard, text)
    const bytes: number[] = []
    let done = false
    const end = typed.then(() => {
      done = true
    })
    while (!done) {
      bytes.push(...ps2.drain())
      await Promise.resolve()
    }
    await end
    expect(decode(bytes)).toBe(text)
  })

  it('typing ends with its signal, and with nothing held', async () => {
    await using ps2 = await Ps2Machine.start()
    const ending = new AbortController()
    const typed = typeText(ps2.keyboard, 'AB', { signal: ending.signal })
    await Promise.resolve()
    ending.abort(new Error('enough'))
    await expect(typed).rejects.toThrow('enough')
    expect(ps2.drain()).toEqual([0x2a, 0x1e, 0x9e, 0xaa])
    await expect(typeText(ps2.keyboard, 'naïve')).rejects.toMatchObject({ code: 'ERR_KEYBOARD_CHARACTER' })
    expect(ps2.drain()).toEqual([])
  })
})

/** What a guest with a US layout makes of set 2. */
function decode(bytes: readonly number[]): string {
  const names = new Map([...KEYS].filter(([, key]) => !key.extended).map(([code, key]) => [key.set2, code]))
  const characters = new Map([...US_LAYOUT].map(([character, { code, shift }]) => [`${shift}${code}`, character]))
  let shift = false
  let release = false
  let text = ''
  for (const byte of bytes) {
    if (byte === 0xf0) release = true
    else {
      if (byte === 0x12) shift = !release
      else if (!release) text += characters.get(`${shift}${names.get(byte)}`) ?? '?'
      release = false
    }
  }
  return text
}
